//! What the judge says of a run.

use crate::event::{ClusterInfo, LedgerCount, Place};
use crate::exit::ExitCode;
use crate::sample::{Cause, SeriesId};
use crate::scenario::{Moment, drill_name};
use crate::time::At;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The format of `verdict.json`.
pub const VERDICT_VERSION: u32 = 1;

/// What the judge says of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// [`VERDICT_VERSION`].
    pub version: u32,
    /// The run's id.
    pub run_id: String,
    /// The scenario's name.
    pub scenario: String,
    /// The variant's name.
    pub variant: String,
    /// The section that was left out of its runbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<String>,
    /// Where the run's command found things, as far as that was not the default: flags without their dashes, such as `stack`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flags: BTreeMap<String, String>,
    /// Whether it is a negative test: recovery passes where the stack was seen to be broken still.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub negative_test: bool,
    /// Why the run's times must not be pooled with those of other runs of the drill; `None` where nothing speaks against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_independent: Option<String>,
    /// When the run started, on the wall clock (RFC 3339, UTC).
    pub started: String,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// The cluster.
    pub cluster: ClusterInfo,
    /// The seed of its random choices.
    pub seed: u64,
    /// Headline for people, such as `RECOVERED, later than documented`.
    pub headline: String,
    /// Exit code of the process.
    pub exit_code: ExitCode,
    /// Did the fault really happen?
    pub injection: Part,
    /// Did the service recover in time?
    pub recovery: Part,
    /// Were acknowledged writes kept?
    pub data: Part,
    /// Does the cluster match its state before the run?
    pub cleanup: Part,
    /// Every objective with what was measured.
    pub objectives: Vec<ObjectiveResult>,
    /// Every series with its outages.
    pub series: Vec<SeriesResult>,
    /// What became of acknowledged writes.
    pub ledger: Vec<LedgerCount>,
    /// The moments of the run as a whole, on its monotonic clock; a moment not seen is not there.
    pub moments: BTreeMap<Moment, At>,
    /// Time to detect, in milliseconds: detected less effect.
    pub time_to_detect_ms: Option<Measured>,
    /// Time to recover, in milliseconds: redundancy less effect.
    pub time_to_recover_ms: Option<Measured>,
    /// Back to normal, in milliseconds: backlog drained less effect.
    pub back_to_normal_ms: Option<Measured>,
    /// Where the time went: the worst outage that gates and then the way back to normal, cut into phases without gap or
    /// overlap, in order.
    pub attribution: Vec<Share>,
    /// The alerts that were expected, and those that fired without being expected.
    #[serde(default)]
    pub alerts: Vec<AlertResult>,
    /// What the reader should act on though it does not gate.
    pub findings: Vec<Finding>,
    /// Where everything ran.
    pub placement: Vec<Place>,
}

impl Verdict {
    /// The drill's name for people, as [`drill_name`] writes it.
    pub fn drill(&self) -> String {
        drill_name(&self.scenario, &self.variant, self.without.as_deref())
    }
}

/// One of the three values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// It was seen to hold.
    Pass,
    /// It is not known.
    Unknown,
    /// It was seen not to hold.
    Fail,
}

/// One of the four verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The verdict.
    pub value: Value,
    /// Why, most important first; for a pass: what was seen.
    pub reasons: Vec<String>,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

/// A measured time in milliseconds. Sampling sees an interval, never a point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// Between these two.
    Interval {
        /// At least.
        lower_ms: f64,
        /// At most.
        upper_ms: f64,
    },
    /// It had not ended when the run stopped looking: at least this long (right-censored).
    AtLeast {
        /// At least.
        lower_ms: f64,
    },
}

impl Measured {
    /// The lower bound.
    pub fn lower_ms(self) -> f64 {
        match self {
            Measured::Interval { lower_ms, .. } | Measured::AtLeast { lower_ms } => lower_ms,
        }
    }

    /// The upper bound, where there is one.
    pub fn upper_ms(self) -> Option<f64> {
        match self {
            Measured::Interval { upper_ms, .. } => Some(upper_ms),
            Measured::AtLeast { .. } => None,
        }
    }
}

/// For people, in seconds: `31.42 - 31.53 s`, `at least 62.00 s`.
impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: f64| format!("{:.2}", ms / 1_000.0);
        match self {
            Measured::AtLeast { lower_ms } => write!(f, "at least {} s", seconds(*lower_ms)),
            Measured::Interval { lower_ms, upper_ms } if seconds(*lower_ms) == seconds(*upper_ms) => {
                write!(f, "{} s", seconds(*upper_ms))
            }
            Measured::Interval { lower_ms, upper_ms } => {
                write!(f, "{} - {} s", seconds(*lower_ms), seconds(*upper_ms))
            }
        }
    }
}

