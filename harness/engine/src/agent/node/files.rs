//! Corrupting files of a volume so that they can be put back: how they were is kept beside them, in the same volume.

use super::wire::{KeptFile, Volume};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where a volume's files are kept as they were.
const KEPT: &str = ".firedrill-kept";
/// Files of a directory at most, and bytes of one.
const FILES_MAX: usize = 64;
const BYTES_MAX: u64 = 32 << 20;

/// The node's own root directory: the agent shares its processes.
const NODE_ROOT: &str = "/proc/1/root";

/// Flips a byte in the middle of every file of the directory.
///
/// # Errors
/// Where there is no file, one is too large, or the volume cannot be written; what was flipped until then is kept for the mending.
pub(super) fn corrupt(volume: &Volume) -> io::Result<Vec<KeptFile>> {
    corrupt_in(Path::new(NODE_ROOT), volume)
}

/// The kept files, compared with what is on disk.
///
/// # Errors
/// Where the volume cannot be read.
pub(super) fn look(volume: &Volume) -> io::Result<Vec<KeptFile>> {
    look_in(Path::new(NODE_ROOT), volume)
}

/// Puts the kept files back where they are still there and as long as they were, and forgets them. Returns what it found.
///
/// # Errors
/// Where the volume cannot be written.
pub(super) fn mend(volume: &Volume) -> io::Result<Vec<KeptFile>> {
    mend_in(Path::new(NODE_ROOT), volume)
}

fn corrupt_in(node: &Path, volume: &Volume) -> io::Result<Vec<KeptFile>> {
    let (directory, kept) = places(node, volume)?;
    let names = plain_files(&directory)?;
    if names.is_empty() {
        return Err(io::Error::new(ErrorKind::NotFound, format!("no file in {}", volume.directory)));
    }
    let made = fs::create_dir(&kept);
    made.map_err(|error| io::Error::new(error.kind(), format!("{KEPT} in the volume: {error}")))?;
    for name in names {
        let original = fs::read(directory.join(&name))?;
        let copy = File::create(kept.join(&name))?;
        copy.write_all_at(&original, 0)?;
        copy.sync_all()?;
        File::open(&kept)?.sync_all()?;
        let middle = original.len() / 2;
        let file = OpenOptions::new().write(true).open(directory.join(&name))?;
        file.write_all_at(&[original[middle] ^ 0xff], middle as u64)?;
        file.sync_all()?;
    }
    look_in(node, volume)
}

fn look_in(node: &Path, volume: &Volume) -> io::Result<Vec<KeptFile>> {
    let (directory, kept) = places(node, volume)?;
    let names = match plain_files(&kept) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    names.into_iter().map(|name| compare(&directory, &kept, name)).collect()
}

fn compare(directory: &Path, kept: &Path, name: String) -> io::Result<KeptFile> {
    let was = fs::read(kept.join(&name))?;
    let is = match fs::read(directory.join(&name)) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        is => Some(is?),
    };
    let differing = is.filter(|is| is.len() == was.len()).map(|is| {
        let differing = is.iter().zip(&was).filter(|(is, was)| is != was).count();
        differing as u64
    });
    Ok(KeptFile { name, bytes: was.len() as u64, differing })
}

fn mend_in(node: &Path, volume: &Volume) -> io::Result<Vec<KeptFile>> {
    let (directory, kept) = places(node, volume)?;
    let files = look_in(node, volume)?;
    for file in &files {
        // What the server has written anew since is its own.
        if file.differing == Some(1) {
            let original = fs::read(kept.join(&file.name))?;
            let back = OpenOptions::new().write(true).open(directory.join(&file.name))?;
            back.write_all_at(&original, 0)?;
            back.sync_all()?;
        }
        fs::remove_file(kept.join(&file.name))?;
    }
    match fs::remove_dir(&kept) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(files),
    }
}

