//! Journals and samples built by hand. Times are milliseconds of the run; the fault is put in at 40 s.

use firedrill_core::event::{
    ClusterInfo, Event, Fact, JOURNAL_VERSION, LedgerCount, Observation, PageCache, PhaseEnd, Record, RunStarted,
    Source, StepEnd, ThawUndo, Undo,
};
use firedrill_core::journal::Journal;
use firedrill_core::judge::judge;
use firedrill_core::plan::{Phase, Plan, PlannedFault, Series, Target};
use firedrill_core::sample::{Cause, Connection, HEADER_BYTES, Outcome, Sample, SampleReader, write_header};
use firedrill_core::scenario::{
    Accepted, Correction, DataPolicy, Detector, Effect, Failing, Fault, FreezeFault, JetstreamProbe, Layout, Moment,
    Needs, Objective, PodSelector, Probe, ProbeKind, Recovery, Runbook, Scenario, ServiceRef, Shown, Start,
    SteadyState, Step, TcpProbe, Vantage, Variant,
};
use firedrill_core::stack::Watch;
use firedrill_core::time::At;
use firedrill_core::verdict::Verdict;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

pub(crate) const INJECT_MS: u64 = 40_000;
pub(crate) const EVERY_MS: u64 = 50;
pub(crate) const PUBLISH: u16 = 0;
pub(crate) const CONTROL: u16 = 1;
pub(crate) const WGET: &str = "kubectl exec -n ironflow ironflow-nats-0 -- wget -qO- http://localhost:8222/healthz";

/// A run: what it recorded and what its probes saw.
pub(crate) struct Run {
    pub(crate) start: RunStarted,
    events: Vec<(u64, Event)>,
    samples: Vec<Sample>,
    pub(crate) cut_off: bool,
}

fn pods() -> PodSelector {
    PodSelector { namespace: "ironflow".into(), labels: "app.kubernetes.io/name=nats".into() }
}

pub(crate) fn target(index: u32) -> Target {
    Target::Container {
        namespace: "ironflow".into(),
        pod: format!("ironflow-nats-{index}"),
        uid: format!("uid-{index}"),
        container: "nats".into(),
        container_id: format!("id-{index}"),
        node: format!("worker{index}"),
    }
}

fn service(name: &str, port: u16) -> ServiceRef {
    ServiceRef { namespace: "ironflow".into(), name: name.into(), port }
}

fn probe(kind: ProbeKind) -> Probe {
    let every = Duration::from_millis(EVERY_MS);
    let (connections, vantages) = (vec![Connection::Reused], vec![Vantage::Outside]);
    Probe {
        kind,
        every,
        timeout: Duration::from_secs(1),
        connections,
        vantages,
        agent_namespace: None,
        blocked_while: None,
    }
}

fn objective(name: &str, probe: Option<&str>, times: (Moment, Moment), documented: u64, accepted: u64) -> Objective {
    Objective {
        name: name.into(),
        probe: probe.map(str::to_owned),
        from: times.0,
        to: times.1,
        longest_outage: false,
        documented: (documented > 0).then(|| Duration::from_secs(documented)),
        accepted: BTreeMap::from([("hung".into(), Accepted(Duration::from_secs(accepted)))]),
        because: "22 runs of 2026-12".into(),
    }
}

fn step(line: u32, section: &str, command: &str, exit: Option<i32>) -> Step {
    Step {
        section: section.into(),
        line,
        command: command.into(),
        expect: None,
        timeout: Duration::from_secs(30),
        exit,
        variants: Vec::new(),
        layout: None,
        within: None,
        only_if: None,
        manual: None,
    }
}

