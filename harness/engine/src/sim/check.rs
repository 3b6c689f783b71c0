//! What must hold of every simulated run, whatever its script was.

use super::drive::Outcome;
use super::observer::{ALERT, LOOK_EVERY};
use super::world::{TrueOutage, World};
use crate::run::{Ran, RunError};
use firedrill_core::event::{Event, Observation, PhaseEnd, Undo};
use firedrill_core::exit::ExitCode;
use firedrill_core::journal::Journal;
use firedrill_core::judge::judge;
use firedrill_core::sample::SampleReader;
use firedrill_core::scenario::Moment;
use firedrill_core::verdict::{SeriesResult, Value, Verdict};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::PoisonError;
use std::time::Duration;

/// The time between two attempts of the simulated scenario.
const EVERY: Duration = Duration::from_millis(250);
/// How long a run may go on after it was interrupted, its lease was lost, or its journal broke, until it undoes its fault.
const STOPS_WITHIN: Duration = Duration::from_secs(2);

/// Everything that is wrong with an outcome, a line each.
pub(super) fn check(outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let world = outcome.world.lock().unwrap_or_else(PoisonError::into_inner);
    let text = outcome.journal();
    let journal = text.as_deref().and_then(|text| Journal::parse(text).ok());
    let verdict = journal.as_ref().and_then(|_| {
        // With the machine's tail, the samples may be lost to their first byte.
        let samples_lost = world.script.tail_lost && outcome.ran.is_none();
        let judged = verdict_of(outcome);
        judged
            .map_err(|error| {
                if !samples_lost {
                    wrong.push(format!("the run cannot be judged: {error}"))
                }
            })
            .ok()
    });
    if let Some(ran) = &outcome.ran {
        ended(outcome, ran, verdict.as_ref(), text.as_deref().unwrap_or_default(), &mut wrong);
    }
    if let (Some(verdict), Some(journal)) = (&verdict, &journal) {
        if verdict.exit_code == ExitCode::Pass {
            passed(outcome, &world, verdict, journal, &mut wrong);
        }
        truth_within(&world, verdict, journal, &mut wrong);
        effect_is_early(&world, verdict, &mut wrong);
        stopped(&world, journal, &mut wrong);
        undone(&world, journal, &mut wrong);
        alert_is_true(&world, verdict, journal, &mut wrong);
        watched(&world, journal, &mut wrong);
    }
    for target in &world.unrecorded {
        wrong.push(format!("{target} was broken before its undo was on the cluster"));
    }
    if world.script.is_mild && matches!(outcome.ran, Some(Ok(_))) && !outcome.left.is_empty() {
        wrong.push(format!("{:?} is left after conflicts, lost watches or alerts alone", outcome.left));
    }
    swept(outcome, &world, &mut wrong);
    if world.journal_broke && matches!(outcome.ran, Some(Ok(_))) {
        wrong.push("the journal could not be written, and the run does not say so".to_owned());
    }
    wrong
}

/// What the judge says of a run.
pub(super) fn verdict_of(outcome: &Outcome) -> Result<Verdict, String> {
    let text = outcome.journal().unwrap_or_default();
    let journal = Journal::parse(&text).map_err(|error| error.to_string())?;
    let samples = SampleReader::new(Cursor::new(outcome.file("samples.bin").unwrap_or_default()));
    samples.and_then(|samples| judge(&journal, samples, None)).map_err(|error| error.to_string())
}

/// A run that ended is clean, or says that it is not and what is left.
fn ended(
    outcome: &Outcome,
    ran: &Result<Ran, RunError>,
    verdict: Option<&Verdict>,
    journal: &str,
    wrong: &mut Vec<String>,
) {
    if outcome.left.is_empty() {
        return;
    }
    let (dirty, said) = match ran {
        Ok(ran) => {
            (!ran.clean && verdict.is_none_or(|verdict| verdict.exit_code == ExitCode::Dirty), journal.to_owned())
        }
        Err(RunError::Environment { message, dirty, .. }) => (*dirty, format!("{message} {journal}")),
    };
    if !dirty {
        let exit = verdict.map(|verdict| verdict.exit_code);
        wrong.push(format!("{:?} is left, and the run does not end as dirty (exit {exit:?})", outcome.left));
    }
    // A journal that broke off cannot name anything any more.
    let names_all = ran.is_ok();
    for left in outcome.left.iter().filter(|left| names_all && !said.contains(left.as_str())) {
        wrong.push(format!("{left} is left and is not named"));
    }
}

