//! What the runner and a node agent say to each other: one JSON object a line, an answer to each request, in order.

use firedrill_core::event::StreamBefore;
use firedrill_core::scenario::Signal;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Port on the node agent's loopback address; reached by a port-forward through the API server alone.
pub const PORT: u16 = 9201;
/// The longest line that either side accepts, in bytes.
pub const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// What the runner asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Are you there?
    Ping,
    /// The container's processes as they are now.
    Look {
        /// The container's id in its runtime.
        container_id: String,
    },
    /// A signal to the container's first process.
    Signal {
        /// The container's id in its runtime.
        container_id: String,
        /// Which.
        signal: Signal,
    },
    /// Stop every process of the container, and hold it until told, ended or expired.
    Freeze {
        /// The container's id in its runtime.
        container_id: String,
        /// How long at most, in ms.
        lasts_ms: Option<u64>,
    },
    /// Let every process of the container go on.
    Thaw {
        /// The container's id in its runtime.
        container_id: String,
    },
    /// Flip a byte of every file in a directory of a volume; how they were is kept in the volume.
    Corrupt(Volume),
    /// The corrupted files as they are on disk now.
    LookAtFiles(Volume),
    /// Put the corrupted files back as they were.
    Mend(Volume),
    /// The connections between pods that the node tracks now.
    Connections(Ends),
    /// Have the node forget them.
    EndConnections(Ends),
    /// Write into a volume until it is full, and hold it so until told, ended or expired. Asked again until it is: one
    /// answer must not take long.
    Fill {
        /// Which volume, and the file.
        filler: Filler,
        /// What is to be left free, in bytes.
        leave_bytes: u64,
        /// What is written for this one answer, in bytes.
        bytes_max: u64,
    },
    /// How full is a volume?
    Space {
        /// Which volume, and the file.
        filler: Filler,
        /// Whether one more write is tried.
        try_write: bool,
    },
    /// Remove the file that fills a volume.
    Empty {
        /// Which volume, and the file.
        filler: Filler,
    },
    /// Publish to a stream until a volume with a replica of it is full. Asked again until it is: one answer must not take
    /// long.
    FillStream {
        /// The stream.
        messages: Messages,
        /// The volume.
        filler: Filler,
        /// What is to be left free, in bytes.
        leave_bytes: u64,
        /// What is published for this one answer, in bytes.
        bytes_max: u64,
    },
    /// How is the stream set up, and how many of the messages are in it?
    LookAtStream(Messages),
    /// Purge the messages, and give the stream its configuration back where it has another one.
    EmptyStream {
        /// The stream.
        messages: Messages,
        /// How it was.
        before: StreamBefore,
    },
}

/// Messages of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// A NATS server's address, `IP:PORT`.
    pub server: String,
    /// The stream.
    pub stream: String,
    /// Their subject.
    pub subject: String,
}

/// A directory of a volume that is mounted on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Where the volume is mounted, as the node sees it.
    pub root: String,
    /// The directory in it, relative.
    pub directory: String,
}

/// Whose connections are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// One end.
    pub pods: Vec<Ipv4Addr>,
    /// The other.
    pub peers: Vec<Ipv4Addr>,
}

/// A file that fills a volume, by the pod that has it mounted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Filler {
    /// The pod's UID.
    pub pod_uid: String,
    /// The PersistentVolume.
    pub volume: String,
    /// The file's name in the volume's root.
    pub file: String,
}

impl Request {
    /// Whether its names are names: they become parts of paths and are looked for in the node's files.
    ///
    /// # Errors
    /// Which one is not.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Request::Look { container_id }
            | Request::Signal { container_id, .. }
            | Request::Freeze { container_id, .. }
            | Request::Thaw { container_id } => check_container_id(container_id),
            Request::Fill { filler, .. }
            | Request::Space { filler, .. }
            | Request::Empty { filler }
            | Request::FillStream { filler, .. } => filler.check(),
            // Directories are opened part by part, addresses are typed, and a stream is its server's matter.
            Request::Corrupt(_)
            | Request::LookAtFiles(_)
            | Request::Mend(_)
            | Request::Ping
            | Request::Connections(_)
            | Request::EndConnections(_)
            | Request::LookAtStream(_)
            | Request::EmptyStream { .. } => Ok(()),
        }
    }
}

/// Runtimes write 64 hexadecimal digits. A shorter id would be found in others.
fn check_container_id(id: &str) -> Result<(), String> {
    match id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(()),
        false => Err(format!("{id:?} is not a container's id")),
    }
}

impl Filler {
    /// Whether its names are names of files, which lead nowhere else.
    ///
    /// # Errors
    /// Which one is not.
    pub(super) fn check(&self) -> Result<(), String> {
        let fit = |name: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !name.is_empty() && name.len() <= 253 && name.chars().all(plain) && !name.contains("..") && name != "."
        };
        match [&self.pod_uid, &self.volume, &self.file].into_iter().find(|name| !fit(name)) {
            Some(name) => Err(format!("{name:?} is not a name")),
            None => Ok(()),
        }
    }
}

/// What the agent lets go by itself when it ends, and at its start in case an earlier one was killed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// A container that may be frozen, by its id in its runtime.
    Container(String),
    /// A file that may fill a volume.
    Filler(Filler),
}

