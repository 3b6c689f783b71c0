//! Times the judging of a run with many samples: `judge_bench [SAMPLES]`, ten million where no number is given. The samples
//! lie in a file, as those of a saved run do; the greatest memory use of the process is told beside the time.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use firedrill_core::event::{ClusterInfo, Event, JOURNAL_VERSION, Record, RunStarted};
use firedrill_core::journal::Journal;
use firedrill_core::judge::judge;
use firedrill_core::plan::{Plan, Series};
use firedrill_core::sample::{Cause, Connection, Outcome, Sample, SampleReader, write_header};
use firedrill_core::scenario::{
    Accepted, DataPolicy, DeletePodsFault, Detector, Effect, Failing, Fault, Layout, Moment, Needs, Objective,
    PodSelector, ProbeKind, Recovery, Scenario, ServiceRef, Shown, SteadyState, TcpProbe, Vantage, Variant,
};
use firedrill_core::stack::Watch;
use firedrill_core::time::At;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

const SERIES: u16 = 4;
const EVERY: Duration = Duration::from_millis(1);

fn main() -> Result<(), Box<dyn Error>> {
    let samples: u64 = std::env::args().nth(1).map_or(Ok(10_000_000), |text| text.parse())?;
    let file = std::env::temp_dir().join(format!("firedrill-judge-bench-{}", std::process::id()));
    let end = write_samples(&file, samples)?;
    let journal = journal(end)?;
    let before_kib = peak_kib()?;
    let took = time(|| {
        let verdict = judge(&journal, SampleReader::new(File::open(&file)?)?, None)?;
        let outages: usize = verdict.series.iter().map(|series| series.outages.len()).sum();
        println!("{}; {outages} outages in {SERIES} series", verdict.headline);
        Ok(())
    });
    fs::remove_file(&file)?;
    let took = took?;
    println!("samples        {samples}");
    println!("judged in      {:.3} s ({:.1} million/s)", took.as_secs_f64(), samples as f64 / took.as_secs_f64() / 1e6);
    println!("peak memory    {} KiB, {before_kib} KiB before judging", peak_kib()?);
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "a benchmark times itself")]
fn time(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

/// The process's greatest resident memory, as Linux tells it.
fn peak_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Series side by side, each with an outage of a tenth of the time in the middle and a failure now and then.
fn write_samples(file: &std::path::Path, samples: u64) -> Result<At, Box<dyn Error>> {
    let mut to = BufWriter::with_capacity(1 << 20, File::create(file)?);
    write_header(&mut to)?;
    let each = samples / u64::from(SERIES);
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for seq in 0..each {
        for series in 0..SERIES {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let down = series == 0 && seq >= each / 2 && seq < each / 2 + each / 10;
            let failed = Outcome::Failed { cause: Cause::Timeout, code: 0, maybe_applied: true };
            let outcome = if down || noise.is_multiple_of(200_000) { failed } else { Outcome::Ok };
            let intended = At(seq * 1_000);
            let started = At(intended.0 + noise % 50);
            let ended = At(started.0 + 200 + noise % 2_000);
            to.write_all(&Sample { series, seq: u32::try_from(seq)?, intended, started, ended, outcome }.encode())?;
        }
    }
    to.flush()?;
    Ok(At(each * 1_000))
}

fn journal(end: At) -> Result<Journal, Box<dyn Error>> {
    let kind = ProbeKind::Tcp(TcpProbe { service: ServiceRef { namespace: "n".into(), name: "s".into(), port: 1 } });
    let series = |id: u16| Series {
        id,
        probe: format!("p{id}"),
        kind: kind.clone(),
        vantage: Vantage::Outside,
        agent_namespace: None,
        blocked_while: None,
        connection: Connection::Reused,
        every: EVERY,
        timeout: Duration::from_secs(1),
    };
    let pods = PodSelector { namespace: "n".into(), labels: "a=b".into() };
    let objective = |id: u16| Objective {
        name: format!("p{id} outage"),
        probe: Some(format!("p{id}")),
        from: Moment::FirstFailure,
        to: Moment::SustainedOk,
        longest_outage: false,
        documented: None,
        accepted: BTreeMap::from([("v".into(), Accepted(Duration::from_secs(3_600)))]),
        because: String::new(),
    };
    let variant = Variant {
        layout: Layout::default(),
        about: String::new(),
        expected: Duration::from_secs(60),
        fault: Fault::DeletePods(DeletePodsFault { pods: pods.clone(), count: 1 }),
        then: Vec::new(),
        then_after: Duration::ZERO,
        effect: Effect {
            shown: Shown::Down { probe: "p0".into(), control: "p1".into(), failing: Failing::All },
            within: Duration::from_secs(20),
        },
        detect: Detector::NatsQuorum { pods },
        recovery: Recovery::Unattended,
        redundancy: Vec::new(),
        deadline: Duration::from_secs(3_600),
        sustained: Duration::from_secs(5),
        alerts: Vec::new(),
        irreversible: None,
    };
    let scenario = Scenario {
        name: "bench".into(),
        title: String::new(),
        needs: Needs {
            template: "medium".into(),
            layout: Layout::default(),
            nats_servers: None,
            postgres_instances: None,
        },
        steady_state: SteadyState {
            hold: Duration::from_secs(1),
            within: Duration::from_secs(1),
            probes: Vec::new(),
            load_min_per_s: 0.0,
        },
        probes: BTreeMap::new(),
        probes_in: BTreeMap::new(),
        templates_in: BTreeMap::new(),
        watch: Watch::default(),
        variants: BTreeMap::from([("v".into(), variant)]),
        default_variant: "v".into(),
        objectives: (0..SERIES).map(objective).collect(),
        data: DataPolicy::default(),
        corrections: Vec::new(),
        runbooks: BTreeMap::new(),
    };
    let plan = Plan {
        run_id: "bench".into(),
        scenario: "bench".into(),
        variant: "v".into(),
        seed: 1,
        faults: Vec::new(),
        series: (0..SERIES).map(series).collect(),
        phases: Vec::new(),
        expires_after: Duration::from_secs(3_600),
    };
    let cluster = ClusterInfo {
        name: "bench".into(),
        provider: "none".into(),
        uid: String::new(),
        version: String::new(),
        nodes: 0,
    };
    let start = RunStarted {
        journal_version: JOURNAL_VERSION,
        firedrill: String::new(),
        plan,
        scenario,
        noop: false,
        cluster,
        page_cache: None,
        flags: BTreeMap::new(),
    };
    let middle = At(end.0 / 2);
    let seen = |moment, seen_at| Event::MomentSeen { moment, seen_at, by: "bench".into() };
    let events = [
        (At(0), Event::RunStarted(Box::new(start))),
        (middle, seen(Moment::Inject, middle)),
        (middle, seen(Moment::Effect, middle)),
        (end, seen(Moment::Redundancy, end)),
        (end, Event::RunEnded { interrupted: false, samples: None }),
    ];
    let records = (0u64..).zip(events).map(|(seq, (at, event))| Record { seq, at, wall: String::new(), event });
    let lines: Result<Vec<String>, _> = records.map(|record| serde_json::to_string(&record)).collect();
    Ok(Journal::parse(&(lines?.join("\n") + "\n"))?)
}