/// The directory and the place of the kept files, as this process sees them.
fn places(node: &Path, volume: &Volume) -> io::Result<(PathBuf, PathBuf)> {
    let outside = |path: &str| Path::new(path).components().any(|part| part == std::path::Component::ParentDir);
    if outside(&volume.root) || outside(&volume.directory) || !volume.root.starts_with('/') {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a directory in a volume"));
    }
    let root = node.join(volume.root.trim_start_matches('/'));
    fs::metadata(&root).map_err(|error| io::Error::new(error.kind(), format!("volume {}: {error}", volume.root)))?;
    Ok((root.join(volume.directory.trim_start_matches('/')), root.join(KEPT)))
}

/// Files that are neither links nor empty, in order of name.
fn plain_files(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if !metadata.is_file() || metadata.len() == 0 {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if metadata.len() > BYTES_MAX || names.len() == FILES_MAX {
            return Err(io::Error::new(ErrorKind::FileTooLarge, format!("{name}: too large, or too many files")));
        }
        names.push(name);
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(node: &Path) -> Volume {
        fs::create_dir_all(node.join("mnt/v/a/b")).unwrap();
        fs::write(node.join("mnt/v/a/b/one"), b"0123456789").unwrap();
        fs::write(node.join("mnt/v/a/b/two"), b"x").unwrap();
        fs::write(node.join("mnt/v/a/b/empty"), b"").unwrap();
        Volume { root: "/mnt/v".to_owned(), directory: "a/b".to_owned() }
    }

    #[test]
    fn what_was_corrupted_is_put_back_exactly() {
        let node = tempfile::tempdir().unwrap();
        let volume = volume(node.path());
        let files = corrupt_in(node.path(), &volume).unwrap();
        let told: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.bytes, file.differing)).collect();
        assert_eq!(told, [("one", 10, Some(1)), ("two", 1, Some(1))]);
        assert_eq!(fs::read(node.path().join("mnt/v/a/b/one")).unwrap(), b"01234\xca6789");
        assert!(
            corrupt_in(node.path(), &volume).is_err(),
            "a second time would keep the corrupt bytes as the good ones"
        );
        mend_in(node.path(), &volume).unwrap();
        assert_eq!(fs::read(node.path().join("mnt/v/a/b/one")).unwrap(), b"0123456789");
        assert!(look_in(node.path(), &volume).unwrap().is_empty());
        assert!(mend_in(node.path(), &volume).unwrap().is_empty(), "mending twice is harmless");
    }

    #[test]
    fn what_was_written_since_is_left_alone() {
        let node = tempfile::tempdir().unwrap();
        let volume = volume(node.path());
        corrupt_in(node.path(), &volume).unwrap();
        fs::write(node.path().join("mnt/v/a/b/one"), b"anew").unwrap();
        fs::remove_file(node.path().join("mnt/v/a/b/two")).unwrap();
        let files = mend_in(node.path(), &volume).unwrap();
        assert!(files.iter().all(|file| file.differing.is_none()), "{files:?}");
        assert_eq!(fs::read(node.path().join("mnt/v/a/b/one")).unwrap(), b"anew");
        assert!(!node.path().join("mnt/v").join(KEPT).exists());
    }

    #[test]
    fn nothing_outside_a_volume_is_touched() {
        let node = tempfile::tempdir().unwrap();
        let inside = volume(node.path());
        for (root, directory) in [("/mnt/v", "../v/a/b"), ("/mnt/../mnt/v", "a/b"), ("mnt/v", "a/b"), ("/mnt/w", "a")] {
            let volume = Volume { root: root.to_owned(), directory: directory.to_owned() };
            assert!(corrupt_in(node.path(), &volume).is_err(), "{root} {directory}");
        }
        let empty = Volume { directory: "a".to_owned(), ..inside };
        assert!(corrupt_in(node.path(), &empty).is_err(), "a directory without files proves nothing");
        assert!(look_in(node.path(), &empty).unwrap().is_empty());
    }
}
