//! The tracker against a service whose outages are known, and against a plain re-reading of its own rules.

use firedrill_core::judge::outage::SeriesTracker;
use firedrill_core::sample::{Cause, Outcome, Sample};
use firedrill_core::time::At;
use firedrill_core::verdict::{Measured, Outage};
use proptest::prelude::*;
use std::time::Duration;

/// How the service is down.
#[derive(Clone, Copy, Debug)]
enum How {
    /// It refuses at once.
    Refuses,
    /// It keeps what comes and answers it once it is up, where the client has not given up.
    Hangs,
}

/// A service that is up, down from `down` until `up`, and up.
#[derive(Clone, Copy, Debug)]
struct Service {
    how: How,
    down: u64,
    up: u64,
    latency: u64,
}

impl Service {
    fn attempt(self, seq: u32, intended: u64, late: u64, timeout: u64) -> Sample {
        let started = intended + late;
        let failed = |cause| Outcome::Failed { cause, code: 0, maybe_applied: false };
        let (ended, outcome) = if started < self.down || started >= self.up {
            (started + self.latency, Outcome::Ok)
        } else {
            match self.how {
                How::Refuses => ((started + self.latency).min(self.up), failed(Cause::Refused)),
                How::Hangs if self.up - started < timeout => (self.up + self.latency, Outcome::Ok),
                How::Hangs => (started + timeout, failed(Cause::Timeout)),
            }
        };
        Sample { series: 0, seq, intended: At(intended), started: At(started), ended: At(ended), outcome }
    }
}

fn any_service() -> impl Strategy<Value = Service> {
    let how = prop_oneof![Just(How::Refuses), Just(How::Hangs)];
    (how, 2_000_000u64..4_000_000, 0u64..9_000_000, 100u64..40_000).prop_map(|(how, down, length, latency)| Service {
        how,
        down,
        up: down + length,
        latency,
    })
}

/// The outages of a list of samples, found by looking at the whole list again and again.
fn oracle(samples: &[Sample], sustained: u64) -> Vec<(At, Option<At>, u64)> {
    let mut outages = Vec::new();
    let decisive: Vec<&Sample> = samples.iter().filter(|sample| sample.outcome != Outcome::Stalled).collect();
    let mut at = 0;
    while let Some(first) = (at..decisive.len()).find(|i| !decisive[*i].is_ok()) {
        let window_from = |i: usize| {
            let run = decisive[i..].iter().take_while(|sample| sample.is_ok());
            run.map(|sample| sample.started.0).max().is_some_and(|last| last - decisive[i].started.0 >= sustained)
        };
        let window = (first..decisive.len()).find(|i| window_from(*i));
        let end = window.unwrap_or(decisive.len());
        let failed = decisive[first..end].iter().filter(|sample| !sample.is_ok()).count() as u64;
        outages.push((decisive[first].started, window.map(|i| decisive[i].started), failed));
        at = end;
    }
    outages
}

