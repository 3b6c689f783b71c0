//! A round trip through a NATS server.

use super::{EndpointKind, redacted};
use crate::probe::client::Attempts;
use crate::probe::nats::{NatsAttempts, Way};
use crate::probe::remarks::Notes;
use crate::probe::schedule::ProbeSpec;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A round trip through a NATS server: a request that nobody can answer, which the server says at once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatsEndpoint {
    /// The server, `nats://user:password@host:port`.
    pub url: String,
    /// What the subjects of answers begin with; `_INBOX` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbox_prefix: Option<String>,
}

impl fmt::Display for NatsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", redacted(&self.url))
    }
}

impl EndpointKind for NatsEndpoint {
    fn attempts(&self, spec: &ProbeSpec, notes: Notes) -> Result<Box<dyn Attempts>, String> {
        let way = Way { inbox_prefix: self.inbox_prefix.clone(), timeout: spec.timeout, notes };
        Ok(Box::new(NatsAttempts::round_trip(&self.url, spec.connection, way)?))
    }
}
