//! Outages of one series, found while its samples stream by, in flat memory.
//!
//! The same tracker serves a live run, a saved one and an endpoint that is merely watched, so that they never disagree.
//!
//! - An outage begins with the first failure. It ends where a *window* follows: an unbroken run of successes of which the
//!   last started at least [`sustained`](SeriesTracker::new) after the first. A shorter run of successes is a *flap* inside it.
//! - Its length is an interval: at least from the first failure's start to the last failure's end; at most from the last
//!   success's start before to the first success's end after (the first one of the window).
//! - Attempts overlap where an attempt may outlast the schedule. A failed attempt that is given up only after a later one
//!   has succeeded does not prove that the service was still down then: in that case the lower bound counts up to the start of
//!   the last failed attempt, not to its end. A lower bound above the upper one cannot arise.
//! - An outage that had not ended when the series did is right-censored: at least so long.
//! - An attempt that was never sent, whether this side was late or could not send it, is neither success nor failure. It
//!   breaks nothing by itself; silence does: where
//!   no attempt was under way for longer than the *gap bound* (ten times the schedule's interval, at least 1 s), nothing
//!   is known of that time. Such a gap interrupts a window, since a window must consist of samples, and it is reported.
//! - An attempt ends at its own limit. One that ended much later was held up by this side (its process was stopped, say):
//!   it says that the service was up or down when it started, and the time after that is silence.

use crate::sample::{Cause, NotSent, Outcome, Sample};
use crate::time::{At, micros, millis};
use crate::verdict::{Measured, Outage};
use std::collections::BTreeMap;
use std::time::Duration;

/// Outages kept for each series; further ones are counted only, and their series is then not fit for a verdict.
pub const OUTAGES_MAX: usize = 4_096;
/// Gaps kept for each series; further ones are counted only, and their series is then not fit for a verdict.
pub const GAPS_MAX: usize = 1_024;
/// Pairs of cause and code that are counted for each series and outage; failures of further pairs are counted without their
/// code.
const CODES_MAX: usize = 64;
/// An attempt that ended this long after its limit was held up by this side.
const HELD_UP_MIN: Duration = Duration::from_millis(250);
/// The least silence that counts as a gap, however dense the schedule.
pub const GAP_MIN: Duration = Duration::from_secs(1);

/// A time in which no attempt was under way for longer than the gap bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The end of the last attempt before.
    pub from: At,
    /// The start of the first attempt after, or the end of observation.
    pub until: At,
}

/// What an outage's record does not carry and the judge needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutageDetail {
    /// The latest moment at which the service is known to have been down, as the lower bound counts it.
    pub down_until: At,
    /// The end of the first failed attempt. One that was in flight when a fault came may have started before it.
    pub first_failure_ended: At,
    /// The end of the last failure before the first success after the first failure, and that success's end: the
    /// service answered again, if only for a flap, between these two.
    pub first_success: Option<(At, At)>,
    /// The longest flap, from its first success's start to its last one's. A window should be three times as long.
    pub longest_flap: Duration,
    /// The code that came most often with the outage's cause; 0 where there was none.
    pub code: u16,
}

/// How many attempts failed in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureCount {
    /// Why.
    pub cause: Cause,
    /// HTTP status or similar; 0 where there is none.
    pub code: u16,
    /// How many.
    pub count: u64,
}

/// Failures by cause and code.
#[derive(Clone, Debug, Default)]
struct Tally(BTreeMap<(Cause, u16), u64>);

impl Tally {
    fn add(&mut self, cause: Cause, code: u16) {
        let known = self.0.len() < CODES_MAX || self.0.contains_key(&(cause, code));
        *self.0.entry((cause, if known { code } else { 0 })).or_default() += 1;
    }

    fn most_common_code(&self, of: Cause) -> u16 {
        let of_cause = self.0.iter().rev().filter(|((cause, _), _)| *cause == of);
        of_cause.max_by_key(|(_, count)| **count).map_or(0, |((_, code), _)| *code)
    }
}

/// What a series saw, in full.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesSummary {
    /// Attempts, those never sent included.
    pub samples: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Of these, never sent by this side, for whatever reason.
    pub stalled: u64,
    /// Of those never sent, the ones that this side could not send, by the reason.
    pub not_sent: BTreeMap<NotSent, u64>,
    /// Attempts whose number was passed over: their samples were lost on this side.
    pub missing: u64,
    /// Samples that came after a later one; they are counted and otherwise ignored.
    pub disordered: u64,
    /// Outages, in order, at most [`OUTAGES_MAX`].
    pub outages: Vec<Outage>,
    /// More of each outage, in the same order.
    pub details: Vec<OutageDetail>,
    /// Outages beyond those kept.
    pub outages_dropped: u64,
    /// Times in which nothing was measured, in order, at most [`GAPS_MAX`].
    pub gaps: Vec<Gap>,
    /// Gaps beyond those kept.
    pub gaps_dropped: u64,
    /// Failures by cause.
    pub causes: BTreeMap<Cause, u64>,
    /// Failures by cause and code.
    pub failures: Vec<FailureCount>,
}

