//! Corrupting files of a volume so that they can be put back: how they were is kept beside them, in the same volume.

use super::beneath::{Folder, WriteMode};
use super::wire::{KeptFile, Volume};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};

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
    let (root, directory) = places(node, volume)?;
    let missing = || io::Error::new(ErrorKind::NotFound, format!("{} is not in the volume", volume.directory));
    let directory = directory.ok_or_else(missing)?;
    let names = plain_files(&directory)?;
    if names.is_empty() {
        return Err(io::Error::new(ErrorKind::NotFound, format!("no file in {}", volume.directory)));
    }
    let kept = root.make_folder(KEPT);
    let kept = kept.map_err(|error| io::Error::new(error.kind(), format!("{KEPT} in the volume: {error}")))?;
    for name in names {
        let original = directory.read(&name, BYTES_MAX)?;
        // It may have been emptied since it was listed.
        let middle = original.len() / 2;
        let Some(byte) = original.get(middle) else { continue };
        let copy = kept.writable(&name, WriteMode::New)?;
        copy.write_all_at(&original, 0)?;
        copy.sync_all()?;
        kept.sync()?;
        let file = directory.writable(&name, WriteMode::Existing)?;
        file.write_all_at(&[byte ^ 0xff], middle as u64)?;
        file.sync_all()?;
    }
    look_in(node, volume)
}

fn look_in(node: &Path, volume: &Volume) -> io::Result<Vec<KeptFile>> {
    let (root, directory) = places(node, volume)?;
    let Some(kept) = found(root.folder(KEPT))? else { return Ok(Vec::new()) };
    plain_files(&kept)?.into_iter().map(|name| compare(directory.as_ref(), &kept, name)).collect()
}

fn found(folder: io::Result<Folder>) -> io::Result<Option<Folder>> {
    match folder {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        folder => folder.map(Some),
    }
}

fn compare(directory: Option<&Folder>, kept: &Folder, name: String) -> io::Result<KeptFile> {
    let was = kept.read(&name, BYTES_MAX)?;
    let mut is = None;
    // One of another length differs, however long it is by now.
    if let Some(directory) = directory
        && directory.length(&name)? == Some(was.len() as u64)
    {
        is = Some(directory.read(&name, BYTES_MAX)?);
    }
    let differing = is.filter(|is| is.len() == was.len()).map(|is| {
        let differing = is.iter().zip(&was).filter(|(is, was)| is != was).count();
        differing as u64
    });
    Ok(KeptFile { name, bytes: was.len() as u64, differing })
}

fn mend_in(node: &Path, volume: &Volume) -> io::Result<Vec<KeptFile>> {
    let (root, directory) = places(node, volume)?;
    let files = look_in(node, volume)?;
    let Some(kept) = found(root.folder(KEPT))? else { return Ok(files) };
    for file in &files {
        // What the server has written anew since is its own.
        if let (Some(1), Some(directory)) = (file.differing, &directory) {
            let original = kept.read(&file.name, BYTES_MAX)?;
            let back = directory.writable(&file.name, WriteMode::Existing)?;
            back.write_all_at(&original, 0)?;
            back.sync_all()?;
        }
        kept.remove(&file.name)?;
    }
    root.remove_folder(KEPT)?;
    Ok(files)
}

/// The volume and its directory, open; the directory may be gone by now.
fn places(node: &Path, volume: &Volume) -> io::Result<(Folder, Option<Folder>)> {
    let outside = |path: &str| Path::new(path).components().any(|part| part == Component::ParentDir);
    if outside(&volume.root) || outside(&volume.directory) || !volume.root.starts_with('/') {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a directory in a volume"));
    }
    let root = Folder::of_node(node, &volume.root);
    let root = root.map_err(|error| io::Error::new(error.kind(), format!("volume {}: {error}", volume.root)))?;
    let directory = found(root.folder(volume.directory.trim_start_matches('/')));
    let directory =
        directory.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", volume.directory)))?;
    Ok((root, directory))
}

/// Files that are neither links nor empty, in order of name.
fn plain_files(directory: &Folder) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for (name, bytes) in directory.plain_files()?.into_iter().filter(|(_, bytes)| *bytes > 0) {
        if bytes > BYTES_MAX || names.len() == FILES_MAX {
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
    use std::fs;
    use std::os::unix::fs::symlink;

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
        corrupt_in(node.path(), &volume).unwrap();
        fs::remove_dir_all(node.path().join("mnt/v/a")).unwrap();
        let files = mend_in(node.path(), &volume).unwrap();
        assert!(files.iter().all(|file| file.differing.is_none()), "{files:?}");
        assert!(!node.path().join("mnt/v").join(KEPT).exists(), "also where the whole directory is gone");
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

    #[test]
    fn what_the_volumes_owner_puts_in_the_way_leads_nowhere() {
        let node = tempfile::tempdir().unwrap();
        let volume = volume(node.path());
        let place = |path: &str| node.path().join(path);
        fs::write(place("shadow"), b"secret").unwrap();
        symlink("../../../../shadow", place("mnt/v/a/b/link")).unwrap();
        symlink("../..", place("mnt/v/up")).unwrap();
        for directory in ["up", "up/mnt/v/a/b"] {
            let outside = Volume { directory: directory.to_owned(), ..volume.clone() };
            assert!(corrupt_in(node.path(), &outside).is_err(), "{directory}");
        }
        symlink("../..", place("mnt/v").join(KEPT)).unwrap();
        assert!(corrupt_in(node.path(), &volume).is_err() && mend_in(node.path(), &volume).is_err());
        fs::remove_file(place("mnt/v").join(KEPT)).unwrap();
        let names: Vec<_> = corrupt_in(node.path(), &volume).unwrap().into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["one", "two"], "the link is passed over");
        // In the place of a file that is to be put back, and of a copy.
        fs::remove_file(place("mnt/v/a/b/one")).unwrap();
        symlink("../../../../shadow", place("mnt/v/a/b/one")).unwrap();
        assert!(mend_in(node.path(), &volume).is_err());
        fs::remove_file(place("mnt/v/a/b/one")).unwrap();
        fs::remove_file(place("mnt/v").join(KEPT).join("one")).unwrap();
        symlink("../../../shadow", place("mnt/v").join(KEPT).join("one")).unwrap();
        assert!(mend_in(node.path(), &volume).is_err(), "what is left in the folder is not ours");
        assert_eq!(fs::read(place("shadow")).unwrap(), b"secret");
    }
}
