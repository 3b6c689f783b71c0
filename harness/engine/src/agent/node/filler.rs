//! Filling a pod's volume with a file of real data, and looking at it, from its node.
//!
//! The volume is reached through the kubelet's own mount of it, which stays for as long as the pod does, however often its
//! containers start again.

use super::beneath::{Folder, WriteMode};
use super::wire::{Filler, Space};
use rustix::fs::{FallocateFlags, fallocate, fstatfs, fstatvfs};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The node's own root directory, and where its kubelet keeps the pods' volumes.
const NODE_ROOT: &str = "/proc/1/root";
const PODS: &str = "/var/lib/kubelet/pods";
/// The largest volume that is filled, in bytes: each byte is written for real.
const VOLUME_BYTES_MAX: u64 = 16 << 30;
/// What is written at once, at first and near the end.
const CHUNKS: [usize; 3] = [1 << 20, 64 << 10, 4 << 10];
/// The writes that show that nothing more fits.
const TRIED_BYTES: usize = 4 << 10;

/// Where a volume of a pod is mounted on this node; `None` where it is not.
///
/// # Errors
/// Where the names lead elsewhere, or what is there is no file system of its own.
fn mount_of(node: &Path, filler: &Filler) -> io::Result<Option<Folder>> {
    filler.check().map_err(refused)?;
    let missing = |folder: io::Result<Folder>| match folder {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        folder => folder.map(Some),
    };
    let Some(pods) = missing(Folder::of_node(node, PODS))? else { return Ok(None) };
    let Some(pod) = missing(pods.folder(&filler.pod_uid))? else { return Ok(None) };
    let path = format!("volumes/kubernetes.io~csi/{}/mount", filler.volume);
    let Some(mount) = missing(pod.folder(&path))? else { return Ok(None) };
    // What is no file system of its own is the node's: filling that would hit everything.
    let of = |folder: &Folder| fstatvfs(folder.fd()).map(|all| all.f_fsid);
    if of(&mount)? == of(&pod)? {
        return Err(refused(format!("{} is not mounted: its files are on the node's own disk", filler.volume)));
    }
    Ok(Some(mount))
}

fn mounted(filler: &Filler) -> io::Result<Folder> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{} is not on this node", filler.volume));
    mount_of(Path::new(NODE_ROOT), filler)?.ok_or_else(missing)
}

/// Bytes in all, and those free to others than root.
fn space(mount: &Folder) -> io::Result<(u64, u64)> {
    let all = fstatfs(mount.fd())?;
    let size = u64::try_from(all.f_bsize).unwrap_or(0);
    Ok((all.f_blocks * size, all.f_bavail * size))
}

/// Asked only before more is written: one that has grown since must still be looked at and emptied.
pub(super) fn may_be_filled(volume: &str, bytes: u64) -> io::Result<()> {
    if bytes > VOLUME_BYTES_MAX {
        return Err(refused(format!("{volume} has {bytes} bytes, more than the {VOLUME_BYTES_MAX} that are filled")));
    }
    Ok(())
}

/// Writes up to `bytes_max` more into the filler file, until no more than `leave_bytes` are free.
pub(super) fn fill(filler: &Filler, leave_bytes: u64, bytes_max: u64) -> io::Result<Space> {
    let mount = mounted(filler)?;
    may_be_filled(&filler.volume, space(&mount)?.0)?;
    let full = fill_at(&mount, &filler.file, leave_bytes, bytes_max)?;
    Ok(Space { full, ..looked(&mount, &filler.file)? })
}

