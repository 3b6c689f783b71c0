//! An Ironflow run, triggered and completed.

use super::{Endpoint, EndpointKind, Place, ProbeTarget, Store, redacted};
use crate::ledger::{LedgerError, read_ironflow};
use crate::probe::client::Attempts;
use crate::probe::ironflow::{Drill, IronflowAttempts};
use crate::probe::remarks::Notes;
use crate::probe::schedule::ProbeSpec;
use async_trait::async_trait;
use firedrill_core::judge::ledger::Found;
use firedrill_core::scenario::IronflowProbe;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An Ironflow run, triggered and completed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IronflowEndpoint {
    /// The server, `http://host:port`.
    pub base_url: String,
    /// The event that triggers the run.
    pub event: String,
    /// What the idempotency keys and the event's data of this drill start with; tells its runs from all others.
    pub key_prefix: String,
    /// Filler in the event's data, in KiB.
    pub payload_kib: u32,
}

impl fmt::Display for IronflowEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", redacted(&self.base_url), self.event)
    }
}

impl EndpointKind for IronflowEndpoint {
    fn attempts(&self, spec: &ProbeSpec, _: Notes) -> Result<Box<dyn Attempts>, String> {
        let drill = Drill::new(&self.event, &self.key_prefix, spec.series, self.payload_kib);
        Ok(Box::new(IronflowAttempts::new(&self.base_url, drill, spec.connection, spec.in_flight_max)?))
    }

    fn store(&self) -> Option<&dyn Store> {
        Some(self)
    }
}

#[async_trait]
impl Store for IronflowEndpoint {
    fn name(&self) -> &'static str {
        "ironflow"
    }

    async fn read_back(&self) -> Result<Found, LedgerError> {
        read_ironflow(&self.base_url, &self.key_prefix).await
    }
}

impl ProbeTarget for IronflowProbe {
    fn endpoint(&self, place: &Place<'_>) -> Endpoint {
        Endpoint::Ironflow(IronflowEndpoint {
            base_url: format!("http://{}:{}", place.host, place.port),
            event: self.event.clone(),
            key_prefix: format!("firedrill-{}-{}", place.run_id, place.probe),
            payload_kib: self.payload_kib,
        })
    }
}
