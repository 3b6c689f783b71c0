//! What differs between two inventories of a cluster.

use super::content::{Compared, compared};
use super::readiness::Readiness;
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
            Some(new) if completed(old, new) && new.spec == old.spec => {}
            Some(new) if (&new.state, new.readiness) != (&old.state, old.readiness) => {
                lines.push(format!("{key}: {new}, was {old}"));
            }
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

/// Whether a workload that lacked pods before has more of them ready, and nothing else of its state differs.
fn completed(old: &Entry, new: &Entry) -> bool {
    let (Some(before), Some(after)) = (old.readiness, new.readiness) else { return false };
    old.state == new.state && after.has_grown_since(before)
}

/// The workloads with pods that are not ready, a line each.
pub(super) fn incomplete(inventory: &Inventory) -> Vec<String> {
    let lacks = |entry: &Entry| entry.readiness.is_some_and(Readiness::is_incomplete);
    let found = inventory.0.iter().filter(|(_, entry)| lacks(entry));
    found.map(|(key, entry)| format!("{key}: {entry}")).collect()
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
