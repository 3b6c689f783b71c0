//! Deletes all resources of a cluster in the right order, and proves by listing that nothing is left.
//!
//! Only resources with our label are touched. The label selector filters on the server, and each resource's labels are checked again
//! here: otherwise an API that ignored the selector would make us delete strangers' servers.

#[cfg(test)]
mod tests;

use super::client::{ApiError, Client, Code, Kind, Resource, Server};
use super::labels::{self, Claim};
use crate::process::Progress;
use futures::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// Timeout of one action, such as deleting a server or detaching a volume.
const ACTION_TIMEOUT: Duration = Duration::from_secs(120);
/// The wait between two rounds of deletion, in waits before a request is repeated: 3 s.
const ROUND_WAITS: u32 = 3;

/// Selects resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All resources of one cluster, including those whose other labels were changed.
    Cluster(String),
    /// The resources of one cluster that one `up` made. Another one of the same name is left alone.
    Run {
        /// The cluster.
        cluster: String,
        /// The run in the labels.
        run: String,
    },
    /// All of firedrill's resources that have expired.
    Expired {
        /// The current time, in seconds since the epoch.
        now_unix_s: i64,
    },
}

impl Scope {
    pub(super) fn selector(&self) -> String {
        match self {
            Scope::Cluster(cluster) | Scope::Run { cluster, .. } => labels::selector_of(cluster),
            Scope::Expired { .. } => labels::selector_of_all(),
        }
    }

    pub(super) fn covers(&self, claim: &Claim) -> bool {
        match (self, claim) {
            (Scope::Cluster(name), claim) => claim.cluster() == Some(name),
            (Scope::Run { cluster, run }, Claim::Ours(mark)) => mark.cluster == *cluster && mark.run == *run,
            (Scope::Expired { now_unix_s }, Claim::Ours(mark)) => mark.is_expired(*now_unix_s),
            (_, Claim::Damaged { .. } | Claim::Strangers) => false,
        }
    }
}

/// A resource that exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListedResource {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its id.
    pub(crate) id: i64,
    /// Its name.
    pub(crate) name: String,
}

impl fmt::Display for ListedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id, name } = self;
        write!(f, "{kind} {name} ({id})")
    }
}

/// The result of a removal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RemovalReport {
    /// Resources that no longer exist.
    pub(crate) deleted: Vec<ListedResource>,
    /// Volumes and Primary IPs without our label that our servers used. They still exist and cost money.
    pub(crate) kept: Vec<ListedResource>,
}

/// Resources may be left.
#[derive(Debug, Error)]
pub(crate) enum RemoveError {
    /// Resources still exist.
    #[error("still there: {}{}", list(left), why.as_ref().map(|why| format!("; {why}")).unwrap_or_default())]
    Left {
        /// The resources.
        left: Vec<ListedResource>,
        /// The last error.
        why: Option<Box<ApiError>>,
    },
    /// Listing failed, so it is unknown what is left.
    #[error("the remaining resources cannot be listed: {0}")]
    Unknown(#[source] ApiError),
}

/// Deletes all resources in the scope, and repeats until listing finds none or the limit has passed. Idempotent.
///
/// # Errors
/// If resources are left, or listing fails.
pub(crate) async fn remove(
    client: &Client,
    scope: &Scope,
    limit: Duration,
    progress: Progress<'_>,
) -> Result<RemovalReport, RemoveError> {
    let mut removal = Removal { client, scope, progress, seen: BTreeSet::new(), held: BTreeSet::new(), why: None };
    if let Ok(outcome) = tokio::time::timeout(limit, removal.run(client.retry_wait() * ROUND_WAITS)).await {
        return outcome;
    }
    // What lists show now, not what was planned.
    let left = find(client, scope).await.map_err(RemoveError::Unknown)?;
    if left.is_empty() {
        return removal.done().await;
    }
    Err(RemoveError::Left { left, why: removal.why.map(Box::new) })
}

/// Lists all resources in the scope, in the order of deletion.
///
/// # Errors
/// If the API fails.
pub(crate) async fn find(client: &Client, scope: &Scope) -> Result<Vec<ListedResource>, ApiError> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let found = resources(client, scope, kind).await?;
        all.extend(found.into_iter().map(|found| ListedResource { kind, id: found.id, name: found.name }));
    }
    Ok(all)
}

