//! What takes back what a run did.
//!
//! Each undo names exactly what it may touch, see [`Undo::may_touch`], and how the live object is told from another one that has its
//! name by now. Every undo is idempotent: carried out twice, or without the act before it, it changes nothing more.

use crate::scenario::ServiceRef;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! undos {
    ($($fault_name:literal => $module:ident::$fault:ident($kind:ident) $(, undo $name:literal => $undo:ident($undo_kind:ident))?;)+) => {
        $($(pub use crate::scenario::$undo_kind;)?)+

        /// How to undo something. The record alone is enough to do it, with the cluster and, for a node, its provider.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Undo {
            $($(
                #[doc = concat!("See [`", stringify!($undo_kind), "`].")]
                #[serde(rename = $name)]
                $undo($undo_kind),
            )?)+
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
            /// Remove a node that the run made. Its container is the one that carries the labels of this cluster and of this run, which
            /// are set when it is made: its id and its node's UID are not known before.
            RemoveNode {
                /// The node.
                node: String,
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

        impl Undo {
            /// The undo of a fault that has one of its own.
            pub(super) fn kind(&self) -> Option<&dyn UndoKind> {
                match self {
                    $($(Undo::$undo(undo) => Some(undo),)?)+
                    Undo::DeleteObject { .. }
                    | Undo::RemoveNode { .. }
                    | Undo::RollBackUnfinished { .. }
                    | Undo::PurgeSubject { .. }
                    | Undo::DropTable { .. }
                    | Undo::HealsItself { .. } => None,
                }
            }
        }
    };
}

crate::with_faults!(undos);

/// What the undo of a fault says of itself. Its text is what it does, in the imperative.
pub(crate) trait UndoKind: fmt::Display {
    /// See [`Undo::may_touch`].
    fn may_touch(&self) -> String;

    /// See [`Undo::refusal`].
    fn refusal(&self, run_id: &str) -> Option<String>;

    /// See [`Undo::unchecked`].
    fn unchecked(&self) -> Option<&'static str> {
        None
    }

    /// See [`Undo::needs_node_agent`].
    fn needs_node_agent(&self) -> bool {
        false
    }

    /// See [`Undo::acts_on_machine`].
    fn acts_on_machine(&self) -> bool {
        false
    }
}

impl Undo {
    /// Whether it takes away what a probe wrote, which needs an agent inside the cluster.
    pub fn is_data(&self) -> bool {
        matches!(self, Undo::PurgeSubject { .. } | Undo::DropTable { .. })
    }

    /// Whether it takes a fault out, rather than something that the run made.
    pub fn is_of_a_fault(&self) -> bool {
        self.kind().is_some() || matches!(self, Undo::RollBackUnfinished { .. } | Undo::HealsItself { .. })
    }

    /// Whether it needs a privileged pod on a node.
    pub fn needs_node_agent(&self) -> bool {
        self.kind().is_some_and(UndoKind::needs_node_agent)
    }

    /// Whether it acts on the machine of a node, which the provider of the cluster knows.
    pub fn acts_on_machine(&self) -> bool {
        self.kind().is_some_and(UndoKind::acts_on_machine) || matches!(self, Undo::RemoveNode { .. })
    }
}

/// What it does, in the imperative: `thaw nats in ironflow-nats-2 (on worker2)`.
impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kind) = self.kind() {
            return fmt::Display::fmt(kind, f);
        }
        match self {
            Undo::DeleteObject { kind, namespace: Some(namespace), name, .. } => {
                write!(f, "delete {kind} {namespace}/{name}")
            }
            Undo::DeleteObject { kind, namespace: None, name, .. } => write!(f, "delete {kind} {name}"),
            Undo::RemoveNode { node } => write!(f, "take node {node} away"),
            Undo::RollBackUnfinished { namespace, release, .. } => {
                write!(f, "roll release {release} in {namespace} back if an upgrade of it is unfinished")
            }
            Undo::PurgeSubject { stream, subject, .. } => write!(f, "purge {subject} from stream {stream}"),
            Undo::DropTable { cluster, database, table } => {
                write!(f, "drop table {table} in {cluster}, database {database}")
            }
            Undo::HealsItself { what } => write!(f, "wait until it has healed: {what}"),
            // The others are kinds of their own.
            _ => Ok(()),
        }
    }
}
