//! The first record of a journal: what is run, and on which cluster.

use crate::plan::Plan;
use crate::scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The first record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// [`super::JOURNAL_VERSION`].
    pub journal_version: u32,
    /// Version of firedrill.
    pub firedrill: String,
    /// What will be done.
    pub plan: Plan,
    /// The scenario, so that the run can be judged again without its files.
    pub scenario: Scenario,
    /// Whether the fault was replaced by nothing (`--fault noop`).
    pub noop: bool,
    /// The cluster.
    pub cluster: ClusterInfo,
    /// What becomes of a node's page cache when the node is powered off; `None` if the provider does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_cache: Option<PageCache>,
    /// Where the command found things, as far as that was not the default: flags without their dashes, such as `stack`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flags: BTreeMap<String, String>,
}

/// Which cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// Its name.
    pub name: String,
    /// The provider: `kind`, `existing`.
    pub provider: String,
    /// The UID of its `kube-system` namespace.
    pub uid: String,
    /// Its Kubernetes version.
    pub version: String,
    /// How many nodes.
    pub nodes: u32,
}

/// What becomes of a node's page cache when the node is powered off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageCache {
    /// It is written to disk: the node shares the kernel of its host, which stays on.
    Kept,
    /// It is lost with the node's kernel.
    Lost,
}
