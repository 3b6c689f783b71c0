//! One seed from beginning to end: a run, and where it died or left something, sweeps.

use super::rng::Rng;
use super::script::SweepTrouble;
use super::store::{Disk, JOURNAL};
use super::world::FIRST_SWEEP;
use super::{Script, Sim, World};
use crate::clock::simulated;
use crate::run::fake::stack;
use crate::run::{Drill, InterruptSource, Options, Ran, RunError, SweepOptions, Swept, run, sweep};
use firedrill_core::scenario::{Scenario, parse};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// No run may last longer.
const RUN_MAX: Duration = Duration::from_secs(3 * 3_600);

/// The folder of runs on the first machine.
const RUNS: &str = "/machine/runs";
/// The folder of runs on a machine that sweeps without the first one's files.
const ELSEWHERE: &str = "/elsewhere/runs";

/// More than the simulated scenario's probes make together.
const LOAD_TOO_HIGH_PER_S: f64 = 20.0;

/// How a simulated run ended.
pub(super) struct Outcome {
    pub(super) world: Arc<Mutex<World>>,
    /// What the run returned; `None` where it died.
    pub(super) ran: Option<Result<Ran, RunError>>,
    /// All files, once everything was over.
    pub(super) disk: Disk,
    /// When it ended, in the time of the world.
    pub(super) ended_at: Duration,
    /// What was left right after it, before any sweep.
    pub(super) left: Vec<String>,
    /// Whether a fault was in right after it.
    pub(super) faulty: bool,
    /// What the last sweep did, where one was needed.
    pub(super) swept: Option<Result<Swept, String>>,
    /// What the first of two sweeps did, and what was left after it; `None` where it died.
    pub(super) first_sweep: Option<(Result<Swept, String>, Vec<String>)>,
}

impl Outcome {
    /// A file of the run.
    pub(super) fn file(&self, name: &str) -> Option<&[u8]> {
        let folder: &PathBuf = self.disk.folders_in(Path::new(RUNS)).next()?;
        self.disk.bytes(&folder.join(name))
    }

    /// The text of its journal.
    pub(super) fn journal(&self) -> Option<String> {
        self.file(JOURNAL).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The simulated scenario.
pub(super) fn scenario() -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim");
    let read = |file: &str| std::fs::read_to_string(folder.join(file));
    let text = read("scenario.toml").unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    parse("simulated", ("scenario.toml", &text), read, &stack())
        .unwrap_or_else(|mistakes| panic!("the simulated scenario: {mistakes:?}"))
}

fn in_process<T>(before: Duration, work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("a runtime: {error}"));
    runtime.block_on(async {
        simulated::begin(before);
        work.await
    })
}

/// Plays a seed.
pub(super) fn play(seed: u64, scenario: &Scenario) -> Outcome {
    play_script(seed, Script::of(seed), scenario)
}

/// Plays a script, with the latencies of a seed.
pub(super) fn play_script(seed: u64, script: Script, scenario: &Scenario) -> Outcome {
    let world = Arc::new(Mutex::new(World::new(seed, script.clone())));
    let (ran, ended_at) = in_process(Duration::ZERO, async {
        let sim = Sim::process(&world, 1);
        let ran = first_process(&sim, &script, scenario, seed).await;
        (ran, simulated::elapsed())
    });
    let lock = || world.lock().unwrap_or_else(PoisonError::into_inner);
    lock().dead.insert(1);
    if ran.is_none() && script.tail_lost {
        lock().disk.lose_tails(&mut Rng::new(seed ^ 0x7a11));
    }
    lock().advance(ended_at);
    let left = lock().leftovers();
    let faulty = !lock().faults_in().is_empty();
    let has_records = !lock().records.is_empty() || !lock().dirty_ends.is_empty();
    let mut outcome = Outcome {
        world: world.clone(),
        ran,
        disk: Disk::default(),
        ended_at,
        left,
        faulty,
        swept: None,
        first_sweep: None,
    };
    if !outcome.left.is_empty() || has_records {
        let seen = Path::new(if script.folder_lost { ELSEWHERE } else { RUNS });
        let mut at = ended_at + Duration::from_secs(30);
        if let Some(trouble) = &script.first_sweep {
            let swept;
            (swept, at) = later_process(&world, seen, at, FIRST_SWEEP, Some(trouble));
            outcome.first_sweep = swept.map(|swept| (swept, lock().leftovers()));
            at += Duration::from_secs(30);
        }
        outcome.swept = later_process(&world, seen, at, FIRST_SWEEP + 1, None).0;
    }
    outcome.disk = lock().disk.clone();
    outcome
}

