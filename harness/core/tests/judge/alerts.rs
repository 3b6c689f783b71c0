//! What is said of alerts.

use crate::builder::Run;
use firedrill_core::alert::{AlertState, changed, prometheus};
use firedrill_core::event::{Event, PhaseEnd, Source};
use firedrill_core::exit::ExitCode;
use firedrill_core::plan::Phase;
use firedrill_core::scenario::{Accepted, ExpectedAlert, Moment, Objective, Recovery};
use firedrill_core::verdict::{AlertResult, FindingKind, Measured, Value, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "NATSDown";

/// A run that was down from 40.5 s to 62 s, with a Prometheus that answers from 6 s on, and an alert expected within 20 s
/// of the effect at 40.9 s. The run stops looking at 72 s.
fn run() -> Run {
    let mut run = Run::recovered(62_000);
    run.start.scenario.variants.get_mut("hung").unwrap().alerts = vec![ExpectedAlert {
        fires: NAME.to_owned(),
        within: Duration::from_secs(20),
        resolves: Duration::from_secs(10),
    }];
    run.event(6_000, Event::Observed(prometheus(true, "answers, 7 alerts")));
    run.phase(71_100, Phase::Alerts, 71_900, PhaseEnd::Done);
    run
}

fn seen(run: &mut Run, at_ms: u64, state: AlertState) -> &mut Run {
    run.event(at_ms, Event::Observed(changed(NAME, &state, "")))
}

fn silent(run: &mut Run, from_ms: u64, until_ms: u64) {
    run.event(from_ms, Event::Observed(prometheus(false, "does not answer: refused")));
    run.event(until_ms, Event::Observed(prometheus(true, "answers, 7 alerts")));
}

fn alert(verdict: &Verdict) -> (Option<Value>, &str) {
    let AlertResult { value, reason, .. } = &verdict.alerts[0];
    (*value, reason.as_deref().unwrap_or_default())
}

fn findings(verdict: &Verdict) -> Vec<&str> {
    let alerts = verdict.findings.iter().filter(|finding| finding.kind == FindingKind::Alert);
    alerts.map(|finding| finding.text.as_str()).collect()
}

#[test]
fn fired_in_time_and_resolved_is_no_finding() {
    let mut run = run();
    seen(&mut run, 42_000, AlertState::Pending);
    seen(&mut run, 55_900, AlertState::Firing);
    seen(&mut run, 66_900, AlertState::Inactive);
    let verdict = run.judge();
    assert_eq!(alert(&verdict), (Some(Value::Pass), ""));
    let point = |ms| Some(Measured::Interval { lower_ms: ms, upper_ms: ms });
    assert_eq!(verdict.alerts[0].fired_after_ms, point(15_000.0));
    assert_eq!(verdict.alerts[0].resolved_after_ms, point(26_000.0));
    assert!(findings(&verdict).is_empty() && verdict.exit_code == ExitCode::Pass, "{:?}", verdict.findings);
}

#[test]
fn what_stays_broken_has_nothing_that_resolves_its_alert() {
    let mut run = run();
    run.start.scenario.variants.get_mut("hung").unwrap().recovery = Recovery::StaysBroken;
    seen(&mut run, 55_900, AlertState::Firing);
    assert_eq!(alert(&run.judge()), (Some(Value::Pass), ""));
    let mut never = self::run();
    never.start.scenario.variants.get_mut("hung").unwrap().recovery = Recovery::StaysBroken;
    assert_eq!(alert(&never.judge()).0, Some(Value::Fail), "it has to fire all the same");
}

#[test]
fn an_alert_that_does_not_fire_or_is_not_resolved_is_a_finding_and_gates_nothing() {
    let never = run().judge();
    assert_eq!(alert(&never), (Some(Value::Fail), "it did not fire within 20.0 s of the effect"));
    assert_eq!(findings(&never), ["NATSDown: it did not fire within 20.0 s of the effect"]);
    assert_eq!(never.exit_code, ExitCode::Pass);
    let mut late = run();
    seen(&mut late, 61_900, AlertState::Firing);
    seen(&mut late, 66_000, AlertState::Inactive);
    assert_eq!(alert(&late.judge()), (Some(Value::Fail), "fired 21.0 s after the effect, expected within 20.0 s"));
    let mut open = run();
    seen(&mut open, 50_900, AlertState::Firing);
    let open = open.judge();
    assert!(matches!(open.alerts[0].resolved_after_ms, Some(Measured::AtLeast { .. })));
    assert_eq!(
        findings(&open),
        ["NATSDown: fired after 10.0 s, and was not resolved when the run stopped looking, 21.0 s later"]
    );
    let mut pending = run();
    seen(&mut pending, 43_000, AlertState::Pending);
    seen(&mut pending, 60_000, AlertState::Inactive);
    let pending = pending.judge();
    assert_eq!(alert(&pending).1, "it was pending, and it did not fire within 20.0 s of the effect");
}

#[test]
fn what_could_not_be_seen_is_unknown_and_said() {
    let mut unwatched = run();
    unwatched.drop_events(|event| matches!(event, Event::Observed(seen) if seen.source == Source::Alerts));
    let unwatched = unwatched.judge();
    assert_eq!(findings(&unwatched), ["NATSDown: unknown: when the fault was injected, Prometheus was not watched"]);
    let mut gone = run();
    silent(&mut gone, 45_000, 50_000);
    let why = "it was not seen to fire, but for a time Prometheus does not answer: refused";
    assert_eq!(alert(&gone.judge()), (Some(Value::Unknown), why));
    let mut late = run();
    silent(&mut late, 45_000, 61_000);
    seen(&mut late, 61_500, AlertState::Firing);
    seen(&mut late, 66_000, AlertState::Inactive);
    assert_eq!(alert(&late.judge()).0, Some(Value::Unknown), "it may have fired in time");
    let mut at_end = run();
    seen(&mut at_end, 50_900, AlertState::Firing);
    at_end.event(60_000, Event::Observed(prometheus(false, "does not answer: refused")));
    assert_eq!(alert(&at_end.judge()).1, "whether it is resolved: Prometheus does not answer: refused");
    let mut no_rule = run();
    seen(&mut no_rule, 6_500, AlertState::Unknown { why: "Prometheus has no rule of this name".to_owned() });
    assert_eq!(alert(&no_rule.judge()), (Some(Value::Unknown), "Prometheus has no rule of this name"));
    for state in [AlertState::Firing, AlertState::Pending] {
        let mut before = run();
        seen(&mut before, 20_000, state.clone());
        seen(&mut before, 50_000, AlertState::Firing);
        seen(&mut before, 66_000, AlertState::Inactive);
        let why = format!("it was {state} already before the fault was injected");
        assert_eq!(alert(&before.judge()), (Some(Value::Unknown), why.as_str()));
    }
    let mut short = run();
    short.start.scenario.variants.get_mut("hung").unwrap().alerts[0].within = Duration::from_secs(60);
    assert_eq!(alert(&short.judge()), (Some(Value::Unknown), "the run stopped looking 31.0 s after the effect"));
    let mut control = run();
    control.start.noop = true;
    let control = control.judge();
    assert_eq!(alert(&control).0, Some(Value::Unknown));
    assert!(findings(&control).is_empty(), "everything is unknown then");
}

#[test]
fn an_alert_that_nobody_expects_is_told_and_no_finding() {
    let mut run = Run::recovered(62_000);
    run.event(6_000, Event::Observed(prometheus(true, "answers, 7 alerts")));
    seen(&mut run, 50_900, AlertState::Firing);
    seen(&mut run, 66_900, AlertState::Inactive);
    let verdict = run.judge();
    assert_eq!(alert(&verdict), (None, ""));
    assert!(findings(&verdict).is_empty());
    let mut before = Run::recovered(62_000);
    seen(&mut before, 20_000, AlertState::Firing);
    assert_eq!(alert(&before.judge()), (None, "it fired before the fault was injected"));
}

#[test]
fn an_objective_on_the_alert_gates() {
    let objective = |accepted_s| Objective {
        name: "alert".into(),
        probe: None,
        from: Moment::Effect,
        to: Moment::Alert,
        longest_outage: false,
        documented: None,
        accepted: BTreeMap::from([("hung".into(), Accepted(Duration::from_secs(accepted_s)))]),
        because: "measured".into(),
    };
    let judged = |mut run: Run, accepted_s| {
        run.start.scenario.objectives.push(objective(accepted_s));
        let verdict = run.judge();
        let objective = verdict.objectives.into_iter().find(|objective| objective.name == "alert");
        objective.map(|objective| objective.value)
    };
    let fired = || {
        let mut run = run();
        seen(&mut run, 55_900, AlertState::Firing);
        run.moment(55_900, Moment::Alert, NAME);
        run
    };
    assert_eq!(judged(fired(), 16), Some(Value::Pass));
    assert_eq!(judged(fired(), 14), Some(Value::Fail));
    assert_eq!(judged(run(), 25), Some(Value::Fail), "it was watched for longer, and never fired");
    let mut unwatched = run();
    unwatched.drop_events(|event| matches!(event, Event::Observed(seen) if seen.source == Source::Alerts));
    assert_eq!(judged(unwatched, 25), Some(Value::Unknown));
    assert_eq!(judged(Run::recovered(62_000), 25), None, "a variant that expects none has no such moment");
}
