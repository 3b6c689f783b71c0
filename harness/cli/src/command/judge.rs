//! `firedrill judge` and `firedrill report`: saved runs, without a cluster.

use super::common::{SavedRun, load_scenario_file};
use super::stack_file::Definition;
use crate::args::{JudgeArgs, Output, ReportArgs};
use crate::error::CliError;
use crate::printer::Printer;
use crate::report;
use crate::report::text::one_line;
use firedrill_core::exit::ExitCode;
use firedrill_core::verdict::Verdict;
use std::fs;
use std::path::Path;

/// Judges a saved run again and prints the verdict; the run's own files stay as they are.
///
/// # Errors
/// Where the run or the objectives cannot be read.
pub(crate) fn judge(args: &JudgeArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    let run = SavedRun::open(&args.folders.runs, &args.run)?;
    let load = |path: &Path| load_scenario_file(path, &Definition::load(&args.folders.stack)?.stack);
    let other = args.objectives.as_deref().map(load).transpose()?;
    let verdict = run.judge(other.as_ref())?;
    match args.output {
        Output::Text => printer.line(&report::terminal::verdict_text(&verdict, &printer.style())),
        Output::Json => printer.line(&report::json::verdict_json(&verdict)),
    }
    Ok(verdict.exit_code)
}

/// Writes a saved run's reports again.
///
/// # Errors
/// Where the run cannot be read or the reports cannot be written.
pub(crate) fn write_report(args: &ReportArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    let run = SavedRun::open(&args.folders.runs, &args.run)?;
    let verdict = run.judge(None)?;
    let before = fs::read_to_string(run.folder.join("verdict.json")).ok();
    let before: Option<Verdict> = before.and_then(|text| serde_json::from_str(&text).ok());
    report::write_all(&run.folder, &verdict, &run.journal, &run.samples_path()).map_err(CliError::environment)?;
    for name in ["verdict.json", "junit.xml", "report.html"] {
        printer.line(&run.folder.join(name).display().to_string());
    }
    if let Some(before) = before.filter(|before| before.exit_code != verdict.exit_code) {
        printer.status(&one_line(&format!("was: {}, is: {}", before.headline, verdict.headline)));
    }
    Ok(verdict.exit_code)
}
