//! What the judge gathers of each series while the samples stream by, and what it makes of that.

use super::latency::Latencies;
use super::moments::History;
use super::outage::{Gap, SeriesSummary, SeriesTracker};
use crate::plan::Series;
use crate::sample::{Outcome, Sample};
use crate::scenario::{CONTROL_WITHIN, Effect, Moment, Shown, Vantage};
use crate::time::{At, human, millis};
use crate::verdict::{Outage, SeriesResult};
use std::time::Duration;

/// A series is down still where its last failure was so shortly before that moment, or three intervals of its schedule.
const STILL_MIN: Duration = Duration::from_secs(1);
/// How much later than one that is kept a write was sent that is surely newer in the store too.
const KEPT_LATER: Duration = Duration::from_secs(1);
/// How long it may take to stop the probes and collect their samples before the next phase begins: a shorter silence at
/// the very end says nothing.
const COLLECTING_MAX: Duration = Duration::from_secs(5);

/// The moments that samples are sorted by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) inject: Option<At>,
    pub(crate) effect: Option<At>,
    /// The end of the degraded time.
    pub(crate) redundancy: At,
    /// Until when a failure counts against recovery.
    pub(crate) horizon: At,
    /// When the limit passed within which it had to be back, where it was not.
    pub(crate) broken_until: Option<At>,
}

impl Bounds {
    pub(crate) fn of(history: &History<'_>) -> Self {
        let horizon = history.horizon();
        Self {
            inject: history.moment(Moment::Inject),
            effect: history.moment(Moment::Effect),
            redundancy: history.moment(Moment::Redundancy).unwrap_or(horizon),
            horizon,
            broken_until: history.broken_until().map(|(_, at)| at),
        }
    }
}

/// Gathers one series.
pub(crate) struct Gather<'a> {
    plan: &'a Series,
    bounds: Bounds,
    role: Role,
    tracker: SeriesTracker,
    first_seq: Option<u32>,
    steady: Latencies,
    degraded: Latencies,
    degraded_failed: u64,
    last_ok: Option<At>,
    longest_hole_us: u64,
    oks_to_horizon: u64,
    shows_effect: bool,
    sustained: Duration,
    still: Still,
    kept: KeptWrites<'a>,
}

/// Which acknowledged writes of a series are still there, by the numbers of those that are not.
#[derive(Clone, Copy, Debug, Default)]
struct KeptWrites<'a> {
    /// The numbers of the lost, as closed ranges in order.
    lost: &'a [(u32, u32)],
    /// When the first that is still there was acknowledged.
    first: Option<At>,
    /// How many of the lost were sent a while after that.
    lost_since: u64,
}

/// The last attempts before the limit passed.
#[derive(Clone, Copy, Debug, Default)]
struct Still {
    attempts: u64,
    failed: u64,
    last_failure: At,
}

/// What a series is to the proof of the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Down,
    Control,
    Neither,
}

/// A series, seen to its end.
#[derive(Debug)]
pub(crate) struct SeriesHistory<'a> {
    pub(crate) plan: &'a Series,
    pub(crate) summary: SeriesSummary,
    /// Why its samples cannot carry a verdict.
    pub(crate) unfit: Option<String>,
    /// The longest time between the start of a success and the end of the next, from the injection to the horizon: an
    /// outage that no sample saw was shorter.
    pub(crate) longest_hole: Duration,
    /// The time without any success before the horizon.
    pub(crate) silent_to_horizon: Duration,
    /// Successes in that time.
    pub(crate) oks_to_horizon: u64,
    /// For the effect's probe: it failed after the injection. For its control: it succeeded near that.
    pub(crate) shows_effect: bool,
    /// Since when it was down, where it was so still when the limit passed within which it had to be back.
    pub(crate) down_still: Option<At>,
    pub(crate) succeeded: u64,
    /// Whether any of its acknowledged writes is still there.
    pub(crate) some_kept: bool,
    /// How many of its lost writes were sent [`KEPT_LATER`] after one that is still there was acknowledged.
    pub(crate) lost_since_kept: u64,
    /// How far its times can be off against the run's clock; `None` where that was never found out.
    pub(crate) uncertainty: Option<Duration>,
    steady: Latencies,
    degraded: Latencies,
    degraded_failed: u64,
}

