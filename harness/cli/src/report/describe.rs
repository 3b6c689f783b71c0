//! Every event in one line.

use super::text::{count, limit, one_line, plural, shorten};
use firedrill_core::event::{CheckTime, Event, FileSystem, LedgerCount, PhaseEnd, Record, StepEnd};
use firedrill_core::time::{human, micros};
use firedrill_core::verdict::{AlertResult, Measured, Value};

/// The longest text of one event, in characters; the journal has the whole.
const TEXT_MAX: usize = 400;

/// An event in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// What kind of event.
    pub(super) kind: &'static str,
    /// What happened.
    pub(super) text: String,
    /// Whether the reader should look at it.
    pub(super) notable: bool,
}

/// Puts a record into words.
pub(super) fn describe(record: &Record) -> Described {
    let (kind, text, notable) = words(&record.event);
    Described { kind, text: shorten(&one_line(&text), TEXT_MAX), notable }
}

fn words(event: &Event) -> (&'static str, String, bool) {
    match event {
        Event::RunStarted(start) => {
            let noop = if start.noop { ", no-op run" } else { "" };
            let plan = &start.plan;
            let text =
                format!("{}/{} on {}, seed {}{noop}", plan.scenario, plan.variant, start.cluster.name, plan.seed);
            ("run started", text, start.noop)
        }
        Event::PhaseStarted { phase, deadline } => {
            ("phase started", format!("{}, limit {}", phase.name(), human(*deadline)), false)
        }
        Event::PhaseEnded { phase, end, detail } => {
            let held = matches!(end, PhaseEnd::Done | PhaseEnd::Skipped);
            ("phase ended", format!("{}: {}", phase.name(), phase_end(end, detail)), !held)
        }
        Event::RestartsSeen { when, containers, unseen } => {
            let when = match when {
                CheckTime::Before => "before",
                CheckTime::After => "after",
            };
            let remembered = containers.iter().any(|container| container.in_back_off_s.is_some());
            let mut all: Vec<String> = containers.iter().map(ToString::to_string).collect();
            if all.is_empty() && unseen.is_empty() {
                all.push("none".to_owned());
            }
            all.extend(unseen.iter().map(|what| format!("not visible: {what}")));
            let notable = when == "before" && (remembered || !unseen.is_empty());
            ("restarts", format!("{when}: {}", all.join(", ")), notable)
        }
        Event::PodsMadeAnew { pods, failed } => {
            let failed_all = failed.iter().map(|failed| format!("not recreated: {failed}"));
            let all: Vec<_> = pods.iter().cloned().chain(failed_all).collect();
            ("pods recreated", all.join(", "), !failed.is_empty())
        }
        Event::Placement { places } => {
            let on_victim = places.iter().filter(|place| place.on_victim).count() as u64;
            let text = format!(
                "{} looked up, {} on a victim's node",
                plural(places.len() as u64, "place", "places"),
                count(on_victim)
            );
            ("placement", text, on_victim > 0)
        }
        Event::ClockCompared { vantage, uncertainty_us } => {
            ("clock compared", format!("{vantage}: within {:.2} ms", *uncertainty_us as f64 / 1_000.0), false)
        }
        Event::UndoRecorded { id, undo } => ("undo recorded", format!("{id}: {undo}"), false),
        Event::InjectCalled { target } => ("inject called", target.to_string(), false),
        Event::InjectReturned { target, error: None } => ("inject returned", target.to_string(), false),
        Event::InjectReturned { target, error: Some(error) } => ("inject failed", format!("{target}: {error}"), true),
        Event::Proof { targets: _, subject, evidence, held } => {
            (if *held { "proof" } else { "no proof" }, format!("{subject}: {evidence}"), !held)
        }
        Event::MomentSeen { moment, seen_at: _, by } => ("moment", format!("{}, by {by}", moment.name()), false),
        Event::Load { achieved_per_s, demanded_per_s } => {
            ("load", format!("{achieved_per_s:.1}/s, {demanded_per_s:.1}/s required"), achieved_per_s < demanded_per_s)
        }
        Event::CpuPressure { stalled, over } => {
            let text = format!("PSI `some` for {} of {}", human(*stalled), human(*over));
            ("CPU pressure", text, false)
        }
        Event::StepStarted { step, section, line, command, correction, deadline } => {
            let limit = limit(micros(*deadline) / 1_000);
            (step_word(*correction), format!("{step}, {section} (line {line}), limit {limit}: {command}"), false)
        }
        Event::StepEnded { step, correction: _, end, stdout, stderr } => {
            let kept = (stdout.len() + stderr.len()) as u64;
            let text = format!("{step}: {}, {} of output", step_end(end), plural(kept, "byte", "bytes"));
            ("step ended", text, !end.held())
        }
        Event::StepLeftToPeople { step, section, line, command, because } => {
            ("manual step", format!("{step}, {section} (line {line}): {command}; {because}"), false)
        }
        Event::StepSkipped { step, section, because } => {
            ("step skipped", format!("{step}, {section}: {because}"), false)
        }
        Event::Observed(seen) => {
            ("observed", format!("{}: {} {}", seen.source, seen.object, seen.state), seen.healthy == Some(false))
        }
        Event::NotRedundant { missing, unseen } => {
            let unseen = unseen.iter().map(|what| format!("not visible: {what}"));
            let all: Vec<_> = missing.iter().cloned().chain(unseen).collect();
            ("not redundant", all.join("; "), !all.is_empty())
        }
        Event::Lost { what } => ("lost", what.clone(), true),
        Event::Suspended { length, awake_at: _ } => {
            ("suspended", format!("this machine was suspended for {:.1} s", length.as_secs_f64()), true)
        }
        Event::Ledger(ledger) => ("ledger", ledger_words(ledger), ledger.error.is_some() || ledger.lost > 0),
        Event::VolumesAtRisk { claims, of_other_drivers } => {
            let others =
                of_other_drivers.iter().map(|claim| format!("{claim} (its driver does not support the check)"));
            let all: Vec<_> = claims.iter().cloned().chain(others).collect();
            ("volumes at risk", all.join(", "), false)
        }
        Event::VolumeChecked { claim, found } => {
            let notable = matches!(found, FileSystem::Damaged { .. } | FileSystem::Unknown { .. });
            ("file system", format!("{claim}: {found}"), notable)
        }
        Event::Undone { id, error: None, finish_with: _ } => ("undone", id.to_string(), false),
        Event::Undone { id, error: Some(error), finish_with } => {
            let finish = finish_with.as_ref().map_or_else(String::new, |with| format!("; finish with: {with}"));
            ("undo failed", format!("{id}: {error}{finish}"), true)
        }
        Event::CleanChecked { made, gone, differences, still_faulty, residue } => {
            let mut text = format!("{} made, {gone} gone", plural(u64::from(*made), "object", "objects"));
            for (name, list) in [("still faulty", still_faulty), ("different", differences), ("residue", residue)] {
                if !list.is_empty() {
                    text.push_str(&format!("; {name}: {}", list.join(", ")));
                }
            }
            ("clean checked", text, !still_faulty.is_empty() || !differences.is_empty())
        }
        Event::BundleKept { path, missing } => {
            let missing = if missing.is_empty() { String::new() } else { format!(", without {}", missing.join(", ")) };
            ("bundle kept", format!("{path}{missing}"), false)
        }
        Event::StateAccepted { run, differences } => {
            ("state accepted", format!("as run {run} left it: {}", differences.join(", ")), true)
        }
        Event::Note { text } => ("note", text.clone(), false),
        Event::Interrupted { count } => ("interrupted", format!("for the {count}. time"), true),
        Event::RunEnded { interrupted, samples: _ } => {
            let how = if *interrupted { "interrupted" } else { "by itself" };
            ("run ended", how.to_owned(), *interrupted)
        }
    }
}

