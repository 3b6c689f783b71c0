//! The only place that reads a clock.

use firedrill_core::time::At;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Two readings of the machine's time since boot, of the same moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// `CLOCK_BOOTTIME`: goes on while the machine is suspended.
    elapsed: Duration,
    /// `CLOCK_MONOTONIC`: stands still while the machine is suspended. tokio's timers count by it.
    awake: Duration,
}

/// How far apart two readings of the same moment may be, and how often they are taken again where they are not.
const READINGS_APART_MAX: Duration = Duration::from_millis(1);
const READINGS_MAX: u32 = 10;

/// A run's clock: `CLOCK_BOOTTIME` for durations, wall for people, both read together once.
///
/// A suspended machine sends no probe and sees no failure, so its sleep must count as time that passed.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Reading,
    wall_origin: Timestamp,
    read: fn() -> Reading,
}

impl Clock {
    /// Starts a clock: its origin is now.
    #[allow(clippy::disallowed_methods, reason = "this is the clock's owner")]
    pub fn start() -> Self {
        Self { origin: read_together(), wall_origin: Timestamp::now(), read: read_kernel }
    }

    /// Now: the time since the origin, including any time in which the machine was suspended.
    pub fn now(&self) -> At {
        At(firedrill_core::time::micros(self.elapsed()))
    }

    /// For how long this machine was suspended since the clock's origin.
    ///
    /// A stopped process (`SIGSTOP`) is not a suspended machine: both clocks go on.
    pub fn suspended(&self) -> Duration {
        let now = (self.read)();
        let awake = now.awake.saturating_sub(self.origin.awake);
        now.elapsed.saturating_sub(self.origin.elapsed).saturating_sub(awake)
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

    /// The moment as tokio's timers want it. They do not count the time in a suspension: a timer that was set before one
    /// fires later than the moment by its length.
    #[allow(clippy::disallowed_methods, reason = "this is the clock's owner")]
    pub fn deadline(&self, at: At) -> tokio::time::Instant {
        let (at, elapsed) = (Duration::from_micros(at.0), self.elapsed());
        let now = tokio::time::Instant::now();
        match at.checked_sub(elapsed) {
            Some(left) => now + left,
            None => now.checked_sub(elapsed - at).unwrap_or(now),
        }
    }

    fn elapsed(&self) -> Duration {
        (self.read)().elapsed.saturating_sub(self.origin.elapsed)
    }
}

/// The kernel's clocks. The second is read last, so that a process that is held up in between sees a suspension that is too
/// short for a moment, and never one that did not happen.
fn read_kernel() -> Reading {
    Reading { elapsed: kernel(ClockId::Boottime), awake: kernel(ClockId::Monotonic) }
}

/// Both clocks at an origin: what is read too far apart here would be off for good.
fn read_together() -> Reading {
    let mut reading = read_kernel();
    for _ in 0..READINGS_MAX {
        let before = kernel(ClockId::Monotonic);
        reading = read_kernel();
        if reading.awake.saturating_sub(before) <= READINGS_APART_MAX {
            break;
        }
    }
    reading
}

fn kernel(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Clocks for tests: a machine that was suspended.
#[cfg(test)]
pub(crate) mod suspended {
    use super::{Clock, Reading, read_kernel};
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        static SUSPENDED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    fn read() -> Reading {
        let Reading { elapsed, awake } = read_kernel();
        Reading { elapsed: elapsed + SUSPENDED.get(), awake }
    }

    /// A clock of this test's thread, whose machine is suspended when the test says so.
    pub(crate) fn clock() -> Clock {
        Clock { origin: read(), read, ..Clock::start() }
    }

    /// Suspends the machine of this thread's clocks.
    pub(crate) fn suspend(length: Duration) {
        SUSPENDED.set(SUSPENDED.get() + length);
    }
}

/// Clocks in tokio's paused time, of a world that outlives the process that looks at it.
#[cfg(test)]
pub(crate) mod simulated {
    use super::{Clock, Reading};
    use std::cell::Cell;
    use std::time::Duration;
    use tokio::time::Instant;

    thread_local! {
        static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
        static BEFORE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
        static SUSPENDED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// Begins the time of one process on this thread, in its runtime. `before` is the time of the world until then.
    #[allow(clippy::disallowed_methods, reason = "this is the clock's owner")]
    pub(crate) fn begin(before: Duration) {
        BEGAN.set(Some(Instant::now()));
        BEFORE.set(before);
        SUSPENDED.set(Duration::ZERO);
    }

    /// The time of the world.
    #[allow(clippy::disallowed_methods, reason = "this is the clock's owner")]
    pub(crate) fn elapsed() -> Duration {
        BEFORE.get() + BEGAN.get().map_or(Duration::ZERO, |began| Instant::now().duration_since(began))
    }

    /// Suspends the machine: its clock has gone on, and no timer has.
    pub(crate) fn suspend(length: Duration) {
        SUSPENDED.set(SUSPENDED.get() + length);
    }

    fn read() -> Reading {
        let awake = elapsed();
        Reading { elapsed: awake + SUSPENDED.get(), awake }
    }

    /// A clock whose origin is now.
    pub(crate) fn clock() -> Clock {
        let origin = read();
        let first = jiff::Timestamp::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        Clock { origin, wall_origin: first + origin.elapsed, read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn wall_time_follows_the_monotonic_clock() {
        let clock = Clock { wall_origin: "2026-01-02T03:04:05Z".parse().unwrap(), ..Clock::start() };
        assert_eq!(clock.wall(At::from_ms(61_250)), "2026-01-02T03:05:06.250Z");
        assert_eq!(clock.unix_seconds(At::from_ms(1_000)), 1_767_323_046);
    }

    #[test]
    fn this_machine_was_awake_during_the_test() {
        let clock = Clock::start();
        std::thread::sleep(Duration::from_millis(20));
        assert!(clock.now() >= At::from_ms(20), "{:?}", clock.now());
        assert!(clock.suspended() < Duration::from_millis(5), "{:?}", clock.suspended());
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "this is the clock's owner")]
    fn a_suspension_is_time_that_passed_and_timers_are_set_from_now() {
        let near = |one: Duration, other: Duration| one.abs_diff(other) < SECOND / 2;
        let clock = suspended::clock();
        suspended::suspend(5 * SECOND);
        let now = clock.now();
        assert!(near(now.since(At(0)), 5 * SECOND), "{now:?}");
        assert!(near(clock.suspended(), 5 * SECOND), "{:?}", clock.suspended());
        // Three seconds are left of it, not eight.
        let timer = clock.deadline(At::from_ms(8_000)).duration_since(tokio::time::Instant::now());
        assert!(near(timer, 3 * SECOND), "{timer:?}");
        assert!(clock.deadline(At::from_ms(3_000)) < tokio::time::Instant::now(), "it has passed");
        assert!(near(suspended::clock().suspended(), Duration::ZERO), "a clock counts from its own origin");
    }
}
