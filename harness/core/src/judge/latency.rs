//! Quantiles of latency in flat memory.
//!
//! A histogram whose buckets grow with the value: exact below 128 us, then 128 buckets for each doubling, so that a bucket
//! is at most 1/128 (0.8 %) of its value wide. A quantile is given as its bucket's upper end, capped at the greatest value
//! seen: never too good. Latency is counted from the *intended* start, so that a late sampler does not flatter the service.

use crate::sample::Sample;

/// Buckets for each doubling.
const PER_DOUBLING: u64 = 1 << SHIFT;
const SHIFT: u32 = 7;
/// Doublings above the exact range; the last bucket takes everything from about 19 hours on.
const DOUBLINGS: usize = 29;
const BUCKETS: usize = PER_DOUBLING as usize * (DOUBLINGS + 1);

/// A histogram of latencies in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max_us: 0 }
    }
}

impl Latencies {
    /// Counts one latency.
    pub fn add_us(&mut self, us: u64) {
        self.buckets[bucket_of(us)] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// Counts a sample's latency, from its intended start to its end.
    pub fn add(&mut self, sample: &Sample) {
        self.add_us(sample.ended.0.saturating_sub(sample.intended.0));
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The latency in milliseconds that the share `q` (0 to 1) of all does not exceed; `None` where nothing was counted.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|n| {
            seen += n;
            seen >= rank
        })?;
        let us = if bucket == BUCKETS - 1 { self.max_us } else { upper_us(bucket).min(self.max_us) };
        Some(us as f64 / 1_000.0)
    }
}

fn bucket_of(us: u64) -> usize {
    if us < PER_DOUBLING {
        return us as usize;
    }
    let doubling = us.ilog2() - SHIFT;
    let within = (us >> doubling) - PER_DOUBLING;
    ((u64::from(doubling) + 1) * PER_DOUBLING + within).min(BUCKETS as u64 - 1) as usize
}

/// The greatest value of a bucket.
fn upper_us(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PER_DOUBLING {
        return bucket;
    }
    let doubling = bucket / PER_DOUBLING - 1;
    ((bucket % PER_DOUBLING + PER_DOUBLING + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Latencies::default().quantile_ms(0.5), None);
    }

    #[test]
    fn buckets_join_without_gap_or_overlap() {
        for bucket in 0..BUCKETS - 1 {
            assert_eq!(bucket_of(upper_us(bucket)), bucket);
            assert_eq!(bucket_of(upper_us(bucket) + 1), bucket + 1);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_is_beyond_the_last_bucket_is_not_made_smaller() {
        let mut latencies = Latencies::default();
        latencies.add_us(u64::MAX / 2);
        assert_eq!(latencies.quantile_ms(0.99), Some((u64::MAX / 2) as f64 / 1_000.0));
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_one_percent_too_high(
            mut values in proptest::collection::vec(0u64..10_000_000_000, 1..300), q in 0.0f64..=1.0,
        ) {
            let mut latencies = Latencies::default();
            values.iter().for_each(|us| latencies.add_us(*us));
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1] as f64 / 1_000.0;
            let told = latencies.quantile_ms(q).unwrap();
            prop_assert!(told >= exact && told <= exact * 1.01, "{told} for {exact}");
        }
    }
}