fn step_word(correction: bool) -> &'static str {
    if correction { "correction" } else { "step started" }
}

/// How a phase ended, in words.
pub(super) fn phase_end(end: &PhaseEnd, detail: &str) -> String {
    let how = match end {
        PhaseEnd::Done => return detail.to_owned(),
        PhaseEnd::Skipped => "not needed".to_owned(),
        PhaseEnd::DeadlinePassed => "its limit passed".to_owned(),
        PhaseEnd::Failed { reason } => reason.clone(),
        PhaseEnd::Interrupted => "interrupted".to_owned(),
    };
    if detail.is_empty() || how.contains(detail) { how } else { format!("{how}; {detail}") }
}

/// How a step ended, in words.
pub(super) fn step_end(end: &StepEnd) -> String {
    match end {
        StepEnd::AsExpected { exit } => format!("as expected, exit {exit}"),
        StepEnd::WrongExit { exit } => format!("exit {exit}, which is not expected"),
        StepEnd::WrongOutput { exit, expected } => format!("exit {exit}, output lacks `{expected}`"),
        StepEnd::DeadlinePassed => "stopped at its time limit".to_owned(),
        StepEnd::NotStarted { reason } => format!("could not be started: {reason}"),
    }
}

fn ledger_words(ledger: &LedgerCount) -> String {
    match &ledger.error {
        Some(error) => format!("series {} in {}: cannot be read: {error}", ledger.series, ledger.store),
        None => format!(
            "series {} in {}: {} acknowledged, {} lost, {} duplicated, {} indeterminate",
            ledger.series,
            ledger.store,
            count(ledger.acknowledged),
            count(ledger.lost),
            count(ledger.duplicated),
            count(ledger.indeterminate)
        ),
    }
}

/// When an alert fired, in words.
pub(super) fn fired(alert: &AlertResult) -> String {
    match alert.fired_after_ms {
        Some(Measured::AtLeast { .. }) => "not seen to fire".to_owned(),
        Some(after) => after.to_string(),
        None => "–".to_owned(),
    }
}

/// When an alert was resolved, in words.
pub(super) fn resolved(alert: &AlertResult) -> String {
    match alert.resolved_after_ms {
        Some(Measured::AtLeast { .. }) => "not seen to be".to_owned(),
        Some(after) => after.to_string(),
        None => "–".to_owned(),
    }
}

/// An alert in one line: what it did, and what was expected of it.
pub(super) fn alert(alert: &AlertResult) -> String {
    let mut text = one_line(&alert.name);
    match alert.fired_after_ms {
        Some(Measured::AtLeast { .. }) => text.push_str(" was not seen to fire"),
        Some(after) => text.push_str(&format!(" fired after {after}")),
        None => text.push_str(if alert.value.is_some() { " is not known" } else { " fired" }),
    }
    match alert.resolved_after_ms {
        Some(Measured::AtLeast { .. }) => text.push_str(", not resolved"),
        Some(after) => text.push_str(&format!(", resolved after {after}")),
        None => {}
    }
    match (alert.within_ms, alert.value) {
        (Some(ms), _) => text.push_str(&format!("; expected within {}", limit(ms))),
        (None, _) => text.push_str("; not expected"),
    }
    if let Some(reason) = alert.reason.as_deref().filter(|_| alert.value != Some(Value::Pass)) {
        text.push_str(&format!(" ({})", one_line(reason)));
    }
    text
}
