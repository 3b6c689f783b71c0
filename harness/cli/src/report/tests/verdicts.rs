use crate::report::terminal::{rerun, sweep, verdict_text, verdict_text_with_report};
use crate::report::text::{Style, render, uncoloured};
use firedrill_core::event::ClusterInfo;
use firedrill_core::exit::ExitCode;
use firedrill_core::sample::Cause;
use firedrill_core::scenario::Moment;
use firedrill_core::time::At;
use firedrill_core::verdict::{
    AlertResult, Finding, FindingKind, Measured, ObjectiveResult, Outage, Part, SeriesResult, Share, VERDICT_VERSION,
    Value, Verdict,
};
use std::collections::BTreeMap;
use std::path::Path;

const PLAIN: Style = Style { color: false, width: 100 };

pub(super) fn part(value: Value, reasons: &[&str], hint: Option<&str>) -> Part {
    Part { value, reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(), hint: hint.map(str::to_owned) }
}

fn objective(name: &str, measured: Measured, documented_ms: Option<u64>, accepted_ms: u64) -> ObjectiveResult {
    let upper_ms = measured.upper_ms().unwrap_or(f64::MAX);
    ObjectiveResult {
        name: name.to_owned(),
        series: Some(0),
        from: Moment::Effect,
        to: Moment::SustainedOk,
        measured: Some(measured),
        reason: None,
        documented_ms,
        documented_held: documented_ms.map(|ms| upper_ms <= ms as f64),
        accepted_ms: Some(accepted_ms),
        because: "election 4-9 s plus container restart".to_owned(),
        value: if upper_ms <= accepted_ms as f64 { Value::Pass } else { Value::Fail },
    }
}

fn interval(lower_ms: f64, upper_ms: f64) -> Measured {
    Measured::Interval { lower_ms, upper_ms }
}

fn alert(name: &str, within_ms: Option<u64>, fired: Measured, resolved: Option<Measured>) -> AlertResult {
    AlertResult {
        name: name.to_owned(),
        within_ms,
        fired_after_ms: Some(fired),
        resolved_after_ms: resolved,
        value: within_ms.map(|_| Value::Pass),
        reason: None,
    }
}

pub(super) fn recovered() -> Verdict {
    let at = At::from_ms;
    let outage = Outage {
        last_ok_before: Some(at(41_000)),
        first_failure: at(41_050),
        last_failure: at(72_470),
        sustained_from: Some(at(72_520)),
        first_ok_after: Some(at(72_530)),
        length: interval(31_420.0, 31_530.0),
        failed: 628,
        flaps: 0,
        cause: Cause::Timeout,
    };
    Verdict {
        version: VERDICT_VERSION,
        run_id: "0192-hung-7c".to_owned(),
        scenario: "nats-quorum-loss".to_owned(),
        variant: "hung".to_owned(),
        without: None,
        flags: BTreeMap::new(),
        negative_test: false,
        not_independent: None,
        started: "2026-12-01T10:00:00Z".to_owned(),
        took_ms: 152_950.0,
        cluster: ClusterInfo {
            name: "firedrill-a3f".to_owned(),
            provider: "kind".to_owned(),
            uid: "5b1e".to_owned(),
            version: "1.34.4".to_owned(),
            nodes: 4,
        },
        seed: 41,
        headline: "RECOVERED".to_owned(),
        exit_code: ExitCode::Pass,
        injection: part(Value::Pass, &["2 of 2 servers frozen, effect proven after 0.90 s"], None),
        recovery: part(Value::Pass, &["publish outage 31.42 - 31.53 s, accepted 60.0 s"], None),
        data: part(Value::Pass, &["1,204 acknowledged, 0 lost, 0 duplicated, 3 indeterminate (all found)"], None),
        cleanup: part(
            Value::Pass,
            &["18 objects made, 18 gone; the inventory matches the snapshot taken before the run"],
            None,
        ),
        objectives: vec![
            objective("publish outage", interval(31_420.0, 31_530.0), None, 60_000),
            objective("rollout", interval(27_900.0, 27_900.0), Some(120_000), 120_000),
        ],
        series: vec![SeriesResult {
            id: 0,
            name: "publish (inside, new connections)".to_owned(),
            probe: "publish".to_owned(),
            samples: 2_800,
            failed: 628,
            stalled: 0,
            outages: vec![outage],
            steady_p50_ms: Some(2.4),
            steady_p99_ms: Some(8.1),
            degraded_error_ratio: Some(0.7),
            degraded_p99_ms: Some(50.0),
            causes: BTreeMap::from([(Cause::Timeout, 628)]),
        }],
        ledger: Vec::new(),
        moments: BTreeMap::from([(Moment::Inject, at(41_000)), (Moment::Effect, at(41_900))]),
        time_to_detect_ms: Some(interval(2_200.0, 2_200.0)),
        time_to_recover_ms: Some(interval(44_020.0, 44_020.0)),
        back_to_normal_ms: None,
        attribution: [("detect", 41_050, 44_150), ("runbook", 44_150, 46_350), ("graceful stop", 46_350, 66_350)]
            .map(|(name, from, until)| Share { name: name.to_owned(), from: at(from), until: at(until) })
            .into(),
        alerts: vec![
            alert("NATSDown", Some(30_000), interval(18_900.0, 18_900.0), Some(interval(49_100.0, 49_100.0))),
            alert("HighErrorRate", None, interval(20_000.0, 20_000.0), None),
        ],
        findings: Vec::new(),
        placement: Vec::new(),
    }
}