fn track(samples: &[Sample], every: u64, sustained: u64) -> Vec<Outage> {
    let mut tracker = SeriesTracker::new(Duration::from_micros(sustained)).with_every(Duration::from_micros(every));
    samples.iter().for_each(|sample| tracker.push(sample));
    let end = samples.iter().map(|sample| sample.ended).max().unwrap_or_default();
    tracker.finish(end).outages
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_interval_holds_the_truth(
        service in any_service(), every in 1_000u64..300_000, timeout in 50_000u64..3_000_000,
        lates in proptest::collection::vec(0u64..900, 16), stall in 0usize..7,
    ) {
        let mut samples = Vec::new();
        // Up after 13 s at most; with four stalls in seven a success comes 1.5 s later, and 1 s of success is seen after 2.5 s.
        for seq in 0..(18_000_000 / every) {
            let late = lates[seq as usize % lates.len()];
            let mut sample = service.attempt(seq as u32, seq * every, late, timeout);
            // A sampler that stalls now and then leaves shorter silences than the gap bound.
            if stall > 2 && seq % 7 < stall as u64 - 2 {
                sample = Sample { outcome: Outcome::Stalled, started: sample.intended, ended: sample.intended, ..sample };
            }
            samples.push(sample);
        }
        let truth = (service.up - service.down) as f64 / 1_000.0;
        let outages = track(&samples, every, 1_000_000);
        prop_assert!(outages.len() <= 1, "{outages:?}");
        match outages.first().map(|outage| outage.length) {
            Some(Measured::Interval { lower_ms, upper_ms }) => {
                prop_assert!(lower_ms <= truth && truth <= upper_ms, "{truth} in {lower_ms}..{upper_ms}");
            }
            Some(Measured::AtLeast { .. }) => prop_assert!(false, "it recovered"),
            // No sample failed: the outage hides between a success's start and the next one's end.
            None => {
                let oks: Vec<_> = samples.iter().filter(|sample| sample.is_ok()).collect();
                let hole = oks.windows(2).map(|pair| pair[1].ended.since(pair[0].started)).max().unwrap_or_default();
                prop_assert!(truth <= hole.as_secs_f64() * 1_000.0, "{truth} in {hole:?}");
            }
        }
    }

    #[test]
    fn the_tracker_agrees_with_a_plain_reading(
        kinds in proptest::collection::vec(0u8..10, 0..120), every in 1_000u64..100_000, windows in 0u64..8,
        took in proptest::collection::vec(1u64..400_000, 8),
    ) {
        let sustained = windows * every;
        let samples: Vec<Sample> = (0u32..).zip(&kinds).map(|(seq, kind)| {
            let at = At(u64::from(seq) * every);
            let outcome = match kind {
                0..=5 => Outcome::Ok,
                6 => Outcome::Stalled,
                _ => Outcome::Failed { cause: Cause::ALL[usize::from(*kind)], code: 0, maybe_applied: false },
            };
            let took = Duration::from_micros(took[seq as usize % took.len()]);
            Sample { series: 0, seq, intended: at, started: at, ended: at.plus(took), outcome }
        }).collect();
        let outages = track(&samples, every, sustained);
        let told: Vec<_> = outages.iter().map(|o| (o.first_failure, o.sustained_from, o.failed)).collect();
        // Stalls alone make no gap here: ten in a row are needed, and then the readings may differ.
        let silent = kinds.windows(10).any(|ten| ten.iter().all(|kind| *kind == 6));
        prop_assume!(!silent);
        prop_assert_eq!(told, oracle(&samples, sustained));
        for outage in &outages {
            if let Measured::Interval { lower_ms, upper_ms } = outage.length {
                prop_assert!(0.0 <= lower_ms && lower_ms <= upper_ms, "{outage:?}");
            }
        }
    }

    #[test]
    fn the_live_view_is_the_saved_one(kinds in proptest::collection::vec(0u8..8, 1..80), cut in 0usize..80) {
        let samples: Vec<Sample> = (0u32..).zip(&kinds).map(|(seq, kind)| {
            let at = At(u64::from(seq) * 100_000);
            let failed = Outcome::Failed { cause: Cause::Timeout, code: 0, maybe_applied: true };
            let outcome = match kind { 0..=4 => Outcome::Ok, 5 => Outcome::Stalled, _ => failed };
            Sample { series: 0, seq, intended: at, started: at, ended: At(at.0 + 5_000), outcome }
        }).collect();
        let cut = cut.min(samples.len());
        let mut live = SeriesTracker::new(Duration::from_millis(300)).with_every(Duration::from_millis(100));
        samples[..cut].iter().for_each(|sample| live.push(sample));
        let saved = track(&samples[..cut], 100_000, 300_000);
        let open = saved.last().filter(|outage| outage.sustained_from.is_none());
        prop_assert_eq!(live.is_down(), open.is_some());
        prop_assert_eq!(live.down_since(), open.map(|outage| outage.first_failure));
    }
}
