//! What the steps of a runbook and their corrections do to the verdict.

use crate::builder::{CONTROL, PUBLISH, Run};
use crate::verdicts::shown;
use firedrill_core::event::{Event, PhaseEnd, StepEnd};
use firedrill_core::exit::ExitCode;
use firedrill_core::plan::Phase;
use firedrill_core::scenario::Moment;
use firedrill_core::verdict::{FindingKind, Value};

#[test]
fn correction_used() {
    let mut run = Run::recovered(62_000);
    run.correction()
        .drop_events(|event| matches!(event, Event::StepStarted { step: 3, .. } | Event::StepEnded { step: 3, .. }));
    run.step(46_000, 3, false, StepEnd::WrongExit { exit: 126 }).step(46_500, 3, true, StepEnd::AsExpected { exit: 0 });
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn a_correction_that_fails_as_well_fails_recovery() {
    let mut run = Run::recovered(62_000);
    run.correction()
        .drop_events(|event| matches!(event, Event::StepStarted { step: 3, .. } | Event::StepEnded { step: 3, .. }));
    run.step(46_000, 3, false, StepEnd::WrongExit { exit: 126 }).step(46_500, 3, true, StepEnd::DeadlinePassed);
    let verdict = run.judge();
    assert_eq!(
        verdict.recovery.reasons,
        ["step 3 (line 15): the correction failed as well: it did not end within its limit"]
    );
    assert_eq!(
        (verdict.headline.as_str(), verdict.exit_code),
        ("FAILED: the runbook did not work as written", ExitCode::Failed)
    );
}

#[test]
fn correction_not_needed() {
    let mut run = Run::recovered(62_000);
    run.correction();
    insta::assert_snapshot!(shown(&run.judge()));
    run.start.scenario.corrections[0].at_times = true;
    let verdict = run.judge();
    assert_eq!((verdict.exit_code, verdict.findings.len()), (ExitCode::Pass, 0), "{}", shown(&verdict));
}

#[test]
fn a_correction_is_found_whatever_targets_its_command_names() {
    let mut run = Run::recovered(62_000);
    run.correction();
    run.start.scenario.corrections[0].documented = "kubectl exec <target-pod-1> -- wget".into();
    let runbook = run.start.scenario.runbooks.get_mut("runbook.md").unwrap();
    runbook.steps[2].command = "kubectl exec <target-pod-1> -- wget".into();
    let verdict = run.judge();
    let kinds: Vec<_> = verdict.findings.iter().map(|finding| &finding.kind).collect();
    assert_eq!(
        (verdict.exit_code, kinds),
        (ExitCode::Failed, vec![&FindingKind::CorrectionNotNeeded]),
        "{}",
        shown(&verdict)
    );
}

#[test]
fn a_look_may_fail_and_a_command_may_not() {
    let mut run = Run::recovered(62_000);
    run.step(43_000, 1, false, StepEnd::WrongExit { exit: 1 });
    let verdict = run.judge();
    assert_eq!((verdict.exit_code, verdict.findings.len()), (ExitCode::Pass, 1), "{}", shown(&verdict));
    run.step(43_500, 2, false, StepEnd::WrongExit { exit: 1 });
    assert_eq!(run.judge().recovery.reasons, ["step 2 (line 9): exit 1"]);
}

#[test]
fn a_step_that_was_broken_off_with_the_run_is_no_failure_of_the_runbook() {
    let mut run = Run::begun();
    run.injected().phase(40_100, Phase::Effect, 41_000, PhaseEnd::Done).moment(40_900, Moment::Effect, "publish");
    run.detected().runbook();
    run.drop_events(|event| matches!(event, Event::StepEnded { step: 2, .. }));
    let taken = "the cluster was taken over by another run".to_owned();
    run.phase(45_000, Phase::Recover, 50_000, PhaseEnd::Failed { reason: taken.clone() });
    run.down(PUBLISH, 40_500, 55_000, 55_000).up(CONTROL, 55_000).cleaned(57_000);
    run.event(50_000, Event::Lost { what: taken });
    let verdict = run.judge();
    assert_ne!(verdict.recovery.value, Value::Pass);
    assert!(verdict.recovery.reasons.iter().all(|reason| !reason.contains("never ended")), "{:?}", verdict.recovery);
}
