//! What a run will do, decided before anything is touched.

use crate::sample::{Connection, SeriesId};
use crate::scenario::{ExpectedAlert, Fault, ObjectRef, ProbeKind, Recovery, Scenario, Vantage, Variant};
use crate::time::{as_ms, human};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A plan: the scenario's variant on one cluster, with its targets chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The run's id, a part of every name and label that it makes.
    pub run_id: String,
    /// The scenario's name.
    pub scenario: String,
    /// The variant's name.
    pub variant: String,
    /// What the random choices of this run are drawn from.
    pub seed: u64,
    /// The faults in the order in which they are put in; none for the control.
    pub faults: Vec<PlannedFault>,
    /// Everything that is measured.
    pub series: Vec<Series>,
    /// Every phase with its limit, in order.
    pub phases: Vec<PlannedPhase>,
    /// When everything that this run makes counts as abandoned, after its start.
    #[serde(with = "as_ms")]
    pub expires_after: Duration,
}

impl Plan {
    /// Everything that is hit, in order.
    pub fn targets(&self) -> Vec<Target> {
        self.faults.iter().flat_map(|fault| fault.targets.iter().cloned()).collect()
    }
}

/// A fault with what it acts on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// The fault.
    pub fault: Fault,
    /// What it acts on.
    pub targets: Vec<Target>,
}

/// One phase with its limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPhase {
    /// Which.
    pub phase: Phase,
    /// How long it may take.
    #[serde(with = "as_ms")]
    pub deadline: Duration,
    /// What it will do, for people.
    pub about: String,
}

/// The phases of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Cluster, targets and rights are as the plan needs them.
    Preflight,
    /// The agent, the outside ports and the watchers are there.
    Arm,
    /// Everything works, under load, without a gap.
    SteadyState,
    /// The fault is put in.
    Inject,
    /// The fault is proven to be in and to be felt.
    Effect,
    /// The system notices.
    Detect,
    /// The runbook, or waiting.
    Recover,
    /// The service answers without a gap again.
    SustainedOk,
    /// Redundancy is back.
    Redundancy,
    /// What had piled up is done.
    Backlog,
    /// The expected alerts fire, and are resolved again.
    Alerts,
    /// Acknowledged writes are looked for.
    Ledger,
    /// The fault and everything made for the run are taken away.
    Undo,
    /// The cluster is as before.
    Clean,
}

impl Phase {
    /// Its name on the screen and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Preflight => "preflight",
            Phase::Arm => "arm",
            Phase::SteadyState => "steady state",
            Phase::Inject => "inject",
            Phase::Effect => "effect",
            Phase::Detect => "detect",
            Phase::Recover => "recover",
            Phase::SustainedOk => "sustained ok",
            Phase::Redundancy => "redundancy",
            Phase::Backlog => "backlog",
            Phase::Alerts => "alerts",
            Phase::Ledger => "ledger",
            Phase::Undo => "undo",
            Phase::Clean => "clean",
        }
    }
}

/// What a fault acts on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A container of a pod.
    Container {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// The pod's UID when it was chosen.
        uid: String,
        /// The container's name.
        container: String,
        /// The container's id in its runtime, without the runtime's prefix.
        container_id: String,
        /// The node it runs on.
        node: String,
    },
    /// A pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        pod: String,
        /// Its UID when it was chosen.
        uid: String,
        /// The node it runs on.
        node: String,
    },
    /// A node.
    Node {
        /// Its name.
        node: String,
        /// Its UID.
        uid: String,
        /// The pod it was chosen by.
        because_of: String,
    },
    /// A volume, by the pod that has it mounted.
    Volume {
        /// The namespace of pod and claim.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// The pod's UID when it was chosen.
        uid: String,
        /// The claim.
        claim: String,
        /// The PersistentVolume.
        volume: String,
        /// The node that it is mounted on.
        node: String,
    },
    /// A Helm release.
    Release {
        /// Its namespace.
        namespace: String,
        /// Its name.
        release: String,
        /// Its revision when it was chosen, to which it is rolled back.
        revision: u32,
        /// The UID of Helm's record of that revision; `None` in runs from before it was looked at.
        #[serde(default)]
        uid: Option<String>,
    },
    /// An object whose fields are changed.
    Object {
        /// Which.
        object: ObjectRef,
        /// Its UID when it was chosen.
        uid: String,
        /// The JSON merge patch that puts the fields back as they were then.
        restore: String,
    },
}

