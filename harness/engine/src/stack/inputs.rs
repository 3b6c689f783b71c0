//! What a stack is made from, and a digest that tells whether an installed one was made from the same.

use super::StackError;
use firedrill_core::scenario::Layout;
use firedrill_core::stack::{Operator, Stack};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a stack is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackOptions {
    /// Its definition.
    pub stack: Stack,
    /// The folder that paths in the definition begin at.
    pub folder: PathBuf,
    /// Where its parts are.
    pub layout: Layout,
    /// The template that it is made from, one of the layout's.
    pub template: String,
    /// The folder of the chart, for releases that name none of their own.
    pub chart: PathBuf,
    /// Values files in the place of the template's; empty where these hold.
    pub values: Vec<PathBuf>,
    /// Images that are not the chart's own, by name.
    pub images: BTreeMap<String, String>,
    /// The operators' release manifests, by name.
    pub manifests: BTreeMap<String, PathBuf>,
    /// The folder of what watches the stack, where it has that.
    pub monitoring: Option<PathBuf>,
}

impl StackOptions {
    /// What of it cannot be read; empty where all can.
    pub fn unreadable(&self) -> Vec<StackError> {
        let folders: Vec<_> = self.charts().into_iter().chain(self.monitoring.clone()).collect();
        let unread = folders.iter().filter_map(|folder| walk(folder, &mut Vec::new()).err());
        // One that is in a folder which cannot be read is no other mistake.
        let alone = |file: &PathBuf| {
            let inside = |folder: &PathBuf| file.starts_with(folder) && !folder.is_dir();
            !folders.iter().any(inside)
        };
        let mut files: Vec<_> = self.releases().iter().flat_map(|release| self.values_files(release)).collect();
        files.extend(self.manifests.values().cloned());
        files.sort();
        files.dedup();
        unread.chain(files.iter().filter(|file| alone(file)).filter_map(|file| read(file).err())).collect()
    }

    /// The charts, the one for releases that name none first.
    fn charts(&self) -> Vec<PathBuf> {
        let mut charts = vec![self.chart.clone()];
        for chart in self.releases().iter().map(|release| self.chart_of(release)) {
            if !charts.contains(&chart) {
                charts.push(chart);
            }
        }
        charts
    }

    /// The release manifest of an operator.
    pub(super) fn manifest(&self, operator: &Operator) -> Result<&Path, StackError> {
        self.manifests
            .get(&operator.name)
            .map(PathBuf::as_path)
            .ok_or_else(|| StackError::NoManifest { operator: operator.name.clone(), title: operator.title.clone() })
    }
}

/// What tells whether something was made from the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digests {
    /// Of definition, chart, values and images.
    pub(super) stack: String,
    /// Of the operators' manifests, in their order.
    pub(super) operators: Vec<String>,
    /// Of the folder of what watches it.
    pub(super) monitoring: String,
}

impl Digests {
    /// Reads everything.
    pub(super) fn of(options: &StackOptions) -> Result<Self, StackError> {
        let mut stack = Sha256::new();
        add(&mut stack, options.layout.name().as_bytes());
        add(&mut stack, options.template.as_bytes());
        for name in options.stack.images.keys() {
            add(&mut stack, options.images.get(name).map_or(&[], |image| image.as_bytes()));
        }
        for chart in options.charts() {
            add_folder(&mut stack, &chart)?;
        }
        for release in options.releases() {
            for file in options.values_files(release) {
                add(&mut stack, &read(&file)?);
            }
            // Names, values and texts alone, which can always be written.
            add(&mut stack, &serde_json::to_vec(release).unwrap_or_default());
        }
        let operator = |operator: &Operator| {
            let mut hash = Sha256::new();
            add(&mut hash, &read(options.manifest(operator)?)?);
            Ok(text(hash))
        };
        let operators = options.stack.operators.iter().map(operator).collect::<Result<_, StackError>>()?;
        let mut monitoring = Sha256::new();
        if let Some(folder) = &options.monitoring {
            add_folder(&mut monitoring, folder)?;
        }
        Ok(Self { stack: text(stack), operators, monitoring: text(monitoring) })
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
pub(super) mod tests {
    use super::*;

    /// The shipped stack, with a folder for its files.
    pub(crate) fn options(folder: &Path) -> StackOptions {
        let text = include_str!("../../../../fixtures/stack/ironflow/stack.toml");
        let manifests = [("cnpg".to_owned(), folder.join("cnpg.yaml"))].into();
        StackOptions {
            stack: firedrill_core::stack::parse("ironflow", ("stack.toml", text)).unwrap(),
            folder: folder.to_owned(),
            layout: Layout::default(),
            template: "medium".into(),
            chart: folder.join("chart"),
            values: Vec::new(),
            images: [("ironflow".to_owned(), "firedrill.local/ironflow:1".to_owned())].into(),
            manifests,
            monitoring: Some(folder.join("monitoring")),
        }
    }

    fn with_files(folder: &Path) -> StackOptions {
        let options = options(folder);
        std::fs::create_dir_all(options.chart.join("templates")).unwrap();
        for (name, text) in [("Chart.yaml", "a"), ("values-medium.yaml", "b"), ("templates/x.yaml", "c")] {
            std::fs::write(options.chart.join(name), text).unwrap();
        }
        std::fs::create_dir_all(folder.join("monitoring")).unwrap();
        for (name, text) in [("cnpg.yaml", "d"), ("monitoring/rules.yml", "e"), ("medium.yaml", "f")] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        options
    }

    fn texts(errors: &[StackError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn any_change_of_an_input_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let options = with_files(folder.path());
        let before = Digests::of(&options).unwrap();
        assert_eq!(Digests::of(&options).unwrap(), before);
        let images = [("ironflow".to_owned(), "firedrill.local/ironflow:2".to_owned())].into();
        let other = Digests::of(&StackOptions { images, ..options.clone() }).unwrap();
        assert!(other.stack != before.stack && other.operators == before.operators);
        let mut other = options.clone();
        other.stack.layouts[0].releases[0].set.push("a=b".to_owned());
        assert_ne!(Digests::of(&other).unwrap().stack, before.stack);
        std::fs::write(options.chart.join("templates/x.yaml"), "C").unwrap();
        assert_ne!(Digests::of(&options).unwrap().stack, before.stack);
        std::fs::write(folder.path().join("monitoring/rules.yml"), "E").unwrap();
        assert_ne!(Digests::of(&options).unwrap().monitoring, before.monitoring);
    }

    #[test]
    fn a_missing_input_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let options = StackOptions { template: "huge".into(), ..with_files(folder.path()) };
        let error = Digests::of(&options).unwrap_err().to_string();
        assert!(error.contains("values-huge.yaml"), "{error}");
        assert_eq!(texts(&options.unreadable()), [error]);
        let options = StackOptions { manifests: BTreeMap::new(), ..with_files(folder.path()) };
        let error = Digests::of(&options).unwrap_err().to_string();
        assert_eq!(error, "the manifest of the CloudNativePG operator is not known");
    }

    #[test]
    fn all_that_cannot_be_read_is_named_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let good = with_files(folder.path());
        assert!(good.unreadable().is_empty());
        let nowhere = |name: &str| folder.path().join(name);
        let (values, monitoring) = (vec![nowhere("b")], Some(nowhere("c")));
        let bad = StackOptions { chart: nowhere("a"), values, monitoring, ..good };
        let bad = StackOptions { manifests: [("cnpg".to_owned(), nowhere("d"))].into(), ..bad };
        let all = texts(&bad.unreadable());
        assert_eq!(all.len(), 4, "{all:?}");
    }
}
