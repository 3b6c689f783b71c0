//! Verdicts on whole runs.

use crate::builder::{CONTROL, PUBLISH, Run};
use firedrill_core::event::{Event, PhaseEnd, Place, PlaceKind, Source};
use firedrill_core::exit::ExitCode;
use firedrill_core::plan::Phase;
use firedrill_core::sample::Outcome;
use firedrill_core::scenario::{Fault, Moment};
use firedrill_core::time::{At, human};
use firedrill_core::verdict::{FindingKind, Measured, Part, Value, Verdict};
use std::fmt::Write;
use std::time::Duration;

/// The verdict as a person reads it.
pub(crate) fn shown(verdict: &Verdict) -> String {
    let mut out = format!("{}   exit {}\n", verdict.headline, verdict.exit_code);
    for (name, part) in parts(verdict) {
        writeln!(out, "{name:<10} {:?}: {}", part.value, part.reasons.join(" | ")).unwrap();
        if let Some(hint) = &part.hint {
            writeln!(out, "           hint: {hint}").unwrap();
        }
    }
    for objective in &verdict.objectives {
        let measured = objective.measured.map_or_else(|| "-".to_owned(), |measured| measured.to_string());
        writeln!(
            out,
            "objective  {:?} {}: {measured}, documented held: {:?}",
            objective.value, objective.name, objective.documented_held
        )
        .unwrap();
    }
    for series in &verdict.series {
        for outage in &series.outages {
            writeln!(
                out,
                "outage     {}: {}, {} failed, {} flaps",
                series.name, outage.length, outage.failed, outage.flaps
            )
            .unwrap();
        }
    }
    for share in &verdict.attribution {
        writeln!(out, "share      {} {}", share.name, human(share.until.since(share.from))).unwrap();
    }
    for alert in &verdict.alerts {
        let time = |time: Option<Measured>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
        let (fired, resolved) = (time(alert.fired_after_ms), time(alert.resolved_after_ms));
        let reason = alert.reason.as_deref().unwrap_or("-");
        writeln!(out, "alert      {:?} {}: {fired}, {resolved}: {reason}", alert.value, alert.name).unwrap();
    }
    for finding in &verdict.findings {
        writeln!(out, "finding    {:?}: {}", finding.kind, finding.text).unwrap();
    }
    out
}

