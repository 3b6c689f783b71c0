//! `junit.xml` of a suite: each run with the cases that its own file has; what did not run, and what a control says, is a case.

use crate::report::ReportError;
use crate::report::junit::{duration, status, suite, written};
use crate::report::text::visible;
use firedrill_core::exit::ExitCode;
use firedrill_core::suite::{Ran, RunResult, SuiteResult};
use firedrill_core::verdict::{Value, Verdict};
use quick_junit::{Report, TestCase, TestSuite};
use std::fs;
use std::path::Path;

/// The results as JUnit XML. `dir` is what the folders of the runs are relative to.
///
/// # Errors
/// Where a verdict cannot be read, and as the writer of XML.
pub(super) fn junit(dir: &Path, result: &SuiteResult) -> Result<String, ReportError> {
    let mut report = Report::new(format!("firedrill suite {}", visible(&result.suite)));
    report.set_time(duration(result.took_ms));
    for run in &result.results {
        report.add_test_suite(of_run(dir, run)?);
    }
    Ok(written(&report)?)
}

fn of_run(dir: &Path, run: &RunResult) -> Result<TestSuite, ReportError> {
    let name = visible(&run.name());
    let mut suite = match run.ran() {
        Some(ran) if !run.control => suite(&verdict(dir, ran)?, &name),
        Some(_) | None => TestSuite::new(&name),
    };
    // A verdict's cases say all that it is but for an interrupt and a cluster that was not as it must be.
    let is_said = |code| matches!(code, ExitCode::Pass | ExitCode::Failed | ExitCode::Unknown | ExitCode::Dirty);
    let said_by_cases = !run.control && run.ran().is_some_and(|ran| is_said(ran.exit_code));
    if !said_by_cases {
        let said = run.said();
        let mut case = TestCase::new(if run.control { "control" } else { "run" }, status(run.value, &said, ""));
        case.set_classname(visible(&run.drill).replace('/', "."));
        if run.value == Value::Pass {
            case.set_system_out(visible(&said));
        }
        if let Some(ran) = run.ran() {
            case.set_time(duration(ran.took_ms));
        }
        suite.add_test_case(case);
    }
    if run.repeat > 1 {
        // Readers know a case by its class and name, so that two runs of a drill must not share them.
        for case in &mut suite.test_cases {
            case.name = format!("{} (repeat {} of {})", case.name.as_str(), run.slot.round, run.repeat).into();
        }
    }
    Ok(suite)
}

fn verdict(dir: &Path, ran: &Ran) -> Result<Verdict, ReportError> {
    let path = dir.join(&ran.folder).join("verdict.json");
    let text = fs::read_to_string(&path).map_err(|source| ReportError::File { path: path.clone(), source })?;
    serde_json::from_str(&text).map_err(|source| ReportError::Verdict { path, source })
}
