//! Files and folders that firedrill keeps: no other user can read them, and what a later act depends on survives a crash of
//! the machine.
//!
//! A run's folder holds logs, Secrets' names and the output of commands. Nothing else in this program makes files.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, rename};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Modes from the creation on: there is no moment at which others can open them.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Makes a folder, and those above it that are missing. Each new one is on disk when this returns.
///
/// # Errors
/// As the file system.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    create_dir_all(&above)?;
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync_dir(&above)
}

/// Makes a file that must not exist, to be appended to. Its name is on disk when this returns.
///
/// # Errors
/// As the file system.
pub fn create_new(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create_new(true).append(true).mode(FILE_MODE).open(path)?;
    sync_dir(&folder_of(path))?;
    Ok(file)
}

/// Writes a file, in the place of one that is there. It may be lost, or half there, after a crash of the machine.
///
/// # Errors
/// As the file system.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    open(path)?.write_all(content)
}

/// Writes a file beside its place and moves it there: a reader sees all of it or nothing, and so does one after a crash of
/// the machine. It is on disk when this returns.
///
/// # Errors
/// As the file system; then what was there before is there still.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "not the name of a file"))?;
    let draft = path.with_file_name(format!(".{}.draft", name.to_string_lossy()));
    let written = || -> io::Result<()> {
        let mut file = open(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        rename(&draft, path)?;
        sync_dir(&folder_of(path))
    };
    written().inspect_err(|_| drop(std::fs::remove_file(&draft)))
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    // One that was there before keeps its mode otherwise.
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A new name in a folder is on disk only once the folder is. Some file systems cannot be asked for that.
fn sync_dir(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_and_folders_are_private_whatever_was_there() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("runs/r1/bundle");
        create_dir_all(&folder).unwrap();
        create_dir_all(&folder).unwrap();
        for made in ["runs", "runs/r1", "runs/r1/bundle"] {
            assert_eq!(mode(&place.path().join(made)), 0o700, "{made}");
        }
        drop(create_new(&folder.join("new")).unwrap());
        assert!(create_new(&folder.join("new")).is_err());
        for name in ["written", "replaced"] {
            std::fs::write(folder.join(name), "before").unwrap();
            std::fs::set_permissions(folder.join(name), Permissions::from_mode(0o644)).unwrap();
        }
        write(&folder.join("written"), b"now").unwrap();
        replace(&folder.join("replaced"), b"now").unwrap();
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let modes: Vec<_> = names.map(|path| mode(&path)).collect();
        assert_eq!(modes, [0o600; 3], "new, written and replaced, and no draft");
        assert_eq!(std::fs::read(folder.join("replaced")).unwrap(), b"now");
    }

    #[test]
    fn what_cannot_be_replaced_stays() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("taken");
        std::fs::create_dir_all(path.join("full")).unwrap();
        assert!(replace(&path, b"x").is_err());
        assert!(replace(Path::new("/"), b"x").is_err());
        assert!(path.join("full").is_dir());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "no draft is left");
    }

    /// Where files are made by other means: in temporary folders, which are private, in volumes of a cluster, and of the
    /// container engine.
    const ELSEWHERE: [&str; 6] = [
        "engine/src/files.rs",
        "engine/src/runbook/check/mod.rs",
        "engine/src/runbook/check/chart.rs",
        "engine/src/provider/kind/volumes.rs",
        "engine/src/agent/node/files.rs",
        "engine/src/agent/node/filler.rs",
    ];

    #[test]
    fn nothing_else_makes_files() {
        let harness = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut sources: Vec<_> = ["engine/src", "cli/src"].map(|folder| harness.join(folder)).into();
        let mut looked_at = 0;
        while let Some(path) = sources.pop() {
            if path.is_dir() {
                sources.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let name = path.strip_prefix(harness).unwrap().to_string_lossy().into_owned();
            let is_test = name.contains("/tests")
                || name.contains("_tests")
                || name.ends_with("/fake.rs")
                || name.starts_with("engine/src/sim/");
            if !name.ends_with(".rs") || is_test || ELSEWHERE.contains(&name.as_str()) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for call in ["fs::write(", "File::create", "create_dir(", "OpenOptions", "DirBuilder", "fs::rename("] {
                assert!(!code.contains(call), "{name} calls {call}: use files.rs");
            }
            assert!(!code.contains("fs::create_dir_all("), "{name} makes a folder: use files.rs");
            looked_at += 1;
        }
        assert!(looked_at > 100, "{looked_at}");
    }
}
