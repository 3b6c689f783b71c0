//! The only place that reads a clock.

use firedrill_core::time::At;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// A run's clock: monotonic for durations, wall for people, both read together once.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    wall_origin: Timestamp,
}

impl Clock {
    /// Starts a clock: its origin is now.
    #[allow(clippy::disallowed_methods, reason = "this is the clock's owner")]
    pub fn start() -> Self {
        Self { origin: Instant::now(), wall_origin: Timestamp::now() }
    }

    /// Now, on the monotonic clock.
    #[allow(clippy::disallowed_methods, reason = "this is the clock's owner")]
    pub fn now(&self) -> At {
        At(firedrill_core::time::micros(Instant::now().duration_since(self.origin)))
    }

    /// The wall-clock time of a moment (RFC 3339, UTC, milliseconds).
    pub fn wall(&self, at: At) -> String {
        let moment = self.wall_origin + Duration::from_micros(at.0);
        format!("{moment:.3}")
    }

    /// The wall-clock time of a moment, as Kubernetes objects hold it.
    pub fn timestamp(&self, at: At) -> Timestamp {
        self.wall_origin + Duration::from_micros(at.0)
    }

    /// Seconds since the epoch at a moment, for expiry marks that other machines read.
    pub fn unix_seconds(&self, at: At) -> i64 {
        (self.wall_origin + Duration::from_micros(at.0)).as_second()
    }

    /// A number that differs from run to run, where none was given to draw from.
    pub fn seed(&self) -> u64 {
        // The finest digits of the wall clock, spread over all bits (a step of splitmix64).
        let nanoseconds = self.wall_origin.as_nanosecond() as u64;
        let mixed = (nanoseconds ^ (nanoseconds >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }

    /// The moment as tokio's timers want it.
    pub fn deadline(&self, at: At) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.origin + Duration::from_micros(at.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_follows_the_monotonic_clock() {
        let clock = Clock { origin: Clock::start().origin, wall_origin: "2026-01-02T03:04:05Z".parse().unwrap() };
        assert_eq!(clock.wall(At::from_ms(61_250)), "2026-01-02T03:05:06.250Z");
        assert_eq!(clock.unix_seconds(At::from_ms(1_000)), 1_767_323_046);
    }
}