/// Follows one series. Samples are pushed in the order in which they were intended.
#[derive(Clone, Debug)]
pub struct SeriesTracker {
    sustained_us: u64,
    gap_us: u64,
    attempt_max_us: u64,
    samples: u64,
    failed: u64,
    stalled: u64,
    not_sent: BTreeMap<NotSent, u64>,
    tally: Tally,
    missing: u64,
    disordered: u64,
    causes: [u64; Cause::COUNT],
    last: Option<Sample>,
    busy_until: Option<At>,
    last_ok: Option<(At, At)>,
    run: Option<Run>,
    open: Option<Open>,
    outages: Vec<Outage>,
    details: Vec<OutageDetail>,
    outages_dropped: u64,
    gaps: Vec<Gap>,
    gaps_dropped: u64,
}

/// An unbroken run of successes.
#[derive(Clone, Copy, Debug)]
struct Run {
    since: At,
    first_ended: At,
    last_started: At,
}

/// The outage under way.
#[derive(Clone, Debug)]
struct Open {
    last_ok_before: At,
    first_failure: At,
    first_failure_ended: At,
    last_failure_started: At,
    last_failure_ended: At,
    failed: u64,
    flaps: u64,
    causes: [u64; Cause::COUNT],
    tally: Tally,
    first_success: Option<(At, At)>,
    longest_flap: Duration,
}

impl SeriesTracker {
    /// Follows a series whose outages end with a window of `sustained`. The gap bound is [`GAP_MIN`] until
    /// [`with_every`](Self::with_every) says how dense the schedule is.
    pub fn new(sustained: Duration) -> Self {
        Self {
            sustained_us: micros(sustained),
            gap_us: micros(GAP_MIN),
            attempt_max_us: u64::MAX,
            samples: 0,
            failed: 0,
            stalled: 0,
            not_sent: BTreeMap::new(),
            tally: Tally::default(),
            missing: 0,
            disordered: 0,
            causes: [0; Cause::COUNT],
            last: None,
            busy_until: None,
            last_ok: None,
            run: None,
            open: None,
            outages: Vec::new(),
            details: Vec::new(),
            outages_dropped: 0,
            gaps: Vec::new(),
            gaps_dropped: 0,
        }
    }

    /// Sets the gap bound for a schedule with this interval: ten times the interval, at least [`GAP_MIN`].
    #[must_use]
    pub fn with_every(mut self, every: Duration) -> Self {
        self.gap_us = micros(every).saturating_mul(10).max(micros(GAP_MIN));
        self
    }

