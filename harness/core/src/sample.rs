//! One probe attempt, and the compact file that keeps all of them.
//!
//! A samples file is a header of 16 bytes and then one record of 32 bytes a sample, little-endian, in the order in which
//! attempts were *intended* within each series. A file cut off in the middle of a record is read up to that record.

use crate::time::At;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// Which probe, from where, over which kind of connection: an index into [`crate::plan::Plan::series`].
pub type SeriesId = u16;

/// Whether an attempt opened its own connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// A connection opened for this attempt.
    New,
    /// The one connection that the series keeps, reconnected by the client only after it broke.
    Reused,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// No answer within the attempt's own timeout.
    Timeout,
    /// The connection was refused.
    Refused,
    /// The connection broke while in use.
    Reset,
    /// No route to the host or network.
    Unreachable,
    /// The name did not resolve.
    Name,
    /// An answer with an unexpected status; HTTP status or PostgreSQL error class in `code`.
    Status,
    /// An answer whose body is not the expected one.
    Body,
    /// The service answered that it cannot do it now (no responders, no leader, not writable, run failed).
    Unavailable,
    /// The other side broke the protocol, or refused the login.
    Protocol,
    /// Anything else.
    Other,
    /// It came through where it had to be blocked.
    Reached,
    /// The server did not permit it to this user.
    Denied,
}

impl Cause {
    /// How many there are.
    pub const COUNT: usize = 12;

    /// All of them, in the order of their numbers in a samples file.
    pub const ALL: [Cause; Self::COUNT] = [
        Cause::Timeout,
        Cause::Refused,
        Cause::Reset,
        Cause::Unreachable,
        Cause::Name,
        Cause::Status,
        Cause::Body,
        Cause::Unavailable,
        Cause::Protocol,
        Cause::Other,
        Cause::Reached,
        Cause::Denied,
    ];

    /// Its place in [`Cause::ALL`], and its number in a samples file.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Why this side did not send an attempt that was due in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotSent {
    /// No local address or port was free (`EADDRNOTAVAIL`).
    NoLocalPort,
    /// This process or machine had no file descriptor left (`EMFILE`, `ENFILE`).
    NoFileDescriptor,
    /// This machine had no memory left for a connection (`ENOBUFS`, `ENOMEM`).
    NoMemory,
    /// This process did not run while the attempt was under way (it was stopped, or the machine was suspended).
    Suspended,
}

impl NotSent {
    /// All of them, in the order of their numbers in a samples file.
    pub const ALL: [NotSent; 4] =
        [NotSent::NoLocalPort, NotSent::NoFileDescriptor, NotSent::NoMemory, NotSent::Suspended];

    /// Its number in a samples file. 0 is an attempt that was late.
    const fn number(self) -> u16 {
        self as u16 + 1
    }
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It succeeded; for a write: it was acknowledged.
    Ok,
    /// It failed.
    Failed {
        /// Why.
        cause: Cause,
        /// HTTP status, JetStream error code or similar; 0 where there is none.
        code: u16,
        /// For a write: it may have been applied all the same (a lost reply).
        maybe_applied: bool,
    },
    /// It was never sent, because this side was late or had too many attempts in flight: says nothing of the service.
    Stalled,
    /// This side could not send it: says nothing of the service, as [`Outcome::Stalled`].
    NotSent {
        /// Why.
        why: NotSent,
    },
}

/// One probe attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The series it belongs to.
    pub series: SeriesId,
    /// Its number within the series, from 0 without gaps; a write carries it as its identity.
    pub seq: u32,
    /// When the open-loop schedule wanted it to start.
    pub intended: At,
    /// When it started.
    pub started: At,
    /// When it ended.
    pub ended: At,
    /// What became of it.
    pub outcome: Outcome,
}

impl Sample {
    /// Whether it succeeded.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }
}

/// First bytes of a samples file; the last byte is the format's version.
pub const MAGIC: [u8; 8] = *b"fdsmpl\0\x01";
/// Bytes of one record.
pub const RECORD_BYTES: usize = 32;
/// Bytes of the header: [`MAGIC`], then 8 reserved.
pub const HEADER_BYTES: usize = 16;

const OK: u8 = 0;
const STALLED: u8 = 1;
const FAILED: u8 = 2; // plus twice the cause's index, plus one where maybe applied

impl Sample {
    /// The record of this sample.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let (kind, code) = match self.outcome {
            Outcome::Ok => (OK, 0),
            // To a version that knows no reasons, all of these are stalled.
            Outcome::Stalled => (STALLED, 0),
            Outcome::NotSent { why } => (STALLED, why.number()),
            Outcome::Failed { cause, code, maybe_applied } => {
                (FAILED + 2 * cause.index() as u8 + u8::from(maybe_applied), code)
            }
        };
        let mut bytes = [0; RECORD_BYTES];
        bytes[0..8].copy_from_slice(&self.intended.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.started.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.seq.to_le_bytes());
        let took_us = u32::try_from(self.ended.0.saturating_sub(self.started.0)).unwrap_or(u32::MAX);
        bytes[20..24].copy_from_slice(&took_us.to_le_bytes());
        bytes[24..26].copy_from_slice(&self.series.to_le_bytes());
        bytes[26..28].copy_from_slice(&code.to_le_bytes());
        bytes[28] = kind;
        bytes
    }

    /// The sample of a record; `None` where its kind is none that this version writes.
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let outcome = match bytes[28] {
            OK => Outcome::Ok,
            STALLED => match u16_at(26) {
                0 => Outcome::Stalled,
                number => Outcome::NotSent { why: *NotSent::ALL.get(usize::from(number) - 1)? },
            },
            kind => Outcome::Failed {
                cause: *Cause::ALL.get(usize::from((kind - FAILED) / 2))?,
                code: u16_at(26),
                maybe_applied: (kind - FAILED) % 2 == 1,
            },
        };
        let started = At(u64_at(8));
        Some(Sample {
            series: u16_at(24),
            seq: u32_at(16),
            intended: At(u64_at(0)),
            started,
            ended: At(started.0.saturating_add(u64::from(u32_at(20)))),
            outcome,
        })
    }
}

