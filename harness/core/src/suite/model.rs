//! A checked suite, and the runs that it asks for.

use super::shard::{Shard, assign};
use crate::scenario::{Layout, Scenario, drill_name};
use crate::time::as_ms;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a suite must know of a drill before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How long it is expected to take.
    pub expected: Duration,
    /// How long its recovery is waited for.
    pub deadline: Duration,
    /// The layout of the stack that it needs.
    pub layout: Layout,
    /// Whether it leaves the cluster other than it was, undone or not: the next drill needs a fresh one.
    pub irreversible: bool,
    /// The sections of its runbook, in order.
    pub sections: Vec<String>,
    /// A digest of its whole scenario, with its runbooks.
    pub digest: String,
}

/// What is known of every drill: by scenario, by variant.
pub type Catalog = BTreeMap<String, BTreeMap<String, Facts>>;

/// What is known of a scenario's variants.
pub fn facts(scenario: &Scenario) -> BTreeMap<String, Facts> {
    let digest = digest(scenario);
    let of_variant = |(name, variant): (&String, &crate::scenario::Variant)| {
        let facts = Facts {
            expected: variant.expected,
            deadline: variant.deadline,
            layout: variant.layout.clone(),
            irreversible: variant.irreversible.is_some(),
            sections: scenario.sections(name),
            digest: digest.clone(),
        };
        (name.clone(), facts)
    };
    scenario.variants.iter().map(of_variant).collect()
}

/// The beginning of the SHA-256 of a scenario as JSON, in hexadecimal.
fn digest(scenario: &Scenario) -> String {
    // Its keys are texts, so it always can be written.
    let text = serde_json::to_vec(scenario).unwrap_or_default();
    Sha256::digest(&text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A suite, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The file's name, or `all`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// What each shard's drills may take together; none is begun that is not expected to end within it.
    pub budget: Option<Duration>,
    /// The drills, in order.
    pub drills: Vec<Entry>,
}

/// A drill of a suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The scenario.
    pub scenario: String,
    /// Its variant.
    pub variant: String,
    /// How often it runs.
    pub repeat: u32,
    /// Whether nothing is broken: then the verdict must be unknown.
    pub control: bool,
    /// The section that is left out of its runbook: it must stay broken then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<String>,
    /// How long one run is expected to take.
    #[serde(rename = "expected_ms", with = "as_ms")]
    pub expected: Duration,
    /// Whether the next drill needs a fresh cluster.
    pub irreversible: bool,
    /// A digest of its scenario, by which shards know that they ran the same.
    pub digest: String,
}

impl Entry {
    /// How long all of its runs are expected to take.
    pub fn expected_in_all(&self) -> Duration {
        self.expected.saturating_mul(self.repeat)
    }
}

/// `nats-quorum-loss/killed`, `nats-quorum-loss/killed (control)`, `nats-quorum-loss/hung (without 2. Delete the pods)`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&drill_name(&self.scenario, &self.variant, self.without.as_deref()))?;
        f.write_str(if self.control { " (control)" } else { "" })
    }
}

/// One run of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// Which run of its drill, from 1. Rounds come first: every drill runs once before any runs twice.
    pub round: u32,
    /// The drill's index in the suite.
    pub entry: usize,
}

impl Suite {
    /// Every variant of every scenario once, one layout of the stack after the other, in order of their names, and the
    /// control of the drill that is expected to be shortest.
    pub fn all(catalog: &Catalog) -> Self {
        let all = catalog.iter().flat_map(|(scenario, variants)| {
            variants.iter().map(move |(variant, facts)| (facts.layout.clone(), Entry::once(scenario, variant, facts)))
        });
        let mut all: Vec<_> = all.collect();
        let shortest = all.iter().min_by_key(|(_, entry)| entry.expected).cloned();
        all.extend(shortest.map(|(layout, entry)| (layout, Entry { control: true, irreversible: false, ..entry })));
        // Changing the layout of the stack takes minutes.
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        let drills = all.into_iter().map(|(_, entry)| entry).collect();
        Self { name: "all".to_owned(), title: "every drill, and a control".to_owned(), budget: None, drills }
    }

    /// The runs in their order: all of them, or those of a shard.
    pub fn slots(&self, shard: Option<Shard>) -> Vec<Slot> {
        slots(&self.drills, shard)
    }
}

impl Entry {
    /// The drill, run once.
    pub(super) fn once(scenario: &str, variant: &str, facts: &Facts) -> Self {
        Self {
            scenario: scenario.to_owned(),
            variant: variant.to_owned(),
            repeat: 1,
            control: false,
            without: None,
            expected: facts.expected,
            irreversible: facts.irreversible,
            digest: facts.digest.clone(),
        }
    }
}

pub(super) fn slots(drills: &[Entry], shard: Option<Shard>) -> Vec<Slot> {
    let shards = shard.map(|shard| assign(drills, shard.of));
    let is_here = |index: usize| match (&shards, shard) {
        (Some(shards), Some(shard)) => shards[index] == shard.index,
        _ => true,
    };
    let rounds = drills.iter().map(|entry| entry.repeat).max().unwrap_or(0);
    let mut slots = Vec::new();
    for round in 1..=rounds {
        let of_round = drills.iter().enumerate().filter(|(index, entry)| entry.repeat >= round && is_here(*index));
        slots.extend(of_round.map(|(entry, _)| Slot { round, entry }));
    }
    slots
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A drill of so many minutes.
    pub(crate) fn entry(variant: &str, minutes: u64, repeat: u32) -> Entry {
        let expected = Duration::from_secs(60 * minutes);
        let facts = Facts {
            expected,
            deadline: expected,
            layout: Layout::default(),
            irreversible: false,
            sections: Vec::new(),
            digest: String::new(),
        };
        Entry { repeat, ..Entry::once("drill", variant, &facts) }
    }

    #[test]
    fn every_drill_runs_once_before_any_runs_twice() {
        let drills = [entry("a", 1, 3), entry("b", 1, 1), entry("c", 1, 2)];
        let order: Vec<_> = slots(&drills, None).iter().map(|slot| (slot.round, slot.entry)).collect();
        assert_eq!(order, [(1, 0), (1, 1), (1, 2), (2, 0), (2, 2), (3, 0)]);
    }

    #[test]
    fn all_has_every_variant_and_the_control_of_the_shortest() {
        let facts = |minutes| Facts {
            expected: Duration::from_secs(60 * minutes),
            deadline: Duration::from_secs(300),
            layout: if minutes == 8 { Layout::named("separate") } else { Layout::default() },
            irreversible: true,
            sections: Vec::new(),
            digest: String::new(),
        };
        let variants = |names: &[(&str, u64)]| names.iter().map(|(name, m)| ((*name).to_owned(), facts(*m))).collect();
        let catalog = Catalog::from([
            ("pg".to_owned(), variants(&[("pod", 4), ("node", 7)])),
            ("nats".to_owned(), variants(&[("elsewhere", 8), ("hung", 7), ("killed", 4)])),
        ]);
        let names: Vec<_> = Suite::all(&catalog).drills.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["nats/hung", "nats/killed", "pg/node", "pg/pod", "nats/killed (control)", "nats/elsewhere"]);
        assert!(!Suite::all(&catalog).drills[4].irreversible, "a control breaks nothing");
    }
}