async fn resources(client: &Client, scope: &Scope, kind: Kind) -> Result<Vec<Resource>, ApiError> {
    match client.resources(kind, &scope.selector()).await {
        Ok(found) => Ok(found.into_iter().filter(|found| scope.covers(&found.claim())).collect()),
        // firedrill makes no load balancers; a cloud controller may. An endpoint without them has none.
        Err(error) if kind == Kind::LoadBalancer && error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

struct Removal<'a> {
    client: &'a Client,
    scope: &'a Scope,
    progress: Progress<'a>,
    /// All resources that were found in the scope.
    seen: BTreeSet<ListedResource>,
    /// Volumes and Primary IPs of servers in the scope, whatever their labels.
    held: BTreeSet<(Kind, i64)>,
    why: Option<ApiError>,
}

impl Removal<'_> {
    async fn run(&mut self, wait: Duration) -> Result<RemovalReport, RemoveError> {
        loop {
            let left = self.round().await.map_err(RemoveError::Unknown)?;
            if left.is_empty() {
                return self.done().await;
            }
            if self.is_denied() {
                return Err(RemoveError::Left { left, why: self.why.take().map(Box::new) });
            }
            let why = self.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            (self.progress)(format!("still there: {}{why}", list(&left)));
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether the token lacks the permission to delete, so a retry cannot help.
    fn is_denied(&self) -> bool {
        let code = self.why.as_ref().and_then(ApiError::code);
        matches!(code, Some(Code::Unauthorized | Code::Forbidden))
    }

    /// Reports success after listing found nothing.
    async fn done(&mut self) -> Result<RemovalReport, RemoveError> {
        let kept = self.kept().await.map_err(RemoveError::Unknown)?;
        Ok(RemovalReport { deleted: self.seen.iter().cloned().collect(), kept })
    }

    /// Tries to delete every resource once, and lists what is left.
    async fn round(&mut self) -> Result<Vec<ListedResource>, ApiError> {
        let mut has_failed = false;
        self.note_held().await?;
        for kind in Kind::ALL {
            let found = resources(self.client, self.scope, kind).await?;
            for Resource { id, name, .. } in &found {
                let listed = ListedResource { kind, id: *id, name: name.clone() };
                (self.progress)(format!("deleting {listed}"));
                self.seen.insert(listed);
            }
            // One that hangs does not hold up the others.
            let (client, deletions) = (self.client, found.iter());
            let outcomes = join_all(deletions.map(|found| delete(client, kind, found))).await;
            for (found, outcome) in found.iter().zip(outcomes) {
                if let Err(error) = outcome {
                    tracing::info!(%kind, found.name, %error, "a deletion failed and will be retried");
                    // It stays until a whole round has succeeded: the limit may pass in the middle of one.
                    (self.why, has_failed) = (Some(error), true);
                }
            }
            if self.is_denied() {
                break;
            }
        }
        if !has_failed {
            self.why = None;
        }
        find(self.client, self.scope).await
    }

    async fn note_held(&mut self) -> Result<(), ApiError> {
        let servers = self.client.servers(&self.scope.selector()).await?;
        for server in servers.iter().filter(|server| self.scope.covers(&Claim::of(&server.labels))) {
            self.held.extend(held_by(server));
        }
        Ok(())
    }

    /// Volumes and Primary IPs of our servers that still exist. They lack our label, or listing would have found them.
    async fn kept(&mut self) -> Result<Vec<ListedResource>, ApiError> {
        let mut kept = Vec::new();
        for &(kind, id) in &self.held {
            match self.client.resource(kind, id).await {
                Ok(found) => kept.push(ListedResource { kind, id, name: found.name }),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(kept)
    }
}

async fn delete(client: &Client, kind: Kind, found: &Resource) -> Result<(), ApiError> {
    match kind {
        Kind::Volume if found.server.is_some() => release(client, kind, found.id, "detach").await?,
        Kind::PrimaryIp if found.assignee_id.is_some() => release(client, kind, found.id, "unassign").await?,
        _ => {}
    }
    client.delete_resource(kind, found.id, ACTION_TIMEOUT).await
}

/// Detaches or unassigns a resource from its server.
async fn release(client: &Client, kind: Kind, id: i64, action: &str) -> Result<(), ApiError> {
    match client.act(kind, id, action, &json!({})).await {
        Ok(action) => client.wait_for_actions(vec![action], ACTION_TIMEOUT).await,
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

fn held_by(server: &Server) -> Vec<(Kind, i64)> {
    let volumes = server.volumes.iter().map(|id| (Kind::Volume, *id));
    volumes.chain(server.primary_ips().into_iter().map(|id| (Kind::PrimaryIp, id))).collect()
}

fn list(resources: &[ListedResource]) -> String {
    resources.iter().map(ListedResource::to_string).collect::<Vec<_>>().join(", ")
}
