//! Faults and their effects, as a scenario asks for them.

use crate::time::{as_ms, as_ms_option};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A fault, as a scenario asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A signal to the first process of a container, from outside its PID namespace.
    Signal {
        /// The pods to choose from.
        pods: PodSelector,
        /// The container.
        container: String,
        /// How many pods.
        count: u32,
        /// The signal.
        signal: Signal,
    },
    /// Every process of a container stopped; undone by letting them go on.
    Freeze {
        /// The pods to choose from.
        pods: PodSelector,
        /// The container.
        container: String,
        /// How many pods.
        count: u32,
        /// How long they stay stopped; until the undo where it does not say.
        #[serde(default, rename = "lasts_ms", with = "as_ms_option")]
        lasts: Option<Duration>,
    },
    /// A byte of every file in a directory of a container's volume flipped, and the container killed, so that it starts from
    /// them; undone by putting the files back, where the volume is still there.
    Corrupt {
        /// The pods to choose from.
        pods: PodSelector,
        /// The container.
        container: String,
        /// How many pods.
        count: u32,
        /// The directory, as the container sees it.
        directory: String,
    },
    /// The volume that a container has mounted, filled with real data; undone by removing the file that fills it.
    Fill {
        /// The pods to choose from.
        pods: PodSelector,
        /// The container.
        container: String,
        /// How many pods.
        count: u32,
        /// Where the container has the volume mounted.
        path: String,
        /// What is left free, in MiB; 0 for none at all.
        leave_mib: u32,
    },
    /// The volume that a container has mounted, filled with messages that are published to a stream whose replica is on it;
    /// undone by purging them, and by giving the stream the configuration back that it had.
    FillStream {
        /// The pods to choose from: NATS servers.
        pods: PodSelector,
        /// The container.
        container: String,
        /// How many pods.
        count: u32,
        /// Where the container has the volume mounted.
        path: String,
        /// What is left free, in MiB.
        leave_mib: u32,
        /// The stream.
        stream: String,
        /// What the messages' subject begins with; the run's id follows.
        subject: String,
    },
    /// The volume that a container has mounted, not detached from its node whoever asks, for a while.
    HoldDetach {
        /// The pods to choose from.
        pods: PodSelector,
        /// The container.
        container: String,
        /// How many pods.
        count: u32,
        /// Where the container has the volume mounted.
        path: String,
        /// When that ends by itself.
        #[serde(with = "as_ms")]
        lasts: Duration,
    },
    /// The volume that a container has mounted, attached wherever it goes next only after a while.
    SlowAttach {
        /// The pods to choose from.
        pods: PodSelector,
        /// The container.
        container: String,
        /// How many pods.
        count: u32,
        /// Where the container has the volume mounted.
        path: String,
        /// How long an attach takes at least.
        #[serde(with = "as_ms")]
        takes: Duration,
        /// When that ends by itself.
        #[serde(with = "as_ms")]
        lasts: Duration,
    },
    /// Pods deleted at once, without grace.
    DeletePods {
        /// The pods to choose from.
        pods: PodSelector,
        /// How many pods.
        count: u32,
    },
    /// The nodes of pods powered off; undone by powering them on, or by taking away those that were made for it. The provider
    /// does it.
    NodeOff {
        /// The pods whose nodes are meant.
        pods: PodSelector,
        /// Whether the provider makes a new node for each, on which one of the pods is started before: it has no volumes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        new: bool,
        /// How many nodes.
        count: u32,
        /// Pods that must be there as well, all of them, before it is powered off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<PodSelector>,
    },
    /// Values of a Helm release changed by `helm upgrade --reuse-values`; undone by `helm rollback`.
    HelmValues {
        /// The release's namespace.
        namespace: String,
        /// The release.
        release: String,
        /// `key=value` each, as for `--set`.
        set: Vec<String>,
        /// `key=JSON` each, as for `--set-json`.
        #[serde(default)]
        set_json: Vec<String>,
    },
    /// Fields of an object changed by a JSON merge patch; undone by putting them back as they were.
    Patch {
        /// The object.
        object: ObjectRef,
        /// The patch: a JSON object.
        merge: String,
    },
    /// The entries of connections between pods taken out of the connection tracking of the nodes of `pods`, until none of
    /// them comes back: a policy is asked only about connections that are not tracked. Those that it lets through heal.
    EndConnections {
        /// The pods whose nodes are acted on, all of them: those that the policy selects.
        pods: PodSelector,
        /// The pods at the other end.
        peers: PodSelector,
    },
    /// Nothing: the control, which must end as *unknown*.
    Noop,
}