impl<'a> Gather<'a> {
    /// `lost` are the numbers of the acknowledged writes that were not found, as closed ranges in order.
    pub(crate) fn new(
        plan: &'a Series,
        sustained: Duration,
        effect: &Effect,
        bounds: Bounds,
        lost: &'a [(u32, u32)],
    ) -> Self {
        let role = match &effect.shown {
            Shown::Down { probe, .. } if *probe == plan.probe => Role::Down,
            Shown::Down { control, .. } if *control == plan.probe => Role::Control,
            Shown::Down { .. } | Shown::Seen(_) => Role::Neither,
        };
        Self {
            plan,
            bounds,
            role,
            tracker: SeriesTracker::new(sustained).with_every(plan.every).with_timeout(plan.timeout),
            first_seq: None,
            steady: Latencies::default(),
            degraded: Latencies::default(),
            degraded_failed: 0,
            last_ok: None,
            longest_hole_us: 0,
            oks_to_horizon: 0,
            shows_effect: false,
            sustained,
            still: Still::default(),
            kept: KeptWrites { lost, ..KeptWrites::default() },
        }
    }

    pub(crate) fn push(&mut self, sample: &Sample) {
        self.tracker.push(sample);
        self.first_seq.get_or_insert(sample.seq);
        let ok = match sample.outcome {
            Outcome::Ok => true,
            Outcome::Failed { .. } => false,
            Outcome::Stalled | Outcome::NotSent { .. } => return,
        };
        if let Some(until) = self.bounds.broken_until
            && sample.started <= until
            && until.since(sample.started) <= self.sustained
        {
            self.still.attempts += 1;
            if !ok {
                self.still.failed += 1;
                self.still.last_failure = self.still.last_failure.max(sample.ended);
            }
        }
        match self.bounds.inject {
            Some(inject) if sample.started >= inject => self.push_after_injection(sample, ok),
            _ if ok => self.steady.add(sample),
            _ => {}
        }
        if ok {
            self.last_ok = Some(sample.started);
            self.kept.take(sample);
        }
    }

    fn push_after_injection(&mut self, sample: &Sample, ok: bool) {
        let Bounds { effect, redundancy, horizon, .. } = self.bounds;
        if let Some(effect) = effect {
            let near = sample.started <= effect.plus(CONTROL_WITHIN);
            let not_long_before = sample.ended.plus(CONTROL_WITHIN) >= effect;
            self.shows_effect |= match self.role {
                Role::Down => !ok && near,
                Role::Control => ok && near && not_long_before,
                Role::Neither => false,
            };
            if sample.started >= effect && sample.started <= redundancy {
                if ok {
                    self.degraded.add(sample);
                } else {
                    self.degraded_failed += 1;
                }
            }
        }
        if ok && self.last_ok.is_none_or(|last| last <= horizon) {
            let from = self.last_ok.or(self.bounds.inject).unwrap_or(sample.started);
            self.longest_hole_us = self.longest_hole_us.max(sample.ended.0.saturating_sub(from.0));
            self.oks_to_horizon += 1;
        }
    }

    pub(crate) fn finish(self, history: &History<'_>) -> SeriesHistory<'a> {
        let succeeded = self.tracker.succeeded();
        let summary = self.tracker.finish(self.bounds.horizon);
        let uncertainty = match self.plan.vantage {
            Vantage::Outside => Some(Duration::ZERO),
            Vantage::Inside => history.inside_uncertainty_us.map(Duration::from_micros),
        };
        SeriesHistory {
            down_still: self.bounds.broken_until.and_then(|at| self.still.down_at(at, self.plan.every, &summary)),
            unfit: unfit(&summary, self.first_seq),
            plan: self.plan,
            summary,
            longest_hole: Duration::from_micros(self.longest_hole_us),
            silent_to_horizon: self.bounds.horizon.since(self.last_ok.or(self.bounds.inject).unwrap_or_default()),
            oks_to_horizon: self.oks_to_horizon,
            shows_effect: self.shows_effect,
            succeeded,
            some_kept: self.kept.first.is_some(),
            lost_since_kept: self.kept.lost_since,
            uncertainty,
            steady: self.steady,
            degraded: self.degraded,
            degraded_failed: self.degraded_failed,
        }
    }
}

impl KeptWrites<'_> {
    fn take(&mut self, acknowledged: &Sample) {
        let seq = acknowledged.seq;
        let range = self.lost.partition_point(|(_, last)| *last < seq);
        let is_lost = self.lost.get(range).is_some_and(|(first, _)| *first <= seq);
        match self.first {
            None if is_lost => {}
            None => self.first = Some(acknowledged.ended),
            Some(first) if is_lost => {
                self.lost_since += u64::from(acknowledged.started >= first.plus(KEPT_LATER));
            }
            Some(first) => self.first = Some(first.min(acknowledged.ended)),
        }
    }
}

