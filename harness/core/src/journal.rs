//! The journal: one JSON record a line, read back whole or up to where a dead run stopped writing.

use crate::event::{Event, JOURNAL_VERSION, Record, RunStarted};
use thiserror::Error;

mod upgrade;

/// The oldest format that is read. What it lacks is derived from its texts.
pub const JOURNAL_VERSION_MIN: u32 = 2;

/// What a journal cannot be read for.
#[derive(Debug, Error)]
pub enum JournalError {
    /// A line in the middle is no record.
    #[error("line {line} of the journal is not a record: {reason}")]
    Line {
        /// From 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// Records are missing or out of order.
    #[error("line {line} of the journal has number {found}, expected {expected}")]
    Sequence {
        /// From 1.
        line: usize,
        /// What stands there.
        found: u64,
        /// What belongs there.
        expected: u64,
    },
    /// It does not start as every journal does.
    #[error("the journal does not begin with the start of a run")]
    NoStart,
    /// Another version wrote it.
    #[error("the journal has format {found}, this version reads {JOURNAL_VERSION_MIN} to {JOURNAL_VERSION}")]
    Version {
        /// What stands there.
        found: u32,
    },
}

/// A journal, read.
#[derive(Clone, Debug)]
pub struct Journal {
    /// All records, in order, as [`JOURNAL_VERSION`] has them whatever format they were written in.
    pub records: Vec<Record>,
    /// Whether the last line was cut off.
    pub truncated: bool,
}

impl Journal {
    /// Reads a journal's text.
    ///
    /// # Errors
    /// Where it is not whole up to its last line, or of a format that is not known; a last line cut off is tolerated and said.
    pub fn parse(text: &str) -> Result<Self, JournalError> {
        let mut records: Vec<Record> = Vec::new();
        let mut truncated = false;
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for (index, line) in lines.iter().enumerate() {
            match serde_json::from_str::<Record>(line) {
                Ok(record) => {
                    let expected = records.len() as u64;
                    if record.seq != expected {
                        return Err(JournalError::Sequence { line: index + 1, found: record.seq, expected });
                    }
                    records.push(record);
                }
                Err(_) if index + 1 == lines.len() && !line.ends_with('\n') => truncated = true,
                Err(error) => return Err(JournalError::Line { line: index + 1, reason: error.to_string() }),
            }
        }
        let mut journal = Self { records, truncated };
        let version = journal.start()?.journal_version;
        if !(JOURNAL_VERSION_MIN..=JOURNAL_VERSION).contains(&version) {
            return Err(JournalError::Version { found: version });
        }
        upgrade::upgrade(&mut journal.records);
        Ok(journal)
    }

    /// The first record.
    ///
    /// # Errors
    /// Where the journal begins with another.
    pub fn start(&self) -> Result<&RunStarted, JournalError> {
        match self.records.first().map(|record| &record.event) {
            Some(Event::RunStarted(start)) => Ok(start),
            _ => Err(JournalError::NoStart),
        }
    }
}
