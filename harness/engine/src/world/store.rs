//! A run's files on this machine's disk.

use crate::files;
use crate::port::{Appender, Store};
use std::fs::File;
use std::io;
use std::path::Path;

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
}

impl Appender for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
