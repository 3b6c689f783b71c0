//! `junit.xml`: one suite a run; a case for the injection, each objective, the data and the cleanup.
//!
//! *Unknown* is an error of type `unknown`, *fail* is a failure: both are red where the file is read, and they can be
//! told apart.

use super::describe;
use super::text::{limit, value_word, visible};
use firedrill_core::exit::ExitCode;
use firedrill_core::time::millis;
use firedrill_core::verdict::{Measured, ObjectiveResult, Part, Value, Verdict};
use quick_junit::{NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// The verdict as JUnit XML.
///
/// # Errors
/// As the writer of XML.
pub(crate) fn junit(verdict: &Verdict) -> Result<String, SerializeError> {
    let mut report = Report::new("firedrill");
    report.set_time(duration(verdict.took_ms));
    report.add_test_suite(suite(verdict, &verdict.drill()));
    written(&report)
}

/// The XML, in which no control character is left: the writer drops those of XML 1.0 and knows no others.
///
/// # Errors
/// As the writer of XML.
pub(super) fn written(report: &Report) -> Result<String, SerializeError> {
    Ok(visible(&report.to_string()?))
}

/// The verdict as a suite of that name.
pub(super) fn suite(verdict: &Verdict, name: &str) -> TestSuite {
    let class = verdict.drill().replacen('/', ".", 1);
    let mut suite = TestSuite::new(name);
    suite.set_time(duration(verdict.took_ms));
    if let Ok(started) = verdict.started.parse() {
        suite.timestamp = Some(started);
    }
    for property in run_properties(verdict) {
        suite.add_property(property);
    }
    suite.add_test_case(part_case("injection", &class, &verdict.injection));
    if verdict.objectives.is_empty() || verdict.recovery.value != worst(&verdict.objectives) {
        suite.add_test_case(part_case("recovery", &class, &verdict.recovery));
    }
    for objective in &verdict.objectives {
        suite.add_test_case(objective_case(objective, &class, verdict));
    }
    suite.add_test_case(part_case("data", &class, &verdict.data));
    suite.add_test_case(part_case("cleanup", &class, &verdict.cleanup));
    if verdict.exit_code == ExitCode::Interrupted {
        let mut case = TestCase::new("run", status(Value::Unknown, &verdict.headline, ""));
        case.set_classname(visible(&class));
        suite.add_test_case(case);
    }
    suite
}

/// The verdict that objectives alone would give.
fn worst(objectives: &[ObjectiveResult]) -> Value {
    objectives.iter().map(|objective| objective.value).max().unwrap_or(Value::Unknown)
}

pub(super) fn duration(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or_default()
}

fn run_properties(verdict: &Verdict) -> Vec<Property> {
    let mut properties = vec![
        Property::new("run", visible(&verdict.run_id)),
        Property::new("headline", visible(&verdict.headline)),
        Property::new("exit-code", verdict.exit_code.to_string()),
        Property::new("cluster", visible(&verdict.cluster.name)),
        Property::new("provider", visible(&verdict.cluster.provider)),
        Property::new("kubernetes", visible(&verdict.cluster.version)),
        Property::new("seed", verdict.seed.to_string()),
    ];
    let times = [
        ("time-to-detect", verdict.time_to_detect_ms),
        ("time-to-recover", verdict.time_to_recover_ms),
        ("back-to-normal", verdict.back_to_normal_ms),
    ];
    for (name, time) in times {
        properties.extend(time.into_iter().flat_map(|time| bounds(name, time)));
    }
    for share in &verdict.attribution {
        let name = format!("share-ms.{}", visible(&share.name));
        properties.push(Property::new(name, figure(millis(share.until.since(share.from)))));
    }
    properties.extend(verdict.alerts.iter().map(|alert| Property::new("alert", visible(&describe::alert(alert)))));
    for alert in &verdict.alerts {
        let times = [("fired-after", alert.fired_after_ms), ("resolved-after", alert.resolved_after_ms)];
        let figures = times.into_iter().filter_map(|(what, time)| Some((what, time?.upper_ms()?)));
        let name = visible(&alert.name);
        properties.extend(figures.map(|(what, ms)| Property::new(format!("alert.{name}.{what}-ms"), figure(ms))));
    }
    properties.extend(verdict.findings.iter().map(|finding| Property::new("finding", visible(&finding.text))));
    properties
}

/// A measured time as two figures in milliseconds; the upper one is not there where the time had not ended.
fn bounds(name: &str, time: Measured) -> Vec<Property> {
    let lower = Property::new(format!("{name}-lower-ms"), figure(time.lower_ms()));
    let upper = time.upper_ms().map(|ms| Property::new(format!("{name}-upper-ms"), figure(ms)));
    std::iter::once(lower).chain(upper).collect()
}

fn figure(ms: f64) -> String {
    format!("{ms:.3}")
}

pub(super) fn status(value: Value, message: &str, description: &str) -> TestCaseStatus {
    let (kind, ty) = match value {
        Value::Pass => return TestCaseStatus::success(),
        Value::Unknown => (NonSuccessKind::Error, "unknown"),
        Value::Fail => (NonSuccessKind::Failure, "fail"),
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(ty).set_message(visible(message));
    if !description.is_empty() {
        status.set_description(visible(description));
    }
    status
}

fn part_case(name: &str, class: &str, part: &Part) -> TestCase {
    let message = part.reasons.first().map_or(value_word(part.value), String::as_str);
    let mut lines = part.reasons.clone();
    lines.extend(part.hint.iter().map(|hint| format!("hint: {hint}")));
    let mut case = TestCase::new(name, status(part.value, message, &lines.join("\n")));
    case.set_classname(class);
    if part.value == Value::Pass && !lines.is_empty() {
        case.set_system_out(visible(&lines.join("\n")));
    }
    case
}

fn objective_case(objective: &ObjectiveResult, class: &str, verdict: &Verdict) -> TestCase {
    let figure = objective.measured.map_or_else(|| "not measured".to_owned(), |time| time.to_string());
    let accepted = objective.accepted_ms.map_or_else(String::new, |ms| format!(", accepted {}", limit(ms)));
    let reason = objective.reason.as_deref().unwrap_or_default();
    let message = format!("{figure}{accepted}");
    let mut case =
        TestCase::new(format!("recovery: {}", visible(&objective.name)), status(objective.value, &message, reason));
    case.set_classname(class);
    if let Some(upper_ms) = objective.measured.and_then(Measured::upper_ms) {
        case.set_time(duration(upper_ms));
    }
    case.add_property(("from", objective.from.name()));
    case.add_property(("to", objective.to.name()));
    if let Some(series) = objective.series.and_then(|id| verdict.series.iter().find(|series| series.id == id)) {
        case.add_property(("worst-series", visible(&series.name).as_str()));
    }
    for property in objective.measured.into_iter().flat_map(|time| bounds("measured", time)) {
        case.add_property(property);
    }
    if let Some(ms) = objective.documented_ms {
        case.add_property(("documented-ms", ms.to_string().as_str()));
    }
    if let Some(held) = objective.documented_held {
        case.add_property(("documented-held", if held { "true" } else { "false" }));
    }
    if let Some(ms) = objective.accepted_ms {
        case.add_property(("accepted-ms", ms.to_string().as_str()));
    }
    case
}