fn parts(verdict: &Verdict) -> [(&'static str, &Part); 4] {
    [
        ("injection", &verdict.injection),
        ("recovery", &verdict.recovery),
        ("data", &verdict.data),
        ("cleanup", &verdict.cleanup),
    ]
}

#[test]
fn recovered() {
    let mut run = Run::recovered(62_000);
    run.observed(58_000, (Source::Pods, "ironflow-nats-0", "Running", Some(true)));
    run.quorum(61_500, "meta leader ironflow-nats-2", true);
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn the_whole_verdict() {
    insta::assert_json_snapshot!(Run::recovered(62_000).judge());
}

#[test]
fn being_kept_out_counts_only_while_others_are_let_in() {
    let mut run = Run::recovered(62_000);
    run.start.plan.series[usize::from(PUBLISH)].blocked_while = Some("tcp".into());
    assert_eq!(run.judge().recovery.value, Value::Pass);
    // What must not be reached is dead for six seconds, long after the fault: nobody can reach it.
    run.keep_samples(|sample| sample.series != CONTROL).down(CONTROL, 64_000, 70_000, 72_000);
    let verdict = run.judge();
    assert_eq!(verdict.recovery.value, Value::Unknown);
    let why = verdict.recovery.reasons.join("; ");
    assert!(why.contains("being kept out proves nothing: tcp had no success for 6"), "{why}");
    run.keep_samples(|sample| sample.series != CONTROL || sample.started < At::from_ms(60_000));
    assert_eq!(run.judge().recovery.value, Value::Unknown, "nor did it answer at the end");
    run.start.plan.series[usize::from(PUBLISH)].blocked_while = Some("nobody".into());
    assert_eq!(run.judge().recovery.value, Value::Unknown);
}

#[test]
fn later_than_documented() {
    insta::assert_snapshot!(shown(&Run::recovered(75_000).judge()));
}

#[test]
fn recovered_too_late() {
    insta::assert_snapshot!(shown(&Run::recovered(105_000).judge()));
}

#[test]
fn the_upper_bound_counts() {
    // From the effect at 40.9 s to between 100.852 and 100.902 s: the accepted 60 s lie between the bounds.
    let verdict = Run::recovered(100_900).judge();
    assert_eq!(verdict.recovery.value, Value::Fail);
    insta::assert_snapshot!(shown(&verdict));
}

#[test]
fn not_recovered() {
    let mut run = Run::begun();
    run.injected().phase(40_100, Phase::Effect, 41_000, PhaseEnd::Done).moment(40_900, Moment::Effect, "publish");
    run.detected().runbook().phase(46_500, Phase::SustainedOk, 70_000, PhaseEnd::DeadlinePassed);
    run.down(PUBLISH, 40_500, 99_000, 70_000).up(CONTROL, 70_000);
    run.ledger(71_000, 0, 0).cleaned(73_000);
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn down_again_before_normal() {
    let mut run = Run::recovered(62_000);
    run.change_samples(|sample| {
        if sample.series == PUBLISH && (At::from_ms(69_000)..At::from_ms(69_500)).contains(&sample.started) {
            sample.outcome =
                Outcome::Failed { cause: firedrill_core::sample::Cause::Timeout, code: 0, maybe_applied: true };
        }
    });
    run.keep_samples(|sample| sample.started < At::from_ms(72_000));
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn noop() {
    let mut run = Run::begun();
    run.start.noop = true;
    run.phase(5_000, Phase::SteadyState, 39_000, PhaseEnd::Done).load(20.0);
    run.phase(40_000, Phase::Effect, 60_000, PhaseEnd::DeadlinePassed).ledger(61_000, 0, 0);
    run.up(PUBLISH, 60_000).up(CONTROL, 60_000).clean_checked(62_000, &[]);
    run.event(62_100, Event::RunEnded { interrupted: false, samples: None });
    insta::assert_snapshot!(shown(&run.judge()));
    run.start.noop = false;
    run.start.scenario.variants.get_mut("hung").unwrap().fault = Fault::Noop;
    assert_eq!(run.judge().exit_code, ExitCode::Unknown);
}

#[test]
fn effect_not_proven() {
    let mut run = Run::begun();
    run.injected().phase(40_100, Phase::Effect, 60_100, PhaseEnd::DeadlinePassed);
    run.up(PUBLISH, 60_000).up(CONTROL, 60_000).ledger(61_000, 0, 0).cleaned(62_000);
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn one_target_not_proven() {
    let mut run = Run::recovered(62_000);
    run.drop_events(|event| matches!(event, Event::Proof { targets, .. } if targets[0].name() == "ironflow-nats-1"));
    let verdict = run.judge();
    assert_eq!(verdict.injection.reasons, ["no proof that nats in ironflow-nats-1 (on worker1) was hit"]);
    assert_eq!((verdict.exit_code, verdict.recovery.value), (ExitCode::Unknown, Value::Unknown));
}

#[test]
fn no_control_no_proof() {
    let mut run = Run::recovered(62_000);
    run.change_samples(|sample| {
        if sample.series == CONTROL && sample.started >= At::from_ms(35_000) {
            sample.outcome =
                Outcome::Failed { cause: firedrill_core::sample::Cause::Timeout, code: 0, maybe_applied: false };
        }
    });
    let verdict = run.judge();
    assert_eq!(verdict.injection.value, Value::Unknown);
    assert_eq!(
        verdict.injection.reasons,
        ["no sample of the control tcp succeeded from the same place within 5 s of the effect"]
    );
    assert_eq!(verdict.exit_code, ExitCode::Unknown);
}

#[test]
fn injection_failed() {
    let mut run = Run::begun();
    run.injected();
    let error = Some("no such container".to_owned());
    run.event(40_060, Event::InjectReturned { target: crate::builder::target(1), error });
    run.up(PUBLISH, 41_000).up(CONTROL, 41_000).ledger(42_000, 0, 0).cleaned(43_000);
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn no_targets() {
    let mut run = Run::recovered(62_000);
    run.start.plan.faults.clear();
    let verdict = run.judge();
    assert_eq!(
        (verdict.injection.value, verdict.recovery.value, verdict.exit_code),
        (Value::Unknown, Value::Unknown, ExitCode::Unknown)
    );
}

#[test]
fn stalled_sampler() {
    let mut run = Run::recovered(62_000);
    // The sampler stops for 3 s while the service seems well, just after the injection.
    run.change_samples(|sample| {
        if sample.series == PUBLISH && (At::from_ms(40_000)..At::from_ms(43_000)).contains(&sample.started) {
            sample.outcome = if sample.started < At::from_ms(40_100) { Outcome::Ok } else { Outcome::Stalled };
            sample.started = sample.intended;
            sample.ended = sample.intended;
        } else if sample.series == PUBLISH && (At::from_ms(43_000)..At::from_ms(44_000)).contains(&sample.started) {
            sample.outcome = Outcome::Ok;
        }
    });
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn low_load() {
    let mut run = Run::recovered(62_000);
    run.drop_events(|event| matches!(event, Event::Load { .. })).load(3.2);
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn load_never_measured() {
    let mut run = Run::recovered(62_000);
    run.drop_events(|event| matches!(event, Event::Load { .. }));
    assert_eq!(run.judge().headline, "UNKNOWN: the load was never measured");
}

#[test]
fn lost_writes() {
    let mut run = Run::recovered(62_000);
    run.drop_events(|event| matches!(event, Event::Ledger(_))).ledger(72_000, 4, 0);
    insta::assert_snapshot!(shown(&run.judge()));
    run.start.scenario.data.lost_acked_max.insert("hung".into(), 5);
    run.start.scenario.data.because = "replication is asynchronous".into();
    let verdict = run.judge();
    assert_eq!((verdict.exit_code, verdict.findings.len()), (ExitCode::Pass, 1), "{}", shown(&verdict));
    run.start.scenario.data.lost_acked_of = vec!["publish".into()];
    assert_eq!(run.judge().exit_code, ExitCode::Pass);
    run.start.scenario.data.lost_acked_of = vec!["write".into()];
    let verdict = run.judge();
    let why = "publish (outside, reused connections): 4 of 1,204 acknowledged writes lost, none accepted";
    assert_eq!((verdict.data.value, verdict.data.reasons.first().map(String::as_str)), (Value::Fail, Some(why)));
}

#[test]
fn left_dirty() {
    let mut run = Run::recovered(62_000);
    run.drop_events(|event| matches!(event, Event::CleanChecked { .. } | Event::Undone { id: 1, .. }));
    run.undone(74_200, 1, Some("API server did not answer for 60 s"));
    run.clean_checked(74_700, &["ironflow-nats-1 still frozen on node worker1"]);
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn an_undo_that_worked_at_the_second_try_is_clean() {
    let mut run = Run::recovered(62_000);
    run.undone(74_050, 1, Some("not yet"));
    assert_eq!(run.judge().cleanup.value, Value::Pass);
}

#[test]
fn an_undo_not_carried_out_is_not_clean() {
    let mut run = Run::recovered(62_000);
    run.drop_events(|event| matches!(event, Event::Undone { id: 1, .. }));
    let verdict = run.judge();
    assert_eq!((verdict.cleanup.value, verdict.exit_code), (Value::Unknown, ExitCode::Dirty));
}

#[test]
fn died() {
    let mut run = Run::recovered(62_000);
    run.die(50_000);
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn interrupted() {
    let mut run = Run::recovered(62_000);
    run.die(50_000);
    run.cut_off = false;
    run.event(50_000, Event::Interrupted { count: 1 }).undone(51_000, 0, None).undone(51_000, 1, None);
    run.clean_checked(52_000, &[]).event(52_100, Event::RunEnded { interrupted: true, samples: None });
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn steady_state_never_came() {
    let mut run = Run::begun();
    run.event(5_000, Event::PhaseStarted { phase: Phase::SteadyState, deadline: Duration::from_secs(60) });
    let detail = "publish was refused 312 times".to_owned();
    run.event(65_000, Event::PhaseEnded { phase: Phase::SteadyState, end: PhaseEnd::DeadlinePassed, detail });
    run.clean_checked(66_000, &[]).event(66_100, Event::RunEnded { interrupted: false, samples: None });
    insta::assert_snapshot!(shown(&run.judge()));
}

#[test]
fn what_ran_on_a_victims_node_is_said() {
    let mut run = Run::recovered(62_000);
    let place = |what: PlaceKind, on_victim| Place { what, name: "p-0".into(), node: "worker1".into(), on_victim };
    let places =
        vec![place(PlaceKind::CnpgOperator, true), place(PlaceKind::CoreDns, false), place(PlaceKind::StackPod, true)];
    run.event(4_000, Event::Placement { places });
    let verdict = run.judge();
    let texts: Vec<_> = verdict.findings.iter().map(|finding| finding.text.as_str()).collect();
    assert_eq!(texts, ["CNPG operator (p-0) ran on worker1, a victim's node"]);
}

#[test]
fn a_machine_without_an_idle_processor_is_said_and_no_more() {
    let texts = |stalled_s, over_s| {
        let (stalled, over) = (Duration::from_secs(stalled_s), Duration::from_secs(over_s));
        let mut run = Run::recovered(62_000);
        run.event(61_000, Event::CpuPressure { stalled, over });
        let verdict = run.judge();
        assert_eq!(verdict.exit_code, ExitCode::Pass, "{}", shown(&verdict));
        verdict.findings.into_iter().map(|finding| finding.text).collect::<Vec<_>>()
    };
    let [said] = texts(95, 100).try_into().unwrap();
    assert!(said.contains("something waited for one in 95 % of the time"), "{said}");
    assert!(texts(84, 100).is_empty());
    assert!(texts(0, 0).is_empty());
}

#[test]
fn what_was_lost_of_the_run_itself_is_no_pass_in_whichever_phase() {
    for at_ms in [30_000, 62_500, 73_900] {
        let mut run = Run::recovered(62_000);
        run.event(at_ms, Event::Lost { what: "samples are missing: no answer".to_owned() });
        let verdict = run.judge();
        assert_eq!(
            (verdict.recovery.value, verdict.data.value, verdict.exit_code),
            (Value::Unknown, Value::Unknown, ExitCode::Unknown)
        );
        assert_eq!(verdict.headline, "UNKNOWN: samples are missing: no answer");
    }
    let mut lost = Run::recovered(62_000);
    lost.drop_events(|event| matches!(event, Event::Ledger(_)));
    lost.ledger(71_000, 3, 0).event(73_900, Event::Lost { what: "the lease was taken".to_owned() });
    assert_eq!(lost.judge().data.value, Value::Fail, "what was seen to be lost is lost");
}

#[test]
fn a_machine_that_was_suspended_proves_nothing_in_whichever_phase() {
    let suspended = |ms| Event::Suspended { length: Duration::from_millis(ms), awake_at: At::from_ms(30_000) };
    for at_ms in [30_000, 62_500, 73_900] {
        let mut run = Run::recovered(62_000);
        run.event(at_ms, suspended(4_200));
        let verdict = run.judge();
        assert_eq!(
            (verdict.recovery.value, verdict.data.value, verdict.exit_code),
            (Value::Unknown, Value::Unknown, ExitCode::Unknown),
            "{}",
            shown(&verdict)
        );
        assert_eq!(verdict.headline, "UNKNOWN: this machine was suspended for 4.2 s");
        assert_eq!(verdict.data.reasons[0], "this machine was suspended for 4.2 s");
    }
    let mut twice = Run::recovered(62_000);
    twice.event(30_000, suspended(1_500)).event(40_000, suspended(2_000));
    assert_eq!(twice.judge().recovery.reasons[0], "this machine was suspended for 3.5 s");
    let mut lost = Run::recovered(62_000);
    lost.drop_events(|event| matches!(event, Event::Ledger(_)));
    lost.ledger(71_000, 3, 0).event(73_900, suspended(4_200));
    assert_eq!(lost.judge().data.value, Value::Fail, "what was seen to be lost is lost");
}

#[test]
fn a_run_from_before_file_systems_were_looked_into_says_so() {
    let mut older = Run::recovered(62_000);
    older.drop_events(|event| matches!(event, Event::VolumesAtRisk { .. }));
    let data = older.judge().data;
    assert_eq!(data.value, Value::Unknown);
    assert!(data.reasons[0].starts_with("file systems were not checked"), "{:?}", data.reasons);
}

#[test]
fn a_run_that_took_the_cluster_as_it_was_says_what_that_was() {
    let mut run = Run::recovered(62_000);
    let differences = vec!["Deployment n/a: its spec has changed".to_owned()];
    run.event(1_000, Event::StateAccepted { run: "1201-pod-0000".to_owned(), differences });
    let verdict = run.judge();
    assert_eq!(verdict.exit_code, ExitCode::Pass);
    let said: Vec<_> = verdict.findings.iter().filter(|it| it.kind == FindingKind::AcceptedState).collect();
    assert_eq!(said.len(), 1);
    assert!(said[0].text.contains("1201-pod-0000") && said[0].text.contains("its spec has changed"), "{said:?}");
}
