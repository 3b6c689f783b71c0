//! What a probe asks, and how it is shown without its secrets.

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// What a probe asks. Names are resolved again for each connection.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// GET over plain HTTP/1.1.
    Http {
        /// The address, `http://host:port/path?query`.
        url: String,
        /// The status expected.
        status: u16,
        /// What the body must contain.
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
    },
    /// A round trip through a NATS server: a request that nobody can answer, which the server says at once.
    Nats {
        /// The server, `nats://user:password@host:port`.
        url: String,
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
                let uri: ::http::Uri = url.parse().ok()?;
                Some((uri.host()?.to_owned(), uri.port_u16().unwrap_or(80)))
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
            Endpoint::Jetstream { url, stream, subject } => write!(f, "{} {stream} {subject}", redacted(url)),
            Endpoint::Nats { url } | Endpoint::PostgresRead { url } => write!(f, "{}", redacted(url)),
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
    let (base, query) = match url.split_once('?') {
        Some((base, _)) => (base, "?***"),
        None => (url, ""),
    };
    let Some((scheme, rest)) = base.split_once("://") else {
        // No scheme: whatever stands before an `@` may be a password.
        return format!("{}{query}", base.rsplit_once('@').map_or(base, |(_, host)| host));
    };
    // A password may hold an unescaped slash or at sign, so the last at sign counts.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{query}"),
        None => format!("{scheme}://{rest}{query}"),
    }
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
        assert_eq!(redacted("http://127.0.0.1:80/x"), "http://127.0.0.1:80/x");
    }
}
