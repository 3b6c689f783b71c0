//! Runs in which nobody acts, or not as the whole runbook says, since the scenario needs its runbook.

use crate::builder::{CONTROL, PUBLISH, Run};
use firedrill_core::event::{Event, PhaseEnd, Source, StepEnd};
use firedrill_core::exit::ExitCode;
use firedrill_core::plan::Phase;
use firedrill_core::sample::{Cause, Outcome};
use firedrill_core::scenario::{Moment, Recovery};
use firedrill_core::time::At;
use firedrill_core::verdict::Value;

/// A run in which nobody acts, and which waited until 160 s for redundancy.
fn unattended(end: PhaseEnd) -> Run {
    let mut run = Run::begun();
    let variant = run.start.scenario.variants.get_mut("hung").unwrap();
    variant.recovery = Recovery::StaysBroken;
    run.start.scenario.objectives.clear();
    run.injected().phase(40_100, Phase::Effect, 41_000, PhaseEnd::Done).moment(40_900, Moment::Effect, "publish");
    run.phase(41_000, Phase::SustainedOk, 160_000, end);
    run.down(PUBLISH, 40_900, 160_000, 160_000).up(CONTROL, 160_000).ledger(162_000, 0, 0).cleaned(170_000);
    run
}

#[test]
fn what_needs_its_runbook_stays_broken() {
    let verdict = unattended(PhaseEnd::DeadlinePassed).judge();
    assert_eq!((verdict.recovery.value, verdict.exit_code), (Value::Pass, ExitCode::Pass), "{:?}", verdict.recovery);
    assert_eq!(verdict.headline, "STILL BROKEN, as expected: it needs its runbook");
    assert_eq!(
        verdict.recovery.reasons,
        [
            "still broken 119.1 s after the effect, as the scenario says: publish (outside, reused connections) was down \
         from 40.9 s of the run on"
        ]
    );
    let healed = unattended(PhaseEnd::Done).judge();
    assert_eq!((healed.recovery.value, healed.exit_code), (Value::Fail, ExitCode::Failed), "{:?}", healed.recovery);
    let mut unnoticed = unattended(PhaseEnd::DeadlinePassed);
    unnoticed.phase(41_000, Phase::Detect, 100_000, PhaseEnd::DeadlinePassed);
    let unnoticed = unnoticed.judge();
    assert_eq!(
        unnoticed.recovery.value,
        Value::Pass,
        "that nothing noticed it heals nothing: {:?}",
        unnoticed.recovery
    );
    let cut = unattended(PhaseEnd::Interrupted).judge();
    assert_eq!(cut.recovery.value, Value::Unknown, "{:?}", cut.recovery);
}

#[test]
fn what_stays_broken_has_its_times_to_keep() {
    let noticed = |at_ms: u64| {
        let mut run = unattended(PhaseEnd::DeadlinePassed);
        let mut objective = Run::begun().start.scenario.objectives[0].clone();
        (objective.from, objective.to) = (Moment::Inject, Moment::Detected);
        objective.accepted.get_mut("hung").unwrap().0 = std::time::Duration::from_secs(20);
        run.start.scenario.objectives.push(objective);
        run.moment(at_ms, Moment::Detected, "nats");
        run.judge()
    };
    assert_eq!((noticed(50_000).recovery.value, noticed(50_000).exit_code), (Value::Pass, ExitCode::Pass));
    let late = noticed(65_000);
    assert_eq!((late.recovery.value, late.exit_code), (Value::Fail, ExitCode::Failed), "{:?}", late.recovery);
    assert!(late.headline.starts_with("FAILED: rollout: 25.0"), "{}", late.headline);
    assert!(late.recovery.reasons[1].starts_with("still broken"), "{:?}", late.recovery);
}

/// The same with the runbook's steps, of which a section was left out.
fn without(section: &str, end: PhaseEnd) -> Run {
    let mut run = unattended(end);
    run.start.scenario = Run::begun().start.scenario.without("hung", section).unwrap();
    run.step(50_000, 1, false, StepEnd::WrongExit { exit: 1 });
    run
}

#[test]
fn what_recovers_without_a_section_does_not_need_it() {
    let broken = without("3.", PhaseEnd::DeadlinePassed).judge();
    assert_eq!((broken.recovery.value, broken.exit_code), (Value::Pass, ExitCode::Pass), "{:?}", broken.recovery);
    assert_eq!(
        broken.headline,
        "STILL BROKEN without \"3. Delete the stuck pods\", as expected: it needs this section"
    );
    assert_eq!(broken.without.as_deref(), Some("3. Delete the stuck pods"));
    assert_eq!((broken.objectives.len(), broken.findings.len()), (0, 0), "it says nothing of the whole runbook");
    let healed = without("3.", PhaseEnd::Done).judge();
    assert_eq!((healed.recovery.value, healed.exit_code), (Value::Fail, ExitCode::Failed), "{:?}", healed.recovery);
    assert!(healed.headline.starts_with("RECOVERED without"), "{}", healed.headline);
    // Another scenario's objectives do not make a whole runbook of it.
    let whole = Run::begun().start.scenario;
    let again = without("3.", PhaseEnd::Done).judge_with(Some(&whole)).unwrap();
    assert_eq!((again.recovery.value, again.objectives.len()), (Value::Fail, 0));
}

