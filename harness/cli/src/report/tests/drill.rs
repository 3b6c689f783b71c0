//! A drill as a run would have written it: two of three NATS servers frozen, brought back by the runbook.

use firedrill_core::alert::{self, AlertState};
use firedrill_core::event::{
    ClusterInfo, Event, JOURNAL_VERSION, LedgerCount, Observation, PhaseEnd, Place, PlaceKind, Record, RunStarted,
    Source, StepEnd, ThawUndo, Undo,
};
use firedrill_core::journal::Journal;
use firedrill_core::judge::judge;
use firedrill_core::plan::{Phase, Plan, PlannedFault, PlannedPhase, Series, Target};
use firedrill_core::sample::{Cause, Connection, Outcome, Sample, SampleReader, write_header};
use firedrill_core::scenario::{self, Moment, Scenario, Vantage};
use firedrill_core::stack::{self, Stack};
use firedrill_core::time::At;
use firedrill_core::verdict::Verdict;
use std::collections::BTreeMap;
use std::time::Duration;

/// The samples of the drill, encoded, and the journal.
pub(crate) struct Drill {
    pub(crate) journal: Journal,
    pub(crate) samples: Vec<u8>,
}

impl Drill {
    /// What the judge says of it.
    pub(crate) fn verdict(&self) -> Verdict {
        judge(&self.journal, self.reader(), None).unwrap()
    }

    pub(crate) fn reader(&self) -> SampleReader<&[u8]> {
        SampleReader::new(self.samples.as_slice()).unwrap()
    }
}

const INJECT_MS: u64 = 41_200;
const DOWN_MS: u64 = INJECT_MS + 640;
const UP_MS: u64 = 72_900;
const END_MS: u64 = 150_000;

/// The stack of the shipped scenarios.
pub(crate) fn stack() -> Stack {
    let text = include_str!("../../../../../fixtures/stack/ironflow/stack.toml");
    stack::parse("ironflow", ("stack.toml", text)).unwrap()
}

fn scenario() -> Scenario {
    let runbook = |_: &str| Ok(include_str!("runbook.md").to_owned());
    scenario::parse("nats-quorum-loss", ("scenario.toml", include_str!("scenario.toml")), runbook, &stack()).unwrap()
}

fn series(scenario: &Scenario) -> Vec<Series> {
    let mut series = Vec::new();
    for (name, probe) in &scenario.probes {
        for &vantage in &probe.vantages {
            for &connection in &probe.connections {
                series.push(Series {
                    id: series.len() as u16,
                    probe: name.clone(),
                    kind: probe.kind.clone(),
                    vantage,
                    agent_namespace: None,
                    blocked_while: None,
                    connection,
                    every: probe.every,
                    timeout: probe.timeout,
                });
            }
        }
    }
    series
}

fn target(number: u32) -> Target {
    Target::Container {
        namespace: "ironflow".to_owned(),
        pod: format!("ironflow-nats-{number}"),
        uid: format!("8a1b-{number}"),
        container: "nats".to_owned(),
        container_id: format!("c0ffee{number}"),
        node: format!("firedrill-a3f-worker{}", number + 1),
    }
}

/// Records with their numbers and wall clock.
struct Writer {
    records: Vec<Record>,
}

impl Writer {
    fn at(&mut self, ms: u64, event: Event) {
        let second = ms / 1_000;
        let wall = format!("2026-12-01T10:{:02}:{:02}.{:03}Z", second / 60, second % 60, ms % 1_000);
        self.records.push(Record { seq: self.records.len() as u64, at: At::from_ms(ms), wall, event });
    }

    fn phase(&mut self, phase: Phase, from_ms: u64, deadline_s: u64) {
        self.at(from_ms, Event::PhaseStarted { phase, deadline: Duration::from_secs(deadline_s) });
    }

