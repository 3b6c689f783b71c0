//! What a stack is made from, and a digest that tells whether an installed one was made from the same.

use super::StackError;
use super::releases::releases;
use firedrill_core::scenario::Layout;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// What a stack is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackOptions {
    /// Where its parts are.
    pub layout: Layout,
    /// The chart's template: `small`, `medium`, `large`, `multi-tenant`. Its values are the chart's `values-TEMPLATE.yaml`.
    pub template: String,
    /// The chart's folder.
    pub chart: PathBuf,
    /// Values files that come after the template's wherever Ironflow is, the last one wins.
    pub values: Vec<PathBuf>,
    /// Values files of the release that holds NATS and PostgreSQL alone, in the separate layout.
    pub dependency_values: Vec<PathBuf>,
    /// Ironflow's image, where it is not the chart's own.
    pub ironflow_image: Option<String>,
    /// The release manifest of the PostgreSQL operator.
    pub cnpg_manifest: PathBuf,
    /// The folder (of a kustomization) of Prometheus and metrics-server.
    pub monitoring: PathBuf,
}

impl StackOptions {
    /// What of it cannot be read; empty where all can.
    pub fn unreadable(&self) -> Vec<StackError> {
        let folders = [self.chart.clone(), self.monitoring.clone()];
        let unread = folders.iter().filter_map(|folder| walk(folder, &mut Vec::new()).err());
        // One that is in a folder which cannot be read is no other mistake; without a name it was none of anybody's.
        let alone = |file: &PathBuf| {
            let inside = |folder: &PathBuf| file.starts_with(folder) && !folder.is_dir();
            !file.as_os_str().is_empty() && !folders.iter().any(inside)
        };
        let mut files: Vec<_> = releases(self.layout).iter().flat_map(|release| release.values_files(self)).collect();
        files.push(self.cnpg_manifest.clone());
        files.sort();
        files.dedup();
        unread.chain(files.iter().filter(|file| alone(file)).filter_map(|file| read(file).err())).collect()
    }

    /// The chart's values for the image.
    pub(super) fn image_values(&self) -> Vec<(String, String)> {
        let Some(image) = &self.ironflow_image else { return Vec::new() };
        // A colon belongs to a port where a slash comes after it.
        let (repository, tag) = match image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (image.as_str(), None),
        };
        let repository = ("image.repository".to_owned(), repository.to_owned());
        std::iter::once(repository).chain(tag.map(|tag| ("image.tag".to_owned(), tag.to_owned()))).collect()
    }
}

/// What tells whether something was made from the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digests {
    /// Of chart, values and image.
    pub(super) stack: String,
    /// Of the operator's manifest.
    pub(super) operator: String,
    /// Of the folder of Prometheus and metrics-server.
    pub(super) monitoring: String,
}

impl Digests {
    /// Reads everything.
    pub(super) fn of(options: &StackOptions) -> Result<Self, StackError> {
        let mut stack = Sha256::new();
        add(&mut stack, options.layout.name().as_bytes());
        add(&mut stack, options.template.as_bytes());
        add(&mut stack, options.ironflow_image.as_deref().unwrap_or_default().as_bytes());
        add_folder(&mut stack, &options.chart)?;
        for release in releases(options.layout) {
            for file in release.values_files(options) {
                add(&mut stack, &read(&file)?);
            }
        }
        let mut operator = Sha256::new();
        add(&mut operator, &read(&options.cnpg_manifest)?);
        let mut monitoring = Sha256::new();
        add_folder(&mut monitoring, &options.monitoring)?;
        Ok(Self { stack: text(stack), operator: text(operator), monitoring: text(monitoring) })
    }
}

fn add_folder(hash: &mut Sha256, folder: &Path) -> Result<(), StackError> {
    let mut files = Vec::new();
    walk(folder, &mut files)?;
    files.sort();
    for file in &files {
        add(hash, file.strip_prefix(folder).unwrap_or(file).as_os_str().as_encoded_bytes());
        add(hash, &read(file)?);
    }
    Ok(())
}

/// Length first, so that no two different sequences of parts look the same.
fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part);
}

fn text(hash: Sha256) -> String {
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), StackError> {
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>, StackError> {
    std::fs::read(file).map_err(|error| unreadable(file, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> StackError {
    StackError::Input { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(folder: &Path) -> StackOptions {
        let chart = folder.join("chart");
        std::fs::create_dir_all(chart.join("templates")).unwrap();
        for (name, text) in [("Chart.yaml", "a"), ("values-medium.yaml", "b"), ("templates/x.yaml", "c")] {
            std::fs::write(chart.join(name), text).unwrap();
        }
        std::fs::write(folder.join("cnpg.yaml"), "d").unwrap();
        std::fs::create_dir_all(folder.join("monitoring")).unwrap();
        std::fs::write(folder.join("monitoring/rules.yml"), "e").unwrap();
        StackOptions {
            layout: Layout::Bundled,
            template: "medium".into(),
            chart,
            values: Vec::new(),
            dependency_values: Vec::new(),
            ironflow_image: Some("firedrill.local/ironflow:1".into()),
            cnpg_manifest: folder.join("cnpg.yaml"),
            monitoring: folder.join("monitoring"),
        }
    }

    #[test]
    fn any_change_of_an_input_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let before = Digests::of(&options).unwrap();
        assert_eq!(Digests::of(&options).unwrap(), before);
        let other = StackOptions { ironflow_image: Some("firedrill.local/ironflow:2".into()), ..options.clone() };
        let other = Digests::of(&other).unwrap();
        assert!(other.stack != before.stack && other.operator == before.operator);
        std::fs::write(options.chart.join("templates/x.yaml"), "C").unwrap();
        assert_ne!(Digests::of(&options).unwrap().stack, before.stack);
        std::fs::write(options.monitoring.join("rules.yml"), "E").unwrap();
        assert_ne!(Digests::of(&options).unwrap().monitoring, before.monitoring);
    }

    #[test]
    fn a_missing_input_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let options = StackOptions { template: "huge".into(), ..options(folder.path()) };
        let error = Digests::of(&options).unwrap_err().to_string();
        assert!(error.contains("values-huge.yaml"), "{error}");
        let all = options.unreadable().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(all, [error]);
    }

    #[test]
    fn all_that_cannot_be_read_is_named_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let good = options(folder.path());
        assert!(good.unreadable().is_empty());
        let nowhere = |name: &str| folder.path().join(name);
        let bad = StackOptions { chart: nowhere("a"), values: vec![nowhere("b")], monitoring: nowhere("c"), ..good };
        let bad = StackOptions { cnpg_manifest: nowhere("d"), ..bad };
        let all = bad.unreadable().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(all.len(), 4, "{all:?}");
    }

    #[test]
    fn images_split_at_the_tag() {
        let folder = tempfile::tempdir().unwrap();
        let values = |image: &str| {
            let options = StackOptions { ironflow_image: Some(image.into()), ..options(folder.path()) };
            options.image_values().into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert_eq!(values("localhost:5000/a/b:1.2"), ["localhost:5000/a/b", "1.2"]);
        assert_eq!(values("localhost:5000/a/b"), ["localhost:5000/a/b"]);
    }
}
