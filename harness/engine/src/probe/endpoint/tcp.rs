//! A TCP connection.

use super::{Endpoint, EndpointKind, Place, ProbeTarget};
use crate::probe::client::Attempts;
use crate::probe::remarks::Notes;
use crate::probe::schedule::ProbeSpec;
use crate::probe::tcp::TcpAttempts;
use firedrill_core::scenario::TcpProbe;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A TCP connection. Over a reused one an attempt succeeds as long as neither end has closed it, which a black hole
/// does not do: use new connections to see one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpEndpoint {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for TcpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp://{}:{}", self.host, self.port)
    }
}

impl EndpointKind for TcpEndpoint {
    fn attempts(&self, spec: &ProbeSpec, _: Notes) -> Result<Box<dyn Attempts>, String> {
        Ok(Box::new(TcpAttempts::new(&self.host, self.port, spec.connection, spec.in_flight_max)?))
    }

    fn other_end(&self) -> Option<(String, u16)> {
        Some((self.host.clone(), self.port))
    }
}

impl ProbeTarget for TcpProbe {
    fn endpoint(&self, place: &Place<'_>) -> Endpoint {
        Endpoint::Tcp(TcpEndpoint { host: place.host.to_owned(), port: place.port })
    }
}
