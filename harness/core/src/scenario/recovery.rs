//! What is done about a fault: runbooks, their steps, and what stands in for those that cannot work.

use super::Layout;
use crate::time::{as_ms, as_ms_option};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is done about the fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// Nothing: it has to heal by itself.
    Unattended,
    /// Nothing: it has to be broken still when the variant's deadline passes, which shows that it needs its runbook.
    StaysBroken,
    /// A runbook's steps.
    Runbook {
        /// The runbook, a key of [`super::Scenario::runbooks`].
        file: String,
        /// When the first step runs.
        start: Start,
        /// The section that was left out of it ([`super::Scenario::without`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        without: Option<String>,
    },
}

/// When the first step of a runbook runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// When the system has noticed ([`super::Variant::detect`]).
    Detected,
    /// When the first of [`super::Variant::alerts`] fires.
    Alert,
    /// A fixed time after the effect was proven.
    After(#[serde(with = "as_ms")] Duration),
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Start::Detected => f.write_str("detection"),
            Start::Alert => f.write_str("the alert"),
            Start::After(after) => write!(f, "{} after the effect", crate::time::human(*after)),
        }
    }
}

/// A documented command that cannot work, and what runs after it instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// The heading of the runbook's section.
    pub section: String,
    /// The documented command, exactly as the runbook has it. It runs first and its output is kept.
    pub documented: String,
    /// What runs after it; where the provider acts, what it does, for people.
    pub instead: String,
    /// What the provider does after it, where no command can stand in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderStep>,
    /// What the corrected command's output must contain.
    pub expect: Option<String>,
    /// Whether the documented command works at times: then it says nothing of the correction.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_times: bool,
    /// Why.
    pub because: String,
}

/// Something that only a cluster's provider can do, and that stands in for a documented command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderStep {
    /// One more node joins the cluster in the place of the fault's node. The undo takes it away.
    ReplaceNode,
    /// The fault's volumes are detached by force.
    DetachVolume,
}

impl ProviderStep {
    /// What it does, for people.
    pub fn about(self) -> &'static str {
        match self {
            ProviderStep::DetachVolume => "the provider detaches <target-volume> by force",
            ProviderStep::ReplaceNode => "the provider makes a node in the place of <target-node>",
        }
    }
}

/// A runbook: its fenced commands, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runbook {
    /// The file's name.
    pub file: String,
    /// Its commands.
    pub steps: Vec<Step>,
}

/// One command of a runbook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The heading it stands under.
    pub section: String,
    /// The line of the command in the file, from 1.
    pub line: u32,
    /// The command, as in a shell.
    pub command: String,
    /// What its output must contain.
    pub expect: Option<String>,
    /// Its limit.
    #[serde(with = "as_ms")]
    pub timeout: Duration,
    /// The exit code that counts as done; `None` where any does (a look that may fail).
    pub exit: Option<i32>,
    /// How long its expectation may take to come: the command is repeated until then, as an operator looks again. `None`
    /// where it must hold at once.
    #[serde(default, with = "as_ms_option")]
    pub within: Option<Duration>,
    /// Only in these variants; in all where empty.
    pub variants: Vec<String>,
    /// Only in variants of this layout; in all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Only where this holds when the step's turn comes; a step passed over says so in the journal.
    pub only_if: Option<StepCondition>,
    /// Why it is left to people: it is not run, and the verdict counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<String>,
}

impl Step {
    /// Whether a variant, which is in this layout, runs it: it is for it, and not left to people.
    pub fn is_run_for(&self, variant: &str, layout: &Layout) -> bool {
        self.manual.is_none() && self.is_for(variant, layout)
    }

    /// Whether it is for a variant, which is in this layout; it may be left to people there.
    pub fn is_for(&self, variant: &str, layout: &Layout) -> bool {
        let by_name = self.variants.is_empty() || self.variants.iter().any(|name| name == variant);
        by_name && self.layout.as_ref().is_none_or(|only| only == layout)
    }
}

/// When a conditional step runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepCondition {
    /// The probe is still failing this long after the effect was proven.
    StillDown {
        /// The probe.
        probe: String,
        /// How long after.
        #[serde(with = "as_ms")]
        after: Duration,
    },
}
