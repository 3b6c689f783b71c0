//! The only place that reads the process's environment.

use std::ffi::OsString;
use std::path::PathBuf;

/// The value of a variable, where it is set, is text and is not empty.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The value of a variable as the system has it, where it is set and not empty.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn raw(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// `${XDG_CACHE_HOME:-~/.cache}/firedrill`; `None` where neither variable is set.
pub fn cache_dir() -> Option<PathBuf> {
    raw("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| raw("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .map(|base| base.join("firedrill"))
}
