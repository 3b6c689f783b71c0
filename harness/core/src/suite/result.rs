//! What became of a suite: `suite.json`.

use super::model::{Entry, Slot, Suite, slots};
use super::shard::Shard;
use super::statistics::{Repeated, repeated};
use crate::event::{Event, PhaseEnd};
use crate::exit::ExitCode;
use crate::journal::Journal;
use crate::plan::Phase;
use crate::time::millis;
use crate::verdict::{Measured, VERDICT_VERSION, Value, Verdict};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The format of `suite.json`.
pub const SUITE_VERSION: u32 = 2;

/// What became of a suite, or of one of its shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuiteResult {
    /// [`SUITE_VERSION`].
    pub version: u32,
    /// The suite's name.
    pub suite: String,
    /// One line for people.
    pub title: String,
    /// When it started, on the wall clock (RFC 3339, UTC).
    pub started: String,
    /// How long it took, in milliseconds; of several shards, the longest.
    pub took_ms: f64,
    /// What each shard may take, in milliseconds.
    pub budget_ms: Option<f64>,
    /// Which shard this is; `None` where it is the whole.
    pub shard: Option<Shard>,
    /// The shards that this was merged from.
    pub merged: Vec<ShardTook>,
    /// Every drill of the suite, those of other shards too.
    pub planned: Vec<Entry>,
    /// The worst exit code of all runs, by [`ExitCode::worst`].
    pub exit_code: ExitCode,
    /// Every run that was to be, in order.
    pub results: Vec<RunResult>,
    /// What the drills that run more than once say together.
    pub repeated: Vec<Repeated>,
}

/// A shard that was merged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardTook {
    /// Which.
    pub shard: Shard,
    /// When it started, on the wall clock (RFC 3339, UTC).
    pub started: String,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
}

/// What became of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The drill, for people.
    pub drill: String,
    /// Which run of which drill.
    pub slot: Slot,
    /// How often the drill is to run.
    pub repeat: u32,
    /// Whether nothing was to be broken.
    pub control: bool,
    /// What it counts as: a control that ends as it must is a pass, what did not run is unknown.
    pub value: Value,
    /// The exit code that it counts with.
    pub exit_code: ExitCode,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran and was judged.
    Ran(Box<Ran>),
    /// It was begun, but there is nothing to judge.
    Failed {
        /// What it ended with: 4, or 5 where something is left.
        exit_code: ExitCode,
        /// Why.
        message: String,
    },
    /// It was not begun.
    NotRun(Because),
}

/// Why a run was not begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The suite did not come that far: it still runs, or was killed.
    NotReached,
    /// It was not expected to end within the budget.
    Budget {
        /// The budget, for people.
        budget: String,
        /// What the run is expected to take, for people.
        expected: String,
        /// What had passed, for people.
        elapsed: String,
    },
    /// An earlier run left the cluster dirty.
    LeftDirty {
        /// Which drill.
        by: String,
    },
    /// An earlier drill changed the cluster for good, and it is not the suite's own to replace.
    Changed {
        /// Which drill.
        by: String,
    },
    /// There was no cluster to run on.
    NoCluster {
        /// Why.
        message: String,
        /// What bringing one up ended with: 4, or 5 where something is left.
        exit_code: ExitCode,
    },
    /// The suite was interrupted before.
    Interrupted,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::NotReached => f.write_str("not run: the suite did not come that far"),
            Because::Budget { budget, expected, elapsed } => {
                write!(f, "not run: {expected} expected after {elapsed} is beyond the budget of {budget}")
            }
            Because::LeftDirty { by } => write!(f, "not run: {by} left the cluster dirty"),
            Because::Changed { by } => {
                write!(f, "not run: {by} changed the cluster for good, and only one brought up by --up is replaced")
            }
            Because::NoCluster { message, .. } => write!(f, "not run: no cluster: {message}"),
            Because::Interrupted => f.write_str("not run: the suite was interrupted"),
        }
    }
}

