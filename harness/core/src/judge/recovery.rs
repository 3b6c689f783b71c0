//! The verdict on recovery, and what the runbook's steps say of the runbook.

use super::moments::{History, StepSeen};
use super::parts::part;
use super::series::SeriesHistory;
use crate::event::{PhaseEnd, StepEnd};
use crate::plan::Phase;
use crate::scenario::{Moment, Recovery, Step};
use crate::time::human;
use crate::verdict::{Finding, FindingKind, Measured, ObjectiveResult, Part, Value};
use std::time::Duration;

/// The verdict on recovery with its headline.
pub(crate) struct RecoveryVerdict {
    pub(crate) part: Part,
    pub(crate) headline: String,
}

/// What the runbook's steps say.
#[derive(Default)]
pub(crate) struct Steps {
    pub(crate) findings: Vec<Finding>,
    /// Steps that had to work and did not, or corrections that are not needed: each fails recovery.
    failures: Vec<String>,
    correction_not_needed: bool,
}

/// Did the service recover in time? The worst of the objectives that gate, unless nothing can be said at all.
pub(crate) fn recovery(
    history: &History<'_>,
    blocked: Option<&str>,
    wanted: &Recovery,
    objectives: &[ObjectiveResult],
    series: &[SeriesHistory<'_>],
    steps: &Steps,
) -> RecoveryVerdict {
    if let Some(why) = blocked {
        return RecoveryVerdict {
            part: part(Value::Unknown, vec![why.to_owned()], Some("what was measured is listed, but proves nothing")),
            headline: format!("UNKNOWN: {why}"),
        };
    }
    if *wanted == Recovery::StaysBroken || history.left_out().is_some() {
        return and_in_time(stays_broken(history, series), objectives);
    }
    let gating: Vec<_> = objectives.iter().filter(|objective| objective.accepted_ms.is_some()).collect();
    let given_up = history.not_recovered_in();
    let failed: Vec<_> = gating.iter().filter(|objective| objective.value == Value::Fail).collect();
    let mut reasons: Vec<String> = failed.iter().map(|objective| describe(objective)).collect();
    reasons.extend(given_up.map(|phase| format!("{} was not reached within its limit", phase.name())));
    reasons.extend(steps.failures.iter().cloned());
    if !reasons.is_empty() {
        // What the service's clients saw says more than what the cluster's state was.
        let open = failed.iter().filter(|o| matches!(o.measured, Some(Measured::AtLeast { .. })));
        let open = open.max_by_key(|o| o.series.is_some());
        let headline = match (open, given_up, failed.first()) {
            (Some(open), _, _) => format!("NOT RECOVERED: {}, and not over", describe_shortly(open)),
            (None, Some(phase), _) => format!("NOT RECOVERED: {} was not reached within its limit", phase.name()),
            (None, None, Some(late)) => format!("RECOVERED, but too late: {}", describe_briefly(late)),
            (None, None, None) if steps.correction_not_needed => "FAILED: a correction is no longer needed".to_owned(),
            (None, None, None) => "FAILED: the runbook did not work as written".to_owned(),
        };
        return RecoveryVerdict {
            part: part(Value::Fail, reasons, Some(fail_hint(steps, !failed.is_empty()))),
            headline,
        };
    }
    let unknown = gating.iter().filter(|objective| objective.value == Value::Unknown);
    let mut reasons: Vec<String> = cut_short(history).into_iter().collect();
    reasons.extend(unknown.map(|objective| describe(objective)));
    if gating.is_empty() {
        reasons.push("no objective decides this variant".to_owned());
    }
    if let Some(first) = reasons.first() {
        let headline = format!("UNKNOWN: {first}");
        return RecoveryVerdict { part: part(Value::Unknown, reasons, Some("run it again")), headline };
    }
    let reasons = gating.iter().map(|objective| describe(objective)).collect();
    RecoveryVerdict { part: part(Value::Pass, reasons, None), headline: recovered(objectives).to_owned() }
}

/// The headline of a pass: of the runbook's own figures it says no more than is known of every one.
fn recovered(objectives: &[ObjectiveResult]) -> &'static str {
    let documented: Vec<_> =
        objectives.iter().filter(|o| o.documented_ms.is_some()).map(|o| o.documented_held).collect();
    if documented.contains(&Some(false)) {
        "RECOVERED, later than documented"
    } else if documented.is_empty() || documented.contains(&None) {
        "RECOVERED"
    } else {
        "RECOVERED, as documented"
    }
}

