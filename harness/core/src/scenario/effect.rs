//! Effects: how a fault is proven at the service, and what shows in the cluster.

use super::PodSelector;
use crate::time::as_ms;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How far a success of the control may be from the failure that it is the control of. The run proves the effect by it, and the
/// judge bears that out.
pub const CONTROL_WITHIN: Duration = Duration::from_secs(5);

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
        /// A probe from the same place that must still succeed within [`CONTROL_WITHIN`] of that failure, so that "down" does not mean
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
