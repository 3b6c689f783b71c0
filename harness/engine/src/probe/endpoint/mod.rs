//! What a probe asks, and how it is shown without its secrets: one module for each kind of endpoint.

use super::client::Attempts;
use super::remarks::Notes;
use super::schedule::ProbeSpec;
use crate::cluster::url_escaped;
use crate::ledger::LedgerError;
use async_trait::async_trait;
use firedrill_core::event::Undo;
use firedrill_core::judge::ledger::Found;
use firedrill_core::scenario::ProbeKind;
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

macro_rules! endpoints {
    ($($name:literal => $module:ident::$variant:ident($kind:ident);)+) => {
        $(mod $module;)+
        $(pub use $module::$kind;)+

        /// What a probe asks. Names are resolved again for each connection.
        #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Endpoint {
            $(
                #[doc = concat!("See [`", stringify!($kind), "`].")]
                #[serde(rename = $name)]
                $variant($kind),
            )+
        }

        impl Endpoint {
            fn kind(&self) -> &dyn EndpointKind {
                match self {
                    $(Endpoint::$variant(kind) => kind,)+
                }
            }
        }
    };
}

endpoints! {
    "http" => http::Http(HttpEndpoint);
    "tcp" => tcp::Tcp(TcpEndpoint);
    "jetstream" => jetstream::Jetstream(JetstreamEndpoint);
    "nats" => nats::Nats(NatsEndpoint);
    "postgres" => postgres::Postgres(PostgresEndpoint);
    "postgres-read" => postgres_read::PostgresRead(PostgresReadEndpoint);
    "ironflow" => ironflow::Ironflow(IronflowEndpoint);
}

/// What a kind of endpoint says of itself. Its text is without secrets.
trait EndpointKind: fmt::Display + Send + Sync {
    /// What makes the attempts of a series.
    ///
    /// # Errors
    /// Says what is wrong with the endpoint.
    fn attempts(&self, spec: &ProbeSpec, notes: Notes) -> Result<Box<dyn Attempts>, String>;

    /// See [`Endpoint::other_end`].
    fn other_end(&self) -> Option<(String, u16)> {
        None
    }

    /// The endpoint as the place where acknowledged writes are looked for, where an attempt leaves one behind.
    fn store(&self) -> Option<&dyn Store> {
        None
    }
}

/// Where writes are looked for.
#[async_trait]
trait Store: Send + Sync {
    /// Its name in a ledger count.
    fn name(&self) -> &'static str;

    /// What it holds, read to the end. Nothing is tried twice.
    async fn read_back(&self) -> Result<Found, LedgerError>;
}

impl Endpoint {
    /// Whether an acknowledged attempt leaves a write behind.
    pub fn writes(&self) -> bool {
        self.kind().store().is_some()
    }

    /// Its name as a store in a ledger count; empty where it is none.
    pub fn store_name(&self) -> &'static str {
        self.kind().store().map(Store::name).unwrap_or_default()
    }

    /// What it holds of the writes, read to the end.
    pub(crate) async fn read_back(&self) -> Result<Found, LedgerError> {
        match self.kind().store() {
            Some(store) => store.read_back().await,
            None => Err(LedgerError::Store { what: "reading", reason: format!("{self} keeps no writes") }),
        }
    }

    /// What makes the attempts of a series.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn attempts(&self, spec: &ProbeSpec, notes: Notes) -> Result<Box<dyn Attempts>, EndpointError> {
        self.kind().attempts(spec, notes).map_err(|reason| self.error(reason))
    }

    /// The host and port that a connection goes to, where it is the probe itself that opens it.
    pub(super) fn other_end(&self) -> Option<(String, u16)> {
        self.kind().other_end()
    }

    pub(super) fn error(&self, reason: impl fmt::Display) -> EndpointError {
        EndpointError { endpoint: self.to_string(), reason: reason.to_string() }
    }
}

/// Where the attempts of a series go, in one run.
pub struct Place<'a> {
    /// The host.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The login of the database, where one is asked.
    pub login: Option<&'a Login>,
    /// The run's id.
    pub run_id: &'a str,
    /// The probe's name.
    pub probe: &'a str,
}

/// The login of a database.
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

/// The URL of a database, with the login that opens it.
pub fn postgres_url(login: Option<&Login>, host: &str, port: u16, database: &str) -> String {
    let (user, password) = login.map_or(("", ""), |login| (login.user.as_str(), login.password.as_str()));
    let (user, password, database) = (url_escaped(user), url_escaped(password), url_escaped(database));
    format!("postgres://{user}:{password}@{host}:{port}/{database}")
}

/// What a kind of probe asks in a run.
trait ProbeTarget {
    /// The endpoint of a series.
    fn endpoint(&self, place: &Place<'_>) -> Endpoint;

    /// How what its attempts write is taken away again, where that can be.
    fn undo(&self, _place: &Place<'_>) -> Option<Undo> {
        None
    }
}

macro_rules! targets {
    ($($name:literal => $module:ident::$variant:ident($kind:ident);)+) => {
        fn target_of(kind: &ProbeKind) -> &dyn ProbeTarget {
            match kind {
                $(ProbeKind::$variant(kind) => kind,)+
            }
        }
    };
}

firedrill_core::with_probes!(targets);

/// What a probe asks there.
pub fn endpoint_of(kind: &ProbeKind, place: &Place<'_>) -> Endpoint {
    target_of(kind).endpoint(place)
}

/// How what a probe writes there is taken away again, where that can be.
pub fn undo_of(kind: &ProbeKind, place: &Place<'_>) -> Option<Undo> {
    target_of(kind).undo(place)
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

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.kind(), f)
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
        let endpoint = Endpoint::Postgres(PostgresEndpoint {
            url: "postgres://app:s3/cr@et@db:5432/app?password=s3cret".to_owned(),
            table: "t".to_owned(),
        });
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