    fn done(&mut self, phase: Phase, ms: u64, detail: &str) {
        self.at(ms, Event::PhaseEnded { phase, end: PhaseEnd::Done, detail: detail.to_owned() });
    }

    fn moment(&mut self, moment: Moment, ms: u64, by: &str) {
        self.at(ms, Event::MomentSeen { moment, seen_at: At::from_ms(ms), by: by.to_owned() });
    }

    fn seen(&mut self, ms: u64, source: Source, object: &str, state: &str, healthy: Option<bool>) {
        let (object, state) = (object.to_owned(), state.to_owned());
        self.at(ms, Event::Observed(Observation { source, object, state, healthy, fact: None }));
    }

    fn step(&mut self, step: u32, scenario: &Scenario, from_ms: u64, until_ms: u64, end: StepEnd, out: (&str, &str)) {
        let documented = &scenario.runbooks["runbook.md"].steps[step as usize - 1];
        let command = scenario::bind_targets(
            &documented.command,
            scenario::TargetNames { pods: &["ironflow-nats-0", "ironflow-nats-2"], ..scenario::TargetNames::default() },
        );
        let (section, line, deadline) = (documented.section.clone(), documented.line, documented.timeout);
        self.at(from_ms, Event::StepStarted { step, section, line, command, correction: false, deadline });
        let (stdout, stderr) = (out.0.to_owned(), out.1.to_owned());
        self.at(until_ms, Event::StepEnded { step, correction: false, end, stdout, stderr });
    }
}

/// The drill, with `evil` in an output.
pub(crate) fn drill(evil: &str) -> Drill {
    let scenario = scenario();
    let series = series(&scenario);
    let samples = samples(&series);
    let mut to = Writer { records: Vec::new() };
    start(&mut to, &scenario, &series);
    fault(&mut to);
    runbook(&mut to, &scenario, evil);
    end(&mut to, &series);
    Drill { journal: Journal { records: to.records, truncated: false }, samples }
}

fn start(to: &mut Writer, scenario: &Scenario, series: &[Series]) {
    let plan = Plan {
        run_id: "0192-hung-7c".to_owned(),
        scenario: scenario.name.clone(),
        variant: "hung".to_owned(),
        seed: 41,
        faults: vec![PlannedFault {
            fault: scenario.variants["hung"].fault.clone(),
            targets: vec![target(0), target(2)],
        }],
        series: series.to_vec(),
        phases: vec![PlannedPhase {
            phase: Phase::Preflight,
            deadline: Duration::from_secs(30),
            about: "look at everything".to_owned(),
        }],
        expires_after: Duration::from_secs(3_600),
    };
    let cluster = ClusterInfo {
        name: "firedrill-a3f".to_owned(),
        provider: "kind".to_owned(),
        uid: "5b1e".to_owned(),
        version: "1.34.4".to_owned(),
        nodes: 4,
    };
    let start = RunStarted {
        journal_version: JOURNAL_VERSION,
        firedrill: "0.1.0".to_owned(),
        plan,
        scenario: scenario.clone(),
        noop: false,
        cluster,
        page_cache: None,
        flags: BTreeMap::new(),
    };
    to.at(0, Event::RunStarted(Box::new(start)));
    to.phase(Phase::Preflight, 2, 30);
    let place = |what: PlaceKind, name: &str, node: &str, on_victim| Place {
        what,
        name: name.to_owned(),
        node: format!("firedrill-a3f-{node}"),
        on_victim,
    };
    let places = vec![
        place(PlaceKind::CnpgOperator, "cnpg-controller-manager-6d8f", "control-plane", false),
        place(PlaceKind::CoreDns, "coredns-7db6d8ff4d-x2x7n", "worker3", true),
        place(PlaceKind::ProbeAgent, "firedrill-agent-0192-hung-7c", "worker2", false),
        place(PlaceKind::NodeAgent, "node-agent-9678e6eefa0fc92f", "worker1", false),
    ];
    to.at(310, Event::Placement { places });
    to.at(310, Event::VolumesAtRisk { claims: Vec::new(), of_other_drivers: Vec::new() });
    to.done(Phase::Preflight, 420, "marker and UID match, role sufficient, 3 of 3 servers, 2 targets");
    to.phase(Phase::Arm, 421, 120);
    let made = |kind: &str, name: &str| Undo::DeleteObject {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: Some("firedrill".to_owned()),
        name: name.to_owned(),
    };
    to.at(430, Event::UndoRecorded { id: 1, undo: made("Pod", "firedrill-agent-0192-hung-7c") });
    to.at(9_800, Event::ClockCompared { vantage: "inside".to_owned(), uncertainty_us: 410 });
    to.at(10_050, Event::Observed(alert::prometheus(true, "answers, 7 alerts")));
    to.done(Phase::Arm, 10_100, "agent on firedrill-a3f-worker2, outside ports open, 4 watchers");
    to.phase(Phase::SteadyState, 10_101, 120);
    to.at(41_000, Event::Load { achieved_per_s: 104.6, demanded_per_s: 10.0 });
    to.done(Phase::SteadyState, 41_001, "publish 79.8/s, run 5.0/s, ready 19.9/s, all 100 % for 30 s");
}

