//! Probing for a while and judging at once, with flat memory: no cluster, no run.

use super::endpoint::EndpointError;
use super::remarks::Remarks;
use super::schedule::{ProbeSpec, start_with};
use crate::clock::Clock;
use firedrill_core::judge::outage::{SeriesSummary, SeriesTracker};
use firedrill_core::time::At;
use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Samples that wait to be judged.
const WAITING_MAX: usize = 8_192;

/// What was seen while watching.
#[derive(Clone, Debug)]
pub struct Watched {
    /// When watching began, on the clock of all moments below.
    pub from: At,
    /// When the last attempts were started.
    pub until: At,
    /// What each series saw, in the order of the specs.
    pub series: Vec<SeriesSummary>,
    /// What the causes and codes of failures leave out.
    pub remarks: Remarks,
}

/// Probes for a time, or until `interrupted`, and finds the outages: each ends with a window of unbroken success of
/// `sustained`.
///
/// The specs' series ids are given anew: the first is 0.
///
/// # Errors
/// Where one of them cannot be probed; nothing was asked of any then.
pub async fn watch(
    mut specs: Vec<ProbeSpec>,
    sustained: Duration,
    time: Duration,
    interrupted: impl Future<Output = ()>,
) -> Result<Watched, EndpointError> {
    let mut trackers = HashMap::new();
    for (series, spec) in (0..).zip(&mut specs) {
        spec.series = series;
        spec.check()?;
        trackers.insert(series, SeriesTracker::new(sustained).with_every(spec.every).with_timeout(spec.timeout));
    }
    let clock = Clock::start();
    let (sink, mut samples) = mpsc::channel(WAITING_MAX);
    let stop = CancellationToken::new();
    let from = clock.now();
    let mut until = from.plus(time);
    let remarks = Remarks::default();
    let probing = start_with(specs, clock, sink, stop.clone(), remarks.clone());
    let mut timer = pin!(tokio::time::sleep_until(clock.deadline(until)));
    let mut interrupted = pin!(interrupted);
    let mut batch = Vec::with_capacity(256);
    loop {
        tokio::select! {
            biased;
            () = &mut interrupted, if !stop.is_cancelled() => {
                until = clock.now();
                stop.cancel();
            }
            () = &mut timer, if !stop.is_cancelled() => stop.cancel(),
            received = samples.recv_many(&mut batch, 256) => {
                if received == 0 {
                    break;
                }
                for sample in batch.drain(..) {
                    if let Some(tracker) = trackers.get_mut(&sample.series) {
                        tracker.push(&sample);
                    }
                }
            }
        }
    }
    if let Err(error) = probing.await {
        tracing::error!(%error, "the probes ended in disorder");
    }
    let mut series: Vec<_> = trackers.into_iter().collect();
    series.sort_unstable_by_key(|(series, _)| *series);
    let series = series.into_iter().map(|(_, tracker)| tracker.finish(until)).collect();
    Ok(Watched { from, until, series, remarks })
}