impl Target {
    /// The node that is hit, or that holds what is hit; `None` where it is on none.
    pub fn node(&self) -> Option<&str> {
        match self {
            Target::Container { node, .. }
            | Target::Pod { node, .. }
            | Target::Volume { node, .. }
            | Target::Node { node, .. } => Some(node),
            Target::Release { .. } | Target::Object { .. } => None,
        }
    }

    /// The PersistentVolume, where it is one.
    pub fn volume(&self) -> Option<&str> {
        match self {
            Target::Volume { volume, .. } => Some(volume),
            _ => None,
        }
    }

    /// The name by which it goes: its pod's, its node's, its own.
    pub fn name(&self) -> &str {
        match self {
            Target::Container { pod, .. } | Target::Pod { pod, .. } | Target::Volume { pod, .. } => pod,
            Target::Node { node, .. } => node,
            Target::Release { release, .. } => release,
            Target::Object { object, .. } => &object.name,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Container { pod, container, node, .. } => write!(f, "{container} in {pod} (on {node})"),
            Target::Pod { pod, node, .. } => write!(f, "{pod} (on {node})"),
            Target::Volume { claim, pod, node, .. } => write!(f, "volume {claim} of {pod} (on {node})"),
            Target::Node { node, because_of, .. } => write!(f, "node {node} (holds {because_of})"),
            Target::Release { namespace, release, revision, .. } => {
                write!(f, "release {release} in {namespace} (revision {revision})")
            }
            Target::Object { object, .. } => object.fmt(f),
        }
    }
}

/// One probe from one place over one kind of connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its index, which samples carry.
    pub id: SeriesId,
    /// The probe's name in the scenario.
    pub probe: String,
    /// What it does.
    pub kind: ProbeKind,
    /// Where it runs from.
    pub vantage: Vantage,
    /// The namespace of the agent pod that it runs in, where that is not the run's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_namespace: Option<String>,
    /// It must not come through: the probe whose success shows that the other end lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_while: Option<String>,
    /// Over which connections.
    pub connection: Connection,
    /// Time between two attempts.
    #[serde(with = "as_ms")]
    pub every: Duration,
    /// Each attempt's limit.
    #[serde(with = "as_ms")]
    pub timeout: Duration,
}

impl Series {
    /// Whether two series run in the same place.
    pub fn is_beside(&self, other: &Series) -> bool {
        (self.vantage, &self.agent_namespace) == (other.vantage, &other.agent_namespace)
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vantage = match (self.vantage, &self.agent_namespace) {
            (Vantage::Outside, _) => "outside".to_owned(),
            (Vantage::Inside, None) => "inside".to_owned(),
            (Vantage::Inside, Some(namespace)) => format!("inside {namespace}"),
        };
        let connection = match self.connection {
            Connection::New => "new",
            Connection::Reused => "reused",
        };
        write!(f, "{} ({vantage}, {connection} connections)", self.probe)
    }
}

/// How long the agent, the fault's helpers and the outside ports may take to be there.
const ARM_WITHIN: Duration = Duration::from_secs(120);
/// How much longer where nodes are made for the fault, and pods started on them.
const NEW_NODE_WITHIN: Duration = Duration::from_secs(240);
/// How long preflight may take.
const PREFLIGHT_WITHIN: Duration = Duration::from_secs(60);
/// How long the backlog may take to drain after redundancy is back.
const BACKLOG_WITHIN: Duration = Duration::from_secs(120);
/// How long reading all acknowledged writes back may take.
const LEDGER_WITHIN: Duration = Duration::from_secs(510);
/// How long taking everything away may take.
const UNDO_WITHIN: Duration = Duration::from_secs(240);
/// How long the cluster may take to be as before.
const CLEAN_WITHIN: Duration = Duration::from_secs(180);

/// The series of a scenario: every probe from every vantage over every kind of connection, in order of names.
pub fn series(scenario: &Scenario) -> Vec<Series> {
    let mut all = Vec::new();
    for (name, probe) in &scenario.probes {
        for vantage in &probe.vantages {
            for connection in &probe.connections {
                all.push(Series {
                    id: SeriesId::try_from(all.len()).unwrap_or(SeriesId::MAX),
                    probe: name.clone(),
                    kind: probe.kind.clone(),
                    vantage: *vantage,
                    agent_namespace: probe.agent_namespace.clone().filter(|_| *vantage == Vantage::Inside),
                    blocked_while: probe.blocked_while.clone(),
                    connection: *connection,
                    every: probe.every,
                    timeout: probe.timeout,
                });
            }
        }
    }
    all
}

