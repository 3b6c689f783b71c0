//! A checked scenario. A value of these types has no mistake that can be seen without a cluster.

use super::Layout;
use super::{Correction, Effect, Fault, PodSelector, ProbeKind, Query, Recovery, Runbook, Symptom};
use crate::sample::Connection;
use crate::stack::Watch;
use crate::time::{as_ms, as_ms_option};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A scenario file, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// The folder's name.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// What the cluster must have.
    pub needs: Needs,
    /// What must hold before anything is broken.
    pub steady_state: SteadyState,
    /// The probes, by name.
    pub probes: BTreeMap<String, Probe>,
    /// The probes as they are in layouts other than the one needed; see [`Scenario::for_variant`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes_in: BTreeMap<Layout, BTreeMap<String, Probe>>,
    /// The templates of those layouts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub templates_in: BTreeMap<Layout, String>,
    /// What is watched beside the objects that it names; the stack says that.
    #[serde(default)]
    pub watch: Watch,
    /// The variants, by name.
    pub variants: BTreeMap<String, Variant>,
    /// The variant that runs where none is named: the first in the file.
    pub default_variant: String,
    /// What is demanded of the times.
    pub objectives: Vec<Objective>,
    /// What is demanded of acknowledged writes.
    pub data: DataPolicy,
    /// Documented commands that cannot work, and what runs after them instead.
    pub corrections: Vec<Correction>,
    /// The runbooks that variants name, by file name.
    pub runbooks: BTreeMap<String, Runbook>,
}

/// What the cluster must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The template that the stack is made from.
    pub template: String,
    /// The layout of the stack that names in the file are of.
    #[serde(default)]
    pub layout: Layout,
    /// How many NATS servers must be there, where the scenario counts them.
    pub nats_servers: Option<u32>,
    /// How many PostgreSQL instances must be there, where the scenario counts them.
    pub postgres_instances: Option<u32>,
}

/// What must hold, without a gap, before anything is broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SteadyState {
    /// How long it must hold.
    #[serde(with = "as_ms")]
    pub hold: Duration,
    /// How long to wait for it.
    #[serde(with = "as_ms")]
    pub within: Duration,
    /// The probes that must succeed all that time.
    pub probes: Vec<String>,
    /// The least rate of successes of these probes together, per second; less is too little load for a verdict.
    pub load_min_per_s: f64,
}

/// Where a probe runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vantage {
    /// On the machine of the runner, through a loopback port.
    Outside,
    /// In an agent pod that exists only for the run.
    Inside,
}

/// One probe of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// What it does.
    pub kind: ProbeKind,
    /// Time between two attempts, 1 ms to 60 s.
    #[serde(with = "as_ms")]
    pub every: Duration,
    /// Each attempt's own limit.
    #[serde(with = "as_ms")]
    pub timeout: Duration,
    /// New connections, reused ones, or both, each a series of its own.
    pub connections: Vec<Connection>,
    /// Where it runs from; each a series of its own.
    pub vantages: Vec<Vantage>,
    /// The namespace of the agent pod that it runs in, where that is not the run's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_namespace: Option<String>,
    /// It must not come through: the probe of the same Service that is let in, without whose success that proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_while: Option<String>,
}

/// One way to break it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// The layout of the stack that it runs in.
    #[serde(default)]
    pub layout: Layout,
    /// One line for people.
    pub about: String,
    /// How long the whole drill is expected to take.
    #[serde(with = "as_ms")]
    pub expected: Duration,
    /// What is done.
    pub fault: Fault,
    /// What is done after that, in order, each once the one before is proven at its targets.
    #[serde(default)]
    pub then: Vec<Fault>,
    /// How long the one before is left to work first.
    #[serde(default, with = "as_ms")]
    pub then_after: Duration,
    /// How its effect on the service is proven, beside the fault's own proof.
    pub effect: Effect,
    /// What shows that the system itself has noticed.
    pub detect: Detector,
    /// What is done about it.
    pub recovery: Recovery,
    /// What says that redundancy is back; all of them.
    pub redundancy: Vec<Condition>,
    /// How long after the effect everything may take before the run stops waiting.
    #[serde(with = "as_ms")]
    pub deadline: Duration,
    /// The length of the window of unbroken success that ends an outage.
    #[serde(with = "as_ms")]
    pub sustained: Duration,
    /// The alerts that must fire.
    #[serde(default)]
    pub alerts: Vec<ExpectedAlert>,
    /// What cannot be undone, and stays when all else is clean.
    #[serde(default)]
    pub irreversible: Option<Irreversible>,
}

/// What a drill may leave behind for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Irreversible {
    /// Volumes that have grown: Kubernetes lets none shrink.
    VolumesGrow,
}

/// An alert that must fire, and be resolved again. Where it does not, that is a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedAlert {
    /// Its name, as Prometheus's rules have it.
    pub fires: String,
    /// How long after the effect it may take to fire.
    #[serde(with = "as_ms")]
    pub within: Duration,
    /// How long after everything is back to normal it may take to be resolved.
    #[serde(with = "as_ms")]
    pub resolves: Duration,
}

impl Variant {
    /// Every fault, in the order in which they are put in.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        std::iter::once(&self.fault).chain(&self.then)
    }
}

