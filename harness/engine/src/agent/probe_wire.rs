//! What the runner and the probe agent say to each other: a length of 4 bytes, little-endian, and then JSON; an answer may be
//! followed by a payload whose length it names.

use crate::probe::{Endpoint, ProbeSpec};
use firedrill_core::time::{At, as_ms};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The port that a probe agent listens on in its pod.
pub(super) const PORT: u16 = 9200;
/// The longest JSON of either side.
const JSON_BYTES_MAX: u32 = 1 << 20;
/// The longest payload: 20 million writes found.
pub(super) const PAYLOAD_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Request {
    Ping,
    Start {
        specs: Vec<ProbeSpec>,
    },
    /// Records from this one on, which says that those before have arrived.
    Fetch {
        from: u64,
        #[serde(with = "as_ms")]
        wait: Duration,
    },
    Stop,
    ReadBack {
        store: Endpoint,
        #[serde(with = "as_ms")]
        within: Duration,
    },
    Do {
        chore: Chore,
        #[serde(with = "as_ms")]
        within: Duration,
    },
}

/// Something done from inside the cluster before or after the probes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Chore {
    /// [`crate::ledger::create_table`].
    CreateTable {
        /// The database.
        url: String,
        /// The table.
        table: String,
    },
    /// [`crate::ledger::drop_table`].
    DropTable {
        /// The database.
        url: String,
        /// The table.
        table: String,
    },
    /// [`crate::ledger::purge`].
    Purge {
        /// The server.
        url: String,
        /// The stream.
        stream: String,
        /// The subject.
        subject: String,
    },
}

impl std::fmt::Debug for Chore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Chore::CreateTable { table, .. } => write!(f, "CreateTable({table})"),
            Chore::DropTable { table, .. } => write!(f, "DropTable({table})"),
            Chore::Purge { stream, subject, .. } => write!(f, "Purge({stream} {subject})"),
        }
    }
}

/// The head of an answer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    /// The agent process, so that another one in its place is noticed.
    pub(super) instance: String,
    /// Now, on the agent's clock.
    pub(super) now: At,
    /// What went wrong.
    pub(super) error: Option<String>,
    /// Bytes of payload after this.
    pub(super) bytes: u64,
    /// The number of the payload's first record.
    pub(super) from: u64,
    /// No record will come after these.
    pub(super) ended: bool,
}

pub(super) async fn write_json<W: AsyncWrite + Unpin>(to: &mut W, value: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    let length = u32::try_from(json.len()).ok().filter(|length| *length <= JSON_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "message too long"))?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(json);
    to.write_all(&frame).await
}

pub(super) async fn read_json<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = from.read_u32_le().await?;
    if length > JSON_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message too long"));
    }
    let mut json = vec![0; length as usize];
    from.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}