fn scenario() -> Scenario {
    let publish = ProbeKind::Jetstream(JetstreamProbe {
        service: service("ironflow-nats", 4222),
        stream: "EVENTS".into(),
        subject: "drill".into(),
    });
    let steps = vec![
        step(3, "1. Look", "kubectl get pods -n ironflow", None),
        step(9, "3. Delete the stuck pods", "kubectl delete pod -n ironflow ironflow-nats-0 ironflow-nats-1", Some(0)),
        step(15, "5. The server answers again", WGET, Some(0)),
    ];
    let variant = Variant {
        layout: Layout::default(),
        about: "two of three servers stop answering".into(),
        expected: Duration::from_secs(180),
        fault: Fault::Freeze(FreezeFault { pods: pods(), container: "nats".into(), count: 2, lasts: None }),
        then: Vec::new(),
        then_after: Duration::ZERO,
        effect: Effect {
            shown: Shown::Down { probe: "publish".into(), control: "tcp".into(), failing: Failing::All },
            within: Duration::from_secs(20),
        },
        detect: Detector::NatsQuorum { pods: pods() },
        recovery: Recovery::Runbook { file: "runbook.md".into(), start: Start::Detected, without: None },
        redundancy: Vec::new(),
        deadline: Duration::from_secs(120),
        sustained: Duration::from_secs(5),
        alerts: Vec::new(),
        irreversible: None,
    };
    Scenario {
        name: "nats-quorum-loss".into(),
        title: "NATS cluster loses quorum".into(),
        needs: Needs {
            template: "medium".into(),
            layout: Layout::default(),
            nats_servers: Some(3),
            postgres_instances: None,
        },
        steady_state: SteadyState {
            hold: Duration::from_secs(30),
            within: Duration::from_secs(60),
            probes: vec!["publish".into()],
            load_min_per_s: 10.0,
        },
        probes: BTreeMap::from([
            ("publish".into(), probe(publish)),
            ("tcp".into(), probe(ProbeKind::Tcp(TcpProbe { service: service("ironflow-nats", 4222) }))),
        ]),
        probes_in: BTreeMap::new(),
        templates_in: BTreeMap::new(),
        watch: Watch::default(),
        default_variant: "hung".into(),
        variants: BTreeMap::from([("hung".into(), variant)]),
        objectives: vec![
            objective("rollout", None, (Moment::RunbookStart, Moment::Redundancy), 120, 120),
            objective("publish outage", Some("publish"), (Moment::Effect, Moment::SustainedOk), 30, 60),
        ],
        data: DataPolicy::default(),
        corrections: Vec::new(),
        runbooks: BTreeMap::from([("runbook.md".into(), Runbook { file: "runbook.md".into(), steps })]),
    }
}

fn plan(scenario: &Scenario) -> Plan {
    let series = |id, name: &str| {
        let probe = &scenario.probes[name];
        Series {
            id,
            probe: name.into(),
            kind: probe.kind.clone(),
            vantage: Vantage::Outside,
            agent_namespace: None,
            blocked_while: None,
            connection: Connection::Reused,
            every: probe.every,
            timeout: probe.timeout,
        }
    };
    Plan {
        run_id: "0192-hung-7c".into(),
        scenario: scenario.name.clone(),
        variant: "hung".into(),
        seed: 41,
        faults: vec![PlannedFault {
            fault: scenario.variants["hung"].fault.clone(),
            targets: vec![target(0), target(1)],
        }],
        series: vec![series(PUBLISH, "publish"), series(CONTROL, "tcp")],
        phases: Vec::new(),
        expires_after: Duration::from_secs(3_600),
    }
}

impl Run {
    /// A run that has only begun.
    pub(crate) fn begun() -> Self {
        let scenario = scenario();
        let start = RunStarted {
            journal_version: JOURNAL_VERSION,
            firedrill: "0.1.0".into(),
            plan: plan(&scenario),
            scenario,
            noop: false,
            cluster: ClusterInfo {
                name: "firedrill-a3f".into(),
                provider: "kind".into(),
                uid: "c0ffee".into(),
                version: "1.34.4".into(),
                nodes: 4,
            },
            page_cache: Some(PageCache::Kept),
            flags: BTreeMap::new(),
        };
        let none_at_risk = Event::VolumesAtRisk { claims: Vec::new(), of_other_drivers: Vec::new() };
        Self { start, events: vec![(4_000, none_at_risk)], samples: Vec::new(), cut_off: false }
    }

    /// A run that went well: publish was down from 40.5 s until `up_ms`.
    pub(crate) fn recovered(up_ms: u64) -> Self {
        let mut run = Self::begun();
        run.injected().phase(40_100, Phase::Effect, 41_000, PhaseEnd::Done).moment(40_900, Moment::Effect, "publish");
        run.detected().runbook();
        run.phase(up_ms - 1_000, Phase::SustainedOk, up_ms + 5_100, PhaseEnd::Done);
        run.phase(up_ms + 5_100, Phase::Redundancy, up_ms + 8_000, PhaseEnd::Done);
        run.moment(up_ms + 8_000, Moment::Redundancy, "nats").moment(up_ms + 9_000, Moment::BacklogDrained, "ironflow");
        run.ledger(up_ms + 10_000, 0, 0).cleaned(up_ms + 12_000);
        run.down(PUBLISH, 40_500, up_ms, up_ms + 10_000).up(CONTROL, up_ms + 10_000);
        run
    }

    pub(crate) fn event(&mut self, at_ms: u64, event: Event) -> &mut Self {
        self.events.push((at_ms, event));
        self
    }