/// An objective with what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveResult {
    /// Its name.
    pub name: String,
    /// The series that was worst, where it is on a probe.
    pub series: Option<SeriesId>,
    /// From when.
    pub from: Moment,
    /// Until when.
    pub to: Moment,
    /// What was measured; `None` where nothing could be, with the reason below.
    pub measured: Option<Measured>,
    /// Why it is unknown or failed.
    pub reason: Option<String>,
    /// The runbook's figure, in milliseconds.
    pub documented_ms: Option<u64>,
    /// Whether the runbook's figure held; `None` where that is not known or there is none.
    pub documented_held: Option<bool>,
    /// What gates, in milliseconds; `None` where nothing gates in this variant.
    pub accepted_ms: Option<u64>,
    /// Why that figure.
    pub because: String,
    /// Whether it held.
    pub value: Value,
}

/// What one series saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesResult {
    /// Its id.
    pub id: SeriesId,
    /// Its name for people.
    pub name: String,
    /// The probe's name.
    pub probe: String,
    /// Attempts.
    pub samples: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Of these, never sent by this side.
    pub stalled: u64,
    /// Its outages, in order.
    pub outages: Vec<Outage>,
    /// Median latency before the injection, in milliseconds.
    pub steady_p50_ms: Option<f64>,
    /// 99th percentile of latency before the injection, in milliseconds.
    pub steady_p99_ms: Option<f64>,
    /// Share of failed attempts between effect and redundancy.
    pub degraded_error_ratio: Option<f64>,
    /// 99th percentile of the latency of successes between effect and redundancy, in milliseconds, from the intended start.
    pub degraded_p99_ms: Option<f64>,
    /// Failed attempts by cause.
    pub causes: BTreeMap<Cause, u64>,
}

/// A time without service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// The start of the last success before; the first failure's start where there was none before, and then the outage may
    /// have begun before anything was measured.
    pub last_ok_before: Option<At>,
    /// The first failure's start.
    pub first_failure: At,
    /// The last failure's end.
    pub last_failure: At,
    /// The start of the window of unbroken success after it; `None` where it never came.
    pub sustained_from: Option<At>,
    /// The end of the first success of that window.
    pub first_ok_after: Option<At>,
    /// How long: lower = last failure's end - first failure's start; upper = first success's end after - last success's
    /// start before.
    pub length: Measured,
    /// Failed attempts in it.
    pub failed: u64,
    /// Runs of successes in it that were too short to end it.
    pub flaps: u64,
    /// The most frequent cause.
    pub cause: Cause,
}

/// What an alert did. Times are of the moment at which this side saw it, at most about a second after Prometheus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertResult {
    /// Its name.
    pub name: String,
    /// How long after the effect it was to fire, in milliseconds; `None` where it was not expected.
    pub within_ms: Option<u64>,
    /// When it fired, in milliseconds after the effect; at least so long where it did not while it was watched.
    pub fired_after_ms: Option<Measured>,
    /// When it was resolved, in milliseconds after the effect; at least so long where it was not.
    pub resolved_after_ms: Option<Measured>,
    /// Whether it did as was expected; `None` where it was not expected.
    pub value: Option<Value>,
    /// Why it is unknown or failed, or what else is to be said.
    pub reason: Option<String>,
}

/// A share of the outage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// What the time was spent on.
    pub name: String,
    /// From.
    pub from: At,
    /// Until.
    pub until: At,
}

/// What the reader should act on though it does not gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind.
    pub kind: FindingKind,
    /// One sentence.
    pub text: String,
    /// Where in the runbook, where it is about that.
    pub section: Option<String>,
}

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A documented figure did not hold.
    SlowerThanDocumented,
    /// A documented command could not work and was corrected.
    CorrectionUsed,
    /// A correction stands beside a command that works.
    CorrectionNotNeeded,
    /// A step's expectation did not hold.
    StepNotAsExpected,
    /// A step is a person's, and was not run.
    ManualStep,
    /// Something ran on a victim's node.
    Placement,
    /// The measurement itself had gaps.
    Measurement,
    /// Acknowledged writes were lost or doubled within what is accepted.
    Data,
    /// The run began on a cluster that an earlier run had left changed, and was told to take it as it is.
    AcceptedState,
    /// An expected alert did not fire, was not resolved, or could not be seen.
    Alert,
}

/// A count with its thousands apart: `1,204`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
