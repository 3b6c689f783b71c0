//! The open-loop schedule of one series.

use super::client::Client;
use super::endpoint::{Endpoint, EndpointError};
use super::remarks::Remarks;
use crate::clock::Clock;
use firedrill_core::sample::{Cause, Connection, NotSent, Outcome, Sample, SeriesId};
use firedrill_core::time::{At, as_ms, micros};
use futures::stream::{FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

/// Attempts in flight beyond those that a hanging service explains.
pub const IN_FLIGHT_SLACK: usize = 16;
/// How much later than the next attempt's turn an attempt may start; later ones are not sent and count as stalled.
pub const LATE_MAX: Duration = Duration::from_millis(20);
/// Attempts not yet delivered, whatever the reason; beyond these the series waits for its reader, and what it misses counts as
/// stalled.
const PENDING_MAX: usize = 65_536;

/// A dense series hands its samples over in batches: to wake the reader for each would cost as much as the attempt itself.
const HAND_OVER_EVERY: Duration = Duration::from_millis(20);

/// An attempt that ended this long after its limit was held up by this side.
const HELD_UP_MIN: Duration = Duration::from_millis(250);

/// The priority of the probes' thread, where 0 is the usual one and -20 the first.
const NICENESS: i32 = -10;

const EVERY_MIN: Duration = Duration::from_millis(1);
const EVERY_MAX: Duration = Duration::from_secs(60);
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// One series to probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSpec {
    /// The series that its samples carry.
    pub series: SeriesId,
    /// What is asked.
    pub endpoint: Endpoint,
    /// Time between two attempts, 1 ms to 60 s.
    #[serde(with = "as_ms")]
    pub every: Duration,
    /// Each attempt's own limit, from its start.
    #[serde(with = "as_ms")]
    pub timeout: Duration,
    /// Whether each attempt opens its own connection. Connections that are kept carry one attempt at a time, and an attempt
    /// that finds none idle opens another (NATS carries them all on one). A kept connection on which an attempt failed or
    /// timed out is replaced.
    pub connection: Connection,
    /// Attempts in flight at most; what would exceed it is not sent and counts as stalled. See [`ProbeSpec::in_flight_for`].
    pub in_flight_max: usize,
    /// It must not come through: an attempt whose connection is not made succeeds, one that reaches the other end fails.
    #[serde(default)]
    pub blocked: bool,
}

impl ProbeSpec {
    /// The least bound on attempts in flight that a hanging service does not reach: one for each that is due within the
    /// timeout, and some slack.
    pub fn in_flight_for(every: Duration, timeout: Duration) -> usize {
        let due = micros(timeout).div_ceil(micros(every).max(1));
        usize::try_from(due).unwrap_or(usize::MAX).saturating_add(IN_FLIGHT_SLACK)
    }

    /// Whether this can be probed at all; nothing is asked of the endpoint.
    ///
    /// # Errors
    /// Says all that is wrong.
    pub fn check(&self) -> Result<(), EndpointError> {
        let Self { every, timeout, .. } = *self;
        let mut wrong = Vec::new();
        if !(EVERY_MIN..=EVERY_MAX).contains(&every) {
            wrong.push("the time between attempts must be 1 ms to 60 s".to_owned());
        }
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            wrong.push("the timeout must be 1 ms to 300 s".to_owned());
        }
        if wrong.is_empty() {
            let least = Self::in_flight_for(every, timeout) - IN_FLIGHT_SLACK + 1;
            if self.in_flight_max < least {
                wrong.push(format!("in flight: at least {least}, or a hang looks like a stall"));
            }
            if least > PENDING_MAX / 2 {
                wrong.push("the timeout is too long for attempts this close together".to_owned());
            }
        }
        wrong.extend(Client::new(self, &Remarks::default()).err().map(|error| error.reason));
        if wrong.is_empty() { Ok(()) } else { Err(self.endpoint.error(wrong.join("; "))) }
    }
}