/// Nobody acted, or not as the whole runbook says: was it seen to be broken still when the limit passed?
fn stays_broken(history: &History<'_>, series: &[SeriesHistory<'_>]) -> RecoveryVerdict {
    let unknown = |why: String| RecoveryVerdict {
        headline: format!("UNKNOWN: {why}"),
        part: part(Value::Unknown, vec![why], Some("run it again")),
    };
    if let Some(why) = cut_short(history) {
        return unknown(why);
    }
    if let Some((phase, at)) = history.broken_until() {
        let broken = broken_still(history, series);
        if broken.is_empty() {
            let detail = history.phase(phase).and_then(|seen| seen.end).map_or("", |(_, detail)| detail);
            let why = format!("{} was not reached, but the journal does not show what was broken then", phase.name());
            return unknown(if detail.is_empty() { why } else { format!("{why}: {detail}") });
        }
        let effect = history.moment(Moment::Effect);
        let waited = effect.map_or(Duration::ZERO, |effect| at.since(effect));
        let still =
            format!("still broken {} after the effect, as the scenario says: {}", human(waited), broken.join("; "));
        let headline = match history.left_out() {
            None => "STILL BROKEN, as expected: it needs its runbook".to_owned(),
            Some(section) => format!("STILL BROKEN without \"{section}\", as expected: it needs this section"),
        };
        return RecoveryVerdict { part: part(Value::Pass, vec![still], None), headline };
    }
    if history.given_up().any(|phase| phase == Phase::Backlog) {
        return unknown("the service was back, but its backlog was not seen to drain".to_owned());
    }
    let hint =
        "the report shows what repaired it; a drill that recovers without its runbook proves nothing about the runbook";
    let (why, headline) = match history.left_out() {
        None => (
            "it recovered by itself, but the scenario says that it needs its runbook".to_owned(),
            "RECOVERED BY ITSELF: its runbook is not needed".to_owned(),
        ),
        Some(section) => (
            format!("it recovered without the runbook's section \"{section}\""),
            format!("RECOVERED without \"{section}\": this drill does not need the section"),
        ),
    };
    RecoveryVerdict { part: part(Value::Fail, vec![why], Some(hint)), headline }
}

/// What stays broken may have times to keep all the same, such as until it is noticed.
fn and_in_time(judged: RecoveryVerdict, objectives: &[ObjectiveResult]) -> RecoveryVerdict {
    let missed =
        objectives.iter().filter(|objective| objective.accepted_ms.is_some() && objective.value != Value::Pass);
    let Some(value) = missed.clone().map(|objective| objective.value).max() else { return judged };
    let worst = missed.clone().find(|objective| objective.value == value).map(describe).unwrap_or_default();
    if value <= judged.part.value {
        return RecoveryVerdict {
            part: Part { reasons: [judged.part.reasons, missed.map(describe).collect()].concat(), ..judged.part },
            ..judged
        };
    }
    let word = if value == Value::Fail { "FAILED" } else { "UNKNOWN" };
    let reasons = missed.map(describe).chain(judged.part.reasons).collect();
    RecoveryVerdict { part: part(value, reasons, judged.part.hint.as_deref()), headline: format!("{word}: {worst}") }
}

/// What was seen to be broken when the limit passed. What could not be seen is neither broken nor whole.
fn broken_still(history: &History<'_>, series: &[SeriesHistory<'_>]) -> Vec<String> {
    let down = series.iter().filter_map(|seen| {
        let since = seen.down_still.filter(|_| seen.unfit.is_none())?;
        Some(format!("{} was down from {:.1} s of the run on", seen.plan, since.ms() / 1_000.0))
    });
    down.chain(history.not_redundant.iter().cloned()).collect()
}

fn fail_hint(steps: &Steps, late: bool) -> &'static str {
    if !late && steps.correction_not_needed {
        "remove the correction from the scenario: the runbook's own command works"
    } else {
        "the report shows where the time went and the output of each runbook step; the bundle has the logs"
    }
}

/// Which phase broke off, up to the last in which the service is looked at, and why.
pub(crate) fn broken_off(history: &History<'_>) -> Option<String> {
    let measured = history.phases.iter().filter(|seen| seen.phase <= Phase::Backlog);
    let mut broken = measured.filter_map(|seen| match seen.end {
        Some((PhaseEnd::Failed { reason }, _)) => Some(format!("{} failed: {reason}", seen.phase.name())),
        Some((PhaseEnd::DeadlinePassed, detail)) if seen.phase <= Phase::SteadyState => {
            let detail = if detail.is_empty() { "its limit passed" } else { detail };
            Some(format!("{} was not reached: {detail}", seen.phase.name()))
        }
        Some((PhaseEnd::Interrupted, _)) => Some(format!("it was interrupted during {}", seen.phase.name())),
        None if history.interrupted => Some(format!("it was interrupted during {}", seen.phase.name())),
        None => Some(format!("the run died during {}", seen.phase.name())),
        Some(_) => None,
    });
    broken.next()
}

/// Why the run did not look to the end, or what it saw cannot be relied on.
fn cut_short(history: &History<'_>) -> Option<String> {
    let not_reached = || {
        let reached = history.phases.iter().any(|seen| (Phase::SustainedOk..=Phase::Alerts).contains(&seen.phase));
        match (reached, history.interrupted, history.ended) {
            (true, ..) => None,
            (false, true, _) => Some("it was interrupted before the service had recovered".to_owned()),
            (false, false, false) => Some("the run died before the service had recovered".to_owned()),
            (false, false, true) => Some("the run ended before the service had recovered".to_owned()),
        }
    };
    let lost = || history.lost.map(str::to_owned);
    broken_off(history).or_else(lost).or_else(not_reached).or_else(|| history.not_whole.clone())
}

