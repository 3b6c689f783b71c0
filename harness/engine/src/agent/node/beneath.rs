//! A folder of a victim's volume, from which nothing leads out.
//!
//! This process is privileged and sees the whole node, and the volume's owner can put a link, a pipe or a device wherever a
//! file is expected, at any moment. So everything is opened from the folder's own handle by `openat2`, which refuses links on
//! the way, and what was opened is looked at before it is used. A kernel without `openat2` (before 5.6) is refused.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::fs::{fstat, mkdirat, openat2, statat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Modes of what is made in a volume: as any program there would make it.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);
/// Folders that were swapped for others while a name was resolved are tried again this often (`EAGAIN` of openat2(2)).
const TRIES: u32 = 16;

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

/// How a file is opened for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteMode {
    /// It must be there.
    Existing,
    /// It must not be there.
    New,
    /// It is made where it is not there.
    ExistingOrNew,
}

impl Folder {
    /// A folder by a path of the node's own, as the node's first process sees it. Links of the node count, within its root.
    pub(super) fn of_node(node: &Path, path: &str) -> io::Result<Self> {
        let root = rustix::fs::open(node, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        open(root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), resolve).map(Self)
    }

    /// A folder below this one.
    pub(super) fn folder(&self, path: &str) -> io::Result<Self> {
        let path = if path.is_empty() { "." } else { path };
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).map(Self)
    }

    /// Makes a folder in this one, which must not be there.
    pub(super) fn make_folder(&self, name: &str) -> io::Result<Self> {
        mkdirat(&self.0, one(name)?, FOLDER_MODE)?;
        self.folder(name)
    }

    /// A plain file of this folder, for reading.
    pub(super) fn file(&self, name: &str) -> io::Result<File> {
        self.plain(name, OFlags::RDONLY, Mode::empty())
    }

    /// All of a plain file, at most so many bytes.
    pub(super) fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(name)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > bytes_max {
            true => Err(io::Error::new(ErrorKind::FileTooLarge, format!("{name}: too large"))),
            false => Ok(bytes),
        }
    }

    /// A plain file of this folder, for writing.
    pub(super) fn writable(&self, name: &str, opened: WriteMode) -> io::Result<File> {
        let (flags, mode) = match opened {
            WriteMode::Existing => (OFlags::WRONLY, Mode::empty()),
            WriteMode::New => (OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, FILE_MODE),
            WriteMode::ExistingOrNew => (OFlags::WRONLY | OFlags::CREATE, FILE_MODE),
        };
        self.plain(name, flags, mode)
    }

    /// The length of a plain file; `None` where there is nothing of that name.
    pub(super) fn length(&self, name: &str) -> io::Result<Option<u64>> {
        match self.look(name) {
            Ok(stat) => plain_length(name, &stat).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a name, of whatever kind: a link itself, and never what it leads to. One that is not there is fine.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        unless_missing(unlinkat(&self.0, one(name)?, AtFlags::empty()))
    }

    /// Removes an empty folder. One that is not there is fine.
    pub(super) fn remove_folder(&self, name: &str) -> io::Result<()> {
        unless_missing(unlinkat(&self.0, one(name)?, AtFlags::REMOVEDIR))
    }

    /// Names and lengths of the plain files in it; links, pipes, devices and folders are passed over.
    pub(super) fn plain_files(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            if entry.file_name() == c"." || entry.file_name() == c".." {
                continue;
            }
            // A name that is not UTF-8 is refused: what would be told of it is another one.
            let name = entry.file_name().to_str().map_err(|_| refused("a file's name is not UTF-8"))?.to_owned();
            match self.look(&name) {
                Ok(stat) => files.extend(plain_length(&name, &stat).ok().map(|bytes| (name, bytes))),
                // It went meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    /// Writes its names to disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn look(&self, name: &str) -> io::Result<Stat> {
        Ok(statat(&self.0, one(name)?, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn plain(&self, name: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
        let name = one(name)?;
        // Opening a device does something to it already; what takes its place from here on is found out below.
        match self.look(name) {
            Ok(stat) => {
                plain_length(name, &stat)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound && flags.contains(OFlags::CREATE) => {}
            Err(error) => return Err(error),
        }
        // A pipe without another end would hold this up for ever.
        let file = self.open(name, flags | OFlags::NONBLOCK | OFlags::NOCTTY, mode)?;
        plain_length(name, &fstat(&file)?)?;
        Ok(File::from(file))
    }

    fn open(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        open(self.fd(), path, flags | OFlags::NOFOLLOW, mode, beneath)
    }
}

fn open(from: BorrowedFd<'_>, path: &str, flags: OFlags, mode: Mode, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let mut tries = 0;
    loop {
        tries += 1;
        return match openat2(from, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN) if tries < TRIES => continue,
            Err(Errno::LOOP) => Err(refused(format!("{path}: there is a symbolic link, and links are not followed"))),
            Err(Errno::XDEV) => Err(refused(format!("{path}: it leads out of the volume"))),
            Err(Errno::NOSYS) => Err(io::Error::new(
                ErrorKind::Unsupported,
                "the node's kernel has no openat2 (Linux 5.6), without which nothing in a volume is touched",
            )),
            opened => Ok(opened?),
        };
    }
}

/// A name that is one part of a path.
fn one(name: &str) -> io::Result<&str> {
    match name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        true => Err(refused(format!("{name:?} is not a file's name"))),
        false => Ok(name),
    }
}

fn plain_length(name: &str, stat: &Stat) -> io::Result<u64> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(u64::try_from(stat.st_size).unwrap_or(0)),
        kind => Err(refused(format!("{name} is not a plain file ({kind:?})"))),
    }
}

fn unless_missing(done: rustix::io::Result<()>) -> io::Result<()> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        done => Ok(done?),
    }
}