/// A pass needs proof, targets, data and load, and a runner that saw all of it.
fn passed(outcome: &Outcome, world: &World, verdict: &Verdict, journal: &Journal, wrong: &mut Vec<String>) {
    let script = &world.script;
    let ended_at = outcome.ended_at;
    let mut not = |what: &str| wrong.push(format!("the run passes, and {what}"));
    let Some(start) = journal.start().ok() else { return not("its journal has no start") };
    let targets = start.plan.targets();
    if targets.is_empty() || targets.iter().any(|target| !world.injected.contains(&target.to_string())) {
        not("not every target was broken");
    }
    if script.proof_missing {
        not("the fault was never proven");
    }
    let outages = world.outages();
    // A success of the control within 5 s of the failure is enough for the run.
    let is_long = |outage: &TrueOutage| outage.until.is_none_or(|until| until > outage.from + Duration::from_secs(5));
    if script.control_fails && outages.iter().all(is_long) {
        not("the control failed with the service");
    }
    if outages.is_empty() {
        not("the service never failed");
    }
    let injecting = begins(journal, firedrill_core::plan::Phase::Inject).unwrap_or_default();
    if script.variant == "alert-start" && alert_of_the_fault(world, injecting).is_none() {
        not("the alert of its objective never fired");
    }
    if outages.iter().any(|outage| outage.until.is_none_or(|until| until > ended_at)) {
        not("the service did not recover");
    }
    if world.lost > 0 || (script.lost_writes > 0 && world.acknowledged.values().any(|all| all.len() > 1)) {
        not("acknowledged writes were lost");
    }
    if script.low_load {
        not("there was too little load");
    }
    if !outcome.left.is_empty() {
        not("something is left");
    }
    let measured_until = measured_until(journal);
    let before_end = |at: Option<Duration>| at.is_some_and(|at| at + Duration::from_millis(500) < measured_until);
    if before_end(script.samples_lost_at) {
        not("samples were lost");
    }
    if before_end(script.lease_lost_at) {
        not("the lease was lost");
    }
    if before_end(script.interrupts.iter().min().copied()) {
        not("it was interrupted");
    }
    if before_end(script.suspension.map(|(at, _)| at)) {
        not("the machine was suspended");
    }
    if verdict.ledger.iter().all(|count| count.acknowledged == 0) {
        not("no acknowledged write was looked for");
    }
    for part in [&verdict.injection, &verdict.recovery, &verdict.data, &verdict.cleanup] {
        if part.value != Value::Pass {
            wrong.push("the run passes, and one of its four verdicts does not".to_owned());
        }
    }
}

/// The effect is dated by the first attempt that failed: a later moment would flatter every time that begins with it.
fn effect_is_early(world: &World, verdict: &Verdict, wrong: &mut Vec<String>) {
    if world.script.suspension.is_some() {
        return;
    }
    let effect = verdict.moments.get(&Moment::Effect).map(|effect| at(*effect));
    let first = world.outages().first().map(|outage| outage.from);
    if let (Some(effect), Some(first)) = (effect, first)
        && effect > first + EVERY
    {
        wrong.push(format!("the service failed from {first:?}, and the effect is dated {effect:?}"));
    }
}

/// Until when the run measured: the start of its ledger, or its end.
fn measured_until(journal: &Journal) -> Duration {
    use firedrill_core::plan::Phase;
    let ledger = journal
        .records
        .iter()
        .find(|record| matches!(record.event, Event::PhaseStarted { phase: Phase::Ledger | Phase::Undo, .. }));
    ledger.or(journal.records.last()).map_or(Duration::ZERO, |record| Duration::from_micros(record.at.0))
}

/// The true outage is inside of every interval that is reported, and none is missing.
fn truth_within(world: &World, verdict: &Verdict, journal: &Journal, wrong: &mut Vec<String>) {
    // With a clock that jumped, the times of the world are not those of the journal.
    if world.script.suspension.is_some() {
        return;
    }
    let measured_until = measured_until(journal);
    for series in verdict.series.iter().filter(|series| series.probe == "publish" && series.samples > 0) {
        for outage in &series.outages {
            reported(world, series, outage, wrong);
        }
        for truth in world.outages() {
            let Some(until) = truth.until.filter(|until| *until + EVERY < measured_until) else { continue };
            let is_long = until.saturating_sub(truth.from) > 2 * EVERY;
            let seen = series.outages.iter().any(|outage| overlaps(outage, &truth));
            let measured = verdict.series.iter().all(|series| series.stalled == 0);
            if is_long && !seen && measured && has_samples_over(series, truth) {
                wrong.push(format!("{}: the outage {truth:?} is not reported", series.name));
            }
        }
    }
}

