//! What several commands share: scenarios, saved runs and clusters, found by what the user typed.

use crate::args::{ClusterArgs, Folders};
use crate::diagnostics;
use crate::error::CliError;
use firedrill_core::journal::Journal;
use firedrill_core::judge;
use firedrill_core::sample::SampleReader;
use firedrill_core::scenario::{self, Scenario};
use firedrill_core::stack::Stack;
use firedrill_core::utf8;
use firedrill_core::verdict::Verdict;
use firedrill_engine::cluster::{Cluster, ClusterError};
use firedrill_engine::provider::{self, ProviderError};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The file of a scenario in its folder.
pub(crate) const SCENARIO_FILE: &str = "scenario.toml";

/// Reads a file that a person wrote.
///
/// # Errors
/// Where it cannot be read, or with the place of the first byte that is not UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    utf8::text(fs::read(path)?).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Reads and checks a scenario file with the runbooks beside it, for a stack.
///
/// # Errors
/// With every mistake of all these files at once.
pub(crate) fn load_scenario_file(path: &Path, stack: &Stack) -> Result<Scenario, CliError> {
    let text = read_text(path).map_err(|error| CliError::input(format!("{}: {error}", path.display())))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = folder.file_name().map_or_else(|| "scenario".to_owned(), |name| name.to_string_lossy().into_owned());
    let shown = path.display().to_string();
    let runbook = |file: &str| read_text(&folder.join(file));
    scenario::parse(&name, (&shown, &text), runbook, stack)
        .map_err(|mistakes| CliError::input(diagnostics::render(&mistakes, &shown, &text, |file| runbook(file).ok())))
}

/// What is there of each, or all that is wrong with them.
///
/// # Errors
/// With every error, where there is one.
pub(crate) fn each<T>(all: impl IntoIterator<Item = Result<T, CliError>>) -> Result<Vec<T>, CliError> {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for one in all {
        match one {
            Ok(one) => found.push(one),
            Err(error) => wrong.push(error),
        }
    }
    match CliError::together(wrong) {
        None => Ok(found),
        Some(error) => Err(error),
    }
}

