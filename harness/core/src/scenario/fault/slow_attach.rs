//! A volume that is attached only after a while.

use super::{DRIVER_SETTING, Declared, Fault, FaultKind, MOUNT_PATH};
use crate::event::{UndoKind, unchecked_volume, unknown_volume};
use crate::fidelity::{ByProvider, emulated, missing};
use crate::plan::Target;
use crate::scenario::format::{CONTAINER, COUNT, Kind, M, NAMESPACE, PODS, S, Shape, required};
use crate::scenario::mistake::Mistakes;
use crate::scenario::read::{Chosen, Placed, Tab};
use crate::scenario::{PodSelector, parts};
use crate::time::as_ms;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

pub(super) static DECLARED: Declared = Declared {
    about: "has each attach of the volume of a claim take at least `takes`; volumes of `fixtures/volumes` alone",
    undone: "the driver attaches it at once again; ends by itself after `lasts`",
    example: r#"{ pods = "cnpg.io/instanceRole=primary", namespace = "ironflow", container = "postgres", count = 1, path = "/var/lib/postgresql/data", takes = "60s", lasts = "15m" }"#,
    fidelity: ByProvider {
        kind: emulated("the volume driver of `fixtures/volumes` waits before it attaches"),
        existing: emulated(
            "the volume driver of `fixtures/volumes` waits before it attaches; other drivers do not have this fault",
        ),
        hetzner: missing("nobody can have Hetzner attach a volume later"),
        hetzner_double: emulated("the volume driver of `fixtures/volumes` waits before it attaches"),
    },
    shape: Shape {
        keys: &[
            PODS,
            NAMESPACE,
            CONTAINER,
            COUNT,
            MOUNT_PATH,
            required("takes", Kind::Duration { min_ms: S, max_ms: 30 * M }, "how long an attach takes at least"),
            required(
                "lasts",
                Kind::Duration { min_ms: S, max_ms: 60 * M },
                "how long attaching is slow; it ends by itself, and with the undo",
            ),
        ],
    },
};

/// The volume that a container has mounted, attached wherever it goes next only after a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowAttachFault {
    /// The pods to choose from.
    pub pods: PodSelector,
    /// The container.
    pub container: String,
    /// How many pods.
    pub count: u32,
    /// Where the container has the volume mounted.
    pub path: String,
    /// How long an attach takes at least.
    #[serde(with = "as_ms")]
    pub takes: Duration,
    /// When that ends by itself.
    #[serde(with = "as_ms")]
    pub lasts: Duration,
}

impl FaultKind for SlowAttachFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self {
            pods: parts::pods(tab)?,
            container: tab.text("container")?.value,
            count: parts::count(tab)?,
            path: tab.text("path")?.value,
            takes: tab.duration("takes")?.value,
            lasts: tab.duration("lasts")?.value,
        })
    }

    fn check(&self, chosen: &Placed<Chosen<'_>>, _: &[Fault], mistakes: &mut Mistakes) {
        if self.takes >= self.lasts {
            let message = "`takes` is not shorter than `lasts`: attaching is fast again before";
            mistakes.add(chosen.span.clone(), message);
        }
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

    fn left_behind(&self) -> &'static str {
        "a volume that is attached late until its time is up: firedrill sweep ends that"
    }
}

/// Let a volume be attached as fast as it can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetAttachUndo {
    /// The volume.
    pub target: Target,
    /// The UID of the PersistentVolume: another one is left alone. `None` in runs of older versions.
    #[serde(default)]
    pub volume_uid: Option<String>,
}

impl fmt::Display for LetAttachUndo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "let {} be attached at once", self.target)
    }
}

impl UndoKind for LetAttachUndo {
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
