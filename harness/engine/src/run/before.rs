//! What a cluster was before a run, kept beside its journal: a sweep sees by it whether the cluster is so again.

use crate::clock::Clock;
use crate::cluster::{Cluster, Inventory, differences};
use crate::files;
use crate::process::Progress;
use firedrill_core::scenario::Irreversible;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::time::{sleep_until, timeout_at};

const FILE: &str = "before.json";
/// How many differences are shown.
const SHOWN_MAX: usize = 10;
/// A look lists all that is in the cluster.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps it in the run's folder: whole, or not at all.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn keep(folder: &Path, before: &Inventory) -> Result<(), String> {
    let path = folder.join(FILE);
    let kept = serde_json::to_vec(before).map_err(io::Error::other).and_then(|text| files::replace(&path, &text));
    kept.map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether it was kept: from then on, the run may have changed the cluster.
pub(super) fn was_kept(folder: &Path) -> bool {
    folder.join(FILE).exists()
}

/// How a cluster compares with what it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// It is so again.
    Same,
    /// It was not when the limit passed; what differed at the last look that told, for people.
    Differs(String),
    /// Nobody could tell.
    Unknown(String),
}

/// Waits until the cluster is as before the run of that folder, beyond what its variant is said to leave. What the API server
/// refuses may be a start of it: it is asked again until the limit.
pub(super) async fn wait_until_as(
    cluster: &Cluster,
    folder: &Path,
    irreversible: Option<Irreversible>,
    within: Duration,
    progress: Progress<'_>,
) -> Compared {
    let path = folder.join(FILE);
    let read = fs::read_to_string(&path).map_err(|error| error.to_string());
    let before: Result<Inventory, String> =
        read.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    let before = match before {
        Ok(before) => before,
        Err(error) => return Compared::Unknown(format!("{}: {error}", path.display())),
    };
    let clock = Clock::start();
    let deadline = clock.deadline(clock.now().plus(within));
    let mut last = Compared::Unknown("the API server did not answer".to_owned());
    while let Ok(looked) = timeout_at(deadline, cluster.inventory()).await {
        let now = match looked {
            Ok(after) => match shown(&differences(&before, &after, irreversible).undeclared) {
                None => return Compared::Same,
                Some(found) => Compared::Differs(found),
            },
            Err(error) => Compared::Unknown(error.to_string()),
        };
        if now != last {
            let (Compared::Differs(why) | Compared::Unknown(why)) = &now else { continue };
            progress(format!("waiting until the cluster is as before: {why}"));
            last = now;
        }
        sleep_until(deadline.min(clock.deadline(clock.now().plus(LOOK_EVERY)))).await;
    }
    last
}

fn shown(found: &[String]) -> Option<String> {
    let first = found[..found.len().min(SHOWN_MAX)].join("; ");
    match found.len() {
        0 => None,
        count if count > SHOWN_MAX => Some(format!("{first}; and {} more", count - SHOWN_MAX)),
        _ => Some(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_differences_are_counted() {
        let found: Vec<String> = (0..12).map(|number| format!("d{number}")).collect();
        assert_eq!(shown(&[]), None);
        assert_eq!(shown(&found[..2]).as_deref(), Some("d0; d1"));
        assert!(shown(&found).unwrap().ends_with("d9; and 2 more"));
    }

    #[test]
    fn what_is_kept_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!was_kept(folder.path()));
        keep(folder.path(), &Inventory::default()).unwrap();
        assert!(was_kept(folder.path()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(keep(&folder.path().join("missing"), &Inventory::default()).is_err());
    }
}
