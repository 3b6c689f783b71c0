//! Tracked connections between pods ended.

use super::{Declared, FaultKind};
use crate::fidelity::{ByProvider, real};
use crate::scenario::format::{Kind, NAMESPACE, PODS, Shape, of_stack, required};
use crate::scenario::read::Tab;
use crate::scenario::text::Rule;
use crate::scenario::{PodSelector, parts};
use serde::{Deserialize, Serialize};

pub(super) static DECLARED: Declared = Declared {
    about: "has the nodes of all these pods forget their TCP connections with the peers, until none comes back; in `then`, after a policy",
    undone: "none needed: allowed connections are made again",
    example: r#"{ pods = "app=api", namespace = "ironflow", peers = "app.kubernetes.io/name=nats", peers-namespace = "ironflow" }"#,
    fidelity: ByProvider {
        kind: real("the kernel of the node forgets the connections, and the policy decides about their next packets"),
        existing: real(
            "the kernel of the node forgets the connections; a policy engine with a table of its own, such as Cilium, does not",
        ),
        hetzner: real(
            "the kernel of the node forgets the connections; a policy engine with a table of its own, such as Cilium, does not",
        ),
        hetzner_double: real(
            "the kernel of the node forgets the connections, and the policy decides about their next packets",
        ),
    },
    shape: Shape {
        keys: &[
            PODS,
            NAMESPACE,
            required("peers", Kind::Text(Rule::Selector), "label selector of the pods at the other end"),
            of_stack("peers-namespace", "namespace", Kind::Text(Rule::Kubernetes), "their namespace"),
        ],
    },
};

/// The entries of connections between pods taken out of the connection tracking of the nodes of `pods`, until none of
/// them comes back: a policy is asked only about connections that are not tracked. Those that it lets through heal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndConnectionsFault {
    /// The pods whose nodes are acted on, all of them: those that the policy selects.
    pub pods: PodSelector,
    /// The pods at the other end.
    pub peers: PodSelector,
}

impl FaultKind for EndConnectionsFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        let (namespace, labels) = tab.placed_in_layout("peers-namespace", "peers")?;
        Some(Self { pods: parts::pods(tab)?, peers: PodSelector { namespace, labels } })
    }

    fn pods(&self) -> Option<&PodSelector> {
        Some(&self.pods)
    }

    fn left_behind(&self) -> &'static str {
        "nothing: allowed connections are opened again"
    }
}