pub(super) fn later_than_documented() -> Verdict {
    let mut verdict = recovered();
    verdict.headline = "RECOVERED, later than documented".to_owned();
    verdict.objectives[0].documented_ms = Some(30_000);
    verdict.objectives[0].documented_held = Some(false);
    let finding = |kind, text: &str, section: Option<&str>| Finding {
        kind,
        text: text.to_owned(),
        section: section.map(str::to_owned),
    };
    let why = "it did not fire within 30.0 s of the effect";
    let alert = &mut verdict.alerts[0];
    (alert.value, alert.reason) = (Some(Value::Fail), Some(why.to_owned()));
    (alert.fired_after_ms, alert.resolved_after_ms) = (Some(Measured::AtLeast { lower_ms: 60_000.0 }), None);
    verdict.findings = vec![
        finding(FindingKind::Alert, &format!("NATSDown: {why}"), None),
        finding(FindingKind::SlowerThanDocumented, "publish outage: 31.42 - 31.53 s, documented 30.0 s", None),
        finding(
            FindingKind::CorrectionUsed,
            "step 4 (line 24) cannot work as documented (exit 127), its correction was used; the server's image has no nats program",
            Some("4. JetStream is there again"),
        ),
    ];
    verdict
}

pub(super) fn unknown() -> Verdict {
    let mut verdict = recovered();
    verdict.headline = "UNKNOWN: the fault was not proven".to_owned();
    verdict.exit_code = ExitCode::Unknown;
    verdict.injection = part(
        Value::Unknown,
        &[
            "publish never failed in 20 s after the freeze; 2 targets frozen (checked)",
            "the stream has 1 replica and its leader was ironflow-nats-1: nothing to lose",
        ],
        Some("set replicas = 3 on EVENTS, or target the leader"),
    );
    verdict.recovery = part(Value::Unknown, &["the fault was not proven"], None);
    for objective in &mut verdict.objectives {
        objective.measured = None;
        objective.documented_held = None;
        objective.value = Value::Unknown;
        objective.reason = Some("the fault was not proven".to_owned());
    }
    verdict.attribution.clear();
    verdict.time_to_detect_ms = None;
    verdict.time_to_recover_ms = None;
    verdict
}

pub(super) fn dirty() -> Verdict {
    let mut verdict = recovered();
    verdict.headline = "LEFT DIRTY: 1 fault is still in place".to_owned();
    verdict.exit_code = ExitCode::Dirty;
    verdict.recovery = part(Value::Fail, &["publish was still down when the run stopped waiting"], None);
    verdict.objectives[0].measured = Some(Measured::AtLeast { lower_ms: 180_000.0 });
    verdict.objectives[0].value = Value::Fail;
    verdict.data = part(Value::Unknown, &["publish: its writes were not read back"], None);
    let still = "ironflow-nats-2 still frozen on node firedrill-a3f-worker2 (API server did not answer for 60 s)";
    verdict.cleanup = part(Value::Fail, &[still], Some("finish with: firedrill sweep --run 0192-hung-7c"));
    verdict
}

#[test]
fn recovered_reads_at_a_glance() {
    insta::assert_snapshot!(verdict_text_with_report(&recovered(), &PLAIN, Path::new("runs/0192-hung-7c/report.html")));
}

#[test]
fn later_than_documented_says_by_what_and_where() {
    insta::assert_snapshot!(verdict_text(&later_than_documented(), &PLAIN));
}

#[test]
fn unknown_says_what_to_do() {
    insta::assert_snapshot!(verdict_text(&unknown(), &PLAIN));
}

#[test]
fn dirty_says_how_to_finish() {
    insta::assert_snapshot!(verdict_text(&dirty(), &PLAIN));
    let mut unhinted = dirty();
    unhinted.cleanup.hint = None;
    assert_eq!(verdict_text(&unhinted, &PLAIN), verdict_text(&dirty(), &PLAIN));
}

#[test]
fn what_a_negative_test_saw_is_said_whatever_its_objectives_are_called() {
    let mut verdict = recovered();
    verdict.negative_test = true;
    verdict.objectives[0].name = "still".to_owned();
    verdict.recovery = part(Value::Pass, &["still broken 150.0 s after the effect: publish fails"], None);
    assert!(verdict_text(&verdict, &PLAIN).contains("still broken 150.0 s after the effect"));
}

#[test]
fn a_narrow_terminal_has_all_of_it() {
    let text = verdict_text(&later_than_documented(), &Style { color: false, width: 72 });
    insta::assert_snapshot!(text);
    for line in text.lines() {
        assert!(line.chars().count() <= 72, "{line}");
    }
}

#[test]
fn colour_changes_no_text() {
    for verdict in [recovered(), later_than_documented(), unknown(), dirty()] {
        let coloured = verdict_text(&verdict, &Style { color: true, width: 100 });
        let shown = render(&coloured);
        assert!(shown.contains('\u{1b}') && !coloured.contains('\u{1b}'));
        assert_eq!(uncoloured(&shown), verdict_text(&verdict, &PLAIN));
    }
}

#[test]
fn commands_to_copy_find_what_the_run_found() {
    let mut verdict = recovered();
    let flags = [("stack", "a b/stack.toml"), ("runs", "elsewhere"), ("context", "$(x)"), ("not-a-flag", "y")];
    verdict.flags = flags.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let again = rerun(&verdict);
    assert!(again.ends_with(" --context '$(x)' --runs elsewhere --stack 'a b/stack.toml'"), "{again}");
    assert_eq!(sweep(&verdict), "firedrill sweep --run 0192-hung-7c --context '$(x)' --runs elsewhere");
}