/// Whether a folder is a scenario's. One that cannot be looked into counts, so that reading it says why.
fn is_scenario(folder: &Path) -> bool {
    match fs::metadata(folder.join(SCENARIO_FILE)) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// The scenario, as it is for the variant, and the variant that `NAME[/VARIANT]` means.
///
/// # Errors
/// Where there is none, with what there is.
pub(crate) fn load_drill(folders: &Folders, stack: &Stack, name: &str) -> Result<(Scenario, String), CliError> {
    let by_path = |path: &Path| is_scenario(path).then(|| path.to_owned());
    let (folder, variant) = match by_path(Path::new(name)).or_else(|| by_path(&folders.scenarios.join(name))) {
        Some(folder) => (folder, None),
        None => match name.rsplit_once('/') {
            Some((scenario, variant)) => {
                let folder = by_path(&folders.scenarios.join(scenario)).or_else(|| by_path(Path::new(scenario)));
                (folder.ok_or_else(|| no_scenario(folders, scenario))?, Some(variant.to_owned()))
            }
            None => return Err(no_scenario(folders, name)),
        },
    };
    let scenario = load_scenario_file(&folder.join(SCENARIO_FILE), stack)?;
    let known = || scenario.variants.keys().cloned().collect::<Vec<_>>().join(", ");
    let variant = match variant {
        Some(variant) if scenario.variants.contains_key(&variant) => variant,
        Some(variant) => {
            return Err(CliError::input(format!("{} has no variant `{variant}`", scenario.name))
                .with_hint(format!("it has: {}", known())));
        }
        None => scenario.default_variant.clone(),
    };
    Ok((scenario.for_variant(&variant), variant))
}

fn no_scenario(folders: &Folders, name: &str) -> CliError {
    let found = match scenario_folders(folders) {
        Ok(found) => found,
        Err(error) => return error,
    };
    let known: Vec<_> = found.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
    let hint = match known.is_empty() {
        true => format!("{} holds no scenario; name another folder with --scenarios", folders.scenarios.display()),
        false => format!("clusters: {}", known.join(", ")),
    };
    CliError::input(format!("no scenario is named `{name}`")).with_hint(hint)
}

/// The folders of all scenarios, in order of their names.
///
/// # Errors
/// Where the folder that holds them cannot be read.
pub(crate) fn scenario_folders(folders: &Folders) -> Result<Vec<PathBuf>, CliError> {
    let fail = |error: io::Error| {
        CliError::input(format!("{}: {error}", folders.scenarios.display()))
            .with_hint("name the folder of scenarios with --scenarios")
    };
    let entries = fs::read_dir(&folders.scenarios).map_err(fail)?.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    let mut found: Vec<PathBuf> =
        entries.into_iter().map(|entry| entry.path()).filter(|path| is_scenario(path)).collect();
    found.sort();
    Ok(found)
}

/// Every scenario, in order of their names.
///
/// # Errors
/// With all that is wrong with them, or where there is none.
pub(crate) fn load_scenarios(folders: &Folders, stack: &Stack) -> Result<Vec<Scenario>, CliError> {
    let found = scenario_folders(folders)?;
    if found.is_empty() {
        return Err(CliError::input(format!("{} holds no scenario", folders.scenarios.display()))
            .with_hint("name another folder with --scenarios"));
    }
    each(found.iter().map(|folder| load_scenario_file(&folder.join(SCENARIO_FILE), stack)))
}

/// A run's folder, read.
pub(crate) struct SavedRun {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// Its journal.
    pub(crate) journal: Journal,
}

impl SavedRun {
    /// Opens a run by its id or its folder.
    ///
    /// # Errors
    /// Where there is none or its journal cannot be read.
    pub(crate) fn open(runs: &Path, run: &str) -> Result<Self, CliError> {
        let folder = [PathBuf::from(run), runs.join(run)]
            .into_iter()
            .find(|folder| folder.join("events.jsonl").is_file())
            .ok_or_else(|| {
                CliError::input(format!("no run is saved as `{run}`"))
                    .with_hint(format!("runs are looked for in {}; name another with --runs", runs.display()))
            })?;
        let path = folder.join("events.jsonl");
        let text =
            fs::read_to_string(&path).map_err(|error| CliError::input(format!("{}: {error}", path.display())))?;
        let journal = Journal::parse(&text).map_err(|error| CliError::input(format!("{}: {error}", path.display())))?;
        Ok(Self { folder, journal })
    }

    /// Where its samples are.
    pub(crate) fn samples_path(&self) -> PathBuf {
        self.folder.join("samples.bin")
    }

    /// Judges it, by its own objectives or others.
    ///
    /// # Errors
    /// Where its samples cannot be read.
    pub(crate) fn judge(&self, other: Option<&Scenario>) -> Result<Verdict, CliError> {
        let path = self.samples_path();
        let fail = |error: std::io::Error| CliError::input(format!("{}: {error}", path.display()));
        let samples = SampleReader::new(File::open(&path).map_err(fail)?).map_err(fail)?;
        judge::judge(&self.journal, samples, other).map_err(fail)
    }
}

/// The cluster that the user means: one of firedrill's own, or one named by kubeconfig and context.
///
/// # Errors
/// Where there is none, or several of firedrill's own and no name.
pub(crate) async fn open_cluster(args: &ClusterArgs) -> Result<Cluster, CliError> {
    if let (Some(context), Some(kubeconfig)) = (&args.context, &args.kubeconfig) {
        return provider::open_existing(kubeconfig, context).await.map_err(|error| match error {
            ProviderError::Cluster(ClusterError::Kubeconfig { .. } | ClusterError::Proxy { .. }) => {
                CliError::input(error)
            }
            error => CliError::environment(format!("context {context} of {}: {error}", kubeconfig.display())),
        });
    }
    let found = provider::find().await.map_err(CliError::environment)?;
    let names = || found.iter().map(|cluster| cluster.name.as_str()).collect::<Vec<_>>().join(", ");
    let name = match (&args.cluster, found.as_slice()) {
        (Some(name), _) if found.iter().any(|cluster| cluster.name == *name) => name.clone(),
        (Some(name), _) => {
            let there = match found.is_empty() {
                true => "there is none".to_owned(),
                false => format!("clusters: {}", names()),
            };
            return Err(CliError::environment(format!("there is no firedrill cluster named `{name}`")).with_hint(there));
        }
        (None, [one]) => one.name.clone(),
        (None, []) => {
            return Err(CliError::environment("no firedrill cluster is running")
                .with_hint("create one with `firedrill up`, or name another one with --kubeconfig and --context"));
        }
        (None, _) => {
            return Err(CliError::environment(format!("several firedrill clusters are running: {}", names()))
                .with_hint("name one with --cluster"));
        }
    };
    provider::open(&name).await.map_err(CliError::environment)
}