fn fault(to: &mut Writer) {
    to.phase(Phase::Inject, 41_010, 60);
    for number in [0, 2] {
        to.at(41_150, Event::UndoRecorded { id: 2 + number, undo: Undo::Thaw(ThawUndo { target: target(number) }) });
    }
    to.moment(Moment::Inject, INJECT_MS, "the call");
    for number in [0, 2] {
        to.at(INJECT_MS, Event::InjectCalled { target: target(number) });
        to.at(INJECT_MS + 180, Event::InjectReturned { target: target(number), error: None });
    }
    to.done(Phase::Inject, 41_400, "froze nats in ironflow-nats-0, ironflow-nats-2 (seed 41, phase 0.63 s)");
    to.phase(Phase::Effect, 41_401, 20);
    for number in [0, 2] {
        let (targets, subject) = (vec![target(number)], target(number).to_string());
        let evidence = "all 2 processes are in state T".to_owned();
        to.at(41_600, Event::Proof { targets, subject, evidence, held: true });
    }
    to.moment(Moment::Effect, 42_100, "publish failed, tcp from the same place did not");
    to.done(Phase::Effect, 42_110, "no JetStream leader; publish fails (control: TCP connect works)");
    to.phase(Phase::Detect, 42_111, 60);
    to.seen(44_300, Source::Nats, "meta leader", "none", Some(false));
    to.moment(Moment::Detected, 44_300, "no meta leader in JetStream");
    to.done(Phase::Detect, 44_301, "no NATS server names a meta leader");
    to.phase(Phase::Recover, 44_302, 180);
}

