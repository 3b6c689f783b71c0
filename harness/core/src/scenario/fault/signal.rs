//! A signal to the first process of a container.

use super::{Declared, FaultKind, PODS_HEAL};
use crate::fidelity::{ByProvider, real};
use crate::scenario::format::{CONTAINER, COUNT, Kind, NAMESPACE, PODS, Shape, required};
use crate::scenario::read::Tab;
use crate::scenario::{PodSelector, parts};
use serde::{Deserialize, Serialize};

pub(super) static DECLARED: Declared = Declared {
    about: "sends a signal to the first process of a container, from outside its PID namespace",
    undone: "none needed: the kubelet restarts the container",
    example: r#"{ pods = "app.kubernetes.io/name=nats", namespace = "ironflow", container = "nats", count = 1, signal = "KILL" }"#,
    fidelity: ByProvider::everywhere(real("the kernel of the node delivers the signal to the process")),
    shape: Shape {
        keys: &[
            PODS,
            NAMESPACE,
            CONTAINER,
            COUNT,
            required(
                "signal",
                Kind::OneOf { what: "signal", words: &["KILL", "TERM", "QUIT", "INT", "HUP"] },
                "the signal to the container's first process",
            ),
        ],
    },
};

/// A signal to the first process of a container, from outside its PID namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalFault {
    /// The pods to choose from.
    pub pods: PodSelector,
    /// The container.
    pub container: String,
    /// How many pods.
    pub count: u32,
    /// The signal.
    pub signal: Signal,
}

/// A signal that ends or shakes a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// Ends it at once.
    Kill,
    /// Asks it to end.
    Term,
    /// Asks it to dump and end.
    Quit,
    /// Asks it to end, as from a keyboard.
    Int,
    /// Tells it to reload, or ends it.
    Hup,
}

impl FaultKind for SignalFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        let signal = match tab.text("signal")?.value.as_str() {
            "KILL" => Signal::Kill,
            "TERM" => Signal::Term,
            "QUIT" => Signal::Quit,
            "INT" => Signal::Int,
            "HUP" => Signal::Hup,
            _ => return None,
        };
        Some(Self {
            pods: parts::pods(tab)?,
            container: tab.text("container")?.value,
            count: parts::count(tab)?,
            signal,
        })
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