/// A run that was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// Its id.
    pub run_id: String,
    /// Its folder, relative to that of `suite.json`, with `/`.
    pub folder: String,
    /// When it started, on the wall clock (RFC 3339, UTC).
    pub started: String,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// The cluster.
    pub cluster: String,
    /// The verdict's headline.
    pub headline: String,
    /// What `firedrill run` would have ended with.
    pub exit_code: ExitCode,
    /// Did the fault really happen?
    pub injection: Value,
    /// Did the service recover in time?
    pub recovery: Value,
    /// Were acknowledged writes kept?
    pub data: Value,
    /// Is the cluster as before?
    pub cleanup: Value,
    /// Redundancy less effect, in milliseconds.
    pub time_to_recover_ms: Option<Measured>,
    /// The objectives.
    pub objectives: Vec<ObjectiveSeen>,
    /// Why its times are not pooled with those of the drill's other runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_independent: Option<String>,
    /// Whether, after the injection, an effect was waited for until its limit and not seen: what a control must show.
    pub no_effect_seen: bool,
}

/// What a run says of an objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveSeen {
    /// Its name.
    pub name: String,
    /// What was measured.
    pub measured: Option<Measured>,
    /// What gates, in milliseconds.
    pub accepted_ms: Option<u64>,
    /// Whether it held.
    pub value: Value,
}

impl Ran {
    /// From a run's verdict and journal. `exit_code` is what `firedrill run` ends with.
    pub fn of(verdict: &Verdict, journal: &Journal, folder: String, exit_code: ExitCode) -> Self {
        let no_effect = |event: &Event| {
            matches!(event, Event::PhaseEnded { phase: Phase::Effect, end: PhaseEnd::DeadlinePassed, .. })
        };
        let no_effect_seen = journal.records.iter().any(|record| no_effect(&record.event));
        Self::with(verdict, folder, exit_code, no_effect_seen)
    }

    /// The same run by the verdict that lies in its folder now; a newer judge may have written that.
    ///
    /// # Errors
    /// Where that is the verdict of another run, or of another format.
    pub fn by(&self, verdict: &Verdict) -> Result<Self, String> {
        if verdict.version != VERDICT_VERSION {
            return Err(format!("format {}, {VERDICT_VERSION} is read", verdict.version));
        }
        if verdict.run_id != self.run_id {
            return Err(format!("of run {}, not {}", verdict.run_id, self.run_id));
        }
        // What the verdict does not know: the cluster was not as it must be, or its reports could not be written.
        let exit_code = match (self.exit_code, verdict.exit_code) {
            (_, ExitCode::Dirty) => ExitCode::Dirty,
            (ExitCode::Environment, _) => ExitCode::Environment,
            (_, code) => code,
        };
        Ok(Self::with(verdict, self.folder.clone(), exit_code, self.no_effect_seen))
    }

    fn with(verdict: &Verdict, folder: String, exit_code: ExitCode, no_effect_seen: bool) -> Self {
        let objective = |seen: &crate::verdict::ObjectiveResult| ObjectiveSeen {
            name: seen.name.clone(),
            measured: seen.measured,
            accepted_ms: seen.accepted_ms,
            value: seen.value,
        };
        Self {
            run_id: verdict.run_id.clone(),
            folder,
            started: verdict.started.clone(),
            took_ms: verdict.took_ms,
            cluster: verdict.cluster.name.clone(),
            headline: verdict.headline.clone(),
            exit_code,
            injection: verdict.injection.value,
            recovery: verdict.recovery.value,
            data: verdict.data.value,
            cleanup: verdict.cleanup.value,
            time_to_recover_ms: verdict.time_to_recover_ms,
            objectives: verdict.objectives.iter().map(objective).collect(),
            not_independent: verdict.not_independent.clone(),
            no_effect_seen,
        }
    }

    /// The exit code of a control: 0 only where it came to the injection of nothing, waited for an effect in vain, kept all
    /// writes, left all clean, and is unknown for that. A pass would be a lie, and every other end is what it is.
    fn control_exit_code(&self) -> ExitCode {
        let as_expected = self.no_effect_seen
            && (self.injection, self.recovery) == (Value::Unknown, Value::Unknown)
            && (self.data, self.cleanup) == (Value::Pass, Value::Pass);
        match self.exit_code {
            ExitCode::Unknown if as_expected => ExitCode::Pass,
            ExitCode::Pass => ExitCode::Failed,
            other => other,
        }
    }
}