fn runbook(to: &mut Writer, scenario: &Scenario, evil: &str) {
    let as_expected = || StepEnd::AsExpected { exit: 0 };
    to.moment(Moment::RunbookStart, 44_310, "the first command");
    let listed = format!("NAME              READY   STATUS    RESTARTS\nironflow-nats-0   2/2     Running   0\n{evil}");
    to.step(1, scenario, 44_310, 44_640, as_expected(), (&listed, ""));
    to.seen(44_900, Source::Pods, "ironflow-nats-0", "Terminating", Some(false));
    to.seen(44_920, Source::Pods, "ironflow-nats-2", "Terminating", Some(false));
    let of = "active since 2026-12-01T10:00:44.5Z: instance=ironflow-nats-0";
    to.at(46_000, Event::Observed(alert::changed("NATSDown", &AlertState::Pending, of)));
    to.at(61_000, Event::Observed(alert::changed("NATSDown", &AlertState::Firing, of)));
    to.moment(Moment::Alert, 61_000, "NATSDown, seen in Prometheus");
    to.at(
        61_500,
        Event::Observed(alert::changed("HighErrorRate", &AlertState::Firing, "active since 2026-12-01T10:00:46Z")),
    );
    to.seen(65_200, Source::Pods, "ironflow-nats-0", "new pod, Pending", None);
    let deleted = "pod \"ironflow-nats-0\" deleted\npod \"ironflow-nats-2\" deleted\n";
    to.step(2, scenario, 44_650, 65_400, as_expected(), (deleted, ""));
    to.seen(65_600, Source::Pods, "ironflow-nats-2", "new pod, Pending", None);
    to.seen(67_800, Source::Pods, "ironflow-nats-0", "Running", None);
    to.seen(68_300, Source::Pods, "ironflow-nats-2", "Running", None);
    to.seen(72_400, Source::Nats, "meta leader", "ironflow-nats-1", Some(true));
    to.seen(74_000, Source::Events, "Pod/ironflow-nats-2", "Readiness probe failed: connection refused", None);
    to.seen(77_900, Source::Pods, "ironflow-nats-0", "Ready", Some(true));
    to.seen(78_300, Source::Pods, "ironflow-nats-2", "Ready", Some(true));
    let rolled = "Waiting for 2 pods to be ready...\npartitioned roll out complete: 3 new pods have been updated...\n";
    to.step(3, scenario, 65_410, 78_500, as_expected(), (rolled, ""));
    let missing = "OCI runtime exec failed: exec: \"nats\": executable file not found in $PATH\n";
    to.step(4, scenario, 78_510, 78_900, StepEnd::WrongExit { exit: 127 }, ("", missing));
    let correction = &scenario.corrections[0];
    let step = &scenario.runbooks["runbook.md"].steps[3];
    to.at(
        78_910,
        Event::StepStarted {
            step: 4,
            section: step.section.clone(),
            line: step.line,
            command: correction.instead.clone(),
            correction: true,
            deadline: step.timeout,
        },
    );
    let jsz = "{\"streams\": 4, \"messages\": 1204}\n".to_owned();
    to.at(
        79_300,
        Event::StepEnded { step: 4, correction: true, end: as_expected(), stdout: jsz, stderr: String::new() },
    );
    to.step(5, scenario, 79_310, 79_700, as_expected(), ("{\"status\":\"ok\"}\n", ""));
    to.moment(Moment::RunbookEnd, 79_700, "the last command");
    to.done(Phase::Recover, 79_701, "6 commands, 1 of them a correction");
}

fn end(to: &mut Writer, series: &[Series]) {
    to.phase(Phase::SustainedOk, 79_702, 140);
    to.done(Phase::SustainedOk, 79_710, "all probes without a failure for 5 s");
    to.phase(Phase::Redundancy, 79_711, 140);
    to.seen(86_100, Source::Nats, "EVENTS", "3 of 3 replicas current", Some(true));
    to.moment(Moment::Redundancy, 86_120, "3 of 3 servers routed and current");
    to.done(Phase::Redundancy, 86_121, "3 of 3 servers routed, every replica current");
    to.phase(Phase::Backlog, 86_122, 60);
    to.moment(Moment::BacklogDrained, 88_000, "no run is waiting");
    to.done(Phase::Backlog, 88_001, "no run is waiting");
    to.phase(Phase::Alerts, 88_002, 90);
    to.at(91_000, Event::Observed(alert::changed("NATSDown", &AlertState::Inactive, "")));
    to.done(Phase::Alerts, 91_010, "1 of 1 fired and are resolved");
    to.at(91_020, Event::CpuPressure { stalled: Duration::from_secs(31), over: Duration::from_secs(81) });
    to.phase(Phase::Ledger, END_MS, 120);
    for series in series.iter().filter(|series| series.kind.writes()) {
        let (acknowledged, indeterminate) = if series.probe == "run" { (540, 3) } else { (2_164, 40) };
        to.at(
            END_MS + 900,
            Event::Ledger(LedgerCount {
                series: series.id,
                store: if series.probe == "run" { "ironflow" } else { "nats" }.to_owned(),
                error: None,
                acknowledged: acknowledged + 60,
                lost: 0,
                lost_ranges: Vec::new(),
                duplicated: 0,
                indeterminate,
                indeterminate_found: 3,
                refused_found: 0,
                foreign: 0,
            }),
        );
    }
    to.done(Phase::Ledger, END_MS + 1_000, "every acknowledged write is there");
    to.phase(Phase::Undo, END_MS + 1_001, 120);
    for id in [1, 2, 4] {
        to.at(END_MS + 1_500 + u64::from(id), Event::Undone { id, error: None, finish_with: None });
    }
    to.done(Phase::Undo, END_MS + 2_000, "3 of 3 undone");
    to.phase(Phase::Clean, END_MS + 2_001, 60);
    to.at(
        END_MS + 2_900,
        Event::CleanChecked {
            made: 18,
            gone: 18,
            differences: Vec::new(),
            still_faulty: Vec::new(),
            residue: Vec::new(),
        },
    );
    to.moment(Moment::Clean, END_MS + 2_900, "inventory matches");
    to.done(Phase::Clean, END_MS + 2_901, "18 objects made, 18 gone; inventory matches");
    to.at(END_MS + 2_950, Event::RunEnded { interrupted: false, samples: None });
}