    pub(crate) fn phase(&mut self, from_ms: u64, phase: Phase, until_ms: u64, end: PhaseEnd) -> &mut Self {
        self.event(from_ms, Event::PhaseStarted { phase, deadline: Duration::from_secs(60) });
        self.event(until_ms, Event::PhaseEnded { phase, end, detail: String::new() })
    }

    pub(crate) fn moment(&mut self, at_ms: u64, moment: Moment, by: &str) -> &mut Self {
        self.event(at_ms, Event::MomentSeen { moment, seen_at: At::from_ms(at_ms), by: by.into() })
    }

    pub(crate) fn load(&mut self, achieved_per_s: f64) -> &mut Self {
        self.event(39_000, Event::Load { achieved_per_s, demanded_per_s: 10.0 })
    }

    /// Up to the proof that both targets are frozen.
    pub(crate) fn injected(&mut self) -> &mut Self {
        self.phase(5_000, Phase::SteadyState, 39_000, PhaseEnd::Done).load(20.0);
        for index in 0..2 {
            let undo = Undo::Thaw(ThawUndo { target: target(index) });
            self.event(39_500, Event::UndoRecorded { id: index, undo });
            self.event(INJECT_MS, Event::InjectCalled { target: target(index) });
            self.event(40_050, Event::InjectReturned { target: target(index), error: None });
            let (targets, subject) = (vec![target(index)], target(index).to_string());
            let evidence = "3 of 3 processes stopped".to_owned();
            self.event(40_080, Event::Proof { targets, subject, evidence, held: true });
        }
        self
    }

    pub(crate) fn detected(&mut self) -> &mut Self {
        self.moment(44_000, Moment::Detected, "nats");
        self.quorum(44_000, "lost: 1 of 3 servers answer, 2 are a majority", false)
    }

    pub(crate) fn observed(&mut self, at_ms: u64, seen: (Source, &str, &str, Option<bool>)) -> &mut Self {
        let (source, object, state, healthy) = seen;
        let (object, state) = (object.into(), state.into());
        self.event(at_ms, Event::Observed(Observation { source, object, state, healthy, fact: None }))
    }

    pub(crate) fn quorum(&mut self, at_ms: u64, state: &str, has_one: bool) -> &mut Self {
        let (object, state, healthy) = ("quorum".into(), state.into(), Some(has_one));
        let fact = Some(Fact::Quorum);
        self.event(at_ms, Event::Observed(Observation { source: Source::Nats, object, state, healthy, fact }))
    }

    pub(crate) fn runbook(&mut self) -> &mut Self {
        self.step(44_200, 1, false, StepEnd::AsExpected { exit: 0 });
        self.step(44_700, 2, false, StepEnd::AsExpected { exit: 0 });
        self.step(46_000, 3, false, StepEnd::AsExpected { exit: 0 })
    }

    pub(crate) fn step(&mut self, at_ms: u64, step: u32, correction: bool, end: StepEnd) -> &mut Self {
        let written = &self.start.scenario.runbooks["runbook.md"].steps[step as usize - 1];
        let (section, line, command) = (written.section.clone(), written.line, written.command.clone());
        let deadline = Duration::from_secs(30);
        self.event(at_ms, Event::StepStarted { step, section, line, command, correction, deadline });
        let (stdout, stderr) = (String::new(), String::new());
        self.event(at_ms + 400, Event::StepEnded { step, correction, end, stdout, stderr })
    }

    /// Puts a correction beside the last step.
    pub(crate) fn correction(&mut self) -> &mut Self {
        self.start.scenario.corrections.push(Correction {
            section: "5. The server answers again".into(),
            documented: WGET.into(),
            instead: "kubectl get --raw /healthz".into(),
            provider: None,
            at_times: false,
            expect: None,
            because: "the image has no wget".into(),
        });
        self
    }

    pub(crate) fn ledger(&mut self, at_ms: u64, lost: u64, duplicated: u64) -> &mut Self {
        self.phase(at_ms, Phase::Ledger, at_ms + 500, PhaseEnd::Done);
        self.event(
            at_ms + 400,
            Event::Ledger(LedgerCount {
                series: PUBLISH,
                store: "nats".into(),
                error: None,
                acknowledged: 1_204,
                lost,
                lost_ranges: if lost > 0 { vec![(7, 6 + lost as u32)] } else { Vec::new() },
                duplicated,
                indeterminate: 3,
                indeterminate_found: 3,
                refused_found: 0,
                foreign: 0,
            }),
        )
    }

    pub(crate) fn undone(&mut self, at_ms: u64, id: u32, error: Option<&str>) -> &mut Self {
        let (error, finish_with) = (error.map(str::to_owned), error.map(|_| "crictl exec id-1 thaw".to_owned()));
        self.event(at_ms, Event::Undone { id, error, finish_with })
    }

