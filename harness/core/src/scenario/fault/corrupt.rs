//! Files of a volume corrupted.

use super::{Declared, FaultKind};
use crate::event::{UndoKind, unchecked_volume, unknown_volume};
use crate::fidelity::{ByProvider, emulated};
use crate::plan::Target;
use crate::scenario::format::{CONTAINER, COUNT, Kind, NAMESPACE, PODS, Shape, required};
use crate::scenario::read::Tab;
use crate::scenario::text::Rule;
use crate::scenario::{PodSelector, parts};
use serde::{Deserialize, Serialize};
use std::fmt;

pub(super) static DECLARED: Declared = Declared {
    about: "flips a byte of every file in a directory of a volume, and kills the container, so that it starts from them",
    undone: "the files are put back, unless the runbook has deleted the volume",
    example: r#"{ pods = "app.kubernetes.io/name=nats", namespace = "ironflow", container = "nats", count = 1, directory = "/data/jetstream" }"#,
    fidelity: ByProvider::everywhere(emulated(
        "the files are changed through the file system; no disk returns wrong data, so checksums below the file system see nothing",
    )),
    shape: Shape {
        keys: &[
            PODS,
            NAMESPACE,
            CONTAINER,
            COUNT,
            required(
                "directory",
                Kind::Text(Rule::Path),
                "a directory of a volume, as the container sees it: a byte of every file in it is flipped",
            ),
        ],
    },
};

/// A byte of every file in a directory of a container's volume flipped, and the container killed, so that it starts from
/// them; undone by putting the files back, where the volume is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorruptFault {
    /// The pods to choose from.
    pub pods: PodSelector,
    /// The container.
    pub container: String,
    /// How many pods.
    pub count: u32,
    /// The directory, as the container sees it.
    pub directory: String,
}

impl FaultKind for CorruptFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self {
            pods: parts::pods(tab)?,
            container: tab.text("container")?.value,
            count: parts::count(tab)?,
            directory: tab.text("directory")?.value,
        })
    }

    fn pods(&self) -> Option<&PodSelector> {
        Some(&self.pods)
    }

    fn left_behind(&self) -> &'static str {
        "a dead run leaves the files corrupt: firedrill sweep puts them back"
    }
}

/// Put back the files of a volume that were corrupted, where that volume is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MendFilesUndo {
    /// The container that has the volume.
    pub target: Target,
    /// The directory, as the container sees it.
    pub directory: String,
    /// The UID of the PersistentVolume: files of another one are left alone. `None` in runs of older versions.
    #[serde(default)]
    pub volume_uid: Option<String>,
}

impl fmt::Display for MendFilesUndo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "put back {} of {}", self.directory, self.target)
    }
}

impl UndoKind for MendFilesUndo {
    fn may_touch(&self) -> String {
        format!(
            "files in {} of the volume with the recorded UID, where their originals are kept beside them",
            self.directory
        )
    }

    fn refusal(&self, _: &str) -> Option<String> {
        unknown_volume(&self.volume_uid).or_else(|| {
            let is_absolute = self.directory.starts_with('/') && !self.directory.split('/').any(|part| part == "..");
            (!is_absolute).then(|| "its directory is not an absolute path".to_owned())
        })
    }

    fn unchecked(&self) -> Option<&'static str> {
        unchecked_volume(&self.volume_uid)
    }

    fn needs_node_agent(&self) -> bool {
        true
    }
}
