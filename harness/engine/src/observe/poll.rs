//! Waiting for something by looking again and again, and knowing how exactly the moment is known.

use crate::clock::Clock;
use firedrill_core::time::At;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};

/// The limit of one look; one that takes longer has seen nothing.
const LOOK_LIMIT: Duration = Duration::from_secs(4);

/// Something that was waited for, and when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled<T> {
    /// What was seen.
    pub value: T,
    /// When the look that saw it ended: it was so by then.
    pub seen_at: At,
    /// When the last look that did not see it began: it was not so before; `None` where the first look saw it.
    pub not_before: Option<At>,
}

/// Looks every `every` until `look` sees something or the deadline passes.
///
/// # Errors
/// What the last look said, where the deadline passed.
pub async fn poll<T>(
    clock: &Clock,
    every: Duration,
    deadline: At,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<Polled<T>, String> {
    let mut last = "it was never looked at".to_owned();
    let waiting = async {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut not_before = None;
        loop {
            tick.tick().await;
            let began = clock.now();
            match timeout(LOOK_LIMIT, look()).await {
                Ok(Ok(value)) => return Polled { value, seen_at: clock.now(), not_before },
                Ok(Err(detail)) => last = detail,
                Err(_) => last = format!("no answer within {} s", LOOK_LIMIT.as_secs()),
            }
            not_before = Some(began);
        }
    };
    let came = timeout_at(clock.deadline(deadline), waiting).await;
    came.map_err(|_| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_moment_lies_between_two_looks() {
        let clock = Clock::start();
        let mut looks = 0;
        let look = async || {
            looks += 1;
            if looks < 4 { Err(format!("look {looks}")) } else { Ok("there") }
        };
        let polled = poll(&clock, Duration::from_millis(10), At::from_ms(5_000), look).await.unwrap();
        assert_eq!(polled.value, "there");
        let not_before = polled.not_before.unwrap();
        assert!(not_before < polled.seen_at && polled.seen_at.since(not_before) < Duration::from_secs(2));
        assert!(not_before >= At::from_ms(20), "the third look began after two periods, at {not_before:?}");
    }

    #[tokio::test]
    async fn a_deadline_tells_what_was_seen_last() {
        let clock = Clock::start();
        let deadline = clock.now().plus(Duration::from_millis(40));
        let look = async || Err::<(), _>("2 of 3 servers answer".to_owned());
        let error = poll(&clock, Duration::from_millis(5), deadline, look).await.unwrap_err();
        assert_eq!(error, "2 of 3 servers answer");
        let never = async || std::future::pending::<Result<(), String>>().await;
        let deadline = clock.now().plus(Duration::from_millis(40));
        assert_eq!(
            poll(&clock, Duration::from_millis(5), deadline, never).await.unwrap_err(),
            "it was never looked at"
        );
    }
}