impl RunResult {
    /// What became of one run of a drill.
    pub fn new(slot: Slot, entry: &Entry, outcome: Outcome) -> Self {
        let exit_code = match &outcome {
            Outcome::Ran(ran) if entry.control => ran.control_exit_code(),
            Outcome::Ran(ran) => ran.exit_code,
            Outcome::Failed { exit_code, .. } | Outcome::NotRun(Because::NoCluster { exit_code, .. }) => *exit_code,
            Outcome::NotRun(Because::Interrupted) => ExitCode::Interrupted,
            Outcome::NotRun(_) => ExitCode::Unknown,
        };
        let value = match (&outcome, exit_code) {
            // Whatever the attempt to get a cluster left behind, nothing is known of the drill.
            (Outcome::NotRun(_), _) => Value::Unknown,
            (_, ExitCode::Pass) => Value::Pass,
            (_, ExitCode::Failed | ExitCode::Dirty) => Value::Fail,
            (_, ExitCode::Unknown | ExitCode::Input | ExitCode::Environment | ExitCode::Interrupted) => Value::Unknown,
        };
        let (drill, repeat, control) = (entry.to_string(), entry.repeat, entry.control);
        Self { drill, slot, repeat, control, value, exit_code, outcome }
    }

    /// The drill with which of its runs it is: `nats-quorum-loss/killed #2`.
    pub fn name(&self) -> String {
        if self.repeat > 1 { format!("{} #{}", self.drill, self.slot.round) } else { self.drill.clone() }
    }

    /// The run, where there was one.
    pub fn ran(&self) -> Option<&Ran> {
        match &self.outcome {
            Outcome::Ran(ran) => Some(ran),
            Outcome::Failed { .. } | Outcome::NotRun(_) => None,
        }
    }

    /// What became of it in a sentence.
    pub fn said(&self) -> String {
        match &self.outcome {
            Outcome::Ran(ran) if self.control && self.exit_code == ExitCode::Pass => {
                format!("as expected of a control: {}", ran.headline)
            }
            Outcome::Ran(ran) if self.control && ran.exit_code == ExitCode::Unknown => {
                format!("not the verdict that a no-op run must end with: {}", ran.headline)
            }
            Outcome::Ran(ran) if self.control && ran.exit_code == ExitCode::Pass => {
                format!("nothing was broken, and yet: {}", ran.headline)
            }
            Outcome::Ran(ran) => ran.headline.clone(),
            Outcome::Failed { message, .. } => message.clone(),
            Outcome::NotRun(because) => because.to_string(),
        }
    }
}

impl SuiteResult {
    /// Before the first run: none was reached.
    pub fn new(suite: &Suite, shard: Option<Shard>, started: String) -> Self {
        let not_reached =
            |slot: Slot| RunResult::new(slot, &suite.drills[slot.entry], Outcome::NotRun(Because::NotReached));
        let mut result = Self {
            version: SUITE_VERSION,
            suite: suite.name.clone(),
            title: suite.title.clone(),
            started,
            took_ms: 0.0,
            budget_ms: suite.budget.map(millis),
            shard,
            merged: Vec::new(),
            planned: suite.drills.clone(),
            exit_code: ExitCode::Unknown,
            results: slots(&suite.drills, shard).into_iter().map(not_reached).collect(),
            repeated: Vec::new(),
        };
        result.conclude();
        result
    }

    /// Puts in what became of the run at this index.
    pub fn put(&mut self, index: usize, outcome: Outcome, took_ms: f64) {
        if let Some(result) = self.results.get_mut(index) {
            *result = RunResult::new(result.slot, &self.planned[result.slot.entry], outcome);
        }
        self.took_ms = took_ms;
        self.conclude();
    }

    /// The same by other verdicts of its runs.
    ///
    /// # Errors
    /// As `by`.
    pub fn judged_by<E>(mut self, mut by: impl FnMut(&Ran) -> Result<Ran, E>) -> Result<Self, E> {
        for result in &mut self.results {
            if let Outcome::Ran(ran) = &result.outcome {
                let ran = Outcome::Ran(Box::new(by(ran)?));
                *result = RunResult::new(result.slot, &self.planned[result.slot.entry], ran);
            }
        }
        self.conclude();
        Ok(self)
    }

    /// Exit code and statistics from the results.
    pub(super) fn conclude(&mut self) {
        self.exit_code = ExitCode::worst(self.results.iter().map(|result| result.exit_code));
        let of_entry = |entry: usize| {
            let results: Vec<_> = self.results.iter().filter(|result| result.slot.entry == entry).collect();
            repeated(&results)
        };
        self.repeated = (0..self.planned.len()).filter_map(of_entry).collect();
    }

    /// How many runs count as that.
    pub fn count(&self, value: Value) -> usize {
        self.results.iter().filter(|result| result.value == value).count()
    }
}
