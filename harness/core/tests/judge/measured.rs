//! What verdicts make of samples: bounds, silence, what cannot be trusted, and other objectives put to them.

use crate::builder::{EVERY_MS, INJECT_MS, PUBLISH, Run};
use crate::verdicts::shown;
use firedrill_core::event::{CheckTime, ContainerRestarts, Event, Source};
use firedrill_core::exit::ExitCode;
use firedrill_core::sample::{Cause, NotSent, Outcome};
use firedrill_core::scenario::{Accepted, Moment, Recovery, Vantage};
use firedrill_core::time::At;
use firedrill_core::verdict::{Measured, Value};
use std::time::Duration;

#[test]
fn silence_at_the_end_of_an_outage_is_no_failure() {
    // Nothing was sent from 61 s to 102 s: the service may have come back at any time between.
    let mut run = Run::recovered(102_000);
    run.change_samples(|sample| {
        if sample.series == PUBLISH && (At::from_ms(61_000)..At::from_ms(102_000)).contains(&sample.started) {
            (sample.outcome, sample.ended) = (Outcome::Stalled, sample.started);
        }
    });
    let verdict = run.judge();
    assert_eq!(verdict.objectives[1].value, Value::Unknown, "{}", shown(&verdict));
    assert_eq!(verdict.exit_code, ExitCode::Unknown);
}

#[test]
fn a_run_whose_prober_had_no_port_left_is_unknown_and_no_outage() {
    let judged = |outcome: Outcome| {
        let mut run = Run::recovered(102_000);
        run.change_samples(|sample| {
            if sample.series == PUBLISH && (At::from_ms(61_000)..At::from_ms(102_000)).contains(&sample.started) {
                (sample.outcome, sample.ended) = (outcome, sample.started);
            }
        });
        run.judge()
    };
    let not_sent = judged(Outcome::NotSent { why: NotSent::NoLocalPort });
    assert_eq!(
        (not_sent.objectives[1].value, not_sent.exit_code),
        (Value::Unknown, ExitCode::Unknown),
        "{}",
        shown(&not_sent)
    );
    assert_eq!(not_sent, judged(Outcome::Stalled));
    let failed = judged(Outcome::Failed { cause: Cause::Other, code: 0, maybe_applied: false });
    assert_eq!(failed.objectives[1].value, Value::Fail, "as a failure of the service it would be an outage");
}

#[test]
fn silence_after_an_outage_may_hide_another() {
    // Back at 62 s for the window of 5 s; then nothing was sent for 3 s, and all was back to normal at 71 s.
    let mut run = Run::recovered(62_000);
    run.change_samples(|sample| {
        if sample.series == PUBLISH && (At::from_ms(67_500)..At::from_ms(70_500)).contains(&sample.started) {
            (sample.outcome, sample.ended) = (Outcome::Stalled, sample.started);
        }
    });
    let verdict = run.judge();
    assert_eq!(
        (verdict.objectives[1].value, verdict.exit_code),
        (Value::Unknown, ExitCode::Unknown),
        "{}",
        shown(&verdict)
    );
}

#[test]
fn as_documented_needs_every_documented_figure() {
    // Nothing was sent from 61 s to 72 s: the outage took from 20 to 31 s, where 30 s are documented and 60 s accepted.
    let mut run = Run::recovered(72_000);
    run.change_samples(|sample| {
        if sample.series == PUBLISH && (At::from_ms(61_000)..At::from_ms(72_000)).contains(&sample.started) {
            (sample.outcome, sample.ended) = (Outcome::Stalled, sample.started);
        }
    });
    let verdict = run.judge();
    assert_eq!(verdict.objectives[0].documented_held, Some(true));
    assert_eq!((verdict.objectives[1].documented_held, verdict.objectives[1].value), (None, Value::Pass));
    assert_eq!(verdict.headline, "RECOVERED", "{}", shown(&verdict));
}

#[test]
fn a_probe_that_never_failed_is_bounded_by_its_density() {
    let mut run = Run::recovered(62_000);
    let mut of_control = run.start.scenario.objectives[1].clone();
    (of_control.name, of_control.probe) = ("tcp outage".into(), Some("tcp".into()));
    run.start.scenario.objectives.push(of_control);
    let verdict = run.judge();
    assert_eq!(verdict.objectives[2].measured.map(|measured| measured.to_string()).as_deref(), Some("0.00 - 0.05 s"));
    run.keep_samples(|sample| sample.series == PUBLISH || sample.started < At::from_ms(50_000));
    let verdict = run.judge();
    assert_eq!((verdict.objectives[2].value, verdict.exit_code), (Value::Unknown, ExitCode::Unknown));
}