fn drill(scenario: Scenario, script: &Script, seed: u64) -> Drill {
    Drill {
        scenario,
        stack: Arc::new(stack()),
        variant: script.variant.to_owned(),
        seed: Some(seed),
        noop: false,
        agent_image: "simulated".to_owned(),
    }
}

/// A run after all that happened before, by a process whose runs are in that folder.
pub(super) fn next_run(outcome: &Outcome, runs: &Path, accept_current_state: bool) -> Result<Ran, RunError> {
    in_process(outcome.ended_at + Duration::from_secs(3_600), async {
        let sim = Sim::process(&outcome.world, FIRST_SWEEP + 2);
        let script = sim.world().script.clone();
        let drill = drill(scenario(), &script, 8);
        let options =
            Options { drill, ports: sim.ports(), runs: runs.to_owned(), accept_current_state, flags: BTreeMap::new() };
        let (_source, interrupts) = InterruptSource::new();
        let (progress, mut shown) = tokio::sync::mpsc::channel(64);
        let showing = tokio::spawn(async move { while shown.recv().await.is_some() {} });
        let ran = run(options, progress, interrupts).await;
        showing.abort();
        ran
    })
}

async fn first_process(sim: &Sim, script: &Script, scenario: &Scenario, seed: u64) -> Option<Result<Ran, RunError>> {
    let mut scenario = scenario.clone();
    if script.low_load {
        scenario.steady_state.load_min_per_s = LOAD_TOO_HIGH_PER_S;
    }
    let drill = drill(scenario, script, seed);
    let options = Options {
        drill,
        ports: sim.ports(),
        runs: PathBuf::from(RUNS),
        accept_current_state: false,
        flags: BTreeMap::new(),
    };
    let (source, interrupts) = InterruptSource::new();
    let times = script.interrupts.clone();
    let interrupting = tokio::spawn(async move {
        let mut times = times;
        times.sort();
        for at in times {
            tokio::time::sleep(at.saturating_sub(simulated::elapsed())).await;
            source.interrupt();
        }
        std::future::pending::<()>().await;
    });
    let suspension = script.suspension;
    let suspending = tokio::spawn(async move {
        if let Some((at, length)) = suspension {
            tokio::time::sleep(at.saturating_sub(simulated::elapsed())).await;
            simulated::suspend(length);
        }
    });
    let (progress, mut shown) = tokio::sync::mpsc::channel(64);
    let showing = tokio::spawn(async move { while shown.recv().await.is_some() {} });
    let running = run(options, progress, interrupts);
    let ran = tokio::select! {
        biased;
        () = sim.death() => None,
        ran = tokio::time::timeout(RUN_MAX, running) => Some(ran),
    };
    interrupting.abort();
    suspending.abort();
    showing.abort();
    ran.map(|ran| ran.unwrap_or_else(|_| panic!("seed {seed}: the run does not end")))
}

/// A sweep by another process, on whose machine the run's folder may be missing. What was wrong with the runner is over; an undo that
/// fails for ever still does. What it did, `None` where it died, and when it ended.
fn later_process(
    world: &Arc<Mutex<World>>,
    runs: &Path,
    at: Duration,
    process: u32,
    trouble: Option<&SweepTrouble>,
) -> (Option<Result<Swept, String>>, Duration) {
    {
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        world.script.silence = None;
        world.script.errors_percent = 0;
        world.script.conflicts_percent = 0;
        world.script.panics_in_request = None;
    }
    in_process(at, async {
        let sim = Sim::process(world, process);
        let ports = sim.ports();
        let (source, interrupts) = InterruptSource::new();
        let options = SweepOptions {
            runs,
            only: None,
            agent_image: Some("simulated"),
            trust_annotations: false,
            dry_run: false,
            interrupts: &interrupts,
        };
        let interrupting = async {
            if let Some(SweepTrouble::Interrupted(times)) = trouble {
                for after in times {
                    tokio::time::sleep((at + *after).saturating_sub(simulated::elapsed())).await;
                    source.interrupt();
                }
            }
            std::future::pending::<()>().await;
        };
        let mut say = |_| ();
        let swept = tokio::select! {
            biased;
            () = sim.death() => None,
            () = interrupting => None,
            swept = sweep(&ports, options, &mut say) => Some(swept.map_err(|error| error.to_string())),
        };
        let mut world = sim.world();
        world.advance(simulated::elapsed());
        world.dead.insert(process);
        (swept, simulated::elapsed())
    })
}