fn fill_at(mount: &Folder, name: &str, leave_bytes: u64, bytes_max: u64) -> io::Result<bool> {
    let file = mount.writable(name, WriteMode::ExistingOrNew)?;
    let mut end = file.metadata()?.len();
    let mut left = bytes_max;
    for chunk in CHUNKS {
        // Not zeros, which a store that looks for them would not keep.
        let data: Vec<u8> = (0..chunk).map(|index| (index % 251) as u8 | 1).collect();
        loop {
            if left < chunk as u64 {
                file.sync_data().or_else(unless_full)?;
                return Ok(false);
            }
            if leave_bytes > 0 && space(mount)?.1 < leave_bytes + chunk as u64 {
                break;
            }
            match append(&file, end, &data, leave_bytes > 0) {
                Ok(()) => (left, end) = (left - chunk as u64, end + chunk as u64),
                // What was set aside for it is given back once all is on the disk: the smaller ones find that.
                Err(error) if is_full(&error) => {
                    file.sync_data().or_else(unless_full)?;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    file.sync_data().or_else(unless_full)?;
    Ok(true)
}

/// Writes more at the end. To be `exact`, the space is set aside first: a file that just grows is given more than it needs by
/// XFS, up to 256 MiB, which is taken back five minutes later. On a full file system it is taken back at once, and space is
/// refused to be set aside where a write would still find some: there the file just grows.
fn append(file: &File, end: u64, data: &[u8], exact: bool) -> io::Result<()> {
    if exact {
        match fallocate(file, FallocateFlags::empty(), end, data.len() as u64) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    file.write_all_at(data, end)
}

/// How full it is, as the kernel says, and, where that is to be tried, whether one more small write is refused. The file of
/// that write is removed.
pub(super) fn look(filler: &Filler, try_write: bool) -> io::Result<Space> {
    let mount = mounted(filler)?;
    if !try_write {
        return looked(&mount, &filler.file);
    }
    let tried = tried_name(filler);
    // One of an earlier try that was killed.
    mount.remove(&tried)?;
    let write = |mut file: File| file.write_all(&[1; TRIED_BYTES]).and_then(|()| file.sync_data());
    let written = mount.writable(&tried, WriteMode::New).and_then(write);
    let removed = mount.remove(&tried);
    let refused = match written {
        Ok(()) => None,
        Err(error) if is_full(&error) => Some(error.to_string()),
        Err(error) => return Err(error),
    };
    removed?;
    Ok(Space { refused, ..looked(&mount, &filler.file)? })
}

fn looked(mount: &Folder, name: &str) -> io::Result<Space> {
    let (bytes, bytes_free) = space(mount)?;
    let filler_bytes = mount.length(name)?;
    Ok(Space { bytes, bytes_free, filler_bytes, full: false, refused: None })
}

/// Removes the filler file. One that is not there, or whose volume is not here, is fine.
pub(super) fn empty(filler: &Filler) -> io::Result<()> {
    match mount_of(Path::new(NODE_ROOT), filler)? {
        Some(mount) => mount.remove(&filler.file).and_then(|()| mount.remove(&tried_name(filler))),
        None => Ok(()),
    }
}

/// The file of the writes that are tried.
fn tried_name(filler: &Filler) -> String {
    format!("{}-tried", filler.file)
}

fn is_full(error: &io::Error) -> bool {
    [Errno::NOSPC, Errno::DQUOT].iter().any(|full| error.raw_os_error() == Some(full.raw_os_error()))
}

fn unless_full(error: io::Error) -> io::Result<()> {
    if is_full(&error) { Ok(()) } else { Err(error) }
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn filler(volume: &str, file: &str) -> Filler {
        Filler { pod_uid: "u-1".into(), volume: volume.into(), file: file.into() }
    }

    #[test]
    fn what_is_written_is_real_and_bounded_and_removed() {
        let place = tempfile::tempdir().unwrap();
        let mount = Folder::of_node(place.path(), "/").unwrap();
        assert!(!fill_at(&mount, "filler", 0, 3 << 20).unwrap(), "the limit ends it, not the disk");
        let seen = looked(&mount, "filler").unwrap();
        assert_eq!(seen.filler_bytes, Some(3 << 20));
        use std::os::unix::fs::MetadataExt;
        let blocks = fs::metadata(place.path().join("filler")).unwrap().blocks();
        assert!(blocks * 512 >= 3 << 20, "{blocks} blocks of 512 bytes: it has holes");
        assert!(blocks * 512 < 4 << 20, "{blocks} blocks of 512 bytes: more is set aside than was asked for");
        let (_, free) = space(&mount).unwrap();
        assert!(fill_at(&mount, "filler", free + (1 << 30), 3 << 20).unwrap(), "so much is to be left");
        assert_eq!(looked(&mount, "filler").unwrap().filler_bytes, Some(3 << 20));
        mount.remove("filler").unwrap();
        assert_eq!(looked(&mount, "filler").unwrap().filler_bytes, None);
    }

    #[test]
    fn only_a_file_system_of_its_own_is_filled() {
        let pods = tempfile::tempdir().unwrap();
        let mount_of = |filler: &Filler| mount_of(pods.path(), filler);
        assert!(mount_of(&filler("pvc-1", "f")).unwrap().is_none(), "no kubelet is here");
        fs::create_dir_all(pods.path().join("var/lib/kubelet/pods/u-1")).unwrap();
        assert!(mount_of(&filler("pvc-1", "f")).unwrap().is_none(), "a volume that is not here");
        fs::create_dir_all(pods.path().join("var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/pvc-1/mount")).unwrap();
        let error = mount_of(&filler("pvc-1", "f")).unwrap_err().to_string();
        assert_eq!(error, "pvc-1 is not mounted: its files are on the node's own disk");
        for name in ["", "..", "a/b", "a\0", "-a b"] {
            assert!(mount_of(&filler(name, "f")).is_err() && mount_of(&filler("v", name)).is_err());
        }
    }

    #[test]
    fn a_link_in_the_place_of_the_file_is_removed_and_not_filled() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("v")).unwrap();
        let mount = Folder::of_node(place.path(), "/v").unwrap();
        symlink("../outside", place.path().join("v/filler")).unwrap();
        assert!(fill_at(&mount, "filler", 0, 1 << 20).is_err());
        assert!(looked(&mount, "filler").is_err());
        fs::write(place.path().join("outside"), "kept").unwrap();
        assert!(fill_at(&mount, "filler", 0, 1 << 20).is_err());
        mount.remove("filler").unwrap();
        assert_eq!(fs::read(place.path().join("outside")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(place.path().join("v")).unwrap().count(), 0);
    }
}
