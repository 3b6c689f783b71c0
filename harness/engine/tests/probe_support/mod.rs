//! What the probes' integration tests share.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod containers;
pub(crate) mod fakes;
pub(crate) mod server;

use firedrill_core::sample::{Connection, Sample};
use firedrill_core::time::At;
use firedrill_engine::clock::Clock;
use firedrill_engine::probe::{self, Endpoint, ProbeSpec};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const MS: Duration = Duration::from_millis(1);
/// How long a server that was broken may take to be back, on the busiest machine.
const BACK_WITHIN: Duration = Duration::from_secs(60);

static ALONE: Mutex<()> = Mutex::const_new(());

/// Times are measured one test at a time.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

pub(crate) fn spec(endpoint: Endpoint, connection: Connection, every: Duration, timeout: Duration) -> ProbeSpec {
    let in_flight_max = ProbeSpec::in_flight_for(every, timeout);
    ProbeSpec { series: 0, endpoint, every, timeout, connection, in_flight_max, blocked: false }
}

/// Probes under way.
pub(crate) struct Probing {
    pub(crate) clock: Clock,
    stop: CancellationToken,
    task: JoinHandle<()>,
    samples: mpsc::Receiver<Sample>,
    got: Vec<Sample>,
}

impl Probing {
    pub(crate) fn start(specs: Vec<ProbeSpec>) -> Self {
        let (sink, samples) = mpsc::channel(100_000);
        let (clock, stop) = (Clock::start(), CancellationToken::new());
        for spec in &specs {
            spec.check().unwrap();
        }
        let task = probe::start(specs, clock, sink, stop.clone());
        Self { clock, stop, task, samples, got: Vec::new() }
    }

    pub(crate) async fn wait(&self, time: Duration) {
        tokio::time::sleep_until(self.clock.deadline(self.clock.now().plus(time))).await;
    }

    /// Waits until each of these series has succeeded for so long without a break, however busy the machine is.
    pub(crate) async fn until_back(&mut self, series: &[u16], unbroken: Duration) {
        let now = self.clock.now();
        let mut since: BTreeMap<u16, Option<At>> = series.iter().map(|series| (*series, None)).collect();
        let limit = self.clock.deadline(now.plus(BACK_WITHIN));
        let is_back = |since: &Option<At>, at: At| since.is_some_and(|since| at.since(since) >= unbroken);
        loop {
            let sample = tokio::time::timeout_at(limit, self.samples.recv()).await.expect("never back").unwrap();
            self.got.push(sample);
            if let Some(since) = since.get_mut(&sample.series).filter(|_| sample.started >= now) {
                *since = if sample.is_ok() { since.or(Some(sample.started)) } else { None };
            }
            if since.values().all(|since| is_back(since, sample.started)) {
                return;
            }
        }
    }

    /// All samples, each series in order.
    pub(crate) async fn end(mut self) -> Vec<Sample> {
        self.stop.cancel();
        self.task.await.unwrap();
        while let Some(sample) = self.samples.recv().await {
            self.got.push(sample);
        }
        self.got
    }
}
