//! A volume that is not detached from its node.

use super::{DRIVER_SETTING, Declared, FaultKind, MOUNT_PATH};
use crate::event::{UndoKind, unchecked_volume, unknown_volume};
use crate::fidelity::{ByProvider, emulated, missing};
use crate::plan::Target;
use crate::scenario::format::{CONTAINER, COUNT, Kind, M, NAMESPACE, PODS, S, Shape, required};
use crate::scenario::read::Tab;
use crate::scenario::{PodSelector, parts};
use crate::time::as_ms;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

pub(super) static DECLARED: Declared = Declared {
    about: "has the volume driver refuse to detach the volume of a claim from its node; volumes of `fixtures/volumes` alone",
    undone: "the driver detaches it again; ends by itself after `lasts`",
    example: r#"{ pods = "cnpg.io/instanceRole=primary", namespace = "ironflow", container = "postgres", count = 1, path = "/var/lib/postgresql/data", lasts = "15m" }"#,
    fidelity: ByProvider {
        kind: emulated("the volume driver of `fixtures/volumes` refuses to detach"),
        existing: emulated(
            "the volume driver of `fixtures/volumes` refuses to detach; other drivers do not have this fault",
        ),
        hetzner: missing("nobody can have Hetzner hold a detach"),
        hetzner_double: emulated("the volume driver of `fixtures/volumes` refuses to detach"),
    },
    shape: Shape {
        keys: &[
            PODS,
            NAMESPACE,
            CONTAINER,
            COUNT,
            MOUNT_PATH,
            required(
                "lasts",
                Kind::Duration { min_ms: S, max_ms: 60 * M },
                "how long the volume is not detached; it ends by itself, and with the undo",
            ),
        ],
    },
};

/// The driver refuses for a while to detach the volume that a container has mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldDetachFault {
    /// The pods to choose from.
    pub pods: PodSelector,
    /// The container.
    pub container: String,
    /// How many pods.
    pub count: u32,
    /// Where the container has the volume mounted.
    pub path: String,
    /// When that ends by itself.
    #[serde(with = "as_ms")]
    pub lasts: Duration,
}

impl FaultKind for HoldDetachFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self {
            pods: parts::pods(tab)?,
            container: tab.text("container")?.value,
            count: parts::count(tab)?,
            path: tab.text("path")?.value,
            lasts: tab.duration("lasts")?.value,
        })
    }

    fn pods(&self) -> Option<&PodSelector> {
        Some(&self.pods)
    }

    fn hits_volumes(&self) -> bool {
        true
    }

    fn sets_volume_driver(&self) -> bool {
        true
    }

    fn holds_volumes(&self) -> bool {
        true
    }

    fn left_behind(&self) -> &'static str {
        "a volume that is not detached until its time is up: firedrill sweep ends that"
    }
}

/// Let a volume be detached again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetDetachUndo {
    /// The volume.
    pub target: Target,
    /// The UID of the PersistentVolume: another one is left alone. `None` in runs of older versions.
    #[serde(default)]
    pub volume_uid: Option<String>,
}

impl fmt::Display for LetDetachUndo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "let {} be detached", self.target)
    }
}

impl UndoKind for LetDetachUndo {
    fn may_touch(&self) -> String {
        DRIVER_SETTING.to_owned()
    }

    fn refusal(&self, _: &str) -> Option<String> {
        unknown_volume(&self.volume_uid)
    }

    fn unchecked(&self) -> Option<&'static str> {
        unchecked_volume(&self.volume_uid)
    }
}
