//! What a probe asks, and how it is shown without its secrets.

use super::http::HttpClient;
use firedrill_core::sample::Connection;
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// What a probe asks. Names are resolved again for each connection.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// GET over plain HTTP/1.1. Redirects are not followed.
    Http {
        /// The address, `http://user:password@host:port/path?query`; a login is sent as Basic authentication.
        url: String,
        /// The status expected.
        status: u16,
        /// What the body must contain, within its first [`BODY_SEARCHED_MAX`](super::BODY_SEARCHED_MAX) bytes.
        body: Option<String>,
    },
    /// A TCP connection. Over a reused one an attempt succeeds as long as neither end has closed it, which a black hole
    /// does not do: use new connections to see one.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A JetStream publish, acknowledged by the named stream.
    Jetstream {
        /// The server, `nats://user:password@host:port`.
        url: String,
        /// The stream that must acknowledge.
        stream: String,
        /// The subject, as it is.
        subject: String,
        /// What the subjects of answers begin with; `_INBOX` where it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inbox_prefix: Option<String>,
    },
    /// A round trip through a NATS server: a request that nobody can answer, which the server says at once.
    Nats {
        /// The server, `nats://user:password@host:port`.
        url: String,
        /// What the subjects of answers begin with; `_INBOX` where it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inbox_prefix: Option<String>,
    },
    /// A PostgreSQL insert, committed.
    Postgres {
        /// The database, `postgres://user:password@host:port/database`.
        url: String,
        /// A table made by [`crate::ledger::create_table`].
        table: String,
    },
    /// A PostgreSQL read: `SELECT 1`.
    PostgresRead {
        /// The database, `postgres://user:password@host:port/database`.
        url: String,
    },
    /// An Ironflow run, triggered and completed.
    Ironflow {
        /// The server, `http://host:port`.
        base_url: String,
        /// The event that triggers the run.
        event: String,
        /// What the idempotency keys and the event's data of this drill start with; tells its runs from all others.
        key_prefix: String,
        /// Filler in the event's data, in KiB.
        payload_kib: u32,
    },
}

/// Why an endpoint cannot be probed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{endpoint}: {reason}")]
pub struct EndpointError {
    /// The endpoint, without secrets.
    pub endpoint: String,
    /// Why.
    pub reason: String,
}

impl Endpoint {
    /// Whether an acknowledged attempt leaves a write behind.
    pub fn writes(&self) -> bool {
        match self {
            Endpoint::Jetstream { .. } | Endpoint::Postgres { .. } | Endpoint::Ironflow { .. } => true,
            Endpoint::Http { .. } | Endpoint::Tcp { .. } | Endpoint::Nats { .. } | Endpoint::PostgresRead { .. } => {
                false
            }
        }
    }

    /// The host and port that a connection goes to, where it is the probe itself that opens it.
    pub(super) fn other_end(&self) -> Option<(String, u16)> {
        match self {
            Endpoint::Http { url, .. } => {
                HttpClient::new(url, Connection::New, 1).ok().map(|(client, _)| client.other_end())
            }
            Endpoint::Tcp { host, port } => Some((host.clone(), *port)),
            Endpoint::Jetstream { .. }
            | Endpoint::Nats { .. }
            | Endpoint::Postgres { .. }
            | Endpoint::PostgresRead { .. }
            | Endpoint::Ironflow { .. } => None,
        }
    }

    pub(super) fn error(&self, reason: impl fmt::Display) -> EndpointError {
        EndpointError { endpoint: self.to_string(), reason: reason.to_string() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Http { url, .. } => write!(f, "{}", redacted(url)),
            Endpoint::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Endpoint::Jetstream { url, stream, subject, .. } => write!(f, "{} {stream} {subject}", redacted(url)),
            Endpoint::Nats { url, .. } | Endpoint::PostgresRead { url } => write!(f, "{}", redacted(url)),
            Endpoint::Postgres { url, table } => write!(f, "{} {table}", redacted(url)),
            Endpoint::Ironflow { base_url, event, .. } => write!(f, "{} {event}", redacted(base_url)),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// A URL without its user, password and query, any of which may be secret.
pub fn redacted(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    // A password may hold an unescaped slash, question mark or at sign, so the last at sign counts, unless what stands before
    // the first of these is a host and port by itself.
    let (login, place) = match rest.rsplit_once('@') {
        Some((before, _)) if is_place(before) => ("", rest),
        Some((_, place)) if scheme.is_empty() => ("", place),
        Some((_, place)) => ("***@", place),
        None => ("", rest),
    };
    match place.split_once(['?', '#']) {
        Some((place, _)) => format!("{scheme}{login}{place}?***"),
        None => format!("{scheme}{login}{place}"),
    }
}

/// Whether a text is a host, with a port or without, and the beginning of a query.
fn is_place(text: &str) -> bool {
    let Some((place, _)) = text.split_once(['?', '#']) else { return false };
    let host = place.split('/').next().unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    !host.contains('@') && port.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let endpoint = Endpoint::Postgres {
            url: "postgres://app:s3/cr@et@db:5432/app?password=s3cret".to_owned(),
            table: "t".to_owned(),
        };
        for shown in [format!("{endpoint:?}"), endpoint.to_string()] {
            assert!(!shown.contains("cret"), "{shown}");
            assert!(shown.contains("db:5432/app"), "{shown}");
        }
        assert_eq!(redacted("user:pw@host:4222"), "host:4222");
        for url in
            ["http://u:se?cret@h/", "http://u:se#cret@h/", "nats://u:se/cret@h/", "x://u:c@cret@h/?cret", "u:a?cret@h/"]
        {
            let shown = redacted(url);
            assert!(!shown.contains("cret") && shown.contains("h/"), "{shown}");
        }
        assert_eq!(redacted("http://host:80/x?mail=a@b"), "http://host:80/x?***");
        assert_eq!(redacted("http://host/x#a@b"), "http://host/x?***");
        assert_eq!(redacted("http://127.0.0.1:80/x"), "http://127.0.0.1:80/x");
    }
}
