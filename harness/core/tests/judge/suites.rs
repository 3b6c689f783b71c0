//! What a suite makes of judged runs: above all, which controls count as ended as they must.

use crate::builder::{CONTROL, PUBLISH, Run};
use firedrill_core::event::{Event, PhaseEnd};
use firedrill_core::exit::ExitCode;
use firedrill_core::plan::Phase;
use firedrill_core::suite::{Entry, Outcome, Ran, RunResult, Slot};
use firedrill_core::verdict::Value;
use std::time::Duration;

fn counted(run: &Run, control: bool, environment: bool) -> RunResult {
    let verdict = run.judge();
    let unfit = environment && verdict.exit_code != ExitCode::Dirty;
    let exit_code = if unfit { ExitCode::Environment } else { verdict.exit_code };
    let ran = Ran::of(&verdict, &run.journal(), "../run".to_owned(), exit_code);
    let entry = Entry {
        scenario: "nats-quorum-loss".to_owned(),
        variant: "hung".to_owned(),
        repeat: 1,
        control,
        without: None,
        expected: Duration::from_secs(60),
        irreversible: false,
        digest: String::new(),
    };
    RunResult::new(Slot { round: 1, entry: 0 }, &entry, Outcome::Ran(Box::new(ran)))
}

fn noop(is_steady: bool) -> Run {
    let mut run = Run::begun();
    run.start.noop = true;
    if is_steady {
        run.phase(5_000, Phase::SteadyState, 39_000, PhaseEnd::Done).load(20.0);
        run.phase(40_000, Phase::Effect, 60_000, PhaseEnd::DeadlinePassed);
    } else {
        run.phase(5_000, Phase::SteadyState, 39_000, PhaseEnd::DeadlinePassed);
    }
    run.ledger(61_000, 0, 0).up(PUBLISH, 60_000).up(CONTROL, 60_000).clean_checked(62_000, &[]);
    run.event(62_100, Event::RunEnded { interrupted: false, samples: None });
    run
}

#[test]
fn a_control_that_waited_for_an_effect_in_vain_passes() {
    let result = counted(&noop(true), true, false);
    assert_eq!((result.exit_code, result.value), (ExitCode::Pass, Value::Pass));
    assert_eq!(result.said(), "as expected of a control: UNKNOWN: no fault was injected (no-op run)");
}

#[test]
fn a_control_that_never_got_there_is_unknown_though_its_verdict_reads_the_same() {
    let result = counted(&noop(false), true, false);
    assert_eq!((result.exit_code, result.value), (ExitCode::Unknown, Value::Unknown));
    assert_eq!(
        result.said(),
        "not the verdict that a no-op run must end with: UNKNOWN: no fault was injected (no-op run)"
    );
}

#[test]
fn a_fault_that_has_no_effect_is_no_control() {
    let mut run = Run::begun();
    run.injected().phase(40_100, Phase::Effect, 60_100, PhaseEnd::DeadlinePassed);
    run.up(PUBLISH, 60_000).up(CONTROL, 60_000).ledger(61_000, 0, 0).cleaned(62_000);
    assert_eq!(counted(&run, false, false).exit_code, ExitCode::Unknown);
}

#[test]
fn a_drill_counts_as_what_its_verdict_says() {
    let recovered = Run::recovered(62_000);
    assert_eq!(counted(&recovered, false, false).exit_code, ExitCode::Pass);
    assert_eq!(
        counted(&recovered, true, false).exit_code,
        ExitCode::Failed,
        "a no-op run that passes shows that a pass means nothing"
    );
    assert_eq!(counted(&recovered, false, true).exit_code, ExitCode::Environment);
}
