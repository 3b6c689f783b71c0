//! A query's rows, asked of a CNPG cluster's primary over its container's own socket: a client's connection might be what is
//! broken.

use super::cnpg;
use crate::cluster::{Cluster, ClusterError, Container};
use firedrill_core::scenario::Query;
use std::time::Duration;
use tokio::time::timeout;

/// The limit of one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Rows read at most: more say nothing more.
const ROWS_MAX: u32 = 100;

/// The rows that a query finds now, their columns joined by `|`.
///
/// # Errors
/// Where there is no primary, it does not answer in time, or the query is wrong.
pub(super) async fn rows(cluster: &Cluster, query: &Query) -> Result<Vec<String>, ClusterError> {
    let asked = timeout(ANSWER_LIMIT, ask(cluster, query)).await;
    asked.unwrap_or_else(|_| Err(ClusterError::Deadline { what: "a query's rows".to_owned(), limit: ANSWER_LIMIT }))
}

async fn ask(cluster: &Cluster, query: &Query) -> Result<Vec<String>, ClusterError> {
    let state = cnpg::read(cluster, &query.cluster).await?;
    let primary = state.map(|state| state.primary).filter(|primary| !primary.is_empty());
    let primary = primary.ok_or_else(|| ClusterError::Other(format!("{} has no primary", query.cluster)))?;
    let (namespace, _) = query.cluster.split_once('/').unwrap_or(("default", ""));
    let database =
        format!("dbname={} options='-c default_transaction_read_only=on -c statement_timeout=3s'", query.database);
    let select = format!("SELECT * FROM ({}) AS rows LIMIT {ROWS_MAX}", query.select);
    let command = ["psql", "-X", "-w", "-At", "-v", "ON_ERROR_STOP=1", "-d", &database, "-c", &select];
    let primary = Container { namespace, pod: &primary, container: "postgres" };
    let ended = cluster.exec(primary, &command, ANSWER_LIMIT).await?;
    match ended.ok {
        true => Ok(ended.stdout.lines().map(str::to_owned).collect()),
        false => Err(ClusterError::Other(format!("psql in {}: {}", primary.pod, ended.stderr.trim()))),
    }
}
