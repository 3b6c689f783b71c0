//! Files of a simulated run: a write may fail, and what was not synced may be lost or torn.

use super::Sim;
use super::script::Death;
use crate::port::{Appender, Store};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What is on disk of each file, in bytes.
pub(super) type Synced = BTreeMap<PathBuf, u64>;

impl Store for Sim {
    fn create_dir_all(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Appender>> {
        let file = File::options().write(true).create_new(true).open(path)?;
        let is_journal = path.file_name().is_some_and(|name| name == "events.jsonl");
        Ok(Box::new(SimFile { sim: self.clone(), path: path.to_owned(), file, written: 0, records: 0, is_journal }))
    }
}

struct SimFile {
    sim: Sim,
    path: PathBuf,
    file: File,
    written: u64,
    records: u64,
    is_journal: bool,
}

impl Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_journal {
            let script = self.sim.world().script.clone();
            if script.journal_fails_at.is_some_and(|record| self.records >= record) {
                self.sim.world().journal_broke = true;
                return Err(io::Error::other("no space left on device (simulated)"));
            }
            self.records += 1;
            if script.death == Some(Death::AfterRecord(self.records)) {
                self.sim.death.notify_one();
            }
        }
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Appender for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        self.sim.world().synced.insert(self.path.clone(), self.written);
        Ok(())
    }
}
