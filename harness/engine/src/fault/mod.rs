//! Faults: one file each. A fault acts on one target; how to undo it is known before it acts.
//!
//! Each module of a fault implements `kind::FaultKind` for core's type of the same name, and `kind::UndoKind` for its undo.
//!
//! The caller records [`Armed::undo_of`], after [`identify`], before [`Armed::inject`], and believes an injection only by [`Armed::prove`].

mod armed;
mod choose;
mod corrupt;
mod delete_pods;
mod end_connections;
mod fill;
mod fill_stream;
mod freeze;
mod helm_values;
mod hold_detach;
mod kind;
mod line;
mod new_node;
mod node_agent;
mod node_off;
mod patch;
mod signal;
mod slow_attach;
mod undo;
mod volumes;

pub use armed::{Armed, Injected};
pub use choose::choose_targets;
pub use helm_values::undo_of_unfinished;
pub use hold_detach::detach_by_force;
pub use new_node::make as make_node;
pub(crate) use node_agent::LABEL_COMPONENT;
pub use undo::{finish_with, identify, is_clean, undo};

use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError, RunMark};
use crate::process::ProcessError;
use crate::provider::{Capability, MachineError};
use firedrill_core::plan::Target;
use firedrill_core::scenario::Fault;
use firedrill_core::time::At;
use thiserror::Error;

/// What faults act with.
#[derive(Clone)]
pub struct Tools {
    /// The cluster.
    pub cluster: Cluster,
    /// The run's clock.
    pub clock: Clock,
    /// The run's mark.
    pub mark: RunMark,
    /// The image of the agent.
    pub image: String,
}

/// How a fault, its proof or its undo did not work.
#[derive(Debug, Error)]
pub enum FaultError {
    /// The cluster did not do its part.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The cluster's machines or volumes did not do their part.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A program did not do its part.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// There is nothing, or too little, to act on.
    #[error("{wanted} wanted that match `{selector}`, {found}")]
    TooFewTargets {
        /// Namespace and labels.
        selector: String,
        /// What was wanted: `2 running and ready pods`.
        wanted: String,
        /// What there is instead, for people.
        found: String,
    },
    /// The agent on a victim's node did not come up, or did not do its part.
    #[error("node agent on {node}: {reason}")]
    Agent {
        /// The node.
        node: String,
        /// Why.
        reason: String,
    },
    /// Target and fault do not belong together, or the target was never armed.
    #[error("{0}")]
    Mismatch(String),
}

/// Something seen that proves a fault, or fails to, and that does not rest on the injection's own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What was looked at.
    pub subject: String,
    /// What was seen.
    pub evidence: String,
    /// Whether that proves it.
    pub held: bool,
    /// When it was seen.
    pub at: At,
}

/// What would be done to a target, and by which rights, for people.
pub fn preview(fault: &Fault, target: &Target) -> String {
    kind::kind_of(fault).preview(target)
}

/// What the cluster's provider must be able to do for a fault.
pub fn needs(fault: &Fault) -> &'static [Capability] {
    kind::kind_of(fault).needs()
}

/// How what a fault does to a target is undone, where the two alone tell it.
///
/// # Errors
/// Where the target is not of the fault's kind.
#[cfg(test)]
pub(crate) fn undo_of(fault: &Fault, target: &Target) -> Result<firedrill_core::event::Undo, FaultError> {
    kind::kind_of(fault).undo_of(target)?.ok_or_else(|| kind::not_a_target(target))
}
