//! Volumes filled with the messages of a stream.

use super::{Declared, FILL_TIMEOUT, Fault, FaultKind, MOUNT_PATH};
use crate::event::{UndoKind, is_of_run};
use crate::fidelity::{ByProvider, real};
use crate::scenario::format::{CONTAINER, COUNT, Kind, NAMESPACE, PODS, Shape, required};
use crate::scenario::mistake::Mistakes;
use crate::scenario::read::{Chosen, Placed, Tab};
use crate::scenario::text::Rule;
use crate::scenario::{PodSelector, parts};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

pub(super) static DECLARED: Declared = Declared {
    about: "fills the volumes of NATS servers, until `leave-mib` is left, with messages that are published to a stream",
    undone: "the messages are purged, and the stream gets its configuration back",
    example: r#"{ pods = "app.kubernetes.io/name=nats", namespace = "ironflow", container = "nats", count = 3, path = "/data", leave-mib = 64, stream = "EVENTS", subject = "drill.fill" }"#,
    fidelity: ByProvider::everywhere(real("NATS stores the messages until the file system of its volume is full")),
    shape: Shape {
        keys: &[
            PODS,
            NAMESPACE,
            CONTAINER,
            COUNT,
            MOUNT_PATH,
            required(
                "leave-mib",
                Kind::Whole { min: 32, max: 1_000_000 },
                "what is left free of it, in MiB: a stream without space cannot be purged",
            ),
            required(
                "stream",
                Kind::Text(Rule::Word),
                "the stream that is filled, with a replica on each of these volumes",
            ),
            required(
                "subject",
                Kind::Text(Rule::Subject),
                "what the messages' subject begins with; the run's id follows",
            ),
        ],
    },
};

/// The volume that a container has mounted, filled with messages that are published to a stream whose replica is on it;
/// undone by purging them, and by giving the stream the configuration back that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillStreamFault {
    /// The pods to choose from: NATS servers.
    pub pods: PodSelector,
    /// The container.
    pub container: String,
    /// How many pods.
    pub count: u32,
    /// Where the container has the volume mounted.
    pub path: String,
    /// What is left free, in MiB.
    pub leave_mib: u32,
    /// The stream.
    pub stream: String,
    /// What the messages' subject begins with; the run's id follows.
    pub subject: String,
}

impl FaultKind for FillStreamFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        Some(Self {
            pods: parts::pods(tab)?,
            container: tab.text("container")?.value,
            count: parts::count(tab)?,
            path: tab.text("path")?.value,
            leave_mib: u32::try_from(tab.whole("leave-mib")?.value).ok()?,
            stream: tab.text("stream")?.value,
            subject: tab.text("subject")?.value,
        })
    }

    fn check(&self, chosen: &Placed<Chosen<'_>>, earlier: &[Fault], mistakes: &mut Mistakes) {
        if earlier.iter().any(|earlier| matches!(earlier, Fault::Fill(_))) {
            mistakes.add_hint(
                chosen.span.clone(),
                "a stream is filled after a volume",
                "the last one is undone first, and a stream without space cannot be purged: fill the stream before",
            );
        }
    }

    fn pods(&self) -> Option<&PodSelector> {
        Some(&self.pods)
    }

    fn hits_volumes(&self) -> bool {
        true
    }

    fn may_hit_all(&self) -> bool {
        true
    }

    fn inject_timeout(&self) -> Duration {
        FILL_TIMEOUT
    }

    fn left_behind(&self) -> &'static str {
        "a dead run leaves the messages in the stream: firedrill sweep purges them"
    }
}

/// Purge the messages that fill a stream, and give it the configuration back that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyStreamUndo {
    /// The NATS servers.
    pub servers: PodSelector,
    /// The stream.
    pub stream: String,
    /// The messages' subject.
    pub subject: String,
    /// The stream before the fault.
    pub before: StreamBefore,
    /// The node whose agent published: it is asked first, so that what it still publishes is purged too.
    pub node: String,
}

/// A stream before a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamBefore {
    /// Its configuration, as JetStream's JSON.
    pub config: String,
    /// When it was made, in ns since the epoch: one that was made since under the same name keeps its configuration.
    pub created_ns: String,
}

impl fmt::Display for EmptyStreamUndo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "purge {} from stream {}, and put its configuration back", self.subject, self.stream)
    }
}

impl UndoKind for EmptyStreamUndo {
    fn may_touch(&self) -> String {
        format!(
            "messages of {} in stream {}, and its configuration if the stream has the recorded creation time",
            self.subject, self.stream
        )
    }

    fn refusal(&self, run_id: &str) -> Option<String> {
        (!is_of_run(&self.subject, run_id)).then(|| "its subject is not of this run".to_owned())
    }

    fn needs_node_agent(&self) -> bool {
        true
    }
}
