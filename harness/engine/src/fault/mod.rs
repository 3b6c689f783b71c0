//! Faults: one file each. A fault acts on one target; how to undo it is known before it acts.
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
mod identify;
mod line;
mod new_node;
mod node_agent;
mod node_off;
mod patch;
mod signal;
mod slow_attach;
mod undo;

pub use armed::{Armed, Injected};
pub use choose::choose_targets;
pub use helm_values::undo_of_unfinished;
pub use hold_detach::detach_by_force;
pub use identify::identify;
pub use new_node::make as make_node;
pub(crate) use node_agent::LABEL_COMPONENT;
pub use undo::{finish_with, is_clean, undo};

use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError, RunMark};
use crate::process::ProcessError;
use crate::provider::MachineError;
use firedrill_core::event::Undo;
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

/// How what a fault does to a target is undone, where that can be told from the two alone.
///
/// # Errors
/// Where the target is not of the fault's kind.
pub(crate) fn undo_of(fault: &Fault, target: &Target) -> Result<Undo, FaultError> {
    match (fault, target) {
        (Fault::Signal { .. }, Target::Container { .. }) => Ok(signal::undo_of(target)),
        (Fault::Freeze { .. }, Target::Container { .. }) => Ok(freeze::undo_of(target)),
        (Fault::Corrupt { directory, .. }, Target::Container { .. }) => Ok(corrupt::undo_of(target, directory)),
        (Fault::Fill { .. }, Target::Volume { .. }) => Ok(fill::undo_of(target)),
        (Fault::HoldDetach { .. }, Target::Volume { .. }) => Ok(hold_detach::undo_of(target)),
        (Fault::SlowAttach { .. }, Target::Volume { .. }) => Ok(slow_attach::undo_of(target)),
        (Fault::DeletePods { .. }, Target::Pod { .. }) => Ok(delete_pods::undo_of(target)),
        (Fault::EndConnections { .. }, Target::Pod { .. }) => Ok(end_connections::undo_of(target)),
        (Fault::NodeOff { new, .. }, Target::Node { node, .. }) => Ok(node_off::undo_of(node, *new)),
        (Fault::HelmValues { .. }, Target::Release { namespace, release, revision, uid }) => {
            Ok(helm_values::undo_of(namespace, release, *revision, uid.as_deref()))
        }
        (Fault::Patch { .. }, Target::Object { object, uid, restore }) => Ok(patch::undo_of(object, uid, restore)),
        _ => Err(FaultError::Mismatch(format!("{} is no target of this fault", target))),
    }
}

/// What would be done to a target, and by which rights, for people.
pub fn preview(fault: &Fault, target: &Target) -> String {
    match fault {
        Fault::Signal { signal, .. } => signal::preview(target, *signal),
        Fault::Freeze { .. } => freeze::preview(target),
        Fault::Corrupt { directory, .. } => corrupt::preview(target, directory),
        Fault::Fill { leave_mib, .. } => fill::preview(target, *leave_mib),
        Fault::FillStream { stream, subject, leave_mib, .. } => {
            fill_stream::preview(target, stream, subject, *leave_mib)
        }
        Fault::HoldDetach { lasts, .. } => hold_detach::preview(target, *lasts),
        Fault::SlowAttach { takes, lasts, .. } => slow_attach::preview(target, *takes, *lasts),
        Fault::DeletePods { .. } => delete_pods::preview(target),
        Fault::NodeOff { new, .. } => node_off::preview(target, *new),
        Fault::HelmValues { set, set_json, .. } => helm_values::preview(target, set, set_json),
        Fault::Patch { merge, .. } => patch::preview(target, merge),
        Fault::EndConnections { peers, .. } => end_connections::preview(target, peers),
        Fault::Noop => "nothing is done".to_owned(),
    }
}