    pub(crate) fn clean_checked(&mut self, at_ms: u64, still_faulty: &[&str]) -> &mut Self {
        let still_faulty = still_faulty.iter().map(|what| (*what).to_owned()).collect();
        self.event(
            at_ms,
            Event::CleanChecked { made: 18, gone: 18, differences: Vec::new(), still_faulty, residue: Vec::new() },
        )
    }

    pub(crate) fn cleaned(&mut self, at_ms: u64) -> &mut Self {
        self.phase(at_ms, Phase::Undo, at_ms + 500, PhaseEnd::Done);
        self.undone(at_ms + 100, 0, None).undone(at_ms + 200, 1, None);
        self.clean_checked(at_ms + 700, &[]).event(at_ms + 800, Event::RunEnded { interrupted: false, samples: None })
    }

    /// A series that always answers, from 5 s on.
    pub(crate) fn up(&mut self, series: u16, until_ms: u64) -> &mut Self {
        self.down(series, until_ms, until_ms, until_ms)
    }

    /// A series that refuses from `down_ms` until `up_ms`.
    pub(crate) fn down(&mut self, series: u16, down_ms: u64, up_ms: u64, until_ms: u64) -> &mut Self {
        let failed = Outcome::Failed { cause: Cause::Unavailable, code: 0, maybe_applied: false };
        for (seq, at_ms) in (0u32..).zip((5_000..until_ms).step_by(EVERY_MS as usize)) {
            let outcome = if (down_ms..up_ms).contains(&at_ms) { failed } else { Outcome::Ok };
            let at = At::from_ms(at_ms);
            self.samples.push(Sample { series, seq, intended: at, started: at, ended: At(at.0 + 2_000), outcome });
        }
        self
    }

    pub(crate) fn change_samples(&mut self, change: impl FnMut(&mut Sample)) -> &mut Self {
        self.samples.iter_mut().for_each(change);
        self
    }

    pub(crate) fn sample_count(&self) -> u64 {
        self.samples.len() as u64
    }

    /// What the run's last record says of how many samples it wrote.
    pub(crate) fn ended_with(&mut self, count: Option<u64>) -> &mut Self {
        for (_, event) in &mut self.events {
            if let Event::RunEnded { samples, .. } = event {
                *samples = count;
            }
        }
        self
    }

    pub(crate) fn keep_samples(&mut self, keep: impl FnMut(&Sample) -> bool) -> &mut Self {
        self.samples.retain(keep);
        self
    }

    pub(crate) fn change_events(&mut self, change: impl FnMut(&mut Event)) -> &mut Self {
        self.events.iter_mut().map(|(_, event)| event).for_each(change);
        self
    }

    pub(crate) fn drop_events(&mut self, drop: impl Fn(&Event) -> bool) -> &mut Self {
        self.events.retain(|(_, event)| !drop(event));
        self
    }

    /// Takes away everything that was recorded after a time, as if the run had died then.
    pub(crate) fn die(&mut self, at_ms: u64) -> &mut Self {
        self.events.retain(|(at, _)| *at <= at_ms);
        self.samples.retain(|sample| sample.ended <= At::from_ms(at_ms));
        self.cut_off = true;
        self
    }

    fn journal_text(&self) -> String {
        let mut records = vec![(0, Event::RunStarted(Box::new(self.start.clone())))];
        let mut events = self.events.clone();
        events.sort_by_key(|(at, _)| *at);
        records.extend(events);
        let records = (0u64..).zip(records).map(|(seq, (at_ms, event))| Record {
            seq,
            at: At::from_ms(at_ms),
            wall: "2026-12-01T03:00:00.000Z".into(),
            event,
        });
        records.map(|record| serde_json::to_string(&record).unwrap() + "\n").collect()
    }

    pub(crate) fn journal(&self) -> Journal {
        Journal::parse(&self.journal_text()).unwrap()
    }

    pub(crate) fn judge_with(&self, other: Option<&Scenario>) -> io::Result<Verdict> {
        let mut text = self.journal_text();
        let mut file = Vec::with_capacity(HEADER_BYTES);
        write_header(&mut file).unwrap();
        self.samples.iter().for_each(|sample| file.extend(sample.encode()));
        if self.cut_off {
            text.push_str("{\"seq\":");
            file.extend([0; 7]);
        }
        let journal = Journal::parse(&text).map_err(io::Error::other)?;
        judge(&journal, SampleReader::new(file.as_slice())?, other)
    }

    pub(crate) fn judge(&self) -> Verdict {
        self.judge_with(None).unwrap()
    }
}