#[test]
fn a_replica_that_lagged_for_a_moment_is_no_election() {
    let shares = |object: &str| {
        let mut run = Run::recovered(62_000);
        match object {
            "quorum" => run.quorum(61_500, "meta leader ironflow-nats-2", true),
            _ => run.observed(61_500, (Source::Nats, object, "all current", Some(true))),
        };
        let shares: Vec<_> = run.judge().attribution.into_iter().map(|share| share.name).collect();
        shares.join(", ")
    };
    assert!(shares("quorum").contains("election"), "{}", shares("quorum"));
    assert!(!shares("replicas").contains("election"), "{}", shares("replicas"));
}

#[test]
fn samples_that_were_lost_after_the_run_pass_nothing() {
    let mut run = Run::recovered(62_000);
    let all = run.sample_count();
    run.ended_with(Some(all));
    assert_eq!(run.judge().exit_code, ExitCode::Pass);
    run.ended_with(Some(all + 1));
    let verdict = run.judge();
    assert_eq!((verdict.recovery.value, verdict.exit_code), (Value::Unknown, ExitCode::Unknown));
    assert_eq!(verdict.recovery.reasons[0], "the samples are not whole: the file holds 2,680, and the run wrote 2,681");
    // Nobody counted them, but a record was cut in two.
    run.ended_with(None).cut_off = true;
    assert_eq!(run.judge().exit_code, ExitCode::Unknown);
}

#[test]
fn a_run_that_died_after_all_was_measured_is_no_pass() {
    let mut run = Run::recovered(62_000);
    run.die(74_750);
    run.cut_off = false;
    let verdict = run.judge();
    assert_eq!((verdict.cleanup.value, verdict.exit_code), (Value::Pass, ExitCode::Unknown), "{}", shown(&verdict));
}

#[test]
fn a_sweep_hours_later_does_not_make_the_outage_longer() {
    let mut run = Run::recovered(62_000);
    run.die(50_000);
    run.cut_off = false;
    run.undone(9_000_000, 0, None).undone(9_000_000, 1, None).clean_checked(9_001_000, &[]);
    let verdict = run.judge();
    let rollout = verdict.objectives[0].measured.map(|measured| measured.to_string());
    assert_eq!(rollout.as_deref(), Some("at least 2.20 s"));
    let values = (verdict.recovery.value, verdict.cleanup.value, verdict.exit_code);
    assert_eq!(values, (Value::Unknown, Value::Pass, ExitCode::Unknown), "{}", shown(&verdict));
}

#[test]
fn other_objectives_can_be_put_to_a_saved_run() {
    let run = Run::recovered(75_000);
    let mut other = run.start.scenario.clone();
    other.objectives[1].accepted.insert("hung".into(), Accepted(Duration::from_secs(20)));
    assert_eq!(run.judge().exit_code, ExitCode::Pass);
    assert_eq!(run.judge_with(Some(&other)).unwrap().exit_code, ExitCode::Failed);
    other.variants.get_mut("hung").unwrap().recovery = Recovery::StaysBroken;
    let verdict = run.judge_with(Some(&other)).unwrap();
    assert_eq!(verdict.exit_code, ExitCode::Failed, "what was run stays what it was");
    assert!(
        verdict.findings.iter().any(|finding| finding.text.contains("from another file")),
        "{:?}",
        verdict.findings
    );
    other.name = "another".to_owned();
    assert!(run.judge_with(Some(&other)).is_err(), "another scenario's variant of that name is another drill");
    other.name.clone_from(&run.start.scenario.name);
    other.variants.clear();
    assert!(run.judge_with(Some(&other)).is_err());
}

#[test]
fn samples_that_cannot_be_trusted_give_no_verdict() {
    let mut run = Run::recovered(62_000);
    run.keep_samples(|sample| sample.seq != 900);
    let verdict = run.judge();
    assert_eq!(
        (verdict.objectives[1].value, verdict.exit_code),
        (Value::Unknown, ExitCode::Unknown),
        "{}",
        shown(&verdict)
    );
    let mut run = Run::recovered(62_000);
    run.change_samples(|sample| {
        if sample.seq == 900 {
            sample.seq = 800;
        }
    });
    assert_eq!(run.judge().objectives[1].value, Value::Unknown);
    let mut run = Run::recovered(62_000);
    run.change_samples(|sample| sample.series += 7);
    assert_eq!(run.judge_with(None).unwrap_err().to_string(), "series 7 is not in the plan");
}

#[test]
fn the_clock_of_the_agent_widens_the_bounds() {
    let mut run = Run::recovered(62_000);
    run.start.plan.series.iter_mut().for_each(|series| series.vantage = Vantage::Inside);
    let verdict = run.judge();
    assert_eq!((verdict.objectives[1].value, verdict.exit_code), (Value::Unknown, ExitCode::Unknown));
    let narrow = Run::recovered(62_000).judge().objectives[1].measured.unwrap();
    run.event(4_000, Event::ClockCompared { vantage: "inside".into(), uncertainty_us: 7_000 });
    let wide = run.judge().objectives[1].measured.unwrap();
    assert!((narrow.lower_ms() - wide.lower_ms() - 7.0).abs() < 0.001, "{narrow:?} {wide:?}");
    assert!((wide.upper_ms().unwrap() - narrow.upper_ms().unwrap() - 7.0).abs() < 0.001, "{narrow:?} {wide:?}");
}