/// Probes every series until told to stop, and then until the attempts in flight have ended, each within its timeout.
///
/// Samples of a series arrive in the order of their sequence numbers, which is the order in which they were intended. The
/// series end early where the receiver of `sink` is gone. A series that [`ProbeSpec::check`] refuses fails every attempt with
/// [`Cause::Other`].
///
/// The probes have a thread of their own: whatever else this process does, it does not delay them, and no attempt wakes
/// more than one thread. Where this process may, it has that thread run before other programs.
pub fn start(specs: Vec<ProbeSpec>, clock: Clock, sink: Sender<Sample>, stop: CancellationToken) -> JoinHandle<()> {
    start_with(specs, clock, sink, stop, Remarks::default())
}

/// As [`start`], and keeps what causes and codes leave out.
pub(super) fn start_with(
    specs: Vec<ProbeSpec>,
    clock: Clock,
    sink: Sender<Sample>,
    stop: CancellationToken,
    remarks: Remarks,
) -> JoinHandle<()> {
    let origin = clock.now();
    let (done, ended) = oneshot::channel::<()>();
    let probing = run_all(specs, clock, origin, sink, stop, remarks);
    let alone = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let work = move || {
            take_precedence();
            runtime.block_on(probing);
            drop(done);
            // A name that is still being looked up must not hold up the end.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("probes".to_owned()).spawn(work)
    });
    if let Err(error) = alone {
        // The sink is gone with it, so that the reader sees the end.
        tracing::error!(%error, "the probes could not be started");
    }
    tokio::spawn(async move { drop(ended.await) })
}

/// Has this thread run before others that want a processor. Where that is not permitted, it waits like them, and turns that it
/// misses count as stalled.
fn take_precedence() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!(%error, "the probes have no precedence over other programs");
    }
}

async fn run_all(
    specs: Vec<ProbeSpec>,
    clock: Clock,
    origin: At,
    sink: Sender<Sample>,
    stop: CancellationToken,
    remarks: Remarks,
) {
    let mut all = JoinSet::new();
    for spec in specs {
        let client = spec.check().and_then(|()| Client::new(&spec, &remarks));
        if let Err(error) = &client {
            tracing::error!(series = spec.series, %error, "cannot be probed");
        }
        let series = Series { spec, clock, origin, client: client.ok() };
        all.spawn(series.run(sink.clone(), stop.clone()));
    }
    drop(sink);
    while all.join_next().await.is_some() {}
}

/// What an attempt says that ended long after its limit, since this side did not run meanwhile: that the service did not
/// answer in time is not known. What may have been applied stays so.
fn held_up(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed { cause: Cause::Timeout, maybe_applied: false, .. } => {
            Outcome::NotSent { why: NotSent::Suspended }
        }
        outcome => outcome,
    }
}

struct Series {
    spec: ProbeSpec,
    clock: Clock,
    origin: At,
    client: Option<Client>,
}

/// The attempts not yet delivered, in order; `None` where one is in flight.
#[derive(Default)]
struct Pending {
    first: u32,
    slots: VecDeque<Option<Sample>>,
}

impl Pending {
    fn fill(&mut self, sample: Sample) {
        if let Some(slot) = self.slots.get_mut(sample.seq.wrapping_sub(self.first) as usize) {
            *slot = Some(sample);
        }
    }

    fn ready(&self) -> Option<Sample> {
        self.slots.front().copied().flatten()
    }

    fn pop(&mut self) {
        self.slots.pop_front();
        self.first = self.first.wrapping_add(1);
    }
}

/// The timer of the next attempt's turn and, set already, that of the turn after it.
///
/// A timer that is set to fire before all others makes tokio's driver wake itself: with one timer, that is two system calls more
/// for each attempt.
struct Turns {
    timer: Pin<Box<Sleep>>,
    following: Pin<Box<Sleep>>,
    /// The attempt whose turn `following` is.
    follows: u32,
}

impl Turns {
    fn new(series: &Series, next: u32) -> Self {
        let timer = Box::pin(tokio::time::sleep_until(series.deadline(next)));
        let follows = next.saturating_add(1);
        let mut following = Box::pin(tokio::time::sleep_until(series.deadline(follows)));
        following.as_mut().reset(series.deadline(follows));
        Self { timer, following, follows }
    }

