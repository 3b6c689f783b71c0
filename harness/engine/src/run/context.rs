//! What every phase of a run has at hand, and how a phase is run.

use super::Drill;
use super::board::Board;
use super::heartbeat::{SILENCE_TIMEOUT, TOLD_AFTER};
use super::interrupt::Interrupts;
use super::panics::Panics;
use super::recorder::Recorder;
use super::undo_log::UndoLog;
use crate::clock::Clock;
use crate::planted::{self, Bug};
use crate::port::{Ports, RunMark};
use firedrill_core::event::{Event, PhaseEnd};
use firedrill_core::live::Live;
use firedrill_core::plan::{Phase, Plan};
use firedrill_core::scenario::{Irreversible, Variant};
use firedrill_core::time::At;
use futures::FutureExt;
use std::collections::BTreeSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How often people are told how things stand.
const LIVE_EVERY: Duration = Duration::from_millis(250);
/// How often a phase looks at the board.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why a phase did not end as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its limit passed while this was being waited for.
    Deadline(String),
    /// It could not be done.
    Failed(String),
    /// The run was interrupted.
    Interrupted,
    /// The run must not go on: its lease or samples are lost, its journal or samples cannot be written, or it panicked.
    Broken(String),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Deadline(what) => write!(f, "the limit passed: {what}"),
            Stop::Failed(what) | Stop::Broken(what) => f.write_str(what),
            Stop::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl Stop {
    /// For `map_err`: it could not be done.
    pub(super) fn failed(error: impl std::fmt::Display) -> Self {
        Stop::Failed(error.to_string())
    }
}

/// What every phase has at hand. Cheap to clone.
#[derive(Clone)]
pub(super) struct Context {
    /// What is drilled.
    pub(super) drill: Arc<Drill>,
    /// The variant.
    pub(super) variant: Arc<Variant>,
    /// The plan.
    pub(super) plan: Arc<Plan>,
    /// The world.
    pub(super) ports: Ports,
    /// The run's mark on everything that it makes.
    pub(super) mark: RunMark,
    /// The run's folder.
    pub(super) folder: PathBuf,
    /// The journal.
    pub(super) recorder: Recorder,
    /// The samples.
    pub(super) board: Board,
    /// What has to be undone.
    pub(super) undo: UndoLog,
    /// Interrupts.
    pub(super) interrupts: Interrupts,
    /// Says why, once another run may take the cluster.
    pub(super) lease_lost: watch::Receiver<Option<String>>,
    /// The panics since the run began.
    pub(super) panics: Panics,
    /// The earlier runs of which something may still be on the cluster.
    pub(super) left_behind: Arc<BTreeSet<String>>,
    /// The earlier runs whose changes this one is told to take as they are.
    pub(super) accepted: Arc<Vec<AcceptedRun>>,
    /// What people see.
    pub(super) now: Arc<Mutex<Now>>,
}

/// An earlier run that left the cluster changed, which is taken as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AcceptedRun {
    /// The run.
    pub(super) run_id: String,
    /// What is known of how it left the cluster.
    pub(super) known: AcceptedState,
}

/// What is known of how an earlier run left the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AcceptedState {
    /// Its files are here.
    Here {
        /// Its folder.
        folder: PathBuf,
        /// What it and later runs are said to leave.
        irreversible: Option<Irreversible>,
    },
    /// Its files are on another machine. What it wrote on the cluster, for people.
    Elsewhere(String),
}

/// The phase under way.
#[derive(Clone, Debug)]
pub(super) struct Now {
    phase: Phase,
    since: At,
    deadline: Duration,
    doing: String,
    /// When the API server answered last, while the run ends and asks it.
    pub(super) answered: Option<At>,
}

impl Default for Now {
    fn default() -> Self {
        let phase = Phase::Preflight;
        Self { phase, since: At(0), deadline: Duration::ZERO, doing: String::new(), answered: None }
    }
}

impl Now {
    /// What is being done, and for how long the API server was silent meanwhile.
    fn told(&self, at: At) -> String {
        let silent = self.answered.map(|answered| at.since(answered)).filter(|silent| *silent >= TOLD_AFTER);
        match silent {
            Some(silent) => format!(
                "API server silent for {} s, giving up after {} s; {}",
                silent.as_secs(),
                SILENCE_TIMEOUT.as_secs(),
                self.doing
            ),
            None => self.doing.clone(),
        }
    }
}

impl Context {
    /// The run's clock.
    pub(super) fn clock(&self) -> Clock {
        self.recorder.clock()
    }

    /// Now.
    pub(super) fn at(&self) -> At {
        self.clock().now()
    }

