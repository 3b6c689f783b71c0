//! What the probes' integration tests share.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod containers;
pub(crate) mod server;

use firedrill_core::sample::{Connection, Sample};
use firedrill_engine::clock::Clock;
use firedrill_engine::probe::{self, Endpoint, ProbeSpec};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const MS: Duration = Duration::from_millis(1);

static ALONE: Mutex<()> = Mutex::const_new(());

/// Times are measured one test at a time.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

pub(crate) fn spec(endpoint: Endpoint, connection: Connection, every: Duration, timeout: Duration) -> ProbeSpec {
    let in_flight_max = ProbeSpec::in_flight_for(every, timeout);
    ProbeSpec { series: 0, endpoint, every, timeout, connection, in_flight_max }
}

/// Probes under way.
pub(crate) struct Probing {
    pub(crate) clock: Clock,
    stop: CancellationToken,
    task: JoinHandle<()>,
    samples: mpsc::Receiver<Sample>,
}

impl Probing {
    pub(crate) fn start(specs: Vec<ProbeSpec>) -> Self {
        let (sink, samples) = mpsc::channel(100_000);
        let (clock, stop) = (Clock::start(), CancellationToken::new());
        for spec in &specs {
            spec.check().unwrap();
        }
        let task = probe::start(specs, clock, sink, stop.clone());
        Self { clock, stop, task, samples }
    }

    pub(crate) async fn wait(&self, time: Duration) {
        tokio::time::sleep_until(self.clock.deadline(self.clock.now().plus(time))).await;
    }

    /// All samples, each series in order.
    pub(crate) async fn end(mut self) -> Vec<Sample> {
        self.stop.cancel();
        self.task.await.unwrap();
        let mut got = Vec::new();
        while let Some(sample) = self.samples.recv().await {
            got.push(sample);
        }
        got
    }
}
