//! Waiting for a named condition, with a limit.

use super::{ASK_LIMIT, Cluster, ClusterError};
use crate::clock::Clock;
use crate::process::Progress;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

const POLL_EVERY: Duration = Duration::from_millis(250);

/// What one look at a condition found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting<T> {
    /// It holds.
    Done(T),
    /// It does not hold yet; what is missing, for the message if it never does.
    Not(String),
}

/// Looks four times a second until a condition holds. Errors that may pass are tolerated until the limit.
///
/// # Errors
/// At the limit: that the API server was silent, where it was at the end, and else what was still missing. At once: an
/// error that waiting cannot heal.
pub async fn wait_for<T, F>(what: &str, limit: Duration, look: impl FnMut() -> F) -> Result<T, ClusterError>
where
    F: Future<Output = Result<Waiting<T>, ClusterError>>,
{
    wait_and_tell(what, limit, &mut |_| (), look).await
}

/// [`wait_for`], which tells what is missing whenever that has changed.
///
/// # Errors
/// Those of [`wait_for`].
pub async fn wait_and_tell<T, F>(
    what: &str,
    limit: Duration,
    progress: Progress<'_>,
    look: impl FnMut() -> F,
) -> Result<T, ClusterError>
where
    F: Future<Output = Result<Waiting<T>, ClusterError>>,
{
    wait_by(Clock::start(), (what, limit), progress, look).await
}

impl Cluster {
    /// [`wait_for`] by the cluster's clock.
    ///
    /// # Errors
    /// Those of [`wait_for`].
    pub async fn wait_for<T, F>(&self, what: &str, limit: Duration, look: impl FnMut() -> F) -> Result<T, ClusterError>
    where
        F: Future<Output = Result<Waiting<T>, ClusterError>>,
    {
        wait_by(self.clock(), (what, limit), &mut |_| (), look).await
    }

    /// [`wait_and_tell`] by the cluster's clock.
    ///
    /// # Errors
    /// Those of [`wait_for`].
    pub async fn wait_and_tell<T, F>(
        &self,
        what: &str,
        limit: Duration,
        progress: Progress<'_>,
        look: impl FnMut() -> F,
    ) -> Result<T, ClusterError>
    where
        F: Future<Output = Result<Waiting<T>, ClusterError>>,
    {
        wait_by(self.clock(), (what, limit), progress, look).await
    }
}

async fn wait_by<T, F>(
    clock: Clock,
    (what, limit): (&str, Duration),
    progress: Progress<'_>,
    mut look: impl FnMut() -> F,
) -> Result<T, ClusterError>
where
    F: Future<Output = Result<Waiting<T>, ClusterError>>,
{
    let deadline = clock.deadline(clock.now().plus(limit));
    let mut ticks = tokio::time::interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answered = clock.now();
    let mut last = None;
    loop {
        let round = async {
            ticks.tick().await;
            look().await
        };
        match tokio::time::timeout_at(deadline, round).await {
            Ok(Ok(Waiting::Done(value))) => return Ok(value),
            Ok(Ok(Waiting::Not(missing))) => {
                answered = clock.now();
                if !matches!(&last, Some(Last::Missing(before)) if *before == missing) {
                    progress(missing.clone());
                }
                last = Some(Last::Missing(missing));
            }
            Ok(Err(error)) if error.is_transient() => {
                if !error.is_unreachable() {
                    answered = clock.now();
                }
                last = Some(Last::Error { silent: error.is_unreachable(), text: error.to_string() });
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(given_up(what, limit, clock.now().since(answered), last)),
        }
    }
}

enum Last {
    Missing(String),
    Error { silent: bool, text: String },
}

fn given_up(what: &str, limit: Duration, silent: Duration, last: Option<Last>) -> ClusterError {
    match last {
        Some(Last::Error { silent: true, text }) => {
            ClusterError::Unreachable { what: what.to_owned(), silent, last: Some(text) }
        }
        _ if silent >= ASK_LIMIT => ClusterError::Unreachable { what: what.to_owned(), silent, last: None },
        Some(Last::Missing(text) | Last::Error { text, .. }) => {
            ClusterError::Deadline { what: format!("{what} (last: {text})"), limit }
        }
        None => ClusterError::Deadline { what: what.to_owned(), limit },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn errors_that_pass_are_tolerated() {
        let looks = Cell::new(0);
        let found = wait_for("it", Duration::from_secs(20), || {
            looks.set(looks.get() + 1);
            let look = looks.get();
            async move {
                match look {
                    1 => Err(ClusterError::Unreachable { what: "it".into(), silent: Duration::ZERO, last: None }),
                    2 => Ok(Waiting::Not("half of it".into())),
                    _ => Ok(Waiting::Done(look)),
                }
            }
        });
        assert_eq!(found.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn the_limit_says_what_was_missing() {
        let never = || async { Ok::<Waiting<()>, _>(Waiting::Not("2 of 3".into())) };
        let error = wait_for("the pods", Duration::from_millis(300), never).await.unwrap_err();
        assert_eq!(error.to_string(), "the pods (last: 2 of 3) did not come within 0 s");
    }

    /// A simulator decides how fast the time of a wait passes.
    #[tokio::test(start_paused = true)]
    async fn a_wait_counts_by_the_clock_that_it_is_given() {
        crate::clock::simulated::begin(Duration::from_secs(9));
        let clock = crate::clock::simulated::clock();
        let limit = Duration::from_secs(3_600);
        let silent = || async {
            Err::<Waiting<()>, _>(ClusterError::Unreachable { what: "pods".into(), silent: ASK_LIMIT, last: None })
        };
        let error = wait_by(clock, ("the pods", limit), &mut |_| (), silent).await.unwrap_err();
        assert_eq!(clock.now().since(firedrill_core::time::At(0)).as_secs(), 3_600);
        assert!(matches!(error, ClusterError::Unreachable { silent, .. } if silent.as_secs() == 3_600), "{error:?}");
    }

    #[tokio::test]
    async fn silence_is_called_silence() {
        let silent = || async {
            let error = ClusterError::Unreachable { what: "pods".into(), silent: ASK_LIMIT, last: None };
            Err::<Waiting<()>, _>(error)
        };
        let error = wait_for("the pods", Duration::from_millis(300), silent).await.unwrap_err();
        assert!(error.is_unreachable(), "{error}");
    }

    #[tokio::test]
    async fn a_refusal_ends_the_wait_at_once() {
        let status = kube::core::Status::failure("no", "Forbidden").with_code(403).boxed();
        let mut refusal = Some(ClusterError::api("pods")(kube::Error::Api(status)));
        let refused = || {
            let error = refusal.take().unwrap();
            async { Err::<Waiting<()>, _>(error) }
        };
        let error = wait_for("the pods", Duration::from_secs(60), refused).await.unwrap_err();
        assert!(matches!(error, ClusterError::Api { .. }), "{error}");
    }
}
