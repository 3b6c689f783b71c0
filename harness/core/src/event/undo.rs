//! What takes back what a run did.
//!
//! Each undo names exactly what it may touch, see [`Undo::may_touch`], and how the live object is told from another one that has its
//! name by now. Every undo is idempotent: carried out twice, or without the act before it, it changes nothing more.

use crate::plan::Target;
use crate::scenario::{ObjectRef, PodSelector, ServiceRef};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How to undo something; whoever reads it needs nothing but the cluster (and its provider, for a node).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// Delete an object that the run made.
    DeleteObject {
        /// Its API version.
        api_version: String,
        /// Its kind.
        kind: String,
        /// Its namespace, where it has one.
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
    /// Let the processes of a container go on.
    Thaw {
        /// What was frozen.
        target: Target,
    },
    /// Put back the files of a volume that were corrupted, where that volume is still there.
    MendFiles {
        /// The container that has the volume.
        target: Target,
        /// The directory, as the container sees it.
        directory: String,
        /// The UID of the PersistentVolume: files of another one are left alone. `None` in runs of older versions.
        #[serde(default)]
        volume_uid: Option<String>,
    },
    /// Remove the file that fills a volume, wherever the volume is by then.
    RemoveFiller {
        /// The volume.
        target: Target,
        /// The file's name in the volume's root.
        file: String,
        /// The UID of the PersistentVolume: another one is left alone. `None` in runs of older versions.
        #[serde(default)]
        volume_uid: Option<String>,
    },
    /// Purge the messages that fill a stream, and give it the configuration back that it had.
    EmptyStream {
        /// The NATS servers.
        servers: PodSelector,
        /// The stream.
        stream: String,
        /// The messages' subject.
        subject: String,
        /// The stream before the fault.
        before: StreamBefore,
        /// The node whose agent published: it is asked first, so that what it still publishes is purged too.
        node: String,
    },
    /// Let a volume be detached again.
    LetDetach {
        /// The volume.
        target: Target,
        /// The UID of the PersistentVolume: another one is left alone. `None` in runs of older versions.
        #[serde(default)]
        volume_uid: Option<String>,
    },
    /// Let a volume be attached as fast as it can be.
    LetAttach {
        /// The volume.
        target: Target,
        /// The UID of the PersistentVolume: another one is left alone. `None` in runs of older versions.
        #[serde(default)]
        volume_uid: Option<String>,
    },
    /// Power a node on.
    PowerOn {
        /// The node.
        node: String,
        /// The id of its container: another one that has the node's name by now is left alone. `None` in runs of older versions.
        #[serde(default)]
        container: Option<String>,
    },
    /// Remove a node that the run made. Its container is the one that carries the labels of this cluster and of this run, which
    /// are set when it is made: its id and its node's UID are not known before.
    RemoveNode {
        /// The node.
        node: String,
    },
    /// Roll a Helm release back.
    RollBack {
        /// Its namespace.
        namespace: String,
        /// The release.
        release: String,
        /// The revision that it had.
        revision: u32,
        /// The UID of Helm's record of that revision: a release that was installed since under the same name is not
        /// touched. `None` in runs from before it was looked at.
        #[serde(default)]
        uid: Option<String>,
    },
    /// Roll a Helm release back to its last deployed revision, where an upgrade of it failed or never ended. One that is
    /// deployed, at whichever revision, is left alone.
    RollBackUnfinished {
        /// Its namespace.
        namespace: String,
        /// The release.
        release: String,
        /// The revision that was deployed before the runbook began.
        revision: u32,
        /// The UID of Helm's record of that revision: a release that was installed since under the same name is not
        /// touched.
        uid: String,
    },
    /// Put the fields of an object back as they were.
    Restore {
        /// The object.
        object: ObjectRef,
        /// Its UID: one that was made since under the same name is not touched.
        uid: String,
        /// The JSON merge patch that does it.
        merge: String,
    },
    /// Take away the messages that a probe published.
    PurgeSubject {
        /// The Service of its NATS servers.
        service: ServiceRef,
        /// The stream.
        stream: String,
        /// The subject.
        subject: String,
    },
    /// Take away the table that a probe wrote into.
    DropTable {
        /// Namespace and name of the CNPG cluster.
        cluster: String,
        /// The database.
        database: String,
        /// The table.
        table: String,
    },
    /// Nothing can be undone: it heals by itself, and is waited for.
    HealsItself {
        /// What.
        what: String,
    },
}

/// A stream before a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamBefore {
    /// Its configuration, as JetStream's JSON.
    pub config: String,
    /// When it was made, in ns since the epoch: one that was made since under the same name keeps its configuration.
    pub created_ns: String,
}

impl Undo {
    /// Whether it takes away what a probe wrote, which needs an agent inside the cluster.
    pub fn is_data(&self) -> bool {
        matches!(self, Undo::PurgeSubject { .. } | Undo::DropTable { .. })
    }

    /// Whether it takes a fault out, rather than something that the run made.
    pub fn is_of_a_fault(&self) -> bool {
        match self {
            Undo::Thaw { .. }
            | Undo::MendFiles { .. }
            | Undo::RemoveFiller { .. }
            | Undo::EmptyStream { .. }
            | Undo::LetDetach { .. }
            | Undo::LetAttach { .. }
            | Undo::PowerOn { .. }
            | Undo::RollBack { .. }
            | Undo::RollBackUnfinished { .. }
            | Undo::Restore { .. }
            | Undo::HealsItself { .. } => true,
            Undo::DeleteObject { .. }
            | Undo::RemoveNode { .. }
            | Undo::PurgeSubject { .. }
            | Undo::DropTable { .. } => false,
        }
    }
}

/// What it does, in the imperative: `thaw nats in ironflow-nats-2 (on worker2)`.
impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undo::DeleteObject { kind, namespace: Some(namespace), name, .. } => {
                write!(f, "delete {kind} {namespace}/{name}")
            }
            Undo::DeleteObject { kind, namespace: None, name, .. } => write!(f, "delete {kind} {name}"),
            Undo::Thaw { target } => write!(f, "thaw {target}"),
            Undo::MendFiles { target, directory, .. } => write!(f, "put back {directory} of {target}"),
            Undo::LetDetach { target, .. } => write!(f, "let {target} be detached"),
            Undo::LetAttach { target, .. } => write!(f, "let {target} be attached at once"),
            Undo::RemoveFiller { target, file, .. } => write!(f, "remove {file} from {target}"),
            Undo::EmptyStream { stream, subject, .. } => {
                write!(f, "purge {subject} from stream {stream}, and put its configuration back")
            }
            Undo::PowerOn { node, .. } => write!(f, "power on node {node}"),
            Undo::RemoveNode { node } => write!(f, "take node {node} away"),
            Undo::RollBack { namespace, release, revision, .. } => {
                write!(f, "roll release {release} in {namespace} back to revision {revision}")
            }
            Undo::RollBackUnfinished { namespace, release, .. } => {
                write!(f, "roll release {release} in {namespace} back if an upgrade of it is unfinished")
            }
            Undo::Restore { object, .. } => write!(f, "restore {object}"),
            Undo::PurgeSubject { stream, subject, .. } => write!(f, "purge {subject} from stream {stream}"),
            Undo::DropTable { cluster, database, table } => {
                write!(f, "drop table {table} in {cluster}, database {database}")
            }
            Undo::HealsItself { what } => write!(f, "wait until it has healed: {what}"),
        }
    }
}
