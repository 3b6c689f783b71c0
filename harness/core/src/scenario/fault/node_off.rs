//! Nodes powered off.

use super::{Declared, Fault, FaultKind, Right};
use crate::event::{UndoKind, is_known};
use crate::fidelity::{ByProvider, emulated, missing, real};
use crate::scenario::format::{COUNT, Kind, NAMESPACE, PODS, PODS_ONLY, Shape, default, optional};
use crate::scenario::mistake::Mistakes;
use crate::scenario::read::{Chosen, Placed, Tab};
use crate::scenario::{PodSelector, parts};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The word for a node that is made for the drill.
const NEW_NODE: &str = "new";

pub(super) static DECLARED: Declared = Declared {
    about: "powers off the nodes of pods, or a new node that is made for the drill; the provider of the cluster does it",
    undone: "the node is powered on, or removed where it was made for the drill",
    example: r#"{ pods = "app.kubernetes.io/name=nats", namespace = "ironflow", count = 1, node = "theirs", with = { pods = "cnpg.io/instanceRole=primary", namespace = "ironflow" } }"#,
    fidelity: ByProvider {
        kind: emulated(
            "the container of the node is killed: its processes end at once, and its disk and page cache stay",
        ),
        existing: missing("firedrill did not make the nodes, and has no power over them"),
        hetzner: real("Hetzner cuts the power of the server"),
        hetzner_double: emulated(
            "the processes of the server's container end at once; its root disk keeps what was not synced",
        ),
    },
    shape: Shape {
        keys: &[
            PODS,
            NAMESPACE,
            COUNT,
            default(
                "node",
                "theirs",
                Kind::OneOf { what: "node", words: &["theirs", NEW_NODE] },
                "the pods' own, or a new one without volumes: it is made for the drill, and one of the pods started on it before",
            ),
            optional(
                "with",
                Kind::Table(&PODS_ONLY),
                "pods that must be on that node as well, all of them, before it is powered off",
            ),
        ],
    },
};

/// The nodes of pods powered off; undone by powering them on, or by taking away those that were made for it. The provider
/// does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOffFault {
    /// The pods whose nodes are meant.
    pub pods: PodSelector,
    /// Whether the provider makes a new node for each, on which one of the pods is started before: it has no volumes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
    /// How many nodes.
    pub count: u32,
    /// Pods that must be there as well, all of them, before it is powered off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<PodSelector>,
}

impl FaultKind for NodeOffFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self {
            pods: parts::pods(tab)?,
            new: tab.text("node")?.value == NEW_NODE,
            count: parts::count(tab)?,
            with: if tab.has("with") { Some(parts::pods(&tab.table("with")?)?) } else { None },
        })
    }

    fn check(&self, chosen: &Placed<Chosen<'_>>, _: &[Fault], mistakes: &mut Mistakes) {
        if let (true, Some(_), Chosen::Table(_, tab)) = (self.new, &self.with, &chosen.value) {
            mistakes.add(tab.place("with"), "nothing is on a new node but the one pod that is started there");
        }
    }

    fn pods(&self) -> Option<&PodSelector> {
        Some(&self.pods)
    }

    fn powers_nodes_off(&self) -> bool {
        true
    }

    fn pods_of_new_nodes(&self) -> Option<&PodSelector> {
        self.new.then_some(&self.pods)
    }

    fn rights(&self) -> Vec<Right> {
        vec![
            Right::of_cluster("", "nodes", &["patch", "delete"]),
            Right::of_cluster("certificates.k8s.io", "certificatesigningrequests", &["delete"]),
        ]
    }

    fn left_behind(&self) -> &'static str {
        match self.new {
            true => "a dead run leaves the node that it made: firedrill sweep removes it",
            false => "a dead run leaves the node off: firedrill sweep powers it on",
        }
    }
}

/// Power a node on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerOnUndo {
    /// The node.
    pub node: String,
    /// The id of its machine: another one that has the node's name by now is left alone. `None` in runs of older versions.
    #[serde(default)]
    pub container: Option<String>,
}

impl fmt::Display for PowerOnUndo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "power on node {}", self.node)
    }
}

impl UndoKind for PowerOnUndo {
    fn may_touch(&self) -> String {
        format!("machine {} of this cluster, if it has the recorded id: power on", self.node)
    }

    fn refusal(&self, _: &str) -> Option<String> {
        (!is_known(&self.container)).then(|| "it has no id of the node's machine".to_owned())
    }

    fn unchecked(&self) -> Option<&'static str> {
        self.container.is_none().then_some("the id of the node's machine was not recorded")
    }

    fn acts_on_machine(&self) -> bool {
        true
    }
}