    /// Sets each attempt's own limit, by which one that was held up by this side is known.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_max_us = micros(timeout);
        self
    }

    /// Takes the next sample. One that comes after a later one is counted as disordered and otherwise ignored.
    pub fn push(&mut self, sample: &Sample) {
        self.samples += 1;
        if let Some(last) = &self.last {
            if sample.seq <= last.seq || sample.intended < last.intended {
                self.disordered += 1;
                return;
            }
            self.missing += u64::from(sample.seq - last.seq - 1);
        }
        self.last = Some(*sample);
        match sample.outcome {
            Outcome::Stalled => self.stalled += 1,
            Outcome::NotSent { why } => {
                self.stalled += 1;
                *self.not_sent.entry(why).or_default() += 1;
            }
            Outcome::Ok => {
                self.mind_the_gap(sample.started);
                self.succeed(sample);
                self.was_busy(sample);
            }
            Outcome::Failed { cause, code, .. } => {
                self.mind_the_gap(sample.started);
                self.fail(sample, cause, code);
                self.was_busy(sample);
            }
        }
    }

    fn was_busy(&mut self, sample: &Sample) {
        self.busy_until = self.busy_until.max(Some(self.known_until(sample)));
    }

    /// Until when an attempt says something of the service.
    fn known_until(&self, sample: &Sample) -> At {
        let late = self.attempt_max_us.saturating_add(micros(HELD_UP_MIN));
        if micros(sample.ended.since(sample.started)) > late { sample.started } else { sample.ended }
    }

    fn mind_the_gap(&mut self, until: At) {
        let Some(from) = self.busy_until else { return };
        if until.0.saturating_sub(from.0) <= self.gap_us {
            return;
        }
        self.run = None;
        if self.gaps.len() < GAPS_MAX {
            self.gaps.push(Gap { from, until });
        } else {
            self.gaps_dropped += 1;
        }
    }

    fn succeed(&mut self, sample: &Sample) {
        self.last_ok = Some((sample.started, sample.ended));
        let first = Run { since: sample.started, first_ended: sample.ended, last_started: sample.started };
        let run = self.run.get_or_insert(first);
        run.last_started = run.last_started.max(sample.started);
        let run = *run;
        if let Some(open) = &mut self.open {
            open.first_success.get_or_insert((open.last_failure_ended.min(sample.ended), sample.ended));
            if run.last_started.0 - run.since.0 >= self.sustained_us {
                self.close(run);
            }
        }
    }

    fn fail(&mut self, sample: &Sample, cause: Cause, code: u16) {
        self.failed += 1;
        self.tally.add(cause, code);
        self.causes[cause.index()] += 1;
        let flap = self.run.take();
        let last_ok = self.last_ok;
        let ended = self.known_until(sample);
        let open = self.open.get_or_insert_with(|| Open {
            last_ok_before: last_ok.map_or(sample.started, |(started, _)| started.min(sample.started)),
            first_failure: sample.started,
            first_failure_ended: ended,
            last_failure_started: sample.started,
            last_failure_ended: ended,
            failed: 0,
            flaps: 0,
            causes: [0; Cause::COUNT],
            tally: Tally::default(),
            first_success: None,
            longest_flap: Duration::ZERO,
        });
        if let Some(flap) = flap.filter(|_| open.failed > 0) {
            open.flaps += 1;
            open.longest_flap = open.longest_flap.max(flap.last_started.since(flap.since));
        }
        open.failed += 1;
        open.causes[cause.index()] += 1;
        open.tally.add(cause, code);
        open.last_failure_started = open.last_failure_started.max(sample.started);
        open.last_failure_ended = open.last_failure_ended.max(ended);
    }

    fn close(&mut self, run: Run) {
        let Some(open) = self.open.take() else { return };
        let (outage, detail) = open.describe(Some(run));
        if self.outages.len() < OUTAGES_MAX {
            self.outages.push(outage);
            self.details.push(detail);
        } else {
            self.outages_dropped += 1;
        }
    }

    /// Whether an outage is under way: a failure was seen and no window of success has followed it yet.
    pub fn is_down(&self) -> bool {
        self.open.is_some()
    }

    /// The first failure's start of the outage under way.
    pub fn down_since(&self) -> Option<At> {
        self.open.as_ref().map(|open| open.first_failure)
    }

    /// The start of the current unbroken run of successes; `None` where the last sample that says something failed, or
    /// there is none. A gap breaks a run.
    pub fn ok_since(&self) -> Option<At> {
        self.run.map(|run| run.since)
    }

    /// How long the current unbroken run of successes is, from the start of its first attempt to that of its last: what ends
    /// an outage, and up to an interval less than the time that passed.
    pub fn ok_for(&self) -> Option<Duration> {
        self.run.map(|run| run.last_started.since(run.since))
    }

    /// Successful attempts.
    pub fn succeeded(&self) -> u64 {
        self.samples - self.failed - self.stalled - self.disordered
    }

    /// The end of the series. `end` is when observation ended: silence before it is a gap like any other. An outage under
    /// way is right-censored.
    pub fn finish(mut self, end: At) -> SeriesSummary {
        self.mind_the_gap(end);
        if let Some(open) = self.open.take() {
            let (outage, detail) = open.describe(None);
            if self.outages.len() < OUTAGES_MAX {
                self.outages.push(outage);
                self.details.push(detail);
            } else {
                self.outages_dropped += 1;
            }
        }
        SeriesSummary {
            samples: self.samples,
            failed: self.failed,
            stalled: self.stalled,
            not_sent: self.not_sent,
            failures: self.tally.0.iter().map(|(&(cause, code), &count)| FailureCount { cause, code, count }).collect(),
            missing: self.missing,
            disordered: self.disordered,
            outages: self.outages,
            details: self.details,
            outages_dropped: self.outages_dropped,
            gaps: self.gaps,
            gaps_dropped: self.gaps_dropped,
            causes: Cause::ALL.iter().map(|c| (*c, self.causes[c.index()])).filter(|(_, n)| *n > 0).collect(),
        }
    }
}

impl Open {
    /// The outage's record, with the window that ended it or without.
    fn describe(&self, ended_by: Option<Run>) -> (Outage, OutageDetail) {
        let down_until = match ended_by {
            Some(run) if self.last_failure_ended > run.first_ended => self.last_failure_started.min(run.first_ended),
            _ => self.last_failure_ended,
        };
        let lower_ms = millis(down_until.since(self.first_failure));
        let length = match ended_by {
            Some(run) => Measured::Interval { lower_ms, upper_ms: millis(run.first_ended.since(self.last_ok_before)) },
            None => Measured::AtLeast { lower_ms },
        };
        let most = Cause::ALL.iter().rev().max_by_key(|cause| self.causes[cause.index()]);
        let outage = Outage {
            last_ok_before: Some(self.last_ok_before),
            first_failure: self.first_failure,
            last_failure: self.last_failure_ended,
            sustained_from: ended_by.map(|run| run.since),
            first_ok_after: ended_by.map(|run| run.first_ended),
            length,
            failed: self.failed,
            flaps: self.flaps,
            cause: most.copied().unwrap_or(Cause::Other),
        };
        let code = self.tally.most_common_code(outage.cause);
        let (first_failure_ended, first_success) = (self.first_failure_ended, self.first_success);
        let longest_flap = self.longest_flap;
        (outage, OutageDetail { down_until, first_failure_ended, first_success, longest_flap, code })
    }
}
