//! GET over HTTP.

use super::{Endpoint, EndpointKind, Place, ProbeTarget, redacted};
use crate::probe::client::Attempts;
use crate::probe::http::{HttpAttempts, HttpClient};
use crate::probe::remarks::Notes;
use crate::probe::schedule::ProbeSpec;
use firedrill_core::sample::Connection;
use firedrill_core::scenario::HttpProbe;
use serde::{Deserialize, Serialize};
use std::fmt;

/// GET over plain HTTP/1.1. Redirects are not followed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpEndpoint {
    /// The address, `http://user:password@host:port/path?query`; a login is sent as Basic authentication.
    pub url: String,
    /// The status expected.
    pub status: u16,
    /// What the body must contain, within its first [`BODY_SEARCHED_MAX`](crate::probe::BODY_SEARCHED_MAX) bytes.
    pub body: Option<String>,
}

impl fmt::Display for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", redacted(&self.url))
    }
}

impl EndpointKind for HttpEndpoint {
    fn attempts(&self, spec: &ProbeSpec, notes: Notes) -> Result<Box<dyn Attempts>, String> {
        let expected = (self.status, self.body.clone());
        Ok(Box::new(HttpAttempts::new(&self.url, expected, spec.connection, spec.in_flight_max, notes)?))
    }

    fn other_end(&self) -> Option<(String, u16)> {
        HttpClient::new(&self.url, Connection::New, 1).ok().map(|(client, _)| client.other_end())
    }
}

impl ProbeTarget for HttpProbe {
    fn endpoint(&self, place: &Place<'_>) -> Endpoint {
        let url = format!("http://{}:{}{}", place.host, place.port, self.path);
        Endpoint::Http(HttpEndpoint { url, status: self.status, body: self.body.clone() })
    }
}
