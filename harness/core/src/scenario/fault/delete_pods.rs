//! Pods deleted without grace.

use super::{Declared, FaultKind, PODS_HEAL};
use crate::fidelity::{ByProvider, real};
use crate::scenario::format::{COUNT, NAMESPACE, PODS, Shape};
use crate::scenario::read::Tab;
use crate::scenario::{PodSelector, parts};
use serde::{Deserialize, Serialize};

pub(super) static DECLARED: Declared = Declared {
    about: "deletes pods at once, without grace",
    undone: "none needed: their controller replaces them",
    example: r#"{ pods = "app.kubernetes.io/name=nats", namespace = "ironflow", count = 3 }"#,
    fidelity: ByProvider::everywhere(real("the API server deletes the pods, as for `kubectl delete pod --force`")),
    shape: Shape { keys: &[PODS, NAMESPACE, COUNT] },
};

/// Pods deleted at once, without grace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletePodsFault {
    /// The pods to choose from.
    pub pods: PodSelector,
    /// How many pods.
    pub count: u32,
}

impl FaultKind for DeletePodsFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self { pods: parts::pods(tab)?, count: parts::count(tab)? })
    }

    fn pods(&self) -> Option<&PodSelector> {
        Some(&self.pods)
    }

    fn may_hit_all(&self) -> bool {
        true
    }

    fn left_behind(&self) -> &'static str {
        PODS_HEAL
    }
}
