//! Everything of the page that is text or a table.

use super::axis::Axis;
use super::rows::{Rows, ledger, outages, series_name, series_row};
use super::steps::{StepRun, correction, expectation};
use super::timeline::{self, percent, sign};
use crate::report::describe::{describe, fired, resolved};
use crate::report::terminal::{finding_word, ledger_line, rerun, sweep, worst};
use crate::report::text::{limit, one_line, seconds, value_sign, value_word, visible};
use firedrill_core::event::RunStarted;
use firedrill_core::exit::ExitCode;
use firedrill_core::journal::Journal;
use firedrill_core::scenario::Moment;
use firedrill_core::time::{At, human, millis};
use firedrill_core::verdict::{AlertResult, Measured, Part, Value, Verdict};
use serde::Serialize;
use std::time::Duration;

/// The most events that are listed; the journal has all.
const EVENTS_MAX: usize = 5_000;

#[derive(Serialize)]
pub(super) struct Page {
    name: String,
    headline: String,
    /// `pass`, `unknown` or `fail`.
    tone: &'static str,
    exit_code: ExitCode,
    title: String,
    about: String,
    noop: bool,
    /// The command that finishes the cleanup, where there is something left.
    finish: Option<String>,
    rerun: String,
    facts: Rows,
    parts: Vec<PartCard>,
    zero: &'static str,
    moments: Rows,
    objectives: Vec<ObjectiveRow>,
    no_objectives: &'static str,
    times: Rows,
    alerts: Vec<AlertRow>,
    shares: Vec<ShareRow>,
    outages: Rows,
    series: Rows,
    steps: Vec<StepCard>,
    drift: Vec<Drift>,
    findings: Vec<Vec<String>>,
    ledger: Rows,
    ledger_line: String,
    placement: Vec<PlaceRow>,
    events: Vec<EventRow>,
    events_left_out: usize,
    journal_cut_off: bool,
}

#[derive(Serialize)]
struct PartCard {
    name: &'static str,
    question: &'static str,
    value: &'static str,
    sign: &'static str,
    reasons: Vec<String>,
    hint: Option<String>,
}

#[derive(Serialize)]
struct ObjectiveRow {
    name: String,
    span: String,
    series: String,
    measured: String,
    documented: String,
    documented_held: Option<bool>,
    accepted: String,
    value: &'static str,
    sign: &'static str,
    because: String,
    reason: String,
}

