//! The disks of simulated machines, in memory: a write may fail, what was not synced may be lost or torn, and a journal may be
//! unreadable.

use super::Sim;
use super::rng::Rng;
use super::script::Death;
use crate::port::{Appender, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The name of a journal's file.
pub(super) const JOURNAL: &str = "events.jsonl";

/// Files and folders, by their absolute paths.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, File>,
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// How many of them survive a crash of the machine.
    synced: usize,
}

impl Disk {
    /// What is in a file.
    pub(super) fn bytes(&self, path: &Path) -> Option<&[u8]> {
        self.files.get(path).map(|file| file.bytes.as_slice())
    }

    /// The folders in a folder.
    pub(super) fn folders_in(&self, folder: &Path) -> impl Iterator<Item = &PathBuf> {
        self.folders.iter().filter(move |path| path.parent() == Some(folder))
    }

    /// What was not synced is lost with the machine, whole or in part.
    pub(super) fn lose_tails(&mut self, rng: &mut Rng) {
        for file in self.files.values_mut() {
            let kept = rng.within(file.synced as u64..file.bytes.len() as u64 + 1);
            file.bytes.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        }
    }

    fn make_folders(&mut self, folder: &Path) {
        self.folders.extend(folder.ancestors().map(Path::to_owned));
    }
}

impl Store for Sim {
    fn create_dir_all(&self, folder: &Path) -> io::Result<()> {
        self.world().disk.make_folders(folder);
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Appender>> {
        let mut world = self.world();
        if !path.parent().is_some_and(|folder| world.disk.folders.contains(folder)) {
            return Err(ErrorKind::NotFound.into());
        }
        if world.disk.files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        world.disk.files.insert(path.to_owned(), File::default());
        let is_journal = path.file_name().is_some_and(|name| name == JOURNAL);
        Ok(Box::new(SimFile { sim: self.clone(), path: path.to_owned(), records: 0, is_journal }))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        if self.process == 1 && world.journal_broke {
            return Err(full());
        }
        if !path.parent().is_some_and(|folder| world.disk.folders.contains(folder)) {
            return Err(ErrorKind::NotFound.into());
        }
        world.disk.files.insert(path.to_owned(), File { bytes: content.to_owned(), synced: content.len() });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.world().disk.files.remove(path);
        removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let world = self.world();
        let bytes = world.disk.bytes(path).ok_or(ErrorKind::NotFound)?;
        if self.process != 1 && world.script.journal_unreadable && path.file_name().is_some_and(|name| name == JOURNAL)
        {
            return Err(io::Error::other("input/output error (simulated)"));
        }
        Ok(Box::new(Cursor::new(bytes.to_owned())))
    }

    fn exists(&self, path: &Path) -> bool {
        let world = self.world();
        world.disk.folders.contains(path) || world.disk.files.contains_key(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let world = self.world();
        if !world.disk.folders.contains(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let all = world.disk.folders.iter().chain(world.disk.files.keys());
        Ok(all.filter(|path| path.parent() == Some(folder)).cloned().collect())
    }
}

struct SimFile {
    sim: Sim,
    path: PathBuf,
    records: u64,
    is_journal: bool,
}

impl Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.sim.world();
        if self.is_journal {
            if world.script.journal_fails_at.is_some_and(|record| self.records >= record) {
                world.journal_broke = true;
                return Err(full());
            }
            self.records += 1;
            if world.script.death == Some(Death::AfterRecord(self.records)) {
                self.sim.death.notify_one();
            }
        }
        let file = world.disk.files.get_mut(&self.path).ok_or(ErrorKind::NotFound)?;
        file.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Appender for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.sim.world();
        let file = world.disk.files.get_mut(&self.path).ok_or(ErrorKind::NotFound)?;
        file.synced = file.bytes.len();
        Ok(())
    }
}

fn full() -> io::Error {
    io::Error::other("no space left on device (simulated)")
}
