//! What a provider can do to a cluster's machines, as data: a plan is refused where it needs more.

use std::fmt;
use thiserror::Error;

/// Something that not every provider can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Power nodes off and on.
    NodePower,
    /// Add nodes, and remove them.
    NewNode,
    /// Have volumes attached late, or not detached.
    VolumeFault,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Capability::NodePower => "node power",
            Capability::NewNode => "adding nodes",
            Capability::VolumeFault => "faults of volumes",
        })
    }
}

/// Whether a provider can do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It can.
    Yes,
    /// It cannot.
    No {
        /// Why.
        why: String,
    },
}

/// What a provider can do. Each is named, so that a provider says something about each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// [`Capability::NodePower`]
    pub node_power: Support,
    /// [`Capability::NewNode`]
    pub new_node: Support,
    /// [`Capability::VolumeFault`]
    pub volume_fault: Support,
}

/// A capability that a cluster's provider lacks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{capability} is not available: {why}")]
pub struct Unavailable {
    /// The capability.
    pub capability: Capability,
    /// Why it is lacking.
    pub why: String,
}

impl Capabilities {
    /// Whether this is among them.
    ///
    /// # Errors
    /// Where it is not, with the reason.
    pub fn check(&self, capability: Capability) -> Result<(), Unavailable> {
        let support = match capability {
            Capability::NodePower => &self.node_power,
            Capability::NewNode => &self.new_node,
            Capability::VolumeFault => &self.volume_fault,
        };
        match support {
            Support::Yes => Ok(()),
            Support::No { why } => Err(Unavailable { capability, why: why.clone() }),
        }
    }
}
