//! A volume filled with real data.

use super::{Declared, FILL_TIMEOUT, FaultKind, MOUNT_PATH};
use crate::event::{UndoKind, is_known, unchecked_volume};
use crate::fidelity::{ByProvider, real};
use crate::plan::Target;
use crate::scenario::format::{CONTAINER, COUNT, Kind, NAMESPACE, PODS, Shape, default};
use crate::scenario::read::Tab;
use crate::scenario::{PodSelector, parts};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

pub(super) static DECLARED: Declared = Declared {
    about: "fills the volume of a claim with real data until a write is refused, or until `leave-mib` is left",
    undone: "the file that fills it is removed",
    example: r#"{ pods = "app.kubernetes.io/name=nats", namespace = "ironflow", container = "nats", count = 1, path = "/data", leave-mib = 0 }"#,
    fidelity: ByProvider {
        kind: real("the file system refuses writes; a volume needs a size of its own (`fixtures/volumes`)"),
        existing: real(
            "the file system refuses writes; a volume that shares the disk of its node cannot be filled alone",
        ),
        hetzner: real("the file system of a block device refuses writes"),
        hetzner_double: real("the file system of a loop device refuses writes"),
    },
    shape: Shape {
        keys: &[
            PODS,
            NAMESPACE,
            CONTAINER,
            COUNT,
            MOUNT_PATH,
            default("leave-mib", "0", Kind::Whole { min: 0, max: 1_000_000 }, "what is left free of it, in MiB"),
        ],
    },
};

/// The volume that a container has mounted, filled with real data; undone by removing the file that fills it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillFault {
    /// The pods to choose from.
    pub pods: PodSelector,
    /// The container.
    pub container: String,
    /// How many pods.
    pub count: u32,
    /// Where the container has the volume mounted.
    pub path: String,
    /// What is left free, in MiB; 0 for none at all.
    pub leave_mib: u32,
}

impl FaultKind for FillFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self {
            pods: parts::pods(tab)?,
            container: tab.text("container")?.value,
            count: parts::count(tab)?,
            path: tab.text("path")?.value,
            leave_mib: u32::try_from(tab.whole("leave-mib")?.value).ok()?,
        })
    }

    fn pods(&self) -> Option<&PodSelector> {
        Some(&self.pods)
    }

    fn hits_volumes(&self) -> bool {
        true
    }

    fn inject_timeout(&self) -> Duration {
        FILL_TIMEOUT
    }

    fn left_behind(&self) -> &'static str {
        "the helper pod removes the file when the run ends, is killed, or its time is up"
    }
}

/// The name of the file by which a fault fills a volume.
pub const FILLER_FILE: &str = "firedrill-filler";

/// Remove the file that fills a volume, wherever the volume is by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveFillerUndo {
    /// The volume.
    pub target: Target,
    /// The file's name in the volume's root.
    pub file: String,
    /// The UID of the PersistentVolume: another one is left alone. `None` in runs of older versions.
    #[serde(default)]
    pub volume_uid: Option<String>,
}

impl fmt::Display for RemoveFillerUndo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remove {} from {}", self.file, self.target)
    }
}

impl UndoKind for RemoveFillerUndo {
    fn may_touch(&self) -> String {
        format!(
            "{} in the volume with the recorded UID, and a pod with that volume that is not ready afterwards",
            self.file
        )
    }

    fn refusal(&self, _: &str) -> Option<String> {
        match is_known(&self.volume_uid) && self.file == FILLER_FILE {
            true => None,
            false => Some("it has no UID of the volume, or another file than a fault makes".to_owned()),
        }
    }

    fn unchecked(&self) -> Option<&'static str> {
        unchecked_volume(&self.volume_uid)
    }

    fn needs_node_agent(&self) -> bool {
        true
    }
}
