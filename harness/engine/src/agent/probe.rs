//! The inside vantage's process: probes from within the cluster, and keeps what they saw until it was fetched.
//!
//! It listens on the loopback address of its pod, which the runner reaches through the API server's port-forward. Samples
//! wait here, so a connection that breaks - the API server may be away - loses nothing: the runner comes back and goes on at
//! its offset.

use super::probe_wire::{self as wire, Chore, Head, Request};
use crate::clock::Clock;
use crate::ledger;
use crate::probe::{self, ProbeSpec};
use firedrill_core::sample::{RECORD_BYTES, Sample};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Records kept for a runner that is away: 66 minutes of 1,000 samples a second.
const RECORDS_MAX: usize = 4_000_000;
/// Records in one answer.
const FETCH_MAX: u32 = 16_384;
/// How long an answer may be held back for lack of records.
const FETCH_WAIT_MAX: Duration = Duration::from_secs(5);
/// Connections at once; the runner needs two.
const CONNECTIONS_MAX: usize = 16;
/// Series of one run.
const SERIES_MAX: usize = 1_000;

struct Agent {
    clock: Clock,
    instance: String,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    specs: Option<Vec<ProbeSpec>>,
    stop: CancellationToken,
    /// The number of the first record kept; those before have arrived.
    base: u64,
    records: VecDeque<[u8; RECORD_BYTES]>,
    lost: u64,
    ended: bool,
}

/// Serves until its time is up or it is asked to end (SIGTERM).
///
/// # Errors
/// Where it cannot listen.
pub async fn serve_probe(listen: SocketAddr, expires_after: Duration) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(listen).await?;
    let asked = async move {
        terminate.recv().await;
    };
    serve(listener, expires_after, asked).await
}

pub(super) async fn serve(
    listener: TcpListener,
    expires_after: Duration,
    end: impl Future<Output = ()>,
) -> io::Result<()> {
    let agent = Arc::new(Agent {
        clock: Clock::start(),
        instance: tokio::fs::read_to_string("/proc/sys/kernel/random/uuid").await?.trim().to_owned(),
        state: Mutex::default(),
        news: Notify::new(),
    });
    let mut end = std::pin::pin!(end);
    let mut expiry = std::pin::pin!(tokio::time::sleep(expires_after));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = &mut end => break,
            () = &mut expiry => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => drop(connections.spawn(agent.clone().converse(stream))),
                Err(error) => tracing::warn!(%error, "a connection was not accepted"),
            },
        }
    }
    agent.lock().stop.cancel();
    Ok(())
}

impl Agent {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers requests, in order, until the connection closes or breaks.
    async fn converse(self: Arc<Self>, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        loop {
            let request = match wire::read_json::<Request>(&mut stream).await {
                Ok(request) => request,
                Err(error) => {
                    if error.kind() != io::ErrorKind::UnexpectedEof {
                        tracing::warn!(%error, "a request could not be read");
                    }
                    return;
                }
            };
            let (mut head, payload) = self.clone().answer(request).await;
            head.instance.clone_from(&self.instance);
            head.bytes = payload.len() as u64;
            head.now = self.clock.now();
            let written = async {
                wire::write_json(&mut stream, &head).await?;
                stream.write_all(&payload).await?;
                stream.flush().await
            };
            if written.await.is_err() {
                return;
            }
        }
    }

    async fn answer(self: Arc<Self>, request: Request) -> (Head, Vec<u8>) {
        match request {
            Request::Ping => (Head::default(), Vec::new()),
            Request::Start { specs } => (Head { error: self.begin(specs).err(), ..Head::default() }, Vec::new()),
            Request::Fetch { from, wait } => self.fetch(from, wait.min(FETCH_WAIT_MAX)).await,
            Request::Stop => {
                self.lock().stop.cancel();
                (Head::default(), Vec::new())
            }
            Request::ReadBack { store, within } => match ledger::read_back(&store, within).await {
                Ok(found) => (Head::default(), found.encode()),
                Err(error) => (Head { error: Some(error.to_string()), ..Head::default() }, Vec::new()),
            },
            Request::Do { chore, within } => {
                let done = match chore {
                    Chore::CreateTable { url, table } => ledger::create_table(&url, &table, within).await,
                    Chore::DropTable { url, table } => ledger::drop_table(&url, &table, within).await,
                    Chore::Purge { url, stream, subject } => {
                        ledger::purge(&url, &stream, &subject, within).await.map(|_| ())
                    }
                };
                (Head { error: done.err().map(|error| error.to_string()), ..Head::default() }, Vec::new())
            }
        }
    }