impl std::fmt::Display for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Guard::Container(id) => f.write_str(id),
            Guard::Filler(Filler { pod_uid, volume, file }) => write!(f, "{pod_uid}/{volume}/{file}"),
        }
    }
}

impl From<&str> for Guard {
    fn from(text: &str) -> Self {
        match text.split('/').collect::<Vec<_>>()[..] {
            [pod_uid, volume, file] => {
                Guard::Filler(Filler { pod_uid: pod_uid.to_owned(), volume: volume.to_owned(), file: file.to_owned() })
            }
            _ => Guard::Container(text.to_owned()),
        }
    }
}

/// What the node agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To a ping.
    Pong {
        /// Processes it sees in all; 2 or more shows that it looks at the node and not at itself alone.
        processes: u32,
    },
    /// The processes looked at, signalled, stopped or let go.
    Processes {
        /// In order of start.
        processes: Vec<Process>,
    },
    /// The corrupted files.
    Files {
        /// In order of name.
        files: Vec<KeptFile>,
    },
    /// The connections looked at, or forgotten.
    Connections {
        /// In no order.
        connections: Vec<Connection>,
    },
    /// How full the volume is.
    Space(Space),
    /// The file that filled the volume, or the messages that filled the stream, are not there any more.
    Emptied,
    /// The stream; nothing where there is none of that name.
    Stream(Option<StreamSeen>),
    /// It could not be done.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A stream as its leader tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSeen {
    /// What is put back.
    pub now: StreamBefore,
    /// Why it cannot be filled, and purged after, without touching what is others'.
    pub unfit: Option<String>,
    /// The names of the servers that have a replica; empty outside a cluster.
    pub servers: Vec<String>,
    /// How many of the messages asked for are in it.
    pub messages: u64,
}

/// A file that was corrupted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    /// Its name in the directory.
    pub name: String,
    /// Its length as it was, in bytes.
    pub bytes: u64,
    /// How many bytes of it differ now; `None` where it is gone, or its length has changed.
    pub differing: Option<u64>,
}

/// A TCP connection that a node tracks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Who opened it.
    pub source: SocketAddrV4,
    /// Whom it asked for: a Service's address, or a pod's.
    pub destination: SocketAddrV4,
    /// Who answers.
    pub answered_by: SocketAddrV4,
    /// Whether it is established and was answered, which is what policies are not asked about.
    pub is_established: bool,
}

impl std::fmt::Display for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {} ({})", self.source, self.destination, self.answered_by)
    }
}

/// How full a volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The file system's size.
    pub bytes: u64,
    /// What is free of it.
    pub bytes_free: u64,
    /// How long the filler file is; `None` where there is none.
    pub filler_bytes: Option<u64>,
    /// Whether the filling came to its end; said in answer to it alone.
    pub full: bool,
    /// In the kernel's words, that one more write was refused for want of space; only where it was tried.
    pub refused: Option<String>,
}

/// A process of a container, in the node's numbering.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot; with the number it names one process for good.
    pub start_ticks: u64,
    /// Its parent's number.
    pub parent: u32,
    /// Its state's letter in `/proc/PID/stat`.
    pub state: char,
    /// Its name.
    pub command: String,
    /// How many threads it has.
    pub threads: u32,
    /// How many of these are stopped.
    pub threads_stopped: u32,
    /// Context switches of its threads so far; a stopped process has no more of them.
    pub switches: u64,
}

impl Process {
    /// Whether it and every one of its threads is stopped.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't') && self.threads_stopped == self.threads
    }

    /// Whether this is the same process at another moment.
    pub fn is_same(&self, other: &Process) -> bool {
        self.pid == other.pid && self.start_ticks == other.start_ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_read_as_written() {
        let filler = Filler { pod_uid: "u".to_owned(), volume: "pvc-1".to_owned(), file: "f".to_owned() };
        for guard in [Guard::Container("ab".to_owned()), Guard::Filler(filler)] {
            assert_eq!(Guard::from(guard.to_string().as_str()), guard);
        }
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let filler = |pod_uid: &str, volume: &str, file: &str| {
            let [pod_uid, volume, file] = [pod_uid, volume, file].map(str::to_owned);
            Request::Empty { filler: Filler { pod_uid, volume, file } }
        };
        assert_eq!(filler("0ab-1", "pvc-1.x", ".firedrill_f").check(), Ok(()));
        for bad in ["", ".", "..", "a/b", "/", "a..b", "a\0", "a b", "ä", &"a".repeat(254)] {
            for request in [filler(bad, "v", "f"), filler("u", bad, "f"), filler("u", "v", bad)] {
                assert!(request.check().is_err(), "{bad:?}");
            }
        }
        let look = |id: &str| Request::Look { container_id: id.to_owned() }.check();
        assert_eq!(look(&"0f".repeat(32)), Ok(()));
        for bad in ["", "f", "../../../../../../../../../../../../", &"0".repeat(63), &"g".repeat(64)] {
            assert!(look(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lines_read_as_written() {
        let request = Request::Signal { container_id: "ab".to_owned(), signal: Signal::Kill };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(line, r#"{"signal":{"container_id":"ab","signal":"KILL"}}"#);
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        assert_eq!(serde_json::to_string(&Request::Ping).unwrap(), r#""ping""#);
        assert!(serde_json::from_str::<Request>(r#"{"reboot":{}}"#).is_err());
    }
}