    /// Says in a few words what is being waited for or done.
    pub(super) fn doing(&self, what: impl Into<String>) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).doing = what.into();
    }

    /// The limit of a phase in the plan.
    pub(super) fn deadline(&self, phase: Phase) -> Duration {
        let planned = self.plan.phases.iter().find(|planned| planned.phase == phase);
        planned.map_or(Duration::ZERO, |planned| planned.deadline)
    }

    /// Awaits a part of the run. A panic in it is its failure, so that what follows, undoing above all, is done all the same.
    ///
    /// # Errors
    /// As the part; where it panicked, with where and why.
    pub(super) async fn guarded<T>(&self, part: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
        let panicked = |_| Err(Stop::Broken(self.panics.first().unwrap_or_else(|| "firedrill panicked".to_owned())));
        AssertUnwindSafe(part).catch_unwind().await.unwrap_or_else(panicked)
    }

    /// Does something between two phases. It ends as a phase does, but for a limit of its own.
    ///
    /// # Errors
    /// Why it did not end as it should.
    pub(super) async fn between<T>(&self, body: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.interrupts.at_least(1) => Err(Stop::Interrupted),
            reason = self.broken() => Err(Stop::Broken(reason)),
            ended = self.guarded(body) => ended,
        }
    }

    /// Runs a phase within its limit, and records its start and its end. A phase that may not be interrupted (`undo`,
    /// `clean`) says so by another count of interrupts.
    ///
    /// # Errors
    /// Why it did not end as it should.
    pub(super) async fn phase<T>(
        &self,
        phase: Phase,
        limit: Duration,
        interrupted_at: u32,
        body: impl Future<Output = Result<(T, String), Stop>>,
    ) -> Result<T, Stop> {
        {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            *now = Now { phase, since: self.at(), deadline: limit, doing: String::new(), answered: now.answered };
        }
        self.recorder.record(Event::PhaseStarted { phase, deadline: limit });
        let count = if planted::has(Bug::InterruptIgnored) { interrupted_at + 1 } else { interrupted_at };
        let ended = tokio::select! {
            biased;
            () = self.interrupts.at_least(count) => Err(Stop::Interrupted),
            reason = self.broken(), if interrupted_at == 1 => Err(Stop::Broken(reason)),
            ended = self.guarded(body) => ended,
            () = tokio::time::sleep(limit) => {
                let doing = self.now.lock().unwrap_or_else(PoisonError::into_inner).doing.clone();
                Err(Stop::Deadline(doing))
            }
        };
        let (result, end, detail) = match ended {
            Ok((value, detail)) => (Ok(value), PhaseEnd::Done, detail),
            Err(stop) => {
                let end = match &stop {
                    Stop::Deadline(_) => PhaseEnd::DeadlinePassed,
                    Stop::Failed(reason) | Stop::Broken(reason) => PhaseEnd::Failed { reason: reason.clone() },
                    Stop::Interrupted => PhaseEnd::Interrupted,
                };
                let detail = stop.to_string();
                (Err(stop), end, detail)
            }
        };
        self.recorder.record(Event::PhaseEnded { phase, end, detail });
        result
    }

    /// Records a phase that is not needed.
    pub(super) fn skip(&self, phase: Phase, because: &str) {
        let deadline = self.deadline(phase);
        self.recorder.record(Event::PhaseStarted { phase, deadline });
        self.recorder.record(Event::PhaseEnded { phase, end: PhaseEnd::Skipped, detail: because.to_owned() });
    }

    /// Looks until `seen` finds something. The phase's limit bounds it.
    pub(super) async fn look<T>(&self, mut seen: impl FnMut() -> Option<T>) -> T {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Some(found) = seen() {
                return found;
            }
        }
    }

    /// Returns, with the reason, once the run must not go on.
    async fn broken(&self) -> String {
        let journal = || self.recorder.broken().map(|reason| format!("the journal cannot be written: {reason}"));
        self.look(|| journal().or_else(|| self.lost_now())).await
    }

    /// Why the lease or samples are lost, or what panicked, where that is so.
    pub(super) fn lost_now(&self) -> Option<String> {
        let lease_lost = self.lease_lost.borrow().clone().filter(|_| !planted::has(Bug::LostLeaseIgnored));
        lease_lost.or_else(|| self.board.broken()).or_else(|| self.panics.first())
    }

    /// Tells people a few times a second how things stand, until it is dropped.
    pub(super) async fn show(self) {
        let mut tick = tokio::time::interval(LIVE_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let now = self.now.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let at = self.at();
            let probes = self.board.live(at);
            self.recorder.live(Live {
                at,
                phase: now.phase,
                since: now.since,
                deadline: now.deadline,
                doing: now.told(at),
                probes,
            });
        }
    }
}
