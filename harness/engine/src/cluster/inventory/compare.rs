//! What differs between two inventories of a cluster.

use super::content::{Compared, compared};
use super::secrets::{RELEASE_API_VERSION, is_deployed};
use super::{Entry, Inventory};
use crate::cluster::ObjectKey;
use firedrill_core::scenario::Irreversible;

/// What differs between before and after, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// What must not differ.
    pub undeclared: Vec<String>,
    /// What the drill is said to leave.
    pub declared: Vec<String>,
}

/// What differs between two inventories, given what the drill is said to leave.
pub fn differences(before: &Inventory, after: &Inventory, irreversible: Option<Irreversible>) -> Differences {
    let (mut undeclared, grown) = (diff(before, after), resized(before, after));
    match irreversible {
        Some(Irreversible::VolumesGrow) => Differences { undeclared, declared: grown },
        None => {
            undeclared.extend(grown);
            Differences { undeclared, declared: Vec::new() }
        }
    }
}

/// What differs between two inventories, a line each; empty where nothing does.
pub(super) fn diff(before: &Inventory, after: &Inventory) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, old) in &before.0 {
        match after.0.get(key) {
            None if was_ending(before, key, old) => {}
            None => lines.push(format!("{key} is gone")),
            Some(new) if new.ending && !old.ending => lines.push(format!("{key} is being deleted")),
            // A release that was put right is no harm; what its objects say is compared on its own.
            Some(new) if key.api_version == RELEASE_API_VERSION && is_deployed(&new.state) => {}
            // A workload that lacked pods before may have all of them by now.
            Some(new) if completed(&old.state, &new.state) && new.spec == old.spec => {}
            Some(new) if new.state != old.state => lines.push(format!("{key}: {}, was {}", new.state, old.state)),
            // Where a wish was not compared when the older of the two was made, there is none to compare with.
            Some(new) if new.spec != old.spec && !old.spec.is_empty() => {
                lines.push(format!("{key}: its {} changed", of_spec(key)));
            }
            Some(_) => {}
        }
    }
    lines.extend(after.0.keys().filter(|key| !before.0.contains_key(*key)).map(|key| format!("{key} is new")));
    lines
}

/// Whether a workload of which pods were missing before has more of them ready, and nothing else of its state differs.
fn completed(old: &str, new: &str) -> bool {
    let (Some(old), Some(new)) = (Readiness::of(old), Readiness::of(new)) else { return false };
    old.ready < old.wanted && new.ready > old.ready && (old.wanted, old.rest) == (new.wanted, new.rest)
}

/// How much of a workload is ready, as its state says.
struct Readiness<'a> {
    ready: u32,
    wanted: u32,
    /// What else its state says.
    rest: &'a str,
}

impl<'a> Readiness<'a> {
    /// Of `1 of 2 ready`, or of `2 pods, 1 ready, 1 done`, where what is done is not wanted.
    fn of(state: &'a str) -> Option<Self> {
        if let Some((pods, rest)) = state.split_once(" pods, ") {
            let (ready, rest) = rest.split_once(" ready").filter(|(ready, _)| !ready.contains(' '))?;
            let done = rest.strip_prefix(", ").and_then(|rest| rest.strip_suffix(" done"));
            let done: u32 = done.map_or(Some(0), |done| done.parse().ok())?;
            let pods: u32 = pods.parse().ok()?;
            return Some(Self { ready: ready.parse().ok()?, wanted: pods.saturating_sub(done), rest });
        }
        let (ready, wanted) = state.strip_suffix(" ready")?.split_once(" of ")?;
        Some(Self { ready: ready.parse().ok()?, wanted: wanted.parse().ok()?, rest: "" })
    }
}

/// The workloads with pods that are not ready, a line each.
pub(super) fn incomplete(inventory: &Inventory) -> Vec<String> {
    let lacks = |state: &str| Readiness::of(state).is_some_and(|of| of.ready < of.wanted);
    let found = inventory.0.iter().filter(|(_, entry)| lacks(&entry.state));
    found.map(|(key, entry)| format!("{key}: {}", entry.state)).collect()
}

/// Whether it was on its way out before, by itself or with its namespace.
fn was_ending(before: &Inventory, key: &ObjectKey, old: &Entry) -> bool {
    let is_its_own = |of: &ObjectKey| of.kind == "Namespace" && Some(&of.name) == key.namespace.as_ref();
    old.ending || before.0.iter().any(|(of, entry)| entry.ending && is_its_own(of))
}

/// What of it was compared, in a word.
fn of_spec(key: &ObjectKey) -> &'static str {
    let group = key.api_version.split_once('/').map_or("", |(group, _)| group);
    match (compared(group, &key.kind), key.kind.as_str()) {
        (Compared::State, _) => "labels have",
        (Compared::Content, _) | (_, "Secret") => "content has",
        (Compared::Spec | Compared::Generation | Compared::Presence, _) => "spec has",
    }
}

/// What asks for other storage than before, a line each. Not in [`diff`]: a drill may be meant to leave that.
pub(super) fn resized(before: &Inventory, after: &Inventory) -> Vec<String> {
    let both = before.0.iter().filter_map(|(key, old)| Some((key, old, after.0.get(key)?)));
    let other = both.filter(|(_, old, new)| old.size != new.size);
    let has = |key: &ObjectKey| if key.kind == "PersistentVolume" { "has" } else { "asks for" };
    other.map(|(key, old, new)| format!("{key}: {} {}, was {}", has(key), new.size, old.size)).collect()
}
