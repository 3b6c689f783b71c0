//! A run's files on this machine's disk.

use crate::files;
use crate::port::{Appender, Store};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Files of this machine, for its user alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Store for Files {
    fn create_dir_all(&self, folder: &Path) -> io::Result<()> {
        files::create_dir_all(folder)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Appender>> {
        Ok(Box::new(files::create_new(path)?))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        files::replace(path, content)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }
}

impl Appender for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
