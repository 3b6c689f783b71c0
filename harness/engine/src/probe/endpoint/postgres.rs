//! A PostgreSQL insert, committed.

use super::{Endpoint, EndpointKind, Place, ProbeTarget, Store, postgres_url, redacted};
use crate::ledger::{LedgerError, read_postgres};
use crate::probe::client::Attempts;
use crate::probe::postgres::{PostgresAttempts, Statement};
use crate::probe::remarks::Notes;
use crate::probe::schedule::ProbeSpec;
use async_trait::async_trait;
use firedrill_core::event::Undo;
use firedrill_core::judge::ledger::Found;
use firedrill_core::scenario::PostgresProbe;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A PostgreSQL insert, committed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresEndpoint {
    /// The database, `postgres://user:password@host:port/database`.
    pub url: String,
    /// A table made by [`crate::ledger::create_table`].
    pub table: String,
}

impl fmt::Display for PostgresEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", redacted(&self.url), self.table)
    }
}

impl EndpointKind for PostgresEndpoint {
    fn attempts(&self, spec: &ProbeSpec, notes: Notes) -> Result<Box<dyn Attempts>, String> {
        let statement = Statement::insert(&self.table, spec.series)?;
        let limits = (spec.in_flight_max, spec.timeout);
        Ok(Box::new(PostgresAttempts::new(&self.url, statement, spec.connection, limits, notes)?))
    }

    fn store(&self) -> Option<&dyn Store> {
        Some(self)
    }
}

#[async_trait]
impl Store for PostgresEndpoint {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn read_back(&self) -> Result<Found, LedgerError> {
        read_postgres(&self.url, &self.table).await
    }
}

impl ProbeTarget for PostgresProbe {
    fn endpoint(&self, place: &Place<'_>) -> Endpoint {
        let url = postgres_url(place.login, place.host, place.port, &self.database);
        Endpoint::Postgres(PostgresEndpoint { url, table: table(place) })
    }

    fn undo(&self, place: &Place<'_>) -> Option<Undo> {
        let cluster = format!("{}/{}", self.namespace, self.cluster);
        Some(Undo::DropTable { cluster, database: self.database.clone(), table: table(place) })
    }
}

/// The table of a probe's rows in this run.
fn table(place: &Place<'_>) -> String {
    format!("firedrill_{}_{}", place.run_id, place.probe).replace('-', "_")
}
