//! A PostgreSQL read.

use super::{EndpointKind, redacted};
use crate::probe::client::Attempts;
use crate::probe::postgres::{PostgresAttempts, Statement};
use crate::probe::remarks::Notes;
use crate::probe::schedule::ProbeSpec;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A PostgreSQL read: `SELECT 1`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresReadEndpoint {
    /// The database, `postgres://user:password@host:port/database`.
    pub url: String,
}

impl fmt::Display for PostgresReadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", redacted(&self.url))
    }
}

impl EndpointKind for PostgresReadEndpoint {
    fn attempts(&self, spec: &ProbeSpec, notes: Notes) -> Result<Box<dyn Attempts>, String> {
        let limits = (spec.in_flight_max, spec.timeout);
        Ok(Box::new(PostgresAttempts::new(&self.url, Statement::Read, spec.connection, limits, notes)?))
    }
}