impl Still {
    /// Since when it was down, where it was seen to be so at `at`: an outage had not ended, of the last attempts at least half failed,
    /// and one of them just before. A service that answers again, for too short a time to tell, is neither up nor down.
    fn down_at(self, at: At, every: Duration, summary: &SeriesSummary) -> Option<At> {
        let shortly_before = at.since(self.last_failure) <= STILL_MIN.max(every * 3);
        let open = |outage: &&Outage| outage.first_failure <= at && outage.sustained_from.is_none_or(|from| from > at);
        let outage = summary.outages.iter().find(open)?;
        (self.failed > 0 && self.failed * 2 >= self.attempts && shortly_before).then_some(outage.first_failure)
    }
}

fn unfit(summary: &SeriesSummary, first_seq: Option<u32>) -> Option<String> {
    let missing = summary.missing + u64::from(first_seq.unwrap_or(0));
    if summary.samples == 0 {
        Some("it has no samples".to_owned())
    } else if summary.disordered > 0 {
        Some(format!("{} of its samples are out of order", summary.disordered))
    } else if missing > 0 {
        Some(format!("{missing} of its samples are missing"))
    } else if summary.outages_dropped > 0 || summary.gaps_dropped > 0 {
        Some("it has more outages or gaps than can be kept".to_owned())
    } else {
        None
    }
}

/// That a probe did not come through says nothing of isolation for a time in which nobody did: its control must have
/// succeeded again and again, from the injection to the end.
pub(crate) fn mind_controls(all: &mut [SeriesHistory<'_>]) {
    let silences: Vec<_> =
        all.iter().map(|seen| (seen.plan.probe.clone(), seen.longest_hole.max(seen.silent_to_horizon))).collect();
    for seen in all.iter_mut().filter(|seen| seen.unfit.is_none()) {
        let Some(control) = &seen.plan.blocked_while else { continue };
        let silence = silences.iter().filter(|(probe, _)| probe == control).map(|(_, silence)| *silence).max();
        seen.unfit = match silence {
            None => Some(format!("being kept out proves nothing: {control} was not measured")),
            Some(silence) if silence > CONTROL_WITHIN => {
                Some(format!("being kept out proves nothing: {control} had no success for {}", human(silence)))
            }
            Some(_) => None,
        };
    }
}

impl SeriesHistory<'_> {
    /// Gaps that lie outside every outage and end after `from` and begin before `until`: the service may have failed there
    /// unseen.
    pub(crate) fn blind_gaps(&self, from: At, until: At) -> impl Iterator<Item = &Gap> {
        let in_outage = |gap: &Gap| {
            self.summary.outages.iter().any(|outage| {
                outage.last_ok_before.is_none_or(|before| before <= gap.from)
                    && outage.first_ok_after.is_none_or(|after| gap.until <= after)
            })
        };
        let within = move |gap: &&Gap| gap.until > from && gap.from < until;
        self.summary.gaps.iter().filter(within).filter(move |gap| !in_outage(gap))
    }

    /// As [`Self::blind_gaps`] up to the horizon, without the short silence at its very end in which samples are collected.
    pub(crate) fn blind_gaps_to(&self, horizon: At, from: At) -> impl Iterator<Item = &Gap> {
        let at_end = move |gap: &&Gap| gap.until == horizon && gap.until.since(gap.from) < COLLECTING_MAX;
        self.blind_gaps(from, horizon).filter(move |gap| !at_end(gap))
    }

    /// What the verdict says of it.
    pub(crate) fn result(&self) -> SeriesResult {
        let degraded = self.degraded.count() + self.degraded_failed;
        SeriesResult {
            id: self.plan.id,
            name: self.plan.to_string(),
            probe: self.plan.probe.clone(),
            samples: self.summary.samples,
            failed: self.summary.failed,
            stalled: self.summary.stalled,
            outages: self.summary.outages.clone(),
            steady_p50_ms: self.steady.quantile_ms(0.5),
            steady_p99_ms: self.steady.quantile_ms(0.99),
            degraded_error_ratio: (degraded > 0).then(|| self.degraded_failed as f64 / degraded as f64),
            degraded_p99_ms: self.degraded.quantile_ms(0.99),
            causes: self.summary.causes.clone(),
        }
    }

    /// A gap, for people.
    pub(crate) fn describe_gap(&self, gap: &Gap) -> String {
        format!(
            "nothing was measured for {:.1} s from {:.1} s on",
            millis(gap.until.since(gap.from)) / 1_000.0,
            gap.from.ms() / 1_000.0
        )
    }
}