/// What shows that the system has noticed the fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detector {
    /// One of the fault's targets is no longer Ready, was replaced or restarted.
    PodNotReady,
    /// A node of the fault's targets is no longer Ready.
    NodeNotReady,
    /// A CNPG cluster's phase is no longer the healthy one.
    CnpgPhase {
        /// Namespace and name, `namespace/name`.
        cluster: String,
    },
    /// No NATS server names a meta leader of JetStream, or fewer servers than a majority answer.
    NatsQuorum {
        /// The servers.
        pods: PodSelector,
    },
    /// Kubernetes shows a symptom that was not there before.
    Symptom(Symptom),
    /// Nothing in the cluster notices; people or an alert must.
    Nothing,
}

/// A state that the watchers can see.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Every NATS server is there, routed to all others, and every replica of every stream is current.
    NatsCurrent {
        /// The servers.
        pods: PodSelector,
        /// How many.
        servers: u32,
    },
    /// A CNPG cluster is in its healthy phase with every instance ready.
    CnpgHealthy {
        /// Namespace and name, `namespace/name`.
        cluster: String,
    },
    /// Every one of these pods is Ready, and there are as many as before the fault.
    PodsReady {
        /// The pods.
        pods: PodSelector,
    },
    /// A query that was answered finds no row.
    NoRows(Query),
    /// As many nodes as before are Ready, and none is not.
    NodesReady,
    /// Prometheus says that the alert neither fires nor is pending.
    AlertOver {
        /// Its name.
        name: String,
    },
    /// Every network policy of the namespace is as it was before the fault, and there is at least one.
    PoliciesAsBefore {
        /// The namespace.
        namespace: String,
    },
}

/// A moment of a run, as facts and objectives name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// t0: the injection was called.
    Inject,
    /// t0e: the fault was proven effective.
    Effect,
    /// t1: the first failed attempt's start.
    FirstFailure,
    /// t2: the system noticed.
    Detected,
    /// t2a: the first alert that the variant expects fired.
    Alert,
    /// t3: the first runbook command started.
    RunbookStart,
    /// The last runbook command ended.
    RunbookEnd,
    /// t4: the first success after that.
    FirstSuccess,
    /// t5: the start of the first window of unbroken success.
    SustainedOk,
    /// t6: redundancy is back.
    Redundancy,
    /// t7: the backlog is drained.
    BacklogDrained,
    /// t8: cleanup is proven.
    Clean,
}

impl Moment {
    /// All of them, in the order of a run.
    pub const ALL: [Moment; 12] = [
        Moment::Inject,
        Moment::Effect,
        Moment::FirstFailure,
        Moment::Detected,
        Moment::Alert,
        Moment::RunbookStart,
        Moment::RunbookEnd,
        Moment::FirstSuccess,
        Moment::SustainedOk,
        Moment::Redundancy,
        Moment::BacklogDrained,
        Moment::Clean,
    ];

    /// Its name in scenarios and reports.
    pub fn name(self) -> &'static str {
        match self {
            Moment::Inject => "inject",
            Moment::Effect => "effect",
            Moment::FirstFailure => "first-failure",
            Moment::Detected => "detected",
            Moment::Alert => "alert",
            Moment::RunbookStart => "runbook-start",
            Moment::RunbookEnd => "runbook-end",
            Moment::FirstSuccess => "first-success",
            Moment::SustainedOk => "sustained-ok",
            Moment::Redundancy => "redundancy",
            Moment::BacklogDrained => "backlog-drained",
            Moment::Clean => "clean",
        }
    }

    /// Whether it is a moment of one probe, so that an objective on it must name the probe.
    pub fn is_of_a_probe(self) -> bool {
        matches!(self, Moment::FirstFailure | Moment::FirstSuccess | Moment::SustainedOk)
    }
}

/// What is demanded of one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// Its name in reports.
    pub name: String,
    /// The probe whose moments are meant; every series of it must hold.
    pub probe: Option<String>,
    /// From when.
    pub from: Moment,
    /// Until when.
    pub to: Moment,
    /// Whether the longest of the probe's outages between the two is meant, rather than the time from the one to the other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub longest_outage: bool,
    /// The runbook's figure; beyond it is a finding.
    #[serde(with = "as_ms_option")]
    pub documented: Option<Duration>,
    /// What gates, for each variant that it applies to.
    pub accepted: BTreeMap<String, Accepted>,
    /// Why the accepted figures are what they are.
    pub because: String,
}

/// What gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Accepted(#[serde(with = "as_ms")] pub Duration);

/// What is demanded of acknowledged writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPolicy {
    /// How many acknowledged writes may be lost, by variant; none where it is not named.
    pub lost_acked_max: BTreeMap<String, u64>,
    /// The probes whose acknowledged writes those may be; all where it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_acked_of: Vec<String>,
    /// Whether only the oldest writes of a series may be lost: none that was sent a second after one that is still there was
    /// acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost_acked_oldest: bool,
    /// How many writes may be there more than once, by variant; none where it is not named.
    pub duplicated_max: BTreeMap<String, u64>,
    /// Why, where that is not zero.
    pub because: String,
}
