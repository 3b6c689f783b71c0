//! `firedrill merge`: the results of all shards of a suite as one, without a cluster.

use super::common::each;
use super::suite::{SUITE_FILE, make_folder, relative, show};
use crate::args::MergeArgs;
use crate::error::CliError;
use crate::printer::Printer;
use crate::report;
use firedrill_core::exit::ExitCode;
use firedrill_core::suite::{self, Outcome, Part, SuiteResult};
use firedrill_core::verdict::{VERDICT_VERSION, Verdict};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Merges the results and prints their table.
///
/// # Errors
/// Where they cannot be read, or are not all the shards of one suite, each once: with everything that is wrong.
pub(crate) fn merge(args: &MergeArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    let result = merged(&args.shards, &args.into)?;
    show(&result, &args.into, args.output, printer);
    Ok(result.exit_code)
}

/// Merges the results into a new folder.
///
/// # Errors
/// As [`merge`].
pub(crate) fn merged(shards: &[PathBuf], into: &Path) -> Result<SuiteResult, CliError> {
    let parts = each(shards.iter().map(|folder| read(folder)))?;
    // Before a folder is made: what cannot be merged leaves nothing.
    let mut result = suite::merge(parts).map_err(|wrong| {
        CliError::input(wrong.join("\n")).with_hint("name the folders of all shards of one suite, each once")
    })?;
    // A run may have been judged again since its suite ran: what lies in its folder counts, in the table as in JUnit's file.
    result = result.judged_by(|ran| {
        let path = Path::new(&ran.folder).join("verdict.json");
        let fail = |why: String| CliError::input(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(&path).map_err(|error| fail(error.to_string()))?;
        let Format { version } = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
        if version != VERDICT_VERSION {
            return Err(fail(format!("format {version} is not supported"))
                .with_hint(format!("judge the run again with this firedrill: firedrill report {}", ran.folder)));
        }
        let verdict: Verdict = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
        ran.by(&verdict).map_err(fail)
    })?;
    make_folder(into)?;
    for run in &mut result.results {
        if let Outcome::Ran(ran) = &mut run.outcome {
            ran.folder = relative(into, Path::new(&ran.folder))?;
        }
    }
    report::suite::write_all(into, &result).map_err(CliError::environment)?;
    Ok(result)
}

/// What the results of every version have.
#[derive(Deserialize)]
struct Format {
    version: u32,
}

/// A shard's results, with the folders of its runs as seen from here.
fn read(folder: &Path) -> Result<Part, CliError> {
    let path = folder.join(SUITE_FILE);
    let fail = |why: String| CliError::input(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(&path)
        .map_err(|error| fail(error.to_string()).with_hint("name the folders that hold suite.json"))?;
    let Format { version } = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
    if version != suite::SUITE_VERSION {
        return Err(fail(format!("format {version} is not supported"))
            .with_hint("another firedrill wrote it: merge with that one, or run the suite again with this one"));
    }
    let mut result: SuiteResult = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
    for run in &mut result.results {
        if let Outcome::Ran(ran) = &mut run.outcome {
            ran.folder = folder.join(&ran.folder).to_string_lossy().into_owned();
        }
    }
    Ok(Part { from: folder.display().to_string(), result })
}
