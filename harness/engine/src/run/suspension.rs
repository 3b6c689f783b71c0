//! Noticing that the machine was suspended during a run.

use super::recorder::Recorder;
use crate::clock::Clock;
use firedrill_core::event::Event;
use firedrill_core::time::At;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What may add up unsaid: less than one attempt of a slow probe.
const UNSAID_MAX: Duration = Duration::from_secs(1);
/// Two clocks are never read at exactly the same moment.
const NOISE_MAX: Duration = Duration::from_millis(1);

/// Records suspensions of this machine, from its making on. Cheap to clone; all clones record each one once.
#[derive(Clone)]
pub(super) struct Suspensions {
    recorder: Recorder,
    seen: Arc<Mutex<SuspensionState>>,
}

/// What was recorded so far.
struct SuspensionState {
    clock: Clock,
    told: Duration,
    awake_at: At,
}

impl Suspensions {
    pub(super) fn new(recorder: Recorder) -> Self {
        let seen = Arc::new(Mutex::new(SuspensionState::new(recorder.clock())));
        Self { recorder, seen }
    }

    /// Records a suspension, where there was one since the last look.
    pub(super) fn look(&self) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).look();
        if let Some(event) = seen {
            self.recorder.record(event);
        }
    }

    /// Looks again and again, until it is dropped.
    pub(super) async fn watch(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }
}

impl SuspensionState {
    fn new(clock: Clock) -> Self {
        // What was slept away since the clock's origin is a part of the run as well.
        Self { clock, told: Duration::ZERO, awake_at: At::default() }
    }

    fn look(&mut self) -> Option<Event> {
        let suspended = self.clock.suspended();
        let length = suspended.saturating_sub(self.told);
        if length <= UNSAID_MAX {
            // What adds up to more began here.
            if length < NOISE_MAX {
                self.awake_at = self.clock.now();
            }
            return None;
        }
        let event = Event::Suspended { length, awake_at: self.awake_at };
        (self.told, self.awake_at) = (suspended, self.clock.now());
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::suspended::{clock, suspend};

    #[test]
    fn more_than_a_second_is_told_once_also_where_it_added_up() {
        let mut seen = SuspensionState::new(clock());
        let mut told = |by_ms| {
            suspend(Duration::from_millis(by_ms));
            let length = |event| match event {
                Event::Suspended { length, .. } => (length.as_millis() + 50) / 100,
                other => panic!("{other:?}"),
            };
            seen.look().map(length)
        };
        let all: Vec<_> = [0, 600, 0, 600, 0, 4_200, 900].map(&mut told).into();
        assert_eq!(all, [None, None, None, Some(12), None, Some(42), None]);
    }

    #[test]
    fn the_journal_says_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let recorder = Recorder::create(&crate::world::Files, &path, clock(), tokio::sync::mpsc::channel(4).0).unwrap();
        let suspensions = Suspensions::new(recorder);
        suspensions.look();
        suspend(Duration::from_secs(3));
        suspensions.clone().look();
        suspensions.look();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(r#""suspended":{"length":"#), "{text}");
    }
}
