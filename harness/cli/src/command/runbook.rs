//! `firedrill runbook check`: what in runbooks cannot work against a cluster. Breaks and changes nothing.

use super::common::{SCENARIO_FILE, each, load_scenario_file, open_cluster, read_text};
use super::stack_file::Definition;
use crate::args::{ClusterArgs, StackFile};
use crate::error::CliError;
use crate::printer::Printer;
use crate::report::check;
use crate::report::text::one_line;
use clap::{Args, Subcommand, ValueEnum};
use firedrill_core::document::{self, Document};
use firedrill_core::exit::ExitCode;
use firedrill_core::scenario::Scenario;
use firedrill_core::stack::Stack;
use firedrill_engine::cluster::Cluster;
use firedrill_engine::runbook::check::Checker;
use firedrill_engine::stack;
use std::fs;
use std::path::{Path, PathBuf};

/// The largest runbook that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// `runbook`
#[derive(Debug, Args)]
pub(crate) struct RunbookArgs {
    /// What to do.
    #[command(subcommand)]
    command: RunbookCommand,
}

/// What to do with runbooks.
#[derive(Debug, Subcommand)]
enum RunbookCommand {
    /// Find runbook commands that will fail on this cluster, without breaking or changing anything.
    ///
    /// Commands are checked with the real kubectl and helm, the API server (reads and dry runs), a list of read-only commands in
    /// containers, the database and the chart. A command that cannot be checked is listed with the reason, and counts neither as right
    /// nor as wrong. If the runbook belongs to a scenario, its corrections count. A failing command that has a correction is known drift, not a
    /// failure. A correction of a command that works is a finding.
    ///
    /// Exit codes: 0 no finding, though some commands may be unchecked; 1 findings; 3 bad input; 4 the cluster does not answer or is not
    /// healthy.
    Check(CheckArgs),
}

/// `runbook check`
#[derive(Debug, Args)]
struct CheckArgs {
    /// Runbooks in Markdown (.md) or plain text, also if the line breaks were lost, or the folder of a scenario.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The cluster.
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The stack.
    #[command(flatten)]
    stack: StackFile,
    /// The chart that the runbooks refer to [default: the chart of the stack]
    #[arg(long, value_name = "DIR")]
    chart: Option<PathBuf>,
    /// The output format.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: CheckOutput,
}

/// How to print findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckOutput {
    /// For people: each finding with its place.
    Text,
    /// For programs: one JSON object.
    Json,
    /// For code scanners: SARIF 2.1.0.
    Sarif,
}

/// Looks into runbooks.
///
/// # Errors
/// Where a file cannot be read, its scenario has mistakes, or the cluster does not answer.
pub(crate) async fn runbook(args: &RunbookArgs, printer: &mut Printer) -> Result<ExitCode, CliError> {
    let RunbookCommand::Check(args) = &args.command;
    let definition = Definition::load(&args.stack)?;
    let (stack, chart) = (&definition.stack, definition.chart(args.chart.as_deref()));
    let no_chart = || CliError::input(format!("{} holds no chart", chart.display())).with_hint("name it with --chart");
    let has_chart = if chart.join("Chart.yaml").is_file() { Ok(Vec::new()) } else { Err(no_chart()) };
    let runbooks = each(args.files.iter().map(|file| read(file, stack)).chain([has_chart]))?.concat();
    if runbooks.is_empty() {
        return Err(CliError::input("none of these scenarios has a runbook"));
    }
    let cluster = open_cluster(&args.cluster).await?;
    healthy(&cluster, stack).await?;
    let there = stack::installed(&cluster, stack).await.map_err(CliError::environment)?;
    let layout = there.map_or_else(|| stack.default_layout(), |there| there.layout);
    let mut checker = Checker::new(&cluster, &chart, stack).await.map_err(CliError::environment)?;
    let mut checked = Vec::new();
    for (document, scenario) in runbooks {
        printer.status(&format!("checking {}: {} commands", one_line(&document.file), document.commands.len()));
        let report = checker.check(&document, scenario.as_ref(), &layout).await.map_err(CliError::environment)?;
        checked.push((document, report));
    }
    healthy(&cluster, stack).await?;
    let text = match args.output {
        CheckOutput::Text => check::text(&checked),
        CheckOutput::Json => check::json(&checked).map_err(CliError::environment)?,
        CheckOutput::Sarif => check::sarif(&checked).map_err(CliError::environment)?,
    };
    printer.line(&text);
    let is_fine = checked.iter().all(|(_, report)| report.open().next().is_none());
    Ok(if is_fine { ExitCode::Pass } else { ExitCode::Failed })
}