    /// Waits for the turn of `next` from now on.
    fn pass(&mut self, series: &Series, next: u32) {
        std::mem::swap(&mut self.timer, &mut self.following);
        if next != self.follows {
            self.timer.as_mut().reset(series.deadline(next));
        }
        self.follows = next.saturating_add(1);
        self.following.as_mut().reset(series.deadline(self.follows));
    }
}

impl Series {
    fn deadline(&self, seq: u32) -> tokio::time::Instant {
        self.clock.deadline(self.intended(seq))
    }

    fn intended(&self, seq: u32) -> At {
        At(self.origin.0.saturating_add(micros(self.spec.every).saturating_mul(u64::from(seq))))
    }

    async fn attempt(&self, seq: u32) -> Sample {
        let started = self.clock.now();
        let outcome = match &self.client {
            Some(client) => client.attempt(seq).await,
            None => Outcome::Failed { cause: Cause::Other, code: 0, maybe_applied: false },
        };
        let (intended, ended) = (self.intended(seq), self.clock.now());
        let outcome = if ended.since(started) > self.spec.timeout + HELD_UP_MIN { held_up(outcome) } else { outcome };
        Sample { series: self.spec.series, seq, intended, started, ended, outcome }
    }

    async fn run(self, sink: Sender<Sample>, stop: CancellationToken) {
        let late_max = micros(self.spec.every.saturating_add(LATE_MAX));
        let mut stopped = pin!(stop.cancelled());
        let mut stopping = false;
        let mut in_flight = FuturesUnordered::new();
        let mut pending = Pending::default();
        let mut next = 0_u32;
        let mut turns = Turns::new(&self, next);
        // The next attempt's turn comes within this time at the latest, so nothing waits for longer.
        let hand_over_every = if self.spec.every > HAND_OVER_EVERY { Duration::ZERO } else { HAND_OVER_EVERY };
        let mut hand_over_at = self.origin;
        loop {
            let mut full = false;
            let due = stopping || pending.ready().is_some() && self.clock.now() >= hand_over_at;
            while let Some(sample) = pending.ready().filter(|_| due) {
                match sink.try_send(sample) {
                    Ok(()) => pending.pop(),
                    Err(TrySendError::Full(_)) => {
                        full = true;
                        break;
                    }
                    Err(TrySendError::Closed(_)) => return,
                }
            }
            if due {
                hand_over_at = self.clock.now().plus(hand_over_every);
            }
            if stopping && pending.slots.is_empty() {
                return;
            }
            let room = pending.slots.len() < PENDING_MAX && next != u32::MAX;
            tokio::select! {
                biased;
                () = &mut stopped, if !stopping => stopping = true,
                // Attempts are started before answers are looked at, so that a burst of answers does not delay them.
                () = turns.timer.as_mut(), if !stopping && room => {
                    let now = self.clock.now();
                    while self.intended(next) <= now && pending.slots.len() < PENDING_MAX && next != u32::MAX {
                        let intended = self.intended(next);
                        let late = now.0 - intended.0;
                        if late > late_max || in_flight.len() >= self.spec.in_flight_max {
                            let outcome = Outcome::Stalled;
                            let series = self.spec.series;
                            let stalled = Sample { series, seq: next, intended, started: now, ended: now, outcome };
                            pending.slots.push_back(Some(stalled));
                        } else {
                            pending.slots.push_back(None);
                            in_flight.push(self.attempt(next));
                        }
                        next += 1;
                    }
                    turns.pass(&self, next);
                }
                Some(sample) = in_flight.next(), if !in_flight.is_empty() => pending.fill(sample),
                permit = sink.reserve(), if full => match (permit, pending.ready()) {
                    (Ok(permit), Some(sample)) => {
                        permit.send(sample);
                        pending.pop();
                    }
                    (Ok(_), None) => {}
                    (Err(_), _) => return,
                },
            }
        }
    }
}
