//! Whether the API server answers while a run ends: what needs it is not waited for without end.

use super::context::{Context, Now};
use crate::clock::Clock;
use firedrill_core::time::At;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// For how long the API server may be silent until nothing more is undone or compared.
pub(super) const SILENCE_TIMEOUT: Duration = Duration::from_secs(120);
/// For how long it may be silent until no more logs are kept: they are worth less than the time.
pub(super) const BUNDLE_SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
/// How often it is asked.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How long one answer may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// After what silence people are told of it.
pub(super) const TOLD_AFTER: Duration = Duration::from_secs(5);

/// Asks the API server whether it is there, until this is dropped.
pub(super) struct Heartbeat {
    answered: watch::Receiver<()>,
    asking: JoinHandle<()>,
    now: Arc<Mutex<Now>>,
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.asking.abort();
        self.now.lock().unwrap_or_else(PoisonError::into_inner).answered = None;
    }
}

impl Heartbeat {
    /// Begins to ask.
    pub(super) fn start(context: &Context) -> Self {
        let cluster = context.ports.cluster.clone();
        let ping = move || {
            let cluster = cluster.clone();
            async move { cluster.answers().await }
        };
        Self::of(ping, PING_EVERY, context.clock(), context.now.clone())
    }

    fn of<F>(mut ping: impl FnMut() -> F + Send + 'static, every: Duration, clock: Clock, now: Arc<Mutex<Now>>) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let (tell, answered) = watch::channel(());
        let shown = now.clone();
        let told = move |at: At| shown.lock().unwrap_or_else(PoisonError::into_inner).answered = Some(at);
        told(clock.now());
        let asking = tokio::spawn(async move {
            let mut tick = interval(every);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                if timeout(PING_TIMEOUT, ping()).await == Ok(true) {
                    told(clock.now());
                    tell.send_replace(());
                }
            }
        });
        Self { answered, asking, now }
    }

    /// Returns once no answer has come for that long, from now on.
    pub(super) async fn silent(&self, limit: Duration) {
        let mut answered = self.answered.clone();
        answered.mark_unchanged();
        loop {
            match timeout(limit, answered.changed()).await {
                Ok(Ok(())) => {}
                // Nobody asks any more, so that no answer can come.
                Ok(Err(_)) => return sleep(limit).await,
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    const LIMIT: Duration = Duration::from_millis(400);

    /// After how many milliseconds the silence is noticed of an API server that answers until the one moment, and again from
    /// the other one; `None`: not within two seconds.
    async fn noticed(until_ms: u64, again_ms: Option<u64>) -> Option<u64> {
        let answers = Arc::new(AtomicBool::new(until_ms > 0));
        let server = answers.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(until_ms)).await;
            server.store(false, Ordering::Relaxed);
            if let Some(again_ms) = again_ms {
                sleep(Duration::from_millis(again_ms - until_ms)).await;
                server.store(true, Ordering::Relaxed);
            }
        });
        let ping = move || {
            let answers = answers.load(Ordering::Relaxed);
            async move { answers }
        };
        let clock = Clock::start();
        let heartbeat = Heartbeat::of(ping, Duration::from_millis(10), clock, Arc::default());
        let silent = timeout(Duration::from_secs(2), heartbeat.silent(LIMIT)).await;
        silent.ok().map(|()| clock.now().0 / 1_000)
    }

    #[tokio::test]
    async fn silence_counts_from_the_last_answer() {
        let (never, later, back) = tokio::join!(noticed(0, None), noticed(500, None), noticed(100, Some(300)));
        assert!(never.is_some_and(|ms| (400..800).contains(&ms)), "{never:?}");
        assert!(later.is_some_and(|ms| (850..1_500).contains(&ms)), "{later:?}");
        assert_eq!(back, None, "it came back in time");
    }
}
