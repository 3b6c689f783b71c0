//! `index.html` of a suite.

use super::render;
use crate::report::ReportError;
use crate::report::suite::{Statistic, facts, headline, left_out, statistics, tone, took};
use crate::report::text::{one_line, value_sign, value_word};
use firedrill_core::exit::ExitCode;
use firedrill_core::suite::{RunResult, SuiteResult};
use firedrill_core::verdict::Value;
use serde::Serialize;

#[derive(Serialize)]
struct Context {
    name: String,
    title: String,
    headline: String,
    tone: &'static str,
    exit_code: ExitCode,
    facts: Vec<(&'static str, String)>,
    runs: Vec<Row>,
    repeated: Vec<Statistic>,
    left_out: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    said: String,
    value: Shown,
    /// Injection, recovery, data, cleanup; nothing where it did not run.
    parts: [Option<Shown>; 4],
    time_to_recover: String,
    took: String,
    exit: ExitCode,
    report: Option<String>,
    run_id: String,
}

#[derive(Serialize)]
struct Shown {
    word: &'static str,
    sign: &'static str,
}

/// The page, with everything from the runs escaped. Reports are linked where the results say that their folders are.
///
/// # Errors
/// Where the page cannot be filled.
pub(crate) fn suite_html(result: &SuiteResult) -> Result<String, ReportError> {
    render(
        "suite.html",
        Context {
            name: one_line(&result.suite),
            title: one_line(&result.title),
            headline: headline(result),
            tone: value_word(tone(result)),
            exit_code: result.exit_code,
            facts: facts(result),
            runs: result.results.iter().map(row).collect(),
            repeated: statistics(result),
            left_out: left_out(result),
        },
    )
}

fn row(result: &RunResult) -> Row {
    let ran = result.ran();
    let parts = match ran {
        Some(ran) => [ran.injection, ran.recovery, ran.data, ran.cleanup].map(|value| Some(shown(value))),
        None => [None, None, None, None],
    };
    Row {
        name: one_line(&result.name()),
        said: one_line(&result.said()),
        value: shown(result.value),
        parts,
        time_to_recover: ran
            .and_then(|ran| ran.time_to_recover_ms)
            .map_or_else(|| "–".to_owned(), |time| time.to_string()),
        took: ran.map_or_else(|| "–".to_owned(), |ran| took(ran.took_ms)),
        exit: result.exit_code,
        report: ran.and_then(|ran| href(&format!("{}/report.html", ran.folder))),
        run_id: ran.map(|ran| one_line(&ran.run_id)).unwrap_or_default(),
    }
}

fn shown(value: Value) -> Shown {
    Shown { word: value_word(value), sign: value_sign(value) }
}

/// A relative path as a link; none of another path, which may name another machine.
fn href(path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut link = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => link.push(char::from(byte)),
            _ => link.push_str(&format!("%{byte:02X}")),
        }
    }
    Some(link)
}
