//! NATS: publishes that a stream acknowledges, and plain round trips through a server.

use super::cause::{Failure, Sent, io_failure_within};
use super::client::Attempts;
use super::nats_server::Server;
use super::remarks::Notes;
use async_nats::client::RequestErrorKind;
use async_nats::{Client, ConnectErrorKind, Event, ServerAddr, ServerError};
use async_trait::async_trait;
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
pub(super) struct NatsAttempts {
    server: Server,
    ask: Ask,
    way: Way,
    reused: bool,
    kept: Mutex<Kept>,
}

/// How a server is asked.
pub(super) struct Way {
    /// What the subjects of answers begin with.
    pub(super) inbox_prefix: Option<String>,
    /// Each attempt's limit.
    pub(super) timeout: Duration,
    /// For what the server says.
    pub(super) notes: Notes,
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
    /// The server did not permit what an attempt needs, which it says by the side: the request itself just stays unanswered.
    denied: CancellationToken,
    generation: u64,
}

/// Takes the kept connection away unless the attempt that used it came to its end.
struct Suspect<'p> {
    probe: &'p NatsAttempts,
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

impl NatsAttempts {
    pub(super) fn publish(
        url: &str,
        stream: &str,
        subject: &str,
        series: SeriesId,
        connection: Connection,
        way: Way,
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
        Self::new(url, ask, connection, way)
    }

    pub(super) fn round_trip(url: &str, connection: Connection, way: Way) -> Result<Self, String> {
        Self::new(url, Ask::RoundTrip, connection, way)
    }

    fn new(url: &str, ask: Ask, connection: Connection, way: Way) -> Result<Self, String> {
        let server = Server::parse(url)?;
        if let Some(prefix) = &way.inbox_prefix
            && prefix.split('.').any(|part| {
                part.is_empty() || part.contains(|c: char| c.is_whitespace() || c.is_control() || c == '*' || c == '>')
            })
        {
            return Err(format!("`{}` is not a prefix of subjects", prefix.escape_debug()));
        }
        let reused = connection == Connection::Reused;
        Ok(Self { server, ask, way, reused, kept: Mutex::default() })
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

#[async_trait]
impl Attempts for NatsAttempts {
    async fn attempt(&self, seq: u32, sent: &Sent) -> Result<(), Failure> {
        let kept = self.lock().line.clone();
        let line = match kept {
            Some(line) => line,
            None => {
                let line = connect(&self.server, &self.way).await?;
                if self.reused { self.keep(line) } else { line }
            }
        };
        let mut suspect = Suspect { probe: self, generation: line.generation, armed: self.reused };
        let answered = tokio::select! {
            biased;
            answer = self.ask(&line.client, seq, sent) => answer,
            () = line.denied.cancelled() => Err(Failure::of(Cause::Denied)),
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
}

/// Connects to the address that accepts first.
async fn connect(server: &Server, way: &Way) -> Result<Line, Failure> {
    let address = server.address().await?;
    let is_named = address == server.named();
    match connect_to(address, server, way).await {
        // A server may demand TLS in its greeting, and its certificate bears the name.
        Err(failure) if failure.cause == Cause::Protocol && !failure.refused && !is_named => {
            connect_to(server.named(), server, way).await
        }
        connected => connected,
    }
}

/// One connection attempt, without any of the client's own patience.
async fn connect_to(address: ServerAddr, server: &Server, way: &Way) -> Result<Line, Failure> {
    let (broken, denied) = (CancellationToken::new(), CancellationToken::new());
    let (noticed, refused, notes) = (broken.clone(), denied.clone(), way.notes.clone());
    let timeout = way.timeout;
    let mut options = server
        .options()
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
            match &event {
                Event::Disconnected | Event::Closed => noticed.cancel(),
                Event::ServerError(ServerError::Other(text)) => {
                    if let Some(subject) = denied_subject(text) {
                        notes.remark(Cause::Denied, 0, || subject);
                        refused.cancel();
                    }
                }
                _ => {}
            }
            std::future::ready(())
        });
    if let Some(prefix) = &way.inbox_prefix {
        options = options.custom_inbox_prefix(prefix);
    }
    let client = options.connect(address).await.map_err(|error| match error.kind() {
        ConnectErrorKind::Dns => Failure::of(Cause::Name),
        ConnectErrorKind::TimedOut => Failure::of(Cause::Timeout),
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            way.notes.remark(Cause::Protocol, 0, || "login refused".to_owned());
            Failure::of(Cause::Protocol).refused()
        }
        ConnectErrorKind::Tls | ConnectErrorKind::ServerParse => Failure::of(Cause::Protocol),
        ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            io_failure_within(&error).unwrap_or(Failure::of(Cause::Other))
        }
    })?;
    Ok(Line { client, broken, denied, generation: 0 })
}

/// What a server's error says was not permitted: `Permissions Violation for Subscription to "_INBOX.x.*"`.
fn denied_subject(error: &str) -> Option<String> {
    let start = error.get(..PERMISSIONS.len()).filter(|start| start.eq_ignore_ascii_case(PERMISSIONS))?;
    let rest = &error[start.len()..];
    let (what, subject) = rest.split_once(" to ")?;
    // The letters behind an inbox's prefix are drawn anew for each connection.
    let subject = subject.trim_matches(['"', '\'']);
    let shown = match subject.strip_prefix("_INBOX.") {
        Some(_) => "_INBOX.>",
        None => subject,
    };
    Some(format!("permission denied for {} to {shown}", what.to_ascii_lowercase()))
}

/// What such an error begins with.
const PERMISSIONS: &str = "permissions violation for ";

fn request_failure(error: &async_nats::client::RequestError) -> Failure {
    match error.kind() {
        RequestErrorKind::TimedOut => Failure::of(Cause::Timeout),
        // No stream listens to the subject, or none that has a leader: nothing has taken the message.
        RequestErrorKind::NoResponders => Failure::coded(Cause::Unavailable, 503).refused(),
        RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => Failure::of(Cause::Other).refused(),
        RequestErrorKind::Other => io_failure_within(error).unwrap_or(Failure::of(Cause::Reset)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_permitted_is_named() {
        let subscription = r#"Permissions Violation for Subscription to "_INBOX.Zx81.*""#;
        let denied = denied_subject(subscription);
        assert_eq!(denied.as_deref(), Some("permission denied for subscription to _INBOX.>"));
        let publish = denied_subject(r#"permissions violation for Publish to "drill.a""#);
        assert_eq!(publish.as_deref(), Some("permission denied for publish to drill.a"));
        assert_eq!(denied_subject("Stale Connection"), None);
        assert_eq!(denied_subject("permissions violation for \u{e9}"), None);
    }
}
