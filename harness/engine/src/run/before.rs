//! What a cluster was before a run, kept beside its journal: a sweep sees by it whether the cluster is so again.

use crate::port::{DigestKey, Inventory, Ports, Progress, Store, differences};
use firedrill_core::listing::first_of;
use firedrill_core::scenario::Irreversible;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::time::{sleep_until, timeout_at};

const FILE: &str = "before.json";
const KEY_FILE: &str = "before.key";
/// The version of the listing's format, and of what it lists.
const VERSION: u32 = 3;
/// How many differences are shown.
const SHOWN_MAX: usize = 10;
/// A look lists all that is in the cluster.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a cluster was before a run.
#[derive(Clone, Debug)]
pub(super) struct Before {
    /// Its objects.
    pub(super) inventory: Inventory,
    /// With what the contents of its Secrets were digested.
    pub(super) key: DigestKey,
}

#[cfg(test)]
impl Before {
    /// Of a cluster in which nothing is.
    pub(super) fn empty() -> Self {
        Self { inventory: Inventory::default(), key: DigestKey::random().unwrap() }
    }
}

/// The file. A file of another format is not compared: what counts as the same differs between formats. A sweep then reports that the
/// cluster could not be compared, and the run stays unsettled.
#[derive(Serialize, Deserialize)]
struct BeforeFile<I> {
    version: u32,
    objects: I,
}

/// Keeps it in the run's folder: whole, or not at all. The key has a file of its own, so that the listing can be handed on
/// without it: whoever has both can try out what a short Secret holds.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn keep(store: &dyn Store, folder: &Path, before: &Before) -> Result<(), String> {
    let kept = BeforeFile { version: VERSION, objects: &before.inventory };
    let listing = serde_json::to_vec(&kept).map_err(|error| error.to_string())?;
    write_whole(store, folder, KEY_FILE, before.key.to_hex().as_bytes())?;
    write_whole(store, folder, FILE, &listing)
}

/// Deletes the key, once nothing is to be compared with any more: without it, nobody can try out what a Secret held.
///
/// # Errors
/// Where it is there still.
pub(super) fn forget_key(store: &dyn Store, folder: &Path) -> Result<(), String> {
    let path = folder.join(KEY_FILE);
    match store.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}

fn write_whole(store: &dyn Store, folder: &Path, name: &str, content: &[u8]) -> Result<(), String> {
    let path = folder.join(name);
    store.replace(&path, content).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(store: &dyn Store, folder: &Path) -> Result<Before, String> {
    let text = |name: &str| {
        let path = folder.join(name);
        store.read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let path = folder.join(FILE);
    let kept: BeforeFile<serde_json::Value> = serde_json::from_str(&text(FILE)?)
        .map_err(|error| format!("{} is not an inventory that firedrill wrote: {error}", path.display()))?;
    if kept.version != VERSION {
        return Err(format!(
            "{} has format {}; this version of firedrill reads format {VERSION}",
            path.display(),
            kept.version
        ));
    }
    let inventory = serde_json::from_value(kept.objects).map_err(|error| format!("{}: {error}", path.display()))?;
    let key = DigestKey::from_hex(&text(KEY_FILE)?);
    let key = key.ok_or_else(|| format!("{} holds no key", folder.join(KEY_FILE).display()))?;
    Ok(Before { inventory, key })
}

/// Whether it was kept: from then on, the run may have changed the cluster.
pub(super) fn was_kept(store: &dyn Store, folder: &Path) -> bool {
    store.exists(&folder.join(FILE))
}

/// How a cluster compares with what it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// It is so again.
    Same,
    /// It was not when the limit passed; what differed at the last look that told, for people.
    Differs(String),
    /// Nobody could tell.
    Unknown(String),
}

/// How the cluster differs now from what it was before the run of that folder, a line each; why that is not known, where it is
/// not.
pub(super) async fn differ_now(ports: &Ports, folder: &Path, irreversible: Option<Irreversible>) -> Vec<String> {
    let found = async {
        let before = read(&*ports.store, folder)?;
        let after = ports.cluster.inventory(&before.key).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(differences(&before.inventory, &after, irreversible).undeclared)
    };
    found.await.unwrap_or_else(|error| vec![format!("how it differed is not known: {error}")])
}

/// Waits until the cluster is as before the run of that folder, beyond what its variant is said to leave. What the API server
/// refuses may be a start of it: it is asked again until the limit.
pub(super) async fn wait_until_as(
    ports: &Ports,
    folder: &Path,
    irreversible: Option<Irreversible>,
    within: Duration,
    progress: Progress<'_>,
) -> Comparison {
    let clock = ports.clock;
    let before = match read(&*ports.store, folder) {
        Ok(before) => before,
        Err(error) => return Comparison::Unknown(error),
    };
    let deadline = clock.deadline(clock.now().plus(within));
    let mut last = Comparison::Unknown("the API server did not answer".to_owned());
    while let Ok(looked) = timeout_at(deadline, ports.cluster.inventory(&before.key)).await {
        let now = match looked {
            Ok(after) => match shown(&differences(&before.inventory, &after, irreversible).undeclared) {
                None => return Comparison::Same,
                Some(found) => Comparison::Differs(found),
            },
            Err(error) => Comparison::Unknown(error.to_string()),
        };
        if now != last {
            let (Comparison::Differs(why) | Comparison::Unknown(why)) = &now else { continue };
            progress(format!("waiting until the cluster matches the snapshot taken before the run: {why}"));
            last = now;
        }
        sleep_until(deadline.min(clock.deadline(clock.now().plus(LOOK_EVERY)))).await;
    }
    last
}

fn shown(found: &[String]) -> Option<String> {
    (!found.is_empty()).then(|| first_of(found, SHOWN_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Files;
    use std::fs;

    #[test]
    fn many_differences_are_counted() {
        let found: Vec<String> = (0..12).map(|number| format!("d{number}")).collect();
        assert_eq!(shown(&[]), None);
        assert_eq!(shown(&found[..2]).as_deref(), Some("d0; d1"));
        assert!(shown(&found).unwrap().ends_with("d9; and 2 more"));
    }

    #[test]
    fn what_is_kept_is_whole_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        assert!(!was_kept(&Files, folder.path()));
        let before = Before::empty();
        keep(&Files, folder.path(), &before).unwrap();
        assert!(was_kept(&Files, folder.path()));
        for entry in fs::read_dir(folder.path()).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        let again = read(&Files, folder.path()).unwrap();
        assert_eq!((again.inventory, again.key.to_hex()), (before.inventory, before.key.to_hex()));
        assert!(keep(&Files, &folder.path().join("missing"), &Before::empty()).is_err());
    }

    #[test]
    fn without_its_key_or_from_another_version_nothing_is_compared() {
        let folder = tempfile::tempdir().unwrap();
        keep(&Files, folder.path(), &Before::empty()).unwrap();
        forget_key(&Files, folder.path()).unwrap();
        forget_key(&Files, folder.path()).unwrap();
        assert!(read(&Files, folder.path()).unwrap_err().contains("before.key"));
        keep(&Files, folder.path(), &Before::empty()).unwrap();
        // An entry of format 2 had its counts in its text.
        let old = r#"{"version": 2, "objects": [[{"api_version": "apps/v1", "kind": "Deployment", "namespace": "n", "name": "d"},
            {"state": "1 of 2 ready", "spec": "", "size": "", "ending": false}]]}"#;
        for (text, said) in [
            ("[]", "is not an inventory that firedrill wrote"),
            (old, "has format 2; this version of firedrill reads format 3"),
        ] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let error = read(&Files, folder.path()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