impl Fault {
    /// Whether its targets are volumes.
    pub fn hits_volumes(&self) -> bool {
        matches!(
            self,
            Fault::Fill { .. } | Fault::FillStream { .. } | Fault::HoldDetach { .. } | Fault::SlowAttach { .. }
        )
    }

    /// Whether it makes the nodes that it acts on.
    pub fn makes_nodes(&self) -> bool {
        matches!(self, Fault::NodeOff { new: true, .. })
    }

    /// The pods that it chooses its targets by, where it does so.
    pub fn pods(&self) -> Option<&PodSelector> {
        match self {
            Fault::Signal { pods, .. }
            | Fault::Freeze { pods, .. }
            | Fault::Corrupt { pods, .. }
            | Fault::Fill { pods, .. }
            | Fault::FillStream { pods, .. }
            | Fault::HoldDetach { pods, .. }
            | Fault::SlowAttach { pods, .. }
            | Fault::DeletePods { pods, .. }
            | Fault::NodeOff { pods, .. }
            | Fault::EndConnections { pods, .. } => Some(pods),
            Fault::HelmValues { .. } | Fault::Patch { .. } | Fault::Noop => None,
        }
    }

    /// The namespace that it acts in, where it has one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Fault::HelmValues { namespace, .. } => Some(namespace),
            Fault::Patch { object, .. } => Some(&object.namespace),
            _ => self.pods().map(|pods| pods.namespace.as_str()),
        }
    }
}

/// An object of Kubernetes with a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its API version, such as `apps/v1`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Pods by label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodSelector {
    /// Their namespace.
    pub namespace: String,
    /// A label selector.
    pub labels: String,
}

/// A signal that ends or shakes a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// Ends it at once.
    Kill,
    /// Asks it to end.
    Term,
    /// Asks it to dump and end.
    Quit,
    /// Asks it to end, as from a keyboard.
    Int,
    /// Tells it to reload, or ends it.
    Hup,
}

/// How a fault's effect is proven at the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// What shows it.
    pub shown: Shown,
    /// How long after the injection it may take.
    #[serde(with = "as_ms")]
    pub within: Duration,
}

/// What shows an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// A probe fails.
    Down {
        /// The probe.
        probe: String,
        /// A probe from the same place that must still succeed within 5 s of that failure, so that "down" does not mean
        /// that the prober is cut off.
        control: String,
        /// How many of the probe's series must fail.
        #[serde(default)]
        failing: Failing,
    },
    /// Something is seen in the cluster that was not there right before the injection.
    Seen(Symptom),
}

/// How many series of a probe must fail for an effect: one for each kind of connection from each place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failing {
    /// Every one, at the same time.
    #[default]
    All,
    /// One: where others may lead to what the fault does not reach, and how soon it heals decides whether they see it.
    Any,
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shown::Down { probe, control, failing: Failing::All } => write!(f, "{probe} fails while {control} works"),
            Shown::Down { probe, control, failing: Failing::Any } => {
                write!(f, "{probe} fails on one connection while {control} works")
            }
            Shown::Seen(symptom) => symptom.fmt(f),
        }
    }
}

/// Something that shows in Kubernetes when a workload is in trouble, though the service may go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Symptom {
    /// A container of these pods waits or has ended for a reason.
    PodsFailing {
        /// The pods.
        pods: PodSelector,
        /// The reason, in Kubernetes' word: `OOMKilled`, `CrashLoopBackOff`.
        reason: String,
    },
    /// A Kubernetes event.
    Event {
        /// Its namespace.
        namespace: String,
        /// Its reason: `FailedCreate`.
        reason: String,
        /// What its message must contain.
        contains: Option<String>,
    },
    /// A query of a database finds rows.
    Rows(Query),
    /// The condition of an alert holds, whether it fires already or not.
    Alert {
        /// Its name.
        name: String,
    },
}

/// A question to a database of CNPG's, asked of its primary in a transaction that cannot write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Query {
    /// The CNPG cluster, `namespace/name`.
    pub cluster: String,
    /// The database.
    pub database: String,
    /// One `SELECT`.
    pub select: String,
    /// What its rows are, for people.
    pub what: String,
}

impl std::fmt::Display for Symptom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Symptom::PodsFailing { pods, reason } => write!(f, "{reason} among the pods {}", pods.labels),
            Symptom::Rows(query) => f.write_str(&query.what),
            Symptom::Alert { name } => write!(f, "the condition of alert {name}"),
            Symptom::Event { reason, contains: None, .. } => write!(f, "an event {reason}"),
            Symptom::Event { reason, contains: Some(text), .. } => write!(f, "an event {reason} with `{text}`"),
        }
    }
}
