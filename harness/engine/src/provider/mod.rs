//! Where clusters come from.

pub mod existing;
pub mod kind;
mod settle;

use crate::cluster::ClusterError;
use crate::power::PowerError;
use crate::process::ProcessError;
use thiserror::Error;

/// What stands between a provider and a cluster.
#[derive(Debug, Error)]
pub enum ProviderError {
    /// A program of the provider failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The cluster did not do what it should.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A node could not be powered.
    #[error(transparent)]
    Power(#[from] PowerError),
    /// There is no such cluster.
    #[error("there is no cluster {name}")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// It is there and firedrill did not make it.
    #[error("firedrill did not make cluster {name}: {why}")]
    NotOurs {
        /// Its name.
        name: String,
        /// What shows that.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Anything else that stands in the way.
    #[error("{0}")]
    Other(String),
}