#[test]
fn what_was_not_looked_at_is_not_broken() {
    // The runbook's other commands took all the time, and nobody waited for the service.
    let mut recovering = without("3.", PhaseEnd::Done);
    recovering.drop_events(|event| {
        matches!(event, Event::PhaseStarted { phase, .. } | Event::PhaseEnded { phase, .. }
        if *phase == Phase::SustainedOk)
    });
    recovering.phase(45_000, Phase::Recover, 160_000, PhaseEnd::DeadlinePassed);
    assert_eq!(recovering.judge().recovery.value, Value::Unknown, "{:?}", recovering.judge().recovery);
    // They did, and the service was seen to be back all the same.
    let mut healed = without("3.", PhaseEnd::Done);
    healed.phase(45_000, Phase::Recover, 100_000, PhaseEnd::DeadlinePassed);
    assert!(healed.judge().headline.starts_with("RECOVERED without"), "{}", healed.judge().headline);
    // Nothing was sent any more after 60 s: whether it still failed is not known.
    let mut silent = unattended(PhaseEnd::DeadlinePassed);
    silent.change_samples(|sample| {
        if sample.series == PUBLISH && sample.started > At::from_ms(60_000) {
            (sample.outcome, sample.ended) = (Outcome::Stalled, sample.started);
        }
    });
    assert_eq!(silent.judge().recovery.value, Value::Unknown, "{:?}", silent.judge().recovery);
    // Samples are missing.
    let mut unfit = unattended(PhaseEnd::DeadlinePassed);
    unfit.keep_samples(|sample| sample.series != PUBLISH || sample.seq != 20);
    assert_eq!(unfit.judge().recovery.value, Value::Unknown, "{:?}", unfit.judge().recovery);
}

#[test]
fn what_comes_back_right_at_the_end_is_not_broken_then() {
    // Two seconds before the end it answered again, for as long as samples were taken.
    let mut run = unattended(PhaseEnd::DeadlinePassed);
    run.keep_samples(|sample| sample.series != PUBLISH);
    run.down(PUBLISH, 40_900, 158_000, 175_000);
    assert_eq!(run.judge().recovery.value, Value::Unknown, "{:?}", run.judge().recovery);
    // The undo disturbed it once more, within the window that would have ended the outage: it answered at the limit all the same.
    run.change_samples(|sample| {
        if sample.series == PUBLISH && sample.started == At::from_ms(161_000) {
            sample.outcome = Outcome::Failed { cause: Cause::Reset, code: 0, maybe_applied: false };
        }
    });
    assert_eq!(run.judge().recovery.value, Value::Unknown, "{:?}", run.judge().recovery);
}

#[test]
fn what_happens_after_the_limit_is_nothing_to_it() {
    // It came back while logs and states were kept: it was broken when the limit passed.
    let mut healed = unattended(PhaseEnd::DeadlinePassed);
    healed.keep_samples(|sample| sample.series != PUBLISH);
    healed.down(PUBLISH, 40_900, 165_000, 200_000).observed(190_000, (Source::Pods, "p", "ready", Some(true)));
    assert_eq!(healed.judge().recovery.value, Value::Pass, "{:?}", healed.judge().recovery);
    // It went down then, and redundancy could not be seen at the limit.
    let mut loaded = serving(Phase::Redundancy, (&[], &["no answer"]));
    loaded.change_samples(|sample| {
        if sample.series == PUBLISH && sample.started > At::from_ms(160_500) {
            sample.outcome = Outcome::Failed { cause: Cause::Timeout, code: 0, maybe_applied: false };
        }
    });
    loaded.observed(170_000, (Source::Pods, "p", "not ready", Some(false)));
    assert_eq!(loaded.judge().recovery.value, Value::Unknown, "{:?}", loaded.judge().recovery);
    // A single attempt in a hundred times out: that is no outage that lasts.
    let mut stray = unattended(PhaseEnd::DeadlinePassed);
    stray.change_samples(|sample| {
        if sample.series == PUBLISH && sample.started > At::from_ms(60_000) && sample.seq % 80 != 59 {
            sample.outcome = Outcome::Ok;
        }
    });
    assert_eq!(stray.judge().recovery.value, Value::Unknown, "{:?}", stray.judge().recovery);
}

/// A run in which nobody acts: the service came back, and then it waited for something until 160 s.
fn serving(phase: Phase, lacks: (&[&str], &[&str])) -> Run {
    let mut run = unattended(PhaseEnd::Done);
    run.keep_samples(|sample| sample.series != PUBLISH);
    run.drop_events(|event| {
        matches!(event, Event::PhaseStarted { phase, .. } | Event::PhaseEnded { phase, .. }
        if *phase == Phase::SustainedOk)
    });
    run.phase(41_000, Phase::SustainedOk, 60_000, PhaseEnd::Done);
    run.phase(60_100, phase, 160_000, PhaseEnd::DeadlinePassed).down(PUBLISH, 40_900, 50_000, 180_000);
    let all = |of: &[&str]| of.iter().map(|what| (*what).to_owned()).collect();
    run.event(160_000, Event::NotRedundant { missing: all(lacks.0), unseen: all(lacks.1) });
    run
}

#[test]
fn only_what_was_seen_to_be_missing_is_missing() {
    let missing = serving(Phase::Redundancy, (&["2 of 3 servers have a pod"], &[])).judge();
    assert_eq!(missing.recovery.value, Value::Pass, "{:?}", missing.recovery);
    let unseen = serving(Phase::Redundancy, (&[], &["Prometheus does not answer"])).judge();
    assert_eq!((unseen.recovery.value, unseen.exit_code), (Value::Unknown, ExitCode::Unknown), "{:?}", unseen.recovery);
    let backlog = serving(Phase::Backlog, (&[], &[])).judge();
    assert_eq!(backlog.recovery.value, Value::Unknown, "{:?}", backlog.recovery);
}
