//! Everything that a run records, in the order in which it happened.

mod file_system;
mod observation;
mod place;
mod restarts;
mod start;
mod undo;
mod undo_limits;

use crate::plan::{Phase, Target};
use crate::sample::SeriesId;
use crate::scenario::Moment;
pub use crate::scenario::{FILLER_FILE, StreamBefore};
use crate::time::{At, as_ms};
pub use file_system::FileSystem;
pub use observation::{Fact, Observation, Source};
pub use place::{Place, PlaceKind};
pub use restarts::{CheckTime, ContainerRestarts};
use serde::{Deserialize, Serialize};
pub use start::{ClusterInfo, PageCache, RunStarted};
use std::time::Duration;
pub use undo::*;
pub use undo_limits::{SYSTEM_NAMESPACE, patch_refusal};
pub(crate) use undo_limits::{is_known, is_of_run, unchecked_volume, unknown_volume};

/// The journal's format that is written. [`crate::journal::JOURNAL_VERSION_MIN`] is the oldest that is read.
pub const JOURNAL_VERSION: u32 = 3;

/// One line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// From 0, without gaps.
    pub seq: u64,
    /// When, on the run's clock, which counts from the machine's boot and never goes back.
    pub at: At,
    /// The same moment on the wall clock, for people (RFC 3339, UTC).
    pub wall: String,
    /// What.
    pub event: Event,
}

/// What happened. Reporters match every one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The first record of every journal.
    RunStarted(Box<RunStarted>),
    /// A phase began.
    PhaseStarted {
        /// Which.
        phase: Phase,
        /// Its limit.
        #[serde(with = "as_ms")]
        deadline: Duration,
    },
    /// A phase ended.
    PhaseEnded {
        /// Which.
        phase: Phase,
        /// How.
        end: PhaseEnd,
        /// One line for people: what was found or done.
        detail: String,
    },
    /// How often the stack's containers were restarted, by the word of their kubelets.
    RestartsSeen {
        /// When it was looked.
        when: CheckTime,
        /// Those that were restarted at all.
        containers: Vec<ContainerRestarts>,
        /// What could not be looked at.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unseen: Vec<String>,
    },
    /// Before the run, pods with a container that its kubelet would have started late after a crash were deleted one after the other,
    /// and their controllers made them again.
    PodsMadeAnew {
        /// The pods, `namespace/name`.
        pods: Vec<String>,
        /// What could not be done, and why.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failed: Vec<String>,
    },
    /// Where everything runs that could spoil the measurement.
    Placement {
        /// What and where.
        places: Vec<Place>,
    },
    /// Whose file systems the fault may harm: each is to be looked into.
    VolumesAtRisk {
        /// Claims, `namespace/name`.
        claims: Vec<String>,
        /// Claims of volumes whose driver cannot be asked: these are not looked into.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        of_other_drivers: Vec<String>,
    },
    /// The clock of an agent inside the cluster was compared with this one.
    ClockCompared {
        /// Which agent's, for people.
        vantage: String,
        /// How far the comparison can be off, in microseconds; times from there are corrected and carry this uncertainty.
        uncertainty_us: u64,
    },
    /// How to undo something that is about to be done. On disk before it is done.
    UndoRecorded {
        /// Its number within the run.
        id: u32,
        /// What to do.
        undo: Undo,
    },
    /// The injection into one target was called.
    InjectCalled {
        /// Into what.
        target: Target,
    },
    /// The call came back.
    InjectReturned {
        /// Into what.
        target: Target,
        /// `None` where it worked; what went wrong otherwise.
        error: Option<String>,
    },
    /// A proof of the fault that does not rest on the injection's own word.
    Proof {
        /// The targets that it proves to be hit; none where it is a proof of the effect.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        targets: Vec<Target>,
        /// What was looked at, for people.
        subject: String,
        /// What was seen.
        evidence: String,
        /// Whether that proves it.
        held: bool,
    },
    /// A moment that the run itself saw (those of probes come from samples).
    MomentSeen {
        /// Which.
        moment: Moment,
        /// When it was, which may be before it was recorded.
        seen_at: At,
        /// By what.
        by: String,
    },
    /// The steady state was reached, or lost.
    Load {
        /// Successes per second of the steady state's probes together, over the window that was held.
        achieved_per_s: f64,
        /// What the scenario demands at least.
        demanded_per_s: f64,
    },
    /// How short processors were on the machine that probes from outside; the nodes of a local cluster share it.
    CpuPressure {
        /// For how long at least one task waited for a processor (the `some` of Linux's pressure stall information).
        #[serde(with = "as_ms")]
        stalled: Duration,
        /// Of how long, which ends now.
        #[serde(with = "as_ms")]
        over: Duration,
    },
    /// A runbook step began.
    StepStarted {
        /// Its number, from 1.
        step: u32,
        /// Its section's heading.
        section: String,
        /// The line in the runbook.
        line: u32,
        /// What runs.
        command: String,
        /// Whether this is the correction of the documented command that ran just before.
        correction: bool,
        /// Its limit.
        #[serde(with = "as_ms")]
        deadline: Duration,
    },
    /// A runbook step ended.
    StepEnded {
        /// Its number.
        step: u32,
        /// Whether this is the correction.
        correction: bool,
        /// How.
        end: StepEnd,
        /// The first 64 KiB of its standard output.
        stdout: String,
        /// The first 64 KiB of its standard error.
        stderr: String,
    },
    /// A runbook step was passed over, because its condition did not hold.
    StepSkipped {
        /// Its number.
        step: u32,
        /// Its section's heading.
        section: String,
        /// Why.
        because: String,
    },
    /// A runbook step is a person's, and was not run.
    StepLeftToPeople {
        /// Its number.
        step: u32,
        /// Its section's heading.
        section: String,
        /// The line of the command in the runbook.
        line: u32,
        /// The command.
        command: String,
        /// Why.
        because: String,
    },
    /// Something changed in the cluster.
    Observed(Observation),
    /// The last look at redundancy, where the service was not back to normal within its limit.
    NotRedundant {
        /// What was seen to be missing.
        missing: Vec<String>,
        /// What could not be looked at: it may be there or not.
        unseen: Vec<String>,
    },
    /// The lock on the cluster, or samples, were lost, or firedrill itself panicked: what was measured is not whole, or another
    /// run may have had a hand in it.
    Lost {
        /// What, and why.
        what: String,
    },
    /// The machine that firedrill runs on was suspended: no probe was sent and no failure seen meanwhile.
    Suspended {
        /// For how long.
        #[serde(with = "as_ms")]
        length: Duration,
        /// The last moment at which it is known to have been awake.
        awake_at: At,
    },
    /// What became of a series' acknowledged writes.
    Ledger(LedgerCount),
    /// The file system of a volume that the fault may have harmed was looked into.
    VolumeChecked {
        /// Its claim, one of those at risk.
        claim: String,
        /// What was found.
        found: FileSystem,
    },
    /// An undo was carried out.
    Undone {
        /// Its number.
        id: u32,
        /// `None` where it worked; what went wrong otherwise.
        error: Option<String>,
        /// The command that would finish it, where it did not work.
        finish_with: Option<String>,
    },
    /// The cluster was compared with what it was before.
    CleanChecked {
        /// Objects that the run made.
        made: u32,
        /// Of these, gone.
        gone: u32,
        /// What differs beyond the declared residue.
        differences: Vec<String>,
        /// What is still faulty; empty where every fault was seen to be out.
        still_faulty: Vec<String>,
        /// Declared residue that is there.
        residue: Vec<String>,
    },
    /// Logs and states were kept before anything was cleaned.
    BundleKept {
        /// The folder, relative to the run's.
        path: String,
        /// What could not be had.
        missing: Vec<String>,
    },
    /// The cluster was taken as it is, though an earlier run left it changed (`--accept-current-state`).
    StateAccepted {
        /// The earlier run.
        run: String,
        /// How the cluster differed from what it was before that run; why that is not known, where it is not.
        differences: Vec<String>,
    },
    /// Something that the reader should know and that is no verdict.
    Note {
        /// One sentence.
        text: String,
    },
    /// An interrupt arrived.
    Interrupted {
        /// The how many-th.
        count: u32,
    },
    /// The last record of a run that ended by itself.
    RunEnded {
        /// Whether it was interrupted.
        interrupted: bool,
        /// How many samples are in its file, that it was closed with; `None` where it could not be written whole, and in a
        /// journal from before they were counted.
        #[serde(default)]
        samples: Option<u64>,
    },
}

