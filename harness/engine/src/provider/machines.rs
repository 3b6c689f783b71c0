//! What acts on the machines of an opened cluster.

use super::{Capabilities, Capability, ExternalEndpoint, ExternalNeed, StepEnvironment, Unavailable, Volumes};
use crate::cluster::{Cluster, ClusterError, LABEL_RUN, RunMark};
use crate::process::ProcessError;
use async_trait::async_trait;
use firedrill_core::event::PageCache;
use thiserror::Error;

/// Acts on the machines of an opened cluster, which holds it.
///
/// What a provider lacks it says by [`Machines::capabilities`], and implements no method of it: by default each is refused.
#[async_trait]
pub trait Machines: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Powers a node off, and looks whether it is: every process on it ends at once.
    ///
    /// # Errors
    /// Where it cannot be done, or was not.
    async fn power_off(&self, _node: &str) -> Result<(), MachineError> {
        Err(lacks(&self.capabilities(), Capability::NodePower))
    }

    /// Powers a node on, and looks whether it is. The caller waits for its kubelet to be ready again.
    ///
    /// # Errors
    /// Where it cannot be done, or was not.
    async fn power_on(&self, _node: &str) -> Result<(), MachineError> {
        Err(lacks(&self.capabilities(), Capability::NodePower))
    }

    /// Whether a node is on.
    ///
    /// # Errors
    /// Where that cannot be told.
    async fn is_on(&self, _node: &str) -> Result<bool, MachineError> {
        Err(lacks(&self.capabilities(), Capability::NodePower))
    }

    /// What the cluster's machines cost while they exist, and what bounds it if this program dies, in one line; `None` where they cost
    /// nothing.
    ///
    /// # Errors
    /// Where the provider does not say.
    async fn cost_note(&self) -> Result<Option<String>, MachineError> {
        Ok(None)
    }

    /// What becomes of a node's page cache when the node is powered off; `None` if that is not known.
    fn page_cache(&self) -> Option<PageCache> {
        None
    }

    /// The command by which a person powers a node on, where there is one.
    fn power_on_command(&self, _node: &str) -> Option<String> {
        None
    }

    /// The provider's own id of a node's machine, which no other machine ever has; `None` where the cluster has no machine of that
    /// name.
    ///
    /// # Errors
    /// Where that cannot be told.
    async fn machine_id(&self, _node: &str) -> Result<Option<String>, MachineError> {
        Err(lacks(&self.capabilities(), Capability::NodePower))
    }

    /// Adds a node of that name made as the node `like` is, which may be off, and waits until it is ready. The caller has recorded
    /// before how to remove what is made.
    ///
    /// # Errors
    /// Where no nodes can be added, or it does not join in time.
    async fn add_node(
        &self,
        _cluster: &Cluster,
        _mark: &RunMark,
        _like: &str,
        _name: &str,
    ) -> Result<(), MachineError> {
        Err(lacks(&self.capabilities(), Capability::NewNode))
    }

    /// Removes a node that a run added, with its machine. Repeating it, and removing a node that was never added, is harmless. A node
    /// or a machine that the run did not make is left alone.
    ///
    /// # Errors
    /// Where it is not removed, and where the node or machine of that name was not made by the run.
    async fn remove_node(&self, cluster: &Cluster, run_id: &str, node: &str) -> Result<(), MachineError>;

    /// Whether neither the node nor its machine is there.
    ///
    /// # Errors
    /// Where that cannot be told.
    async fn is_node_gone(&self, cluster: &Cluster, node: &str) -> Result<bool, MachineError>;

    /// Where each Service is reached from outside of the cluster. Reads only.
    ///
    /// # Errors
    /// Names the Services that cannot be reached.
    async fn external_endpoints(
        &self,
        cluster: &Cluster,
        needs: &[ExternalNeed],
    ) -> Result<Vec<ExternalEndpoint>, MachineError>;

    /// Whether each Service can be reached from outside of the cluster, for a plan: what another run takes now may be free by then.
    ///
    /// # Errors
    /// Names the Services that cannot be reached.
    async fn check_external(&self, cluster: &Cluster, needs: &[ExternalNeed]) -> Result<(), MachineError> {
        self.external_endpoints(cluster, needs).await.map(drop)
    }

    /// What the commands of a runbook find in their environment beside kubectl's: the provider's own program, limited to this cluster.
    /// Each call makes a new one, for one run.
    ///
    /// # Errors
    /// Where it cannot be made.
    async fn step_environment(&self) -> Result<StepEnvironment, MachineError> {
        Ok(StepEnvironment::default())
    }

    /// Faults of volumes, where [`Capability::VolumeFault`] is among its capabilities.
    fn volumes(&self) -> Option<&dyn Volumes> {
        None
    }
}

fn lacks(capabilities: &Capabilities, capability: Capability) -> MachineError {
    let why = || "its provider does not implement it".to_owned();
    let refused = capabilities.check(capability).err();
    refused.unwrap_or_else(|| Unavailable { capability, why: why() }).into()
}

/// The name of the node that takes a lost one's place.
pub fn replacement_of(lost: &str) -> String {
    format!("{lost}-replacement")
}

/// How machines did not do what was asked of them.
#[derive(Debug, Error)]
pub enum MachineError {
    /// The cluster's provider cannot do it.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A program did not do its part.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The cluster did not do its part.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The provider did not do its part for a node.
    #[error("node {node}: {source}")]
    Provider {
        /// The node.
        node: String,
        /// What it said.
        #[source]
        source: ProcessError,
    },
    /// The provider's API did not do its part for a node.
    #[error("node {node}: {why}")]
    Refused {
        /// The node.
        node: String,
        /// What it said.
        why: String,
    },
    /// The cluster has no machine of that name.
    #[error("node {node}: the cluster has no machine of that name")]
    NoMachine {
        /// The node.
        node: String,
    },
    /// The provider said that it did, and it is not so.
    #[error("node {node} is still {state}")]
    NoEffect {
        /// The node.
        node: String,
        /// `on` or `off`.
        state: &'static str,
    },
    /// What has the node's name was not made by this run.
    #[error("{what} {node} is not removed: it does not carry the label {LABEL_RUN}={run}")]
    NotOfRun {
        /// `container`, `node` or what the provider's machines are.
        what: &'static str,
        /// Its name.
        node: String,
        /// The run.
        run: String,
    },
    /// The driver of a volume did not do its part.
    #[error("volume driver: {0}")]
    VolumeDriver(String),
    /// The provider's part of the environment of a runbook's commands cannot be made.
    #[error("the provider's program cannot be given to the runbook: {0}")]
    StepEnvironment(String),
    /// Services cannot be reached from outside of the cluster.
    #[error("{0}")]
    NoEndpoint(String),
    /// The provider or a node gave an answer that cannot be read.
    #[error("{0}")]
    Unreadable(String),
}