    /// Starts the probes, once; the same start again (its answer was lost) is no error.
    fn begin(self: &Arc<Self>, specs: Vec<ProbeSpec>) -> Result<(), String> {
        if specs.len() > SERIES_MAX {
            return Err(format!("more than {SERIES_MAX} series"));
        }
        for spec in &specs {
            spec.check().map_err(|error| error.to_string())?;
        }
        let stop = {
            let mut state = self.lock();
            match &state.specs {
                Some(running) if *running == specs => return Ok(()),
                Some(_) => return Err("other probes are running".to_owned()),
                None => state.specs = Some(specs.clone()),
            }
            state.stop.clone()
        };
        let (sink, samples) = mpsc::channel(4_096);
        drop(probe::start(specs, self.clock, sink, stop));
        drop(tokio::spawn(self.clone().collect(samples)));
        Ok(())
    }

    async fn collect(self: Arc<Self>, mut samples: mpsc::Receiver<Sample>) {
        let mut batch = Vec::with_capacity(256);
        while samples.recv_many(&mut batch, 256).await > 0 {
            {
                let mut state = self.lock();
                for sample in batch.drain(..) {
                    if state.records.len() < RECORDS_MAX && state.lost == 0 {
                        state.records.push_back(sample.encode());
                    } else {
                        state.lost += 1;
                    }
                }
            }
            self.news.notify_waiters();
        }
        self.lock().ended = true;
        self.news.notify_waiters();
    }

    async fn fetch(&self, from: u64, wait: Duration) -> (Head, Vec<u8>) {
        let until = self.clock.deadline(self.clock.now().plus(wait));
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            let answer = self.lock().take(from);
            let (head, payload) = answer;
            if head.error.is_some() || head.ended || !payload.is_empty() {
                return (head, payload);
            }
            if tokio::time::timeout_at(until, news).await.is_err() {
                return (head, payload);
            }
        }
    }
}

impl State {
    /// The records from one on; those before have arrived and are let go.
    fn take(&mut self, from: u64) -> (Head, Vec<u8>) {
        let kept = self.records.len() as u64;
        let failed = |error| (Head { error: Some(error), ..Head::default() }, Vec::new());
        if from < self.base || from > self.base + kept {
            return failed(format!("record {from} is asked for, {} to {} are kept", self.base, self.base + kept));
        }
        let arrived = usize::try_from(from - self.base).unwrap_or(usize::MAX).min(self.records.len());
        self.records.drain(..arrived);
        self.base = from;
        if self.records.is_empty() && self.lost > 0 {
            return failed(format!("{} records were lost because nobody fetched them", self.lost));
        }
        let count = self.records.len().min(FETCH_MAX as usize);
        let payload = self.records.iter().take(count).flatten().copied().collect();
        let ended = self.ended && self.lost == 0 && count == self.records.len();
        (Head { from, ended, ..Head::default() }, payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(records: u8) -> State {
        State { records: (0..records).map(|n| [n; RECORD_BYTES]).collect(), ..State::default() }
    }

    #[test]
    fn what_has_not_arrived_is_given_again() {
        let mut state = state(3);
        let (_, first) = state.take(0);
        assert_eq!(first.len(), 3 * RECORD_BYTES);
        assert_eq!(state.take(0).1, first);
        let (head, rest) = state.take(2);
        assert_eq!((head.from, rest), (2, vec![2; RECORD_BYTES]));
        assert!(state.take(1).0.error.is_some(), "let go already");
        assert!(state.take(4).0.error.is_some(), "never there");
    }

    #[test]
    fn a_full_buffer_is_an_error_and_not_an_end() {
        let mut state = state(1);
        (state.lost, state.ended) = (7, true);
        let (head, payload) = state.take(0);
        assert_eq!((head.error, head.ended, payload.len()), (None, false, RECORD_BYTES));
        let (head, _) = state.take(1);
        assert!(head.error.is_some_and(|error| error.contains("7 records were lost")));
    }
}