fn has_samples_over(series: &SeriesResult, truth: TrueOutage) -> bool {
    // Attempts are made without a gap from the first on; their number says until when.
    let span = EVERY * u32::try_from(series.samples).unwrap_or(u32::MAX);
    truth.until.is_some_and(|until| span > until)
}

fn at(moment: firedrill_core::time::At) -> Duration {
    Duration::from_micros(moment.0)
}

fn overlaps(outage: &firedrill_core::verdict::Outage, truth: &TrueOutage) -> bool {
    let until = truth.until.unwrap_or(Duration::MAX);
    at(outage.first_failure) < until && at(outage.last_failure) + EVERY >= truth.from
}

fn reported(world: &World, series: &SeriesResult, outage: &firedrill_core::verdict::Outage, wrong: &mut Vec<String>) {
    let truths: Vec<_> = world.outages().into_iter().filter(|truth| overlaps(outage, truth)).collect();
    let (Some(first), Some(last)) = (truths.first(), truths.last()) else {
        return wrong.push(format!(
            "{}: an outage is reported and there was none (but {:?}): {outage:?}",
            series.name,
            world.outages()
        ));
    };
    let Some(until) = last.until else { return };
    let truth = (until - first.from).as_secs_f64() * 1_000.0;
    let (lower, upper) = (outage.length.lower_ms(), outage.length.upper_ms());
    if lower > truth + 0.01 || upper.is_some_and(|upper| upper + 0.01 < truth) {
        wrong.push(format!("{}: the outage took {truth} ms, and {:?} is reported", series.name, outage.length));
    }
}

/// A run that must not go on begins to undo its fault soon.
fn stopped(world: &World, journal: &Journal, wrong: &mut Vec<String>) {
    use firedrill_core::plan::Phase;
    if world.script.suspension.is_some() {
        return;
    }
    let begins = |phase: Phase| begins(journal, phase);
    let (Some(armed), Some(undo)) = (begins(Phase::SteadyState), begins(Phase::Undo)) else { return };
    // Reading back has a limit of its own, and needs neither samples nor the lease.
    let before = begins(Phase::Ledger).unwrap_or(undo);
    let reasons = [
        ("it was interrupted", world.script.interrupts.iter().min().copied()),
        ("the lease was lost", world.script.lease_lost_at),
        ("samples were lost", world.script.samples_lost_at),
    ];
    for (what, when) in reasons {
        let Some(when) = when.filter(|when| *when > armed && *when < before) else { continue };
        if before > when + STOPS_WITHIN {
            wrong.push(format!("{what} at {when:?}, and the run went on until {before:?}"));
        }
    }
}

/// When the alert fires for the first time that a run can take for its fault's: it knows what fired before from its last look.
fn alert_of_the_fault(world: &World, injecting: Duration) -> Option<Duration> {
    let lost =
        world.script.watch_lost.filter(|(from, length)| (*from..*from + *length + LOOK_EVERY).contains(&injecting));
    let looked_at = lost.map_or(injecting, |(from, _)| from).saturating_sub(2 * LOOK_EVERY);
    world.alert_fires_since(looked_at)
}

/// An undo of a fault counts as done only if the cluster accepted it.
fn undone(world: &World, journal: &Journal, wrong: &mut Vec<String>) {
    let mut recorded = BTreeMap::new();
    for record in &journal.records {
        match &record.event {
            Event::UndoRecorded { id, undo } => drop(recorded.insert(id, undo)),
            Event::Undone { id, error: None, .. } => {
                let refused = |undo: &&&Undo| undo.is_of_a_fault() && !world.undone.contains(&undo.to_string());
                if let Some(undo) = recorded.get(id).filter(refused) {
                    wrong.push(format!("{undo}: it counts as done, and the cluster refused it"));
                }
            }
            _ => {}
        }
    }
}

