//! What watchers saw of the cluster: a text for people, and beside it what the judge reads.

use crate::alert::AlertState;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that changed in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Which watcher saw it.
    pub source: Source,
    /// What changed.
    pub object: String,
    /// Into what, for people. Nothing decides by it.
    pub state: String,
    /// Whether that is a healthy state; `None` where it is neither.
    pub healthy: Option<bool>,
    /// What the judge reads of it beyond that; most observations have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<Fact>,
}

/// A watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Of Prometheus' alerts.
    Alerts,
    /// Of a CloudNativePG cluster.
    Cnpg,
    /// Of Kubernetes' events.
    Events,
    /// Of NATS servers.
    Nats,
    /// Of nodes, and of whether the API server answers.
    Nodes,
    /// Of pods.
    Pods,
}

/// Its name, as in the journal.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Alerts => "alerts",
            Source::Cnpg => "cnpg",
            Source::Events => "events",
            Source::Nats => "nats",
            Source::Nodes => "nodes",
            Source::Pods => "pods",
        })
    }
}

/// What an observation says to the judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Whether the servers of NATS have a quorum: healthy where they do.
    Quorum,
    /// The primary of a database cluster is to be another instance.
    PrimaryMoves {
        /// The instance.
        to: String,
    },
    /// Whether Prometheus answers: healthy where it does.
    Prometheus,
    /// How an alert is; the object is its name.
    Alert(AlertState),
}