#[derive(Serialize)]
struct AlertRow {
    name: String,
    expected: String,
    fired: String,
    resolved: String,
    /// `pass`, `unknown` or `fail`; empty where it was not expected.
    value: &'static str,
    sign: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct ShareRow {
    name: String,
    from: String,
    lasted: String,
    percent: String,
    x: f64,
    w: f64,
    shade: usize,
    number: usize,
    labelled: bool,
}

#[derive(Serialize)]
struct StepCard {
    number: u32,
    correction: bool,
    section: String,
    line: u32,
    command: String,
    from: String,
    lasted: String,
    exit: String,
    expected: String,
    said: String,
    /// `ok`, `bad` or `open`.
    kind: &'static str,
    because: String,
    stdout: String,
    stderr: String,
}

#[derive(Serialize)]
struct Drift {
    section: String,
    documented: String,
    instead: String,
    because: String,
}

#[derive(Serialize)]
struct PlaceRow {
    what: String,
    name: String,
    node: String,
    on_victim: bool,
}

#[derive(Serialize)]
struct EventRow {
    at: String,
    wall: String,
    kind: &'static str,
    text: String,
    notable: bool,
}

/// Collects all of it.
pub(super) fn page(verdict: &Verdict, journal: &Journal, start: &RunStarted, steps: &[StepRun], axis: &Axis) -> Page {
    let variant = start.scenario.variants.get(&verdict.variant);
    Page {
        name: verdict.drill(),
        headline: one_line(&verdict.headline),
        tone: tone(verdict),
        exit_code: verdict.exit_code,
        title: one_line(&start.scenario.title),
        about: variant.map(|variant| one_line(&variant.about)).unwrap_or_default(),
        noop: start.noop,
        finish: (verdict.exit_code == ExitCode::Dirty).then(|| sweep(verdict)),
        rerun: rerun(verdict),
        facts: facts(verdict, start),
        parts: vec![
            part("injection", "Did the fault really happen?", &verdict.injection),
            part("recovery", "Did the service recover in time?", &verdict.recovery),
            part("data", "Were acknowledged writes kept?", &verdict.data),
            part("cleanup", "Does the cluster match its state before the run?", &verdict.cleanup),
        ],
        zero: match (verdict.moments.contains_key(&Moment::Effect), verdict.moments.contains_key(&Moment::Inject)) {
            (true, _) => "the moment at which the effect was proven",
            (false, true) => "the injection",
            (false, false) => "the start of the run",
        },
        moments: moments(verdict, axis),
        objectives: objectives(verdict),
        no_objectives: if variant.is_some_and(|variant| variant.recovery.stays_broken()) {
            "Negative test: the stack must still be broken at the deadline, so no objective applies."
        } else {
            "This variant has none."
        },
        times: times(verdict),
        alerts: alerts(verdict),
        shares: shares(verdict, axis),
        outages: outages(verdict, axis),
        series: verdict.series.iter().map(series_row).collect(),
        steps: steps.iter().map(|step| step_card(step, start, axis)).collect(),
        drift: drift(steps, start),
        findings: verdict
            .findings
            .iter()
            .map(|finding| {
                let section = finding.section.as_deref().map(one_line).unwrap_or_default();
                vec![finding_word(finding.kind).to_owned(), one_line(&finding.text), section]
            })
            .collect(),
        ledger: ledger(verdict),
        ledger_line: ledger_line(verdict),
        placement: verdict
            .placement
            .iter()
            .map(|place| PlaceRow {
                what: place.what.to_string(),
                name: one_line(&place.name),
                node: one_line(&place.node),
                on_victim: place.on_victim,
            })
            .collect(),
        events: events(journal, axis),
        events_left_out: journal.records.len().saturating_sub(EVENTS_MAX),
        journal_cut_off: journal.truncated,
    }
}

fn tone(verdict: &Verdict) -> &'static str {
    match (verdict.exit_code, worst(verdict)) {
        (ExitCode::Pass, _) => "pass",
        (ExitCode::Unknown, _) | (_, Value::Pass) => "unknown",
        (_, worst) => value_word(worst),
    }
}

fn facts(verdict: &Verdict, start: &RunStarted) -> Rows {
    let cluster = &verdict.cluster;
    let facts = [
        ("run", verdict.run_id.clone()),
        ("started", verdict.started.clone()),
        ("took", human(Duration::try_from_secs_f64(verdict.took_ms / 1_000.0).unwrap_or_default())),
        ("cluster", format!("{} {}, {} nodes", cluster.provider, cluster.name, cluster.nodes)),
        ("Kubernetes", cluster.version.clone()),
        ("firedrill", start.firedrill.clone()),
        ("seed", verdict.seed.to_string()),
    ];
    facts.into_iter().map(|(name, fact)| vec![name.to_owned(), one_line(&fact)]).collect()
}

fn part(name: &'static str, question: &'static str, part: &Part) -> PartCard {
    PartCard {
        name,
        question,
        value: value_word(part.value),
        sign: value_sign(part.value),
        reasons: part.reasons.iter().map(|reason| one_line(reason)).collect(),
        hint: part.hint.as_deref().map(one_line),
    }
}

fn moments(verdict: &Verdict, axis: &Axis) -> Rows {
    let row = |(moment, at): (Moment, At)| {
        let of_series = if verdict.moments.contains_key(&moment) {
            ""
        } else if moment == Moment::FirstFailure {
            ", earliest of all series"
        } else {
            ", latest of all series"
        };
        let name = format!("{}{of_series}", moment.name());
        vec![sign(moment).to_owned(), name, format!("{} s", axis.seconds(at))]
    };
    timeline::moments(verdict).into_iter().map(row).collect()
}

fn objectives(verdict: &Verdict) -> Vec<ObjectiveRow> {
    let rows = verdict.objectives.iter().map(|objective| ObjectiveRow {
        name: one_line(&objective.name),
        span: format!("{} → {}", objective.from.name(), objective.to.name()),
        series: objective.series.map(|id| series_name(verdict, id)).unwrap_or_default(),
        measured: objective.measured.map_or_else(|| "not measured".to_owned(), |time| time.to_string()),
        documented: objective.documented_ms.map_or_else(|| "–".to_owned(), limit),
        documented_held: objective.documented_held,
        accepted: objective.accepted_ms.map_or_else(|| "informational".to_owned(), limit),
        value: value_word(objective.value),
        sign: value_sign(objective.value),
        because: one_line(&objective.because),
        reason: objective.reason.as_deref().map(one_line).unwrap_or_default(),
    });
    rows.collect()
}

