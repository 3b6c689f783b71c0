//! Every sample of a run in a few hundred buckets a series, in one pass and with flat memory.

use super::axis::Axis;
use firedrill_core::sample::{Outcome, Sample, SampleReader};
use std::io::{self, Read};

/// Buckets of availability over the axis.
pub(super) const AVAILABILITY_BUCKETS: usize = 600;
/// Buckets of latency over the axis; fewer, so that each holds enough for a percentile.
pub(super) const LATENCY_BUCKETS: usize = 200;
/// The most series that are drawn.
pub(super) const SERIES_MAX: usize = 64;

/// What a piece of the axis holds of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Attempts that succeeded.
    pub(super) ok: u32,
    /// Attempts that failed.
    pub(super) failed: u32,
    /// Attempts that were never sent.
    pub(super) stalled: u32,
}

/// What a series was in a piece of the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Every attempt succeeded.
    Up,
    /// Some succeeded and some failed.
    Partial,
    /// Every attempt failed.
    Down,
    /// Attempts were due and none was sent.
    Stalled,
    /// No attempt was due.
    NoData,
}

impl Count {
    /// What it says of the service.
    pub(super) fn state(self) -> State {
        match (self.ok, self.failed, self.stalled) {
            (0, 0, 0) => State::NoData,
            (0, 0, _) => State::Stalled,
            (_, 0, _) => State::Up,
            (0, _, _) => State::Down,
            _ => State::Partial,
        }
    }
}

/// One series over the axis.
pub(super) struct Lane {
    /// A count a bucket.
    pub(super) counts: Vec<Count>,
    latencies: Vec<[u16; BINS]>,
}

/// Bins of a latency histogram: from 10 µs on, each a sixteenth of a decade wide.
const BINS: usize = 16 * 7;
const BINS_PER_DECADE: f64 = 16.0;
const FIRST_BIN_US: f64 = 10.0;

impl Lane {
    fn new() -> Self {
        Self { counts: vec![Count::default(); AVAILABILITY_BUCKETS], latencies: vec![[0; BINS]; LATENCY_BUCKETS] }
    }

    fn add(&mut self, sample: &Sample, axis: &Axis) {
        let Some(place) = axis.place(sample.intended) else { return };
        let count = &mut self.counts[index(place, AVAILABILITY_BUCKETS)];
        match sample.outcome {
            Outcome::Ok => {
                count.ok += 1;
                // From the intended start, so that an answer that was waited for behind another one counts in full.
                let took_us = sample.ended.since(sample.intended).as_secs_f64() * 1e6;
                let bin = &mut self.latencies[index(place, LATENCY_BUCKETS)][bin(took_us)];
                *bin = bin.saturating_add(1);
            }
            Outcome::Failed { cause: _, code: _, maybe_applied: _ } => count.failed += 1,
            Outcome::Stalled | Outcome::NotSent { .. } => count.stalled += 1,
        }
    }

    /// The latency, in milliseconds, below which a share of the successes of a bucket lies; `None` where there was
    /// none. It is exact to a sixteenth of a decade.
    pub(super) fn quantile_ms(&self, bucket: usize, share: f64) -> Option<f64> {
        let bins = self.latencies.get(bucket)?;
        let total: u32 = bins.iter().map(|n| u32::from(*n)).sum();
        if total == 0 {
            return None;
        }
        let rank = (f64::from(total) * share).ceil().max(1.0) as u32;
        let mut seen = 0;
        let at = bins.iter().position(|n| {
            seen += u32::from(*n);
            seen >= rank
        })?;
        Some(FIRST_BIN_US * 10_f64.powf((at as f64 + 0.5) / BINS_PER_DECADE) / 1_000.0)
    }
}

fn index(place: f64, buckets: usize) -> usize {
    ((place * buckets as f64) as usize).min(buckets - 1)
}

fn bin(took_us: f64) -> usize {
    ((took_us.max(FIRST_BIN_US) / FIRST_BIN_US).log10() * BINS_PER_DECADE).min(BINS as f64 - 1.0) as usize
}

/// Reads all samples; a lane for each series from 0 to `series`.
///
/// # Errors
/// As the reader.
pub(super) fn fill<R: Read>(samples: &mut SampleReader<R>, series: usize, axis: &Axis) -> io::Result<Vec<Lane>> {
    let mut lanes: Vec<Lane> = (0..series.min(SERIES_MAX)).map(|_| Lane::new()).collect();
    while let Some(sample) = samples.next_sample()? {
        if let Some(lane) = lanes.get_mut(usize::from(sample.series)) {
            lane.add(&sample, axis);
        }
    }
    Ok(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firedrill_core::sample::Cause;
    use firedrill_core::time::At;

    fn sample(intended_ms: u64, took_ms: u64, outcome: Outcome) -> Sample {
        let intended = At::from_ms(intended_ms);
        Sample { series: 0, seq: 0, intended, started: intended, ended: At::from_ms(intended_ms + took_ms), outcome }
    }

    #[test]
    fn a_bucket_says_what_its_attempts_say() {
        let axis = Axis::new(At::from_ms(0), At::from_ms(600_000), At::from_ms(0));
        let failed = Outcome::Failed { cause: Cause::Timeout, code: 0, maybe_applied: false };
        let mut lane = Lane::new();
        for (second, outcome) in [(0, Outcome::Ok), (1, failed), (2, Outcome::Ok), (2, failed), (3, Outcome::Stalled)] {
            lane.add(&sample(second * 1_000, 5, outcome), &axis);
        }
        lane.add(&sample(700_000, 5, failed), &axis);
        let states: Vec<State> = lane.counts[..5].iter().map(|count| count.state()).collect();
        assert_eq!(states, [State::Up, State::Down, State::Partial, State::Stalled, State::NoData]);
        assert_eq!(lane.counts.iter().map(|count| count.failed).sum::<u32>(), 2, "what is off the axis is not counted");
    }

    #[test]
    fn a_quantile_is_near_the_true_one() {
        let axis = Axis::new(At::from_ms(0), At::from_ms(1_000), At::from_ms(0));
        let mut lane = Lane::new();
        for ms in 1..=4 {
            lane.add(&sample(1, ms * 10, Outcome::Ok), &axis);
        }
        let (p50, p99) = (lane.quantile_ms(0, 0.5).unwrap(), lane.quantile_ms(0, 0.99).unwrap());
        assert!((p50 / 20.0).log10().abs() < 1.0 / 16.0, "{p50}");
        assert!((p99 / 40.0).log10().abs() < 1.0 / 16.0, "{p99}");
        assert_eq!(lane.quantile_ms(1, 0.5), None);
    }
}