/// The alert is dated by when it fired because of the fault, a runbook waits for it, and what is said of it is true.
fn alert_is_true(world: &World, verdict: &Verdict, journal: &Journal, wrong: &mut Vec<String>) {
    use firedrill_core::plan::Phase;
    if world.script.suspension.is_some() {
        return;
    }
    let Some(injecting) = begins(journal, Phase::Inject) else { return };
    let fired = alert_of_the_fault(world, injecting);
    let is_before = |moment: Duration| fired.is_none_or(|fired| moment < fired);
    for record in &journal.records {
        match &record.event {
            Event::MomentSeen { moment: Moment::Alert, seen_at, .. } if is_before(at(*seen_at)) => {
                wrong.push(format!("the alert fires at {fired:?}, and is dated {:?}", at(*seen_at)));
            }
            Event::StepStarted { step: 1, .. } if world.script.variant == "alert-start" && is_before(at(record.at)) => {
                wrong.push(format!("the alert fires at {fired:?}, and its runbook starts at {:?}", at(record.at)));
            }
            _ => {}
        }
    }
    let looked_to_the_end = journal.records.iter().any(|record| {
        let ended = |end: &PhaseEnd| matches!(end, PhaseEnd::Done | PhaseEnd::DeadlinePassed);
        matches!(&record.event, Event::PhaseEnded { phase: Phase::Alerts, end, .. } if ended(end))
    });
    let never = world.alert_fires_since(Duration::ZERO).is_none();
    if world.script.is_mild && world.script.watch_lost.is_none() && looked_to_the_end && never {
        let said = verdict.alerts.iter().find(|result| result.name == ALERT).and_then(|result| result.value);
        if said != Some(Value::Fail) {
            wrong.push(format!("the alert never fires, and {said:?} is said of it"));
        }
    }
}

/// A target that is broken for a while is reported, also if it broke while a watch was lost.
fn watched(world: &World, journal: &Journal, wrong: &mut Vec<String>) {
    use firedrill_core::plan::Phase;
    let script = &world.script;
    if script.suspension.is_some() || script.death.is_some() || world.journal_broke {
        return;
    }
    let Some(stops) = begins(journal, Phase::Undo) else { return };
    for (name, from, until) in &world.broken_times {
        let until = until.unwrap_or(stops).min(stops);
        let lost =
            script.watch_lost.filter(|(lost, length)| *lost <= *from + 2 * LOOK_EVERY && *from < *lost + *length);
        let seen_from = lost.map_or(*from, |(lost, length)| lost + length);
        let due = seen_from + 4 * LOOK_EVERY;
        if due >= until {
            continue;
        }
        let is_of_it = |seen: &Observation| seen.object == *name && seen.healthy == Some(false);
        let seen = journal.records.iter().any(|record| match &record.event {
            Event::Observed(seen) => is_of_it(seen) && (*from..=due).contains(&at(record.at)),
            _ => false,
        });
        if !seen {
            wrong.push(format!("{name} is broken from {from:?} to {until:?}, and it is not reported by {due:?}"));
        }
    }
}

/// When a phase begins.
fn begins(journal: &Journal, phase: firedrill_core::plan::Phase) -> Option<Duration> {
    let starts = |event: &Event| matches!(event, Event::PhaseStarted { phase: started, .. } if *started == phase);
    journal.records.iter().find(|record| starts(&record.event)).map(|record| at(record.at))
}

/// A sweep leaves nothing, or names what is left.
fn swept(outcome: &Outcome, world: &World, wrong: &mut Vec<String>) {
    let Some(swept) = &outcome.swept else { return };
    let swept = match swept {
        Ok(swept) => swept,
        Err(error) => return wrong.push(format!("the sweep fails: {error}")),
    };
    let said: String = [&swept.left, &swept.not_obeyed, &swept.warnings]
        .into_iter()
        .flatten()
        .map(|line| format!("{line}\n"))
        .collect();
    for left in world.leftovers() {
        // What is beyond an undo can be seen only with the run's folder.
        let has_journal = !world.script.folder_lost && !world.script.journal_unreadable;
        let is_known = left != "web" || (has_journal && swept.left.is_empty());
        if is_known && !said.contains(&left) {
            wrong.push(format!("{left} is left after the sweep, which says: {said:?}"));
        }
    }
    // An earlier sweep may have done it.
    let is_first = world.script.first_sweep.is_none();
    if is_first && outcome.faulty && world.faults_in().is_empty() && swept.done.is_empty() {
        wrong.push("a fault was in, and the sweep did nothing".to_owned());
    }
}