fn times(verdict: &Verdict) -> Rows {
    let times = [
        ("time to detect", "effect → detected", verdict.time_to_detect_ms),
        ("time to recover", "effect → redundancy", verdict.time_to_recover_ms),
        ("back to normal", "effect → backlog drained", verdict.back_to_normal_ms),
    ];
    let row = |(name, span, time): (&str, &str, Option<Measured>)| {
        vec![name.to_owned(), span.to_owned(), time.map_or_else(|| "not measured".to_owned(), |time| time.to_string())]
    };
    times.into_iter().map(row).collect()
}

fn alerts(verdict: &Verdict) -> Vec<AlertRow> {
    let row = |alert: &AlertResult| AlertRow {
        name: one_line(&alert.name),
        expected: alert.within_ms.map_or_else(|| "not expected".to_owned(), |ms| format!("within {}", limit(ms))),
        fired: fired(alert),
        resolved: resolved(alert),
        value: alert.value.map_or("", value_word),
        sign: alert.value.map_or("", value_sign),
        reason: alert.reason.as_deref().map(one_line).unwrap_or_default(),
    };
    verdict.alerts.iter().map(row).collect()
}

fn shares(verdict: &Verdict, axis: &Axis) -> Vec<ShareRow> {
    let lasted_ms = |share: &firedrill_core::verdict::Share| millis(share.until.since(share.from));
    let total: f64 = verdict.attribution.iter().map(lasted_ms).sum::<f64>().max(0.001);
    let mut before = 0.0;
    let mut rows = Vec::new();
    for (index, share) in verdict.attribution.iter().enumerate() {
        let part = lasted_ms(share) / total;
        rows.push(ShareRow {
            name: one_line(&share.name),
            from: axis.seconds(share.from),
            lasted: seconds(lasted_ms(share)),
            percent: format!("{:.0} %", part * 100.0),
            x: percent(before),
            w: percent(part),
            shade: index % 6,
            number: index + 1,
            labelled: part > 0.035,
        });
        before += part;
    }
    rows
}

fn step_card(step: &StepRun, start: &RunStarted, axis: &Axis) -> StepCard {
    StepCard {
        number: step.number,
        correction: step.correction,
        section: one_line(&step.section),
        line: step.line,
        command: step.command.trim_end().to_owned(),
        from: axis.seconds(step.from),
        lasted: step
            .until
            .map_or_else(|| "–".to_owned(), |until| format!("{} s", seconds(millis(until.since(step.from))))),
        exit: step.exit().map_or_else(|| "–".to_owned(), |exit| exit.to_string()),
        expected: if step.command.is_empty() { String::new() } else { expectation(start, step) },
        said: one_line(&step.said()),
        kind: match step.held() {
            Some(true) => "ok",
            Some(false) => "bad",
            None => "open",
        },
        because: correction(start, step).map(|correction| one_line(&correction.because)).unwrap_or_default(),
        stdout: step.stdout.trim_end().to_owned(),
        stderr: step.stderr.trim_end().to_owned(),
    }
}

/// The corrections that were used, as differences between the runbook and what works.
fn drift(steps: &[StepRun], start: &RunStarted) -> Vec<Drift> {
    let used = steps.iter().filter(|step| step.correction);
    used.map(|step| {
        let known = correction(start, step);
        Drift {
            section: one_line(&step.section),
            documented: known.map(|known| visible(known.documented.trim_end())).unwrap_or_default(),
            instead: step.command.trim_end().to_owned(),
            because: known.map(|known| one_line(&known.because)).unwrap_or_default(),
        }
    })
    .collect()
}

fn events(journal: &Journal, axis: &Axis) -> Vec<EventRow> {
    let rows = journal.records.iter().take(EVENTS_MAX).map(|record| {
        let described = describe(record);
        EventRow {
            at: axis.seconds(record.at),
            wall: one_line(&record.wall),
            kind: described.kind,
            text: described.text,
            notable: described.notable,
        }
    });
    rows.collect()
}