/// `publish outage: 31.42 - 31.53 s, accepted 60.0 s`, with the reason where there is one.
fn describe(objective: &ObjectiveResult) -> String {
    match (&objective.reason, objective.value) {
        (Some(reason), Value::Unknown | Value::Fail) => format!("{}: {reason}", objective.name),
        _ => describe_briefly(objective),
    }
}

fn describe_briefly(objective: &ObjectiveResult) -> String {
    let accepted = objective.accepted_ms.map(|ms| format!(", accepted {}", human(Duration::from_millis(ms))));
    format!("{}{}", describe_shortly(objective), accepted.unwrap_or_default())
}

fn describe_shortly(objective: &ObjectiveResult) -> String {
    match objective.measured {
        Some(measured) => format!("{} {measured}", objective.name),
        None => format!("{} not measured", objective.name),
    }
}

/// Reads the steps: which did not hold, which corrections were used, which are not needed.
pub(crate) fn steps(history: &History<'_>) -> Steps {
    let mut said = Steps::default();
    for (section, text) in &history.left_to_people {
        let (text, section) = (text.clone(), Some((*section).to_owned()));
        said.findings.push(Finding { kind: FindingKind::ManualStep, text, section });
    }
    for seen in history.steps.iter().filter(|seen| !seen.correction) {
        let correction = history.steps.iter().find(|other| other.correction && other.step == seen.step);
        let held = seen.end.is_some_and(StepEnd::held);
        // As the runbook has it: what ran names the targets in its place.
        let documented = written(history, seen).map_or(seen.command, |step| &step.command);
        let planned =
            history.start.scenario.corrections.iter().find(|correction| {
                correction.section == seen.section && correction.documented.trim() == documented.trim()
            });
        match (held, correction, planned) {
            (true, None, Some(planned)) if planned.at_times => {}
            (true, ran, planned) if ran.is_some() || planned.is_some() => said.not_needed(seen),
            (true, _, _) => {}
            (false, Some(ran), planned) => {
                said.used(seen, planned.map_or("", |planned| &planned.because));
                if ran.end.is_some_and(|end| !end.held()) {
                    said.failures.push(format!("{}: the correction failed as well: {}", title(seen), ending(ran)));
                }
            }
            // One that never ended was broken off with its phase, and that says why.
            (false, None, _) => said.did_not_hold(seen, seen.end.is_some() && must_work(history, seen)),
        }
    }
    said
}

impl Steps {
    fn add(&mut self, kind: FindingKind, seen: &StepSeen<'_>, text: String) {
        self.findings.push(Finding { kind, text, section: Some(seen.section.to_owned()) });
    }

    fn not_needed(&mut self, seen: &StepSeen<'_>) {
        self.correction_not_needed = true;
        let text = format!("{} works as documented: its correction is no longer needed", title(seen));
        self.failures.push(text.clone());
        self.add(FindingKind::CorrectionNotNeeded, seen, text);
    }

    fn used(&mut self, seen: &StepSeen<'_>, because: &str) {
        let why = if because.is_empty() { String::new() } else { format!("; {because}") };
        let text =
            format!("{} cannot work as documented ({}), its correction was used{why}", title(seen), ending(seen));
        self.add(FindingKind::CorrectionUsed, seen, text);
    }

    fn did_not_hold(&mut self, seen: &StepSeen<'_>, must_work: bool) {
        let text = format!("{}: {}", title(seen), ending(seen));
        if must_work {
            self.failures.push(text.clone());
        }
        self.add(FindingKind::StepNotAsExpected, seen, text);
    }
}

/// Whether a step must end with a certain exit code; a look may fail.
fn must_work(history: &History<'_>, seen: &StepSeen<'_>) -> bool {
    written(history, seen).is_none_or(|step| step.exit.is_some())
}

/// The step as the runbook has it.
fn written<'a>(history: &History<'a>, seen: &StepSeen<'_>) -> Option<&'a Step> {
    let scenario = &history.start.scenario;
    let Recovery::Runbook { file, .. } = &scenario.variants.get(&history.start.plan.variant)?.recovery else {
        return None;
    };
    scenario.runbooks.get(file)?.steps.iter().find(|step| step.line == seen.line)
}

fn title(seen: &StepSeen<'_>) -> String {
    format!("step {} (line {})", seen.step, seen.line)
}

fn ending(seen: &StepSeen<'_>) -> String {
    match seen.end {
        None => "it never ended".to_owned(),
        Some(StepEnd::AsExpected { exit }) => format!("exit {exit}, as expected"),
        Some(StepEnd::WrongExit { exit }) => format!("exit {exit}"),
        Some(StepEnd::WrongOutput { expected, .. }) => format!("its output lacks `{expected}`"),
        Some(StepEnd::DeadlinePassed) => "it did not end within its limit".to_owned(),
        Some(StepEnd::NotStarted { reason }) => format!("it could not be started: {reason}"),
    }
}
