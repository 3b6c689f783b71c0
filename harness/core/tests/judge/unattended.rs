//! Runs in which nobody acts, since the scenario says that it needs its runbook.

use crate::builder::{CONTROL, PUBLISH, Run};
use firedrill_core::event::PhaseEnd;
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
