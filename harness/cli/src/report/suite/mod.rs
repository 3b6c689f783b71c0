//! What a suite leaves for people and programs: `suite.json`, `junit.xml`, `index.html` and a table.

mod junit;
mod table;

use super::ReportError;
use super::html::suite_html;
use super::json::pretty;
use super::text::{count, plural};
use super::write::put;
use firedrill_core::exit::ExitCode;
use firedrill_core::suite::{LeftOut, Measure, Repeated, SuiteResult};
use firedrill_core::time::human;
use firedrill_core::verdict::Value;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

pub(crate) use table::table;

/// The results as JSON for people and programs. Their format is [`firedrill_core::suite::SUITE_VERSION`].
///
/// # Panics
/// Never: the results have no key that is not text and nothing whose form could be refused.
pub(crate) fn suite_json(result: &SuiteResult) -> String {
    pretty(result).expect("every key of a suite's results is text")
}

/// Writes `suite.json`, `junit.xml` and `index.html` into `dir`, each whole or not at all. The verdicts are read from the folders
/// of the runs.
///
/// # Errors
/// Where a verdict cannot be read or a file not be written. `suite.json` comes first.
pub(crate) fn write_all(dir: &Path, result: &SuiteResult) -> Result<(), ReportError> {
    put(dir, "suite.json", &(suite_json(result) + "\n"))?;
    put(dir, "index.html", &suite_html(result)?)?;
    put(dir, "junit.xml", &junit::junit(dir, result)?)
}

/// The whole in one line.
pub(crate) fn headline(result: &SuiteResult) -> String {
    let word = match result.exit_code {
        ExitCode::Pass => "PASSED",
        ExitCode::Failed => "FAILED",
        ExitCode::Dirty => "LEFT DIRTY",
        ExitCode::Interrupted => "INTERRUPTED",
        ExitCode::Unknown | ExitCode::Input | ExitCode::Environment => "UNKNOWN",
    };
    let all = plural(result.results.len() as u64, "run", "runs");
    let (failed, unknown) = (result.count(Value::Fail), result.count(Value::Unknown));
    let mut text = format!("{word}: {} of {all} passed", count(result.count(Value::Pass) as u64));
    for (number, what) in [(failed, "failed"), (unknown, "unknown")] {
        if number > 0 {
            text.push_str(&format!(", {number} {what}"));
        }
    }
    text
}

/// The value that gives the whole its colour.
pub(crate) fn tone(result: &SuiteResult) -> Value {
    match result.exit_code {
        ExitCode::Pass => Value::Pass,
        ExitCode::Failed | ExitCode::Dirty => Value::Fail,
        ExitCode::Unknown | ExitCode::Input | ExitCode::Environment | ExitCode::Interrupted => Value::Unknown,
    }
}

/// What there is to say about the suite as a whole.
pub(super) fn facts(result: &SuiteResult) -> Vec<(&'static str, String)> {
    let mut facts = vec![("started", result.started.clone()), ("took", took(result.took_ms))];
    if let Some(shard) = result.shard {
        facts.push(("shard", shard.to_string()));
    }
    if !result.merged.is_empty() {
        let shards: Vec<_> =
            result.merged.iter().map(|part| format!("{} in {}", part.shard, took(part.took_ms))).collect();
        facts.push(("shards", shards.join(", ")));
    }
    if let Some(budget_ms) = result.budget_ms {
        facts.push(("budget", took(budget_ms)));
    }
    let mut clusters: Vec<&str> =
        result.results.iter().filter_map(|run| run.ran()).map(|ran| ran.cluster.as_str()).collect();
    clusters.sort_unstable();
    clusters.dedup();
    if !clusters.is_empty() {
        facts.push(("clusters", clusters.join(", ")));
    }
    facts
}

/// Which runs are in no statistic, and why; a line each.
pub(super) fn left_out(result: &SuiteResult) -> Vec<String> {
    let of_drill = |repeated: &Repeated| -> Vec<String> {
        let line = |left: &LeftOut| format!("{} #{} is left out: {}", repeated.drill, left.round, left.because);
        repeated.left_out.iter().map(line).collect()
    };
    result.repeated.iter().flat_map(of_drill).collect()
}

/// Milliseconds for people.
pub(super) fn took(ms: f64) -> String {
    human(Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or_default())
}

/// One time of a repeated drill, in words.
#[derive(Serialize)]
pub(super) struct Statistic {
    drill: String,
    measure: String,
    runs: String,
    longest: String,
    percentile: String,
    held: String,
}

/// All times of all repeated drills.
pub(super) fn statistics(result: &SuiteResult) -> Vec<Statistic> {
    let of_drill = |repeated: &Repeated| -> Vec<Statistic> {
        repeated.measures.iter().map(|measure| statistic(repeated, measure)).collect()
    };
    result.repeated.iter().flat_map(of_drill).collect()
}

fn statistic(repeated: &Repeated, measure: &Measure) -> Statistic {
    let (runs, planned, pooled) = (repeated.runs, repeated.planned, repeated.pooled());
    let percentile = match measure.p90_confidence {
        Some(confidence) => format!("p90 no longer, {} sure", percent(confidence)),
        None => format!("no bound: measured in {} of {pooled}", measure.measured),
    };
    let held = match &measure.held {
        Some(held) => {
            let unknown = if held.unknown > 0 { format!(", {} unknown", held.unknown) } else { String::new() };
            let bound = percent(held.violation_probability_max);
            format!("{} of {pooled}{unknown}: at most {bound} of all, 95 % sure", held.violated)
        }
        None => "informational".to_owned(),
    };
    Statistic {
        drill: repeated.drill.clone(),
        measure: measure.name.clone(),
        runs: match (runs == planned, repeated.left_out.len()) {
            (true, 0) => runs.to_string(),
            (false, 0) => format!("{runs} of {planned}"),
            (_, left_out) => format!("{pooled} of {planned}, {left_out} left out"),
        },
        longest: measure.longest_ms.map_or_else(|| "not measured".to_owned(), |time| time.to_string()),
        percentile,
        held,
    }
}

/// A share for people: `9.5 %`, `90 %`. Rounding never makes a certainty of what is none.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if share >= 1.0 => "100 %".to_owned(),
        _ if percent >= 99.5 => "over 99 %".to_owned(),
        _ if percent >= 9.95 => format!("{percent:.0} %"),
        _ => format!("{percent:.1} %"),
    }
}
