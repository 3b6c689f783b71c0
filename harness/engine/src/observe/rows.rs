//! A query's rows, asked of a CNPG cluster's primary over its container's own socket: a client's connection might be what is
//! broken.

use super::cnpg;
use crate::cluster::{Cluster, ClusterError};
use firedrill_core::scenario::Query;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// The limit of one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Rows read at most: more say nothing more.
const ROWS_MAX: u32 = 100;
/// Bytes read at most of what is answered.
const BYTES_MAX: u64 = 64 * 1024;

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
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let database =
        format!("dbname={} options='-c default_transaction_read_only=on -c statement_timeout=3s'", query.database);
    let select = format!("SELECT * FROM ({}) AS rows LIMIT {ROWS_MAX}", query.select);
    let command = ["psql", "-X", "-w", "-At", "-v", "ON_ERROR_STOP=1", "-d", &database, "-c", &select];
    let params = AttachParams::default().container("postgres").stderr(true);
    let exec = pods.exec(&primary, command, &params).await;
    let mut exec = exec.map_err(ClusterError::api(format!("run psql in {primary}")))?;
    let (stdout, stderr, status) = (exec.stdout(), exec.stderr(), exec.take_status());
    let (out, err) = tokio::join!(all(stdout), all(stderr));
    let ended = match status {
        Some(status) => status.await,
        None => None,
    };
    match ended.and_then(|status| status.status) {
        Some(word) if word == "Success" => Ok(out.lines().map(str::to_owned).collect()),
        _ => Err(ClusterError::Other(format!("psql in {primary}: {}", err.trim()))),
    }
}

async fn all(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = Vec::new();
    if let Some(stream) = stream {
        // What was read before a stream broke is judged by the status alone.
        drop(stream.take(BYTES_MAX).read_to_end(&mut text).await);
    }
    String::from_utf8_lossy(&text).into_owned()
}
