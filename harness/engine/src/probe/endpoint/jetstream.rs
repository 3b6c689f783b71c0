//! A JetStream publish, acknowledged.

use super::{Endpoint, EndpointKind, Place, ProbeTarget, Store, redacted};
use crate::ledger::{LedgerError, read_jetstream};
use crate::probe::client::Attempts;
use crate::probe::nats::{NatsAttempts, Way};
use crate::probe::remarks::Notes;
use crate::probe::schedule::ProbeSpec;
use async_trait::async_trait;
use firedrill_core::event::Undo;
use firedrill_core::judge::ledger::Found;
use firedrill_core::scenario::JetstreamProbe;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A JetStream publish, acknowledged by the named stream.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JetstreamEndpoint {
    /// The server, `nats://user:password@host:port`.
    pub url: String,
    /// The stream that must acknowledge.
    pub stream: String,
    /// The subject, as it is. Where it is read back it may have wildcards.
    pub subject: String,
    /// What the subjects of answers begin with; `_INBOX` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbox_prefix: Option<String>,
}

impl fmt::Display for JetstreamEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", redacted(&self.url), self.stream, self.subject)
    }
}

impl EndpointKind for JetstreamEndpoint {
    fn attempts(&self, spec: &ProbeSpec, notes: Notes) -> Result<Box<dyn Attempts>, String> {
        let way = Way { inbox_prefix: self.inbox_prefix.clone(), timeout: spec.timeout, notes };
        let Self { url, stream, subject, .. } = self;
        Ok(Box::new(NatsAttempts::publish(url, stream, subject, spec.series, spec.connection, way)?))
    }

    fn store(&self) -> Option<&dyn Store> {
        Some(self)
    }
}

#[async_trait]
impl Store for JetstreamEndpoint {
    fn name(&self) -> &'static str {
        "nats"
    }

    async fn read_back(&self) -> Result<Found, LedgerError> {
        read_jetstream(&self.url, &self.stream, &self.subject).await
    }
}

impl ProbeTarget for JetstreamProbe {
    fn endpoint(&self, place: &Place<'_>) -> Endpoint {
        Endpoint::Jetstream(JetstreamEndpoint {
            url: format!("nats://{}:{}", place.host, place.port),
            stream: self.stream.clone(),
            subject: subject(self, place),
            inbox_prefix: None,
        })
    }

    fn undo(&self, place: &Place<'_>) -> Option<Undo> {
        let (service, stream) = (self.service.clone(), self.stream.clone());
        Some(Undo::PurgeSubject { service, stream, subject: subject(self, place) })
    }
}

/// The subject of a probe's messages in this run.
fn subject(probe: &JetstreamProbe, place: &Place<'_>) -> String {
    format!("{}.{}.{}", probe.subject, place.run_id, place.probe)
}