/// How a phase ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseEnd {
    /// As it should.
    Done,
    /// It was not needed.
    Skipped,
    /// Its limit passed.
    DeadlinePassed,
    /// It could not be done.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was interrupted.
    Interrupted,
}

/// How a runbook step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEnd {
    /// Exit code and output were as expected.
    AsExpected {
        /// The exit code.
        exit: i32,
    },
    /// It exited with another code than expected.
    WrongExit {
        /// The exit code; 128 plus the signal where a signal ended it.
        exit: i32,
    },
    /// Its output did not contain what was expected.
    WrongOutput {
        /// The exit code.
        exit: i32,
        /// What was missing.
        expected: String,
    },
    /// Its limit passed and it was ended.
    DeadlinePassed,
    /// It could not be started.
    NotStarted {
        /// Why.
        reason: String,
    },
}

impl StepEnd {
    /// Whether it was as expected.
    pub fn held(&self) -> bool {
        matches!(self, StepEnd::AsExpected { .. })
    }
}

/// What became of a series' acknowledged writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerCount {
    /// The series.
    pub series: SeriesId,
    /// Where they were looked for: `nats`, `postgres`, `ironflow`.
    pub store: String,
    /// `None` where the store could be read to the end; why not otherwise, and then nothing below counts.
    pub error: Option<String>,
    /// Acknowledged writes.
    pub acknowledged: u64,
    /// Of these, not found.
    pub lost: u64,
    /// The sequence numbers of the lost, as closed ranges in order.
    pub lost_ranges: Vec<(u32, u32)>,
    /// Writes found more than once.
    pub duplicated: u64,
    /// Writes without an answer.
    pub indeterminate: u64,
    /// Of these, found.
    pub indeterminate_found: u64,
    /// Writes refused that are there all the same.
    pub refused_found: u64,
    /// Writes found that this run never sent.
    pub foreign: u64,
}