/// Writes the header of a samples file.
///
/// # Errors
/// As the writer.
pub fn write_header(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&MAGIC)?;
    to.write_all(&[0; HEADER_BYTES - MAGIC.len()])
}

/// Reads a samples file a record at a time, with flat memory.
pub struct SampleReader<R> {
    from: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// How many samples it gave.
    pub count: u64,
    /// Set once the file turned out to end in the middle of a record.
    pub truncated: bool,
}

impl<R: Read> SampleReader<R> {
    /// Checks the header.
    ///
    /// # Errors
    /// As the reader, or `InvalidData` where this is no samples file of this version.
    pub fn new(mut from: R) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        from.read_exact(&mut header)?;
        if header[..MAGIC.len()] != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a samples file of this version"));
        }
        Ok(Self { from, buffer: vec![0; RECORD_BYTES * 8_192], start: 0, end: 0, count: 0, truncated: false })
    }

    /// The next sample, or `None` at the end of the file.
    ///
    /// # Errors
    /// As the reader, or `InvalidData` for a record that no version wrote.
    pub fn next_sample(&mut self) -> io::Result<Option<Sample>> {
        while self.end - self.start < RECORD_BYTES {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let read = self.from.read(&mut self.buffer[self.end..])?;
            if read == 0 {
                self.truncated |= self.end != 0;
                return Ok(None);
            }
            self.end += read;
        }
        let record: &[u8; RECORD_BYTES] =
            self.buffer[self.start..self.start + RECORD_BYTES].try_into().map_err(io::Error::other)?;
        self.start += RECORD_BYTES;
        self.count += 1;
        Sample::decode(record)
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a record of unknown kind"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Ok),
            Just(Outcome::Stalled),
            (0..NotSent::ALL.len()).prop_map(|why| Outcome::NotSent { why: NotSent::ALL[why] }),
            (0..Cause::COUNT, any::<u16>(), any::<bool>()).prop_map(|(cause, code, maybe_applied)| {
                Outcome::Failed { cause: Cause::ALL[cause], code, maybe_applied }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_record_keeps_its_sample(
            series: u16, seq: u32, intended in 0..u64::MAX / 2, late in 0..u64::from(u32::MAX), took in 0..u64::from(u32::MAX),
            outcome in any_outcome(),
        ) {
            let started = At(intended + late);
            let sample = Sample { series, seq, intended: At(intended), started, ended: At(started.0 + took), outcome };
            prop_assert_eq!(Sample::decode(&sample.encode()), Some(sample));
        }
    }

    #[test]
    fn a_file_cut_off_is_read_up_to_the_cut() {
        let sample = Sample {
            series: 3,
            seq: 7,
            intended: At(1),
            started: At(2),
            ended: At(9),
            outcome: Outcome::Failed { cause: Cause::Refused, code: 0, maybe_applied: false },
        };
        let mut file = Vec::new();
        write_header(&mut file).unwrap();
        file.extend(sample.encode());
        file.extend(&sample.encode()[..20]);
        let mut reader = SampleReader::new(file.as_slice()).unwrap();
        assert_eq!(reader.next_sample().unwrap(), Some(sample));
        assert_eq!(reader.next_sample().unwrap(), None);
        assert!(reader.truncated);
        assert_eq!(reader.count, 1);
    }

    #[test]
    fn a_record_of_an_older_version_is_read_as_it_was_meant() {
        let at = At(7);
        let sample = |outcome| Sample { series: 1, seq: 2, intended: at, started: at, ended: at, outcome };
        let mut old = sample(Outcome::Ok).encode();
        old[28] = 1;
        assert_eq!(Sample::decode(&old), Some(sample(Outcome::Stalled)));
        // `Reached` with a write that may have been applied: the greatest kind before `Denied`.
        old[28] = 2 + 2 * 10 + 1;
        let reached = Outcome::Failed { cause: Cause::Reached, code: 0, maybe_applied: true };
        assert_eq!(Sample::decode(&old), Some(sample(reached)));
        old[28] = 2 + 2 * 12;
        assert_eq!(Sample::decode(&old), None, "a cause that no version wrote");
        let mut unknown = sample(Outcome::Stalled).encode();
        unknown[26] = 99;
        assert_eq!(Sample::decode(&unknown), None, "a reason that no version wrote");
    }

    #[test]
    fn another_file_is_refused() {
        assert!(SampleReader::new(&b"PK\x03\x04 some archive of bytes"[..]).is_err());
    }
}
