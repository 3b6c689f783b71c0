//! Runs in which nobody acts, or not as the whole runbook says, since the scenario needs its runbook.

use crate::builder::{CONTROL, PUBLISH, Run};
use firedrill_core::event::{PhaseEnd, StepEnd};
use firedrill_core::plan::Phase;
use firedrill_core::scenario::{Moment, Recovery};
use firedrill_core::verdict::Value;

/// A run in which nobody acts, and which waited until 160 s for redundancy.
fn unattended(end: PhaseEnd) -> Run {
    let mut run = Run::begun();
    let variant = run.start.scenario.variants.get_mut("hung").unwrap();
    variant.recovery = Recovery::StaysBroken;
    run.injected().phase(40_100, Phase::Effect, 41_000, PhaseEnd::Done).moment(40_900, Moment::Effect, "publish");
    run.phase(41_000, Phase::SustainedOk, 160_000, end);
    run.down(PUBLISH, 40_900, 160_000, 160_000).up(CONTROL, 160_000).ledger(162_000, 0, 0).cleaned(170_000);
    run
}

#[test]
fn what_needs_its_runbook_stays_broken() {
    let verdict = unattended(PhaseEnd::DeadlinePassed).judge();
    assert_eq!((verdict.recovery.value, verdict.exit_code), (Value::Pass, 0), "{:?}", verdict.recovery);
    assert_eq!(verdict.headline, "STILL BROKEN, as it must be: it needs its runbook");
    let healed = unattended(PhaseEnd::Done).judge();
    assert_eq!((healed.recovery.value, healed.exit_code), (Value::Fail, 1), "{:?}", healed.recovery);
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
    assert_eq!((broken.recovery.value, broken.exit_code), (Value::Pass, 0), "{:?}", broken.recovery);
    assert_eq!(broken.headline, "STILL BROKEN without \"3. Delete the stuck pods\", as it must be: it needs that");
    assert_eq!(broken.without.as_deref(), Some("3. Delete the stuck pods"));
    assert_eq!((broken.objectives.len(), broken.findings.len()), (0, 0), "it says nothing of the whole runbook");
    let healed = without("3.", PhaseEnd::Done).judge();
    assert_eq!((healed.recovery.value, healed.exit_code), (Value::Fail, 1), "{:?}", healed.recovery);
    assert!(healed.headline.starts_with("RECOVERED without"), "{}", healed.headline);
    // Another scenario's objectives do not make a whole runbook of it.
    let whole = Run::begun().start.scenario;
    let again = without("3.", PhaseEnd::Done).judge_with(Some(&whole)).unwrap();
    assert_eq!((again.recovery.value, again.objectives.len()), (Value::Fail, 0));
}
