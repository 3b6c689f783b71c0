//! NATS: publishes that a stream acknowledges, and plain round trips through a server.

use super::cause::{Failure, Sent, io_cause_within};
use async_nats::client::RequestErrorKind;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use bytes::Bytes;
use firedrill_core::sample::{Cause, Connection, SeriesId};
use serde::Deserialize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What an attempt asks of its connection.
enum Ask {
    Publish { stream: String, subject: String, series: SeriesId },
    RoundTrip,
}

/// Publishes to a stream, or asks a server for a sign of life.
pub(super) struct NatsProbe {
    url: String,
    ask: Ask,
    timeout: Duration,
    reused: bool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    line: Option<Line>,
    generation: u64,
}

/// One connection. The client's own reconnecting is kept out of it: it would hold publishes back and send them late.
#[derive(Clone)]
struct Line {
    client: Client,
    broken: CancellationToken,
    generation: u64,
}

/// Takes the kept connection away unless the attempt that used it came to its end.
struct Suspect<'p> {
    probe: &'p NatsProbe,
    generation: u64,
    armed: bool,
}

impl Drop for Suspect<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.probe.give_up(self.generation);
        }
    }
}

#[derive(Deserialize)]
struct Ack<'a> {
    stream: Option<&'a str>,
    error: Option<AckError>,
}

#[derive(Deserialize)]
struct AckError {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    err_code: u16,
}

impl NatsProbe {
    pub(super) fn publish(
        url: &str,
        stream: &str,
        subject: &str,
        series: SeriesId,
        connection: Connection,
        timeout: Duration,
    ) -> Result<Self, String> {
        let whole =
            |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '*' || c == '>');
        if !whole(subject) || subject.split('.').any(str::is_empty) {
            return Err(format!("`{subject}` is not a subject to publish to"));
        }
        if !whole(stream) {
            return Err(format!("`{stream}` is not a stream's name"));
        }
        let ask = Ask::Publish { stream: stream.to_owned(), subject: subject.to_owned(), series };
        Self::new(url, ask, connection, timeout)
    }

    pub(super) fn round_trip(url: &str, connection: Connection, timeout: Duration) -> Result<Self, String> {
        Self::new(url, Ask::RoundTrip, connection, timeout)
    }

    fn new(url: &str, ask: Ask, connection: Connection, timeout: Duration) -> Result<Self, String> {
        url.parse::<async_nats::ServerAddr>().map_err(|error| format!("not a server's address: {error}"))?;
        let reused = connection == Connection::Reused;
        Ok(Self { url: url.to_owned(), ask, timeout, reused, kept: Mutex::default() })
    }

    pub(super) async fn attempt(&self, seq: u32, sent: &Sent) -> Result<(), Failure> {
        let kept = self.lock().line.clone();
        let line = match kept {
            Some(line) => line,
            None => {
                let line = connect(&self.url, self.timeout).await?;
                if self.reused { self.keep(line) } else { line }
            }
        };
        let mut suspect = Suspect { probe: self, generation: line.generation, armed: self.reused };
        let answered = tokio::select! {
            biased;
            answer = self.ask(&line.client, seq, sent) => answer,
            () = line.broken.cancelled() => Err(Failure::of(Cause::Reset)),
        };
        // An answer, be it a refusal, came over a connection that works.
        let works = match &answered {
            Ok(()) => true,
            Err(failure) => failure.cause == Cause::Unavailable || failure.cause == Cause::Status,
        };
        suspect.armed &= !works;
        answered
    }

    async fn ask(&self, client: &Client, seq: u32, sent: &Sent) -> Result<(), Failure> {
        sent.mark();
        match &self.ask {
            Ask::RoundTrip => {
                // Nobody listens to a fresh inbox; the server itself says so, at once.
                match client.request(client.new_inbox(), Bytes::new()).await {
                    Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
                    Ok(_) => Ok(()),
                    Err(error) => Err(request_failure(&error)),
                }
            }
            Ask::Publish { stream, subject, series } => {
                let payload = Bytes::from(format!("{{\"series\":{series},\"seq\":{seq}}}"));
                let reply = client.request(subject.clone(), payload).await.map_err(|error| request_failure(&error))?;
                let ack: Ack<'_> = serde_json::from_slice(&reply.payload).map_err(|_| Failure::of(Cause::Protocol))?;
                match ack {
                    Ack { error: Some(error), .. } => {
                        let code = if error.err_code == 0 { error.code } else { error.err_code };
                        let failure = Failure::coded(Cause::Unavailable, code);
                        // A client error is a refusal. A server error may come after the message was proposed to its
                        // peers, which may yet agree on it.
                        Err(if error.code < 500 { failure.refused() } else { failure })
                    }
                    Ack { stream: Some(by), .. } if by == stream => Ok(()),
                    Ack { stream: Some(_), .. } => Err(Failure::of(Cause::Unavailable)),
                    // Some other subscriber answered instead of a stream.
                    Ack { .. } => Err(Failure::of(Cause::Protocol)),
                }
            }
        }
    }

    /// Keeps a connection, unless another attempt has been faster.
    fn keep(&self, mut line: Line) -> Line {
        let mut kept = self.lock();
        if let Some(line) = &kept.line {
            return line.clone();
        }
        kept.generation += 1;
        line.generation = kept.generation;
        kept.line = Some(line.clone());
        line
    }

    fn give_up(&self, generation: u64) {
        let mut kept = self.lock();
        if kept.line.as_ref().is_some_and(|line| line.generation == generation) {
            kept.line = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection attempt, without any of the client's own patience.
async fn connect(url: &str, timeout: Duration) -> Result<Line, Failure> {
    let broken = CancellationToken::new();
    let noticed = broken.clone();
    let options = ConnectOptions::new()
        .connection_timeout(timeout)
        .request_timeout(Some(timeout))
        // A connection that has gone silent is given up by the attempt that times out on it; pings are for idle ones.
        .ping_interval(timeout.max(Duration::from_secs(1)))
        .ignore_discovered_servers()
        .max_reconnects(1)
        .reconnect_delay_callback(|_| Duration::ZERO)
        .client_capacity(256)
        .read_buffer_capacity(8 << 10)
        .event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                noticed.cancel();
            }
            std::future::ready(())
        });
    let client = options.connect(url).await.map_err(|error| {
        let cause = match error.kind() {
            ConnectErrorKind::Dns => Cause::Name,
            ConnectErrorKind::TimedOut => Cause::Timeout,
            ConnectErrorKind::Authentication
            | ConnectErrorKind::AuthorizationViolation
            | ConnectErrorKind::Tls
            | ConnectErrorKind::ServerParse => Cause::Protocol,
            ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => io_cause_within(&error).unwrap_or(Cause::Other),
        };
        Failure::of(cause)
    })?;
    Ok(Line { client, broken, generation: 0 })
}

fn request_failure(error: &async_nats::client::RequestError) -> Failure {
    match error.kind() {
        RequestErrorKind::TimedOut => Failure::of(Cause::Timeout),
        // No stream listens to the subject, or none that has a leader: nothing has taken the message.
        RequestErrorKind::NoResponders => Failure::coded(Cause::Unavailable, 503).refused(),
        RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => Failure::of(Cause::Other).refused(),
        RequestErrorKind::Other => Failure::of(io_cause_within(error).unwrap_or(Cause::Reset)),
    }
}
