//! Every process of a container stopped.

use super::{Declared, FaultKind};
use crate::event::UndoKind;
use crate::fidelity::{ByProvider, real};
use crate::plan::Target;
use crate::scenario::format::{CONTAINER, COUNT, Kind, M, NAMESPACE, PODS, S, Shape, optional};
use crate::scenario::read::Tab;
use crate::scenario::{PodSelector, parts};
use crate::time::as_ms_option;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

pub(super) static DECLARED: Declared = Declared {
    about: "stops every process of a container; its connections stay open",
    undone: "the processes continue",
    example: r#"{ pods = "app.kubernetes.io/name=nats", namespace = "ironflow", container = "nats", count = 2, lasts = "90s" }"#,
    fidelity: ByProvider::everywhere(real("the kernel of the node stops the processes, and their sockets stay open")),
    shape: Shape {
        keys: &[
            PODS,
            NAMESPACE,
            CONTAINER,
            COUNT,
            optional(
                "lasts",
                Kind::Duration { min_ms: S, max_ms: 10 * M },
                "how long they stay stopped; until the undo without it",
            ),
        ],
    },
};

/// Every process of a container stopped; undone by letting them go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeFault {
    /// The pods to choose from.
    pub pods: PodSelector,
    /// The container.
    pub container: String,
    /// How many pods.
    pub count: u32,
    /// How long they stay stopped; until the undo where it does not say.
    #[serde(default, rename = "lasts_ms", with = "as_ms_option")]
    pub lasts: Option<Duration>,
}

impl FaultKind for FreezeFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self {
            pods: parts::pods(tab)?,
            container: tab.text("container")?.value,
            count: parts::count(tab)?,
            lasts: tab.duration("lasts").map(|lasts| lasts.value),
        })
    }

    fn pods(&self) -> Option<&PodSelector> {
        Some(&self.pods)
    }

    fn may_hit_all(&self) -> bool {
        self.lasts.is_some()
    }

    fn left_behind(&self) -> &'static str {
        "the helper pod thaws by itself when the run ends, is killed, or its time is up"
    }
}

/// Let the processes of a container go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThawUndo {
    /// What was frozen.
    pub target: Target,
}

impl fmt::Display for ThawUndo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thaw {}", self.target)
    }
}

impl UndoKind for ThawUndo {
    fn may_touch(&self) -> String {
        format!("processes of the container with the id in {}: SIGCONT", self.target)
    }

    fn refusal(&self, _: &str) -> Option<String> {
        match &self.target {
            Target::Container { container_id, .. } if !container_id.is_empty() => None,
            _ => Some("it names no container id".to_owned()),
        }
    }

    fn needs_node_agent(&self) -> bool {
        true
    }
}