fn refused(reason: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A volume `mnt/v` of a node, and a file of the node outside it.
    fn node() -> (tempfile::TempDir, Folder) {
        let node = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(node.path().join("mnt/v/data")).unwrap();
        std::fs::create_dir_all(node.path().join("etc")).unwrap();
        std::fs::write(node.path().join("etc/shadow"), "secret").unwrap();
        std::fs::write(node.path().join("mnt/v/data/plain"), "plain").unwrap();
        let folder = Folder::of_node(node.path(), "/mnt/v").unwrap();
        (node, folder)
    }

    #[test]
    fn a_link_in_a_files_place_is_never_followed() {
        let (node, volume) = node();
        let outside = node.path().join("etc/shadow");
        for (name, target) in
            [("absolute", outside.to_str().unwrap()), ("relative", "../../etc/shadow"), ("away", "gone")]
        {
            symlink(target, node.path().join("mnt/v").join(name)).unwrap();
            for opened in [WriteMode::Existing, WriteMode::ExistingOrNew, WriteMode::New] {
                assert!(volume.writable(name, opened).is_err(), "{name} {opened:?}");
            }
            let error = volume.file(name).unwrap_err().to_string();
            assert_eq!(error, format!("{name} is not a plain file (Symlink)"));
            assert!(volume.length(name).is_err() && volume.folder(name).is_err());
            volume.remove(name).unwrap();
        }
        assert_eq!(std::fs::read(&outside).unwrap(), b"secret");
        assert_eq!(std::fs::read_dir(node.path().join("etc")).unwrap().count(), 1);
        assert!(!node.path().join("mnt/v/gone").exists());
    }

    #[test]
    fn a_link_in_a_folders_place_is_never_followed() {
        let (node, volume) = node();
        symlink("../../etc", node.path().join("mnt/v/up")).unwrap();
        symlink("data", node.path().join("mnt/v/same")).unwrap();
        symlink("/proc/self/root", node.path().join("mnt/v/magic")).unwrap();
        for path in ["up", "same", "magic", "magic/etc", "up/..", "data/../same"] {
            let error = volume.folder(path).unwrap_err().to_string();
            assert!(error.contains("links are not followed") || error.contains("Not a directory"), "{path}: {error}");
        }
        for path in ["..", "../..", "data/../..", "/etc"] {
            let error = volume.folder(path).unwrap_err().to_string();
            assert!(error.ends_with("it leads out of the volume"), "{path}: {error}");
        }
        assert!(volume.make_folder("up").is_err());
        assert!(volume.folder("data").is_ok() && volume.folder("").is_ok());
    }

    #[test]
    fn pipes_and_folders_are_no_files_and_hold_nothing_up() {
        let (node, volume) = node();
        let made = std::process::Command::new("mkfifo").arg(node.path().join("mnt/v/pipe")).status().unwrap();
        assert!(made.success());
        let _socket = std::os::unix::net::UnixListener::bind(node.path().join("mnt/v/socket")).unwrap();
        for name in ["pipe", "socket", "data"] {
            assert!(volume.file(name).is_err() && volume.length(name).is_err(), "{name}");
            assert!(volume.writable(name, WriteMode::ExistingOrNew).is_err(), "{name}");
        }
        assert!(volume.plain_files().unwrap().is_empty());
        // Where the first look was deceived, the second one is not.
        let opened = volume.open("pipe", OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
        assert!(plain_length("pipe", &fstat(&opened).unwrap()).is_err());
        let dev = Folder::of_node(Path::new("/"), "/dev").unwrap();
        assert_eq!(dev.file("null").unwrap_err().to_string(), "null is not a plain file (CharacterDevice)");
    }

    #[test]
    fn names_from_elsewhere_are_one_part_of_a_path() {
        let (_node, volume) = node();
        for name in ["", ".", "..", "data/plain", "/etc/shadow", "a\0b"] {
            assert!(volume.file(name).is_err() && volume.writable(name, WriteMode::ExistingOrNew).is_err(), "{name:?}");
            assert!(volume.remove(name).is_err() && volume.make_folder(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_folder_that_is_swapped_for_a_link_leads_nowhere() {
        let (node, volume) = node();
        let (data, spare) = (node.path().join("mnt/v/data"), node.path().join("mnt/v/spare"));
        let held = volume.folder("data").unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::fs::rename(&data, &spare).unwrap();
                    symlink("../../etc", &data).unwrap();
                    std::fs::remove_file(&data).unwrap();
                    std::fs::rename(&spare, &data).unwrap();
                }
            });
            let leads_out = |folder: Folder| !matches!(folder.length("shadow"), Ok(None));
            let led_out = (0..2_000).any(|_| volume.folder("data").is_ok_and(leads_out));
            // What is open stays what it is, whatever now has its name.
            let again = |mut file: File| file.write_all(b"again").is_ok();
            let kept = (0..200).all(|_| held.writable("plain", WriteMode::Existing).is_ok_and(again));
            // First of all the other thread must end.
            stop.store(true, Ordering::Relaxed);
            assert!(!led_out, "it was the node's own folder");
            assert!(kept);
        });
        assert_eq!(std::fs::read_dir(node.path().join("etc")).unwrap().count(), 1);
    }

    #[test]
    fn links_of_the_node_itself_stay_within_its_root() {
        let (node, _volume) = node();
        symlink("/mnt/v", node.path().join("kubelet")).unwrap();
        let folder = Folder::of_node(node.path(), "/kubelet/data").unwrap();
        assert_eq!(folder.read("plain", 5).unwrap(), b"plain");
        assert_eq!(folder.plain_files().unwrap(), [("plain".to_owned(), 5)]);
        assert!(folder.read("plain", 4).is_err());
        symlink("../../../../../../etc", node.path().join("out")).unwrap();
        let etc = Folder::of_node(node.path(), "/out").unwrap();
        assert_eq!(etc.length("shadow").unwrap(), Some(6), "the node's own etc, not this machine's");
    }
}