/// Samples from 10 s on: latency with a tail, failures while down, a slow start after it, one stall of the prober.
fn samples(series: &[Series]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_header(&mut bytes).unwrap();
    let mut random = 41_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as f64 / f64::from(1_u32 << 31)
    };
    for one in series {
        let base_us = match (one.probe.as_str(), one.vantage) {
            ("run", _) => 38_000.0,
            ("tcp", _) => 350.0,
            (_, Vantage::Inside) => 1_400.0,
            (_, Vantage::Outside) => 2_900.0,
        } * if one.connection == Connection::New { 1.6 } else { 1.0 };
        let (up_ms, late_ms) = match one.probe.as_str() {
            "tcp" => (DOWN_MS, DOWN_MS),
            "ready" => (UP_MS + 1_900, DOWN_MS + 2_200),
            "run" => (UP_MS + 900, DOWN_MS + 40),
            _ => (UP_MS + u64::from(one.id) * 60, DOWN_MS + u64::from(one.id) * 15),
        };
        let every_ms = one.every.as_millis() as u64;
        for seq in 0..(END_MS - 10_000) / every_ms {
            let intended_ms = 10_000 + seq * every_ms;
            let tail = if next() > 0.985 { 6.0 + 20.0 * next() } else { 1.0 };
            let settling = if intended_ms > up_ms && intended_ms < up_ms + 6_000 { 4.0 } else { 1.0 };
            let took_us = base_us * (0.8 + 0.5 * next()) * tail * if up_ms > late_ms { settling } else { 1.0 };
            let (outcome, took_us) = match (late_ms..up_ms).contains(&intended_ms) {
                true if one.probe == "ready" => (failed(Cause::Status, 503), took_us),
                true if seq.is_multiple_of(7) => (failed(Cause::Unavailable, 503), took_us),
                true => (failed(Cause::Timeout, 0), one.timeout.as_micros() as f64),
                false if (96_000..96_400).contains(&intended_ms) && one.id == 2 => (Outcome::Stalled, 0.0),
                false => (Outcome::Ok, took_us),
            };
            let intended = At::from_ms(intended_ms);
            let ended = At(intended.0 + took_us as u64);
            let sample = Sample { series: one.id, seq: seq as u32, intended, started: intended, ended, outcome };
            bytes.extend(sample.encode());
        }
    }
    bytes
}

fn failed(cause: Cause, code: u16) -> Outcome {
    Outcome::Failed { cause, code, maybe_applied: cause == Cause::Timeout }
}