/// Sees that nothing is broken: on a stack that is, commands fail that are right.
async fn healthy(cluster: &Cluster, stack: &Stack) -> Result<(), CliError> {
    let missing = stack::missing(cluster, stack).await.map_err(CliError::environment)?;
    match missing.is_empty() {
        true => Ok(()),
        false => Err(CliError::environment(format!("the stack does not work: {}", missing.join(", "))).with_hint(
            "a runbook is checked against a healthy cluster: wait until this one is healthy, or create one with `firedrill up`",
        )),
    }
}

/// The runbook of a file, or those of a scenario's folder, with the scenario that they belong to.
fn read(path: &Path, stack: &Stack) -> Result<Vec<(Document, Option<Scenario>)>, CliError> {
    if path.file_name().is_some_and(|name| name == SCENARIO_FILE) {
        return read(path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")), stack);
    }
    if path.is_dir() {
        let scenario = load_scenario_file(&path.join(SCENARIO_FILE), stack)?;
        let documents = scenario.runbooks.keys().map(|file| document(&path.join(file)));
        return documents.map(|document| Ok((document?, Some(scenario.clone())))).collect();
    }
    if path.extension().is_some_and(|ending| ending == "toml") {
        let message = format!("{} is not a runbook", path.display());
        return Err(CliError::input(message).with_hint("name the scenario's folder, or a runbook in it"));
    }
    let document = document(path)?;
    let beside = path.parent().unwrap_or(Path::new(".")).join(SCENARIO_FILE);
    let scenario = if beside.is_file() { Some(load_scenario_file(&beside, stack)?) } else { None };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(vec![(document, scenario.filter(|scenario| scenario.runbooks.contains_key(&*name)))])
}

fn document(path: &Path) -> Result<Document, CliError> {
    let bad = |reason: String| CliError::input(format!("{}: {reason}", path.display()));
    let size = fs::metadata(path).map_err(|error| bad(error.to_string()))?.len();
    if size > BYTES_MAX {
        return Err(bad(format!("{size} bytes, {BYTES_MAX} at most")));
    }
    let text = read_text(path).map_err(|error| bad(error.to_string()))?;
    let document = document::read(&path.display().to_string(), &text);
    match document.commands.is_empty() && document.not_read.is_empty() {
        true => Err(bad("no command is found in it".to_owned())
            .with_hint("commands must be in Markdown code blocks, or at the start of lines in plain text")),
        false => Ok(document),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack() -> Stack {
        let text = include_str!("../../../../fixtures/stack/ironflow/stack.toml");
        firedrill_core::stack::parse("ironflow", ("stack.toml", text)).unwrap()
    }

    #[test]
    fn a_scenarios_runbook_comes_with_its_scenario_however_it_is_named() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/nats-quorum-loss");
        for path in [root.clone(), root.join("runbook.md"), root.join("scenario.toml")] {
            let found = read(&path, &stack()).unwrap();
            assert_eq!(found.len(), 1);
            assert!(!found[0].1.as_ref().unwrap().corrections.is_empty());
            assert!(found[0].0.commands.len() >= 8);
        }
        assert_eq!(read(Path::new("nowhere.md"), &stack()).unwrap_err().exit_code(), ExitCode::Input);
    }

    #[test]
    fn every_file_that_is_not_utf8_is_named_with_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a.md", "b.txt"].map(|name| folder.path().join(name));
        for file in &files {
            fs::write(file, b"# Book\n\xe9\n").unwrap();
        }
        let error = each(files.iter().map(|file| read(file, &stack()))).map(|_| ()).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Input);
        let shown = error.to_string();
        assert_eq!(shown.matches("not UTF-8: byte 7 (line 2) is 0xe9").count(), 2, "{shown}");
    }

    #[test]
    fn a_file_without_a_sure_command_is_read_where_something_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.md");
        fs::write(&file, "# Book\n\n```sh\nkind: Pod\n```\n").unwrap();
        assert_eq!(read(&file, &stack()).unwrap()[0].0.not_read.len(), 1);
        fs::write(&file, "# Book\n").unwrap();
        assert_eq!(read(&file, &stack()).unwrap_err().exit_code(), ExitCode::Input);
    }
}