/// The phases of a variant with their limits; `None` where the scenario has no such variant.
pub fn phases(scenario: &Scenario, variant: &str) -> Option<Vec<PlannedPhase>> {
    let chosen = scenario.variants.get(variant)?;
    let steady = &scenario.steady_state;
    let recover = match &chosen.recovery {
        Recovery::Unattended => "nobody acts: it must recover by itself".to_owned(),
        Recovery::StaysBroken => "nobody acts: it must stay broken, because it needs its runbook".to_owned(),
        Recovery::Runbook { file, start, without } => {
            let steps = scenario.runbooks.get(file).map_or(0, |runbook| {
                runbook.steps.iter().filter(|step| step.is_run_for(variant, &chosen.layout)).count()
            });
            match without {
                None => format!("the {steps} commands of {file}, starting at {start}"),
                Some(section) => format!(
                    "the {steps} commands of {file} without its section \"{section}\", starting at {start}: it must stay broken"
                ),
            }
        }
    };
    let phase = |phase, deadline, about: &str| PlannedPhase { phase, deadline, about: about.to_owned() };
    let mut phases = vec![
        phase(Phase::Preflight, PREFLIGHT_WITHIN, "the cluster is marked for drills, healthy, and has the targets"),
        phase(
            Phase::Arm,
            arm_within(chosen),
            "the probe agent, the fault's helper pods and the outside ports are created",
        ),
        phase(
            Phase::SteadyState,
            steady.within,
            &format!(
                "{} succeed without a gap for {} s, at {}/s or more",
                steady.probes.join(", "),
                steady.hold.as_secs(),
                steady.load_min_per_s
            ),
        ),
        phase(
            Phase::Inject,
            chosen.faults().map(|fault| fault.inject_timeout() + chosen.then_after).sum(),
            &chosen.about,
        ),
        phase(
            Phase::Effect,
            chosen.effect.within,
            &format!("the fault is proven at every target; {}", chosen.effect.shown),
        ),
        phase(Phase::Detect, chosen.deadline, "the system itself notices"),
        phase(Phase::Recover, chosen.deadline, &recover),
        phase(
            Phase::SustainedOk,
            chosen.deadline,
            &format!("every probe succeeds without a gap for {} s", chosen.sustained.as_secs()),
        ),
        phase(Phase::Redundancy, chosen.deadline, "redundancy is restored"),
        phase(Phase::Backlog, BACKLOG_WITHIN, "the backlog is drained"),
        phase(
            Phase::Ledger,
            LEDGER_WITHIN,
            "every acknowledged write is read back, and affected file systems are checked",
        ),
        phase(Phase::Undo, UNDO_WITHIN, "the fault is undone, and everything made for the run is deleted"),
        phase(Phase::Clean, CLEAN_WITHIN, "the cluster is compared with the snapshot taken before the run"),
    ];
    if let Some(alerts) = alerts(&chosen.alerts) {
        let before = phases.iter().position(|phase| phase.phase == Phase::Ledger).unwrap_or(phases.len());
        phases.insert(before, alerts);
    }
    Some(phases)
}

fn arm_within(variant: &Variant) -> Duration {
    let makes_nodes = variant.faults().any(|fault| fault.pods_of_new_nodes().is_some());
    if makes_nodes { ARM_WITHIN + NEW_NODE_WITHIN } else { ARM_WITHIN }
}

/// The wait for the expected alerts; `None` where none is expected.
fn alerts(expected: &[ExpectedAlert]) -> Option<PlannedPhase> {
    let within = expected.iter().map(|alert| alert.within).max()?;
    let resolves = expected.iter().map(|alert| alert.resolves).max()?;
    let one = |alert: &ExpectedAlert| format!("{} within {} of the effect", alert.fires, human(alert.within));
    let named: Vec<_> = expected.iter().map(one).collect();
    let about = format!("{} fires, and is resolved again", named.join(", "));
    Some(PlannedPhase { phase: Phase::Alerts, deadline: within + resolves, about })
}

/// When everything that a run of these phases makes counts as abandoned: no run outlives all its limits.
pub fn expires_after(phases: &[PlannedPhase]) -> Duration {
    phases.iter().map(|phase| phase.deadline).sum::<Duration>() + Duration::from_secs(120)
}
