//! Copies of folders for programs that may write where they run: runbook steps never reach the original.

use crate::files;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a copy may hold, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyLimits {
    /// Files and folders together.
    pub entries: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Folders inside each other.
    pub depth: usize,
}

impl CopyLimits {
    /// For a chart, which is a few files of text.
    pub const CHART: Self = Self { entries: 2_000, bytes: 64 << 20, depth: 16 };
}

/// Copies the folder `from` to `to`, which must not exist: folders and regular files alone. A symbolic link to a file inside `from`
/// becomes a file of its own; one that leads out of it, or to a folder, is refused, and so are devices, sockets and pipes.
///
/// # Errors
/// As the file system, where something is refused, or where a limit is exceeded. What was copied until then stays.
pub fn copy_tree(from: &Path, to: &Path, limits: CopyLimits) -> io::Result<()> {
    let root = from.canonicalize().map_err(|error| at(from, &error))?;
    if !root.is_dir() {
        return Err(refused(from, "is not a folder"));
    }
    Copying { root: root.clone(), limits, entries: 0, bytes: 0 }.folder(&root, to, 0)
}

struct Copying {
    root: PathBuf,
    limits: CopyLimits,
    entries: usize,
    bytes: u64,
}

impl Copying {
    fn folder(&mut self, from: &Path, to: &Path, depth: usize) -> io::Result<()> {
        if depth > self.limits.depth {
            return Err(refused(from, &format!("is more than {} folders deep", self.limits.depth)));
        }
        if to.symlink_metadata().is_ok() {
            return Err(refused(to, "exists already"));
        }
        files::create_dir_all(to).map_err(|error| at(to, &error))?;
        let mut entries =
            fs::read_dir(from).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(|e| at(from, &e))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(refused(&self.root, &format!("has more than {} files", self.limits.entries)));
            }
            let (path, into) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().map_err(|error| at(&path, &error))?;
            if kind.is_dir() {
                self.folder(&path, &into, depth + 1)?;
            } else if kind.is_symlink() {
                let target = path.canonicalize().map_err(|error| at(&path, &error))?;
                if !target.starts_with(&self.root) {
                    return Err(refused(&path, "is a link that leads out of the folder"));
                }
                self.file(&target, &into)?;
            } else {
                self.file(&path, &into)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let found = fs::metadata(from).map_err(|error| at(from, &error))?;
        if !found.is_file() {
            return Err(refused(from, "is neither a regular file nor a folder"));
        }
        self.bytes = self.bytes.saturating_add(found.len());
        if self.bytes > self.limits.bytes {
            return Err(refused(&self.root, &format!("has more than {} bytes", self.limits.bytes)));
        }
        fs::copy(from, to).map(drop).map_err(|error| at(from, &error))
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn chart(folder: &Path) -> PathBuf {
        let chart = folder.join("chart");
        fs::create_dir_all(chart.join("templates")).unwrap();
        fs::write(chart.join("Chart.yaml"), "name: x\n").unwrap();
        fs::write(chart.join("templates/a.yaml"), "a: 1\n").unwrap();
        chart
    }

    #[test]
    fn what_is_written_into_the_copy_stays_there() {
        let folder = tempfile::tempdir().unwrap();
        let (chart, copy) = (chart(folder.path()), folder.path().join("copy"));
        symlink("Chart.yaml", chart.join("link.yaml")).unwrap();
        copy_tree(&chart, &copy, CopyLimits::CHART).unwrap();
        for name in ["Chart.yaml", "link.yaml", "templates/a.yaml"] {
            assert!(copy.join(name).symlink_metadata().unwrap().is_file(), "{name}");
            fs::write(copy.join(name), "changed").unwrap();
        }
        assert_eq!(fs::read_to_string(chart.join("Chart.yaml")).unwrap(), "name: x\n");
        assert_eq!(fs::read_to_string(chart.join("templates/a.yaml")).unwrap(), "a: 1\n");
        assert!(copy_tree(&chart, &copy, CopyLimits::CHART).is_err(), "nothing is overwritten");
    }

    #[test]
    fn a_chart_that_is_itself_named_by_a_link_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let chart = chart(folder.path());
        symlink(&chart, folder.path().join("named")).unwrap();
        copy_tree(&folder.path().join("named"), &folder.path().join("copy"), CopyLimits::CHART).unwrap();
        assert!(folder.path().join("copy/templates/a.yaml").is_file());
    }

    #[test]
    fn links_that_leave_and_what_is_no_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "x").unwrap();
        let refused = |make: &dyn Fn(&Path), says: &str| {
            let folder = tempfile::tempdir_in(folder.path()).unwrap();
            let chart = chart(folder.path());
            make(&chart);
            let error = copy_tree(&chart, &folder.path().join("copy"), CopyLimits::CHART).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        refused(&|chart| symlink("../../secret", chart.join("l")).unwrap(), "leads out of the folder");
        refused(&|chart| symlink("/etc/passwd", chart.join("l")).unwrap(), "leads out of the folder");
        refused(&|chart| symlink("/etc", chart.join("templates/l")).unwrap(), "leads out of the folder");
        refused(&|chart| symlink(".", chart.join("l")).unwrap(), "neither a regular file nor a folder");
        refused(&|chart| symlink("nowhere", chart.join("l")).unwrap(), "No such file");
        let socket = |chart: &Path| drop(std::os::unix::net::UnixListener::bind(chart.join("s")).unwrap());
        refused(&socket, "neither a regular file nor a folder");
    }

    #[test]
    fn limits_hold() {
        let folder = tempfile::tempdir().unwrap();
        let chart = chart(folder.path());
        let limited = |name: &str, limits: CopyLimits| {
            copy_tree(&chart, &folder.path().join(name), limits).unwrap_err().to_string()
        };
        let all = CopyLimits::CHART;
        assert!(limited("a", CopyLimits { entries: 2, ..all }).contains("more than 2 files"));
        assert!(limited("b", CopyLimits { bytes: 10, ..all }).contains("more than 10 bytes"));
        assert!(limited("c", CopyLimits { depth: 0, ..all }).contains("more than 0 folders deep"));
    }
}
