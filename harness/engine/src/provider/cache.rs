//! What is kept of a cluster on this machine: a folder of its own in the cache.

use super::ProviderError;
use crate::files;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The folder of all clusters.
pub(super) fn clusters() -> Result<PathBuf, ProviderError> {
    let cache = crate::env::cache_dir();
    let cache = cache.ok_or_else(|| ProviderError::Other("neither XDG_CACHE_HOME nor HOME is set".to_owned()))?;
    Ok(cache.join("clusters"))
}

/// Where everything of a cluster is that is kept on this machine; the folder is made.
pub(super) fn folder_of(name: &str) -> Result<PathBuf, ProviderError> {
    let folder = clusters()?.join(name);
    files::create_dir_all(&folder).map_err(|source| ProviderError::File { path: folder.clone(), source })?;
    Ok(folder)
}

/// Removes a file. One that is not there is no error.
pub(super) fn forget(path: &Path) -> Result<(), ProviderError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(ProviderError::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Removes a cluster's folder, unless somebody else put something there.
pub(super) fn remove_folder(name: &str) -> Result<(), ProviderError> {
    remove_if_empty(&folder_of(name)?)
}

/// Removes a folder that is empty. What somebody else put there stays.
pub(super) fn remove_if_empty(folder: &Path) -> Result<(), ProviderError> {
    match std::fs::remove_dir(folder) {
        Err(source) if !matches!(source.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => {
            Err(ProviderError::File { path: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}
