//! How many pods of a workload are ready.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How many pods are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Readiness {
    /// Of a workload, as its status says.
    Replicas {
        /// Pods that are ready.
        ready: u32,
        /// Pods that its spec asks for.
        desired: u32,
    },
    /// Of the pods of one owner.
    Pods {
        /// All of them.
        total: u32,
        /// Those that are ready.
        ready: u32,
        /// Those that ended with success, and need not be ready.
        completed: u32,
    },
}

impl Readiness {
    fn ready(self) -> u32 {
        match self {
            Self::Replicas { ready, .. } | Self::Pods { ready, .. } => ready,
        }
    }

    /// Whether pods are missing or not ready.
    pub(super) fn is_incomplete(self) -> bool {
        match self {
            Self::Replicas { ready, desired } => ready < desired,
            Self::Pods { total, ready, completed } => ready < total.saturating_sub(completed),
        }
    }

    /// Whether more pods are ready than in an earlier, incomplete state, and nothing else changed.
    pub(super) fn has_grown_since(self, earlier: Self) -> bool {
        earlier.is_incomplete() && self.ready() > earlier.ready() && self.with_ready(0) == earlier.with_ready(0)
    }

    fn with_ready(self, ready: u32) -> Self {
        match self {
            Self::Replicas { desired, .. } => Self::Replicas { ready, desired },
            Self::Pods { total, completed, .. } => Self::Pods { total, ready, completed },
        }
    }
}

/// `1 of 2 ready`, or `2 pods, 1 ready, 1 done`.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas { ready, desired } => write!(f, "{ready} of {desired} ready"),
            Self::Pods { total, ready, completed: 0 } => write!(f, "{total} pods, {ready} ready"),
            Self::Pods { total, ready, completed } => write!(f, "{total} pods, {ready} ready, {completed} done"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completed_pods_need_not_be_ready() {
        let pods = |total, ready, completed| Readiness::Pods { total, ready, completed };
        assert!(!pods(3, 2, 1).is_incomplete());
        assert!(pods(3, 1, 1).is_incomplete());
        assert!(!pods(1, 0, 2).is_incomplete());
        assert_eq!(pods(3, 1, 1).to_string(), "3 pods, 1 ready, 1 done");
        assert!(pods(3, 2, 1).has_grown_since(pods(3, 1, 1)));
        assert!(!pods(3, 2, 0).has_grown_since(pods(3, 1, 1)), "a pod that had completed is gone");
    }

    #[test]
    fn only_an_incomplete_workload_can_grow() {
        let replicas = |ready, desired| Readiness::Replicas { ready, desired };
        assert!(replicas(2, 3).has_grown_since(replicas(1, 3)));
        assert!(!replicas(1, 3).has_grown_since(replicas(2, 3)));
        assert!(!replicas(2, 2).has_grown_since(replicas(1, 3)), "it asks for fewer pods");
        assert!(!replicas(4, 3).has_grown_since(replicas(3, 3)));
    }
}