#[test]
fn an_attempt_in_flight_at_the_injection_is_of_the_fault() {
    let failed = Outcome::Failed { cause: Cause::Timeout, code: 0, maybe_applied: true };
    let begins = At::from_ms(INJECT_MS - EVERY_MS);
    let run_with = |first_ended: At| {
        let mut run = Run::recovered(68_400);
        run.change_samples(|sample| {
            if sample.series == PUBLISH && (begins..At::from_ms(40_500)).contains(&sample.intended) {
                sample.outcome = failed;
                if sample.intended == begins {
                    sample.ended = first_ended;
                }
            }
        });
        run.judge()
    };
    // The first failure hung from shortly before the injection on.
    let verdict = run_with(At::from_ms(INJECT_MS + 400));
    assert_eq!(verdict.recovery.value, Value::Pass, "{:?}", verdict.recovery);
    // One that failed before the injection is not of it: the service was failing by itself.
    let verdict = run_with(At::from_ms(INJECT_MS - 10));
    assert_eq!(verdict.recovery.value, Value::Unknown, "{:?}", verdict.recovery);
}

#[test]
fn an_objective_that_gates_other_variants_alone_is_not_shown() {
    let run = Run::recovered(68_400);
    let mut scenario = run.start.scenario.clone();
    let mut extra = scenario.objectives[0].clone();
    extra.name = "of another variant".to_owned();
    extra.accepted = [("another".to_owned(), Accepted(Duration::from_secs(1)))].into();
    extra.documented = Some(Duration::from_secs(1));
    scenario.objectives.push(extra);
    let verdict = run.judge_with(Some(&scenario)).unwrap();
    assert!(verdict.objectives.iter().all(|objective| objective.name != "of another variant"));
}

#[test]
fn the_longest_outage_is_that_of_one_and_not_until_the_last() {
    let mut run = Run::recovered(62_000);
    run.change_samples(|sample| {
        let ms = sample.started.ms();
        if sample.series == PUBLISH && ((41_500.0..52_000.0).contains(&ms) || ms >= 55_000.0) {
            sample.outcome = Outcome::Ok;
        }
    });
    let objectives = &mut run.start.scenario.objectives;
    objectives.retain(|objective| objective.probe.as_deref() == Some("publish"));
    objectives.truncate(1);
    objectives[0].from = Moment::Inject;
    objectives[0].to = Moment::SustainedOk;
    objectives[0].accepted.insert("hung".into(), Accepted(Duration::from_secs(4)));
    assert_eq!(run.judge().objectives[0].value, Value::Fail, "until the last one's end");
    run.start.scenario.objectives[0].longest_outage = true;
    let judged = run.judge().objectives.remove(0);
    assert_eq!((judged.value, judged.reason.as_deref()), (Value::Pass, Some("the longest of 2")));
    let Some(Measured::Interval { lower_ms, upper_ms }) = judged.measured else { panic!("{judged:?}") };
    assert!(lower_ms <= 3_000.0 && (3_000.0..3_200.0).contains(&upper_ms), "{lower_ms} - {upper_ms}");
    run.start.scenario.objectives[0].accepted.insert("hung".into(), Accepted(Duration::from_secs(2)));
    assert_eq!(run.judge().objectives[0].value, Value::Fail);
}

#[test]
fn a_run_that_began_within_a_back_off_says_so() {
    let judged = |when, in_back_off_s, unseen: &[&str]| {
        let mut run = Run::recovered(62_000);
        let (pod, container) = ("ironflow/ironflow-nats-0".to_owned(), "nats".to_owned());
        let containers = vec![ContainerRestarts { pod, container, restarts: 2, in_back_off_s }];
        let unseen = unseen.iter().map(|text| (*text).to_owned()).collect();
        run.event(1_000, Event::RestartsSeen { when, containers, unseen });
        let verdict = run.judge();
        let found = verdict.findings.iter().any(|finding| finding.text.contains("not pooled"));
        assert_eq!(found, verdict.not_independent.is_some(), "{}", shown(&verdict));
        assert_eq!(verdict.exit_code, ExitCode::Pass, "it gates nothing");
        verdict.not_independent
    };
    assert_eq!(
        judged(CheckTime::Before, Some(35), &[]).as_deref(),
        Some(
            "the run began within the restart back-off of nats of ironflow/ironflow-nats-0 (2 restarts, the last 35 s before)"
        )
    );
    assert_eq!(judged(CheckTime::Before, None, &[]), None, "it was longer ago than the kubelet remembers");
    assert_eq!(judged(CheckTime::After, Some(3), &[]), None, "the run's own fault");
    assert!(judged(CheckTime::Before, None, &["no answer"]).unwrap().contains("is not known (no answer)"));
}
