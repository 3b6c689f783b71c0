//! A checked scenario. A value of these types has no mistake that can be seen without a cluster.

use super::Layout;
use super::{Effect, Fault, PodSelector, Query, Symptom};
use crate::sample::Connection;
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
    /// The chart's template: `small`, `medium`, `large`, `multi-tenant`.
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

/// What a probe does in one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    /// GET over HTTP.
    Http {
        /// The Service asked.
        service: ServiceRef,
        /// Path and query.
        path: String,
        /// The status expected.
        status: u16,
        /// What the body must contain.
        body: Option<String>,
    },
    /// A JetStream publish, acknowledged.
    Jetstream {
        /// The NATS client Service.
        service: ServiceRef,
        /// The stream that must acknowledge.
        stream: String,
        /// The subject's prefix; the run's id and the probe's name are appended.
        subject: String,
    },
    /// A PostgreSQL insert, committed.
    Postgres {
        /// The CNPG cluster whose read-write Service is asked.
        cluster: String,
        /// Its namespace.
        namespace: String,
        /// The database.
        database: String,
    },
    /// An Ironflow run, triggered and completed end to end.
    Ironflow {
        /// The Ironflow Service.
        service: ServiceRef,
        /// The event that triggers it.
        event: String,
        /// Filler in the event's data, in KiB.
        payload_kib: u32,
    },
    /// A TCP connection, opened and closed.
    Tcp {
        /// The Service asked.
        service: ServiceRef,
    },
}

impl ProbeKind {
    /// Whether an acknowledged attempt leaves a write behind that the ledger looks for.
    pub fn writes(&self) -> bool {
        match self {
            ProbeKind::Jetstream { .. } | ProbeKind::Postgres { .. } | ProbeKind::Ironflow { .. } => true,
            ProbeKind::Http { .. } | ProbeKind::Tcp { .. } => false,
        }
    }
}

/// A Service and one of its ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
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
        /// The runbook, a key of [`Scenario::runbooks`].
        file: String,
        /// When the first step runs.
        start: Start,
        /// The section that was left out of it ([`Scenario::without`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        without: Option<String>,
    },
}

/// When the first step of a runbook runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// When the system has noticed ([`Variant::detect`]).
    Detected,
    /// When the first of [`Variant::alerts`] fires.
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
    /// How many writes may be there more than once, by variant; none where it is not named.
    pub duplicated_max: BTreeMap<String, u64>,
    /// Why, where that is not zero.
    pub because: String,
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
}

impl Step {
    /// Whether a variant, which is in this layout, runs it.
    pub fn is_for(&self, variant: &str, layout: Layout) -> bool {
        let by_name = self.variants.is_empty() || self.variants.iter().any(|name| name == variant);
        by_name && self.layout.is_none_or(|only| only == layout)
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
