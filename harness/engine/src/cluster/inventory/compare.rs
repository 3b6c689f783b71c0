//! What differs between two inventories of a cluster.

use super::{Inventory, WITH_CONTENT};
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
            None => lines.push(format!("{key} is gone")),
            Some(new) if new.state != old.state => lines.push(format!("{key}: {}, was {}", new.state, old.state)),
            // Where a wish was not compared when the older of the two was made, there is none to compare with.
            Some(new) if new.spec != old.spec && !old.spec.is_empty() => {
                let what = if WITH_CONTENT.contains(&key.kind.as_str()) { "content" } else { "spec" };
                lines.push(format!("{key}: its {what} has changed"));
            }
            Some(_) => {}
        }
    }
    lines.extend(after.0.keys().filter(|key| !before.0.contains_key(*key)).map(|key| format!("{key} is new")));
    lines
}

/// What asks for other storage than before, a line each. Not in [`diff`]: a drill may be meant to leave that.
pub(super) fn resized(before: &Inventory, after: &Inventory) -> Vec<String> {
    let both = before.0.iter().filter_map(|(key, old)| Some((key, old, after.0.get(key)?)));
    let other = both.filter(|(_, old, new)| old.size != new.size);
    other.map(|(key, old, new)| format!("{key}: asks for {}, was {}", new.size, old.size)).collect()
}
