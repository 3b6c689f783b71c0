//! Finds clusters by the labels of their resources.

use super::super::{FoundCluster, ProviderError};
use super::NAME;
use super::account::other;
use super::client::{ApiError, Client, Kind, Resource, Server, ServerStatus};
use super::labels::Claim;
use futures::future::try_join_all;
use std::collections::BTreeMap;

/// What there is of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    servers: Vec<Server>,
    /// How many resources of other kinds there are.
    others: usize,
    /// The earliest end of a resource's lifetime.
    expires_unix_s: Option<i64>,
}

/// All clusters whose resources a selector finds, by name.
///
/// # Errors
/// If the API fails.
pub(crate) async fn find(client: &Client, selector: &str) -> Result<BTreeMap<String, Parts>, ProviderError> {
    let others = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Server);
    let others = try_join_all(others.map(|kind| resources(client, kind, selector)));
    let (servers, others) = tokio::try_join!(client.servers(selector), others).map_err(other)?;
    let mut found: BTreeMap<String, Parts> = BTreeMap::new();
    for server in servers {
        let claim = Claim::of(&server.labels);
        if let Some(parts) = parts_of(&mut found, &claim) {
            parts.servers.push(server);
        }
    }
    for resource in others.into_iter().flatten() {
        if let Some(parts) = parts_of(&mut found, &resource.claim()) {
            parts.others += 1;
        }
    }
    Ok(found)
}

async fn resources(client: &Client, kind: Kind, selector: &str) -> Result<Vec<Resource>, ApiError> {
    match client.resources(kind, selector).await {
        // An endpoint without load balancers has none.
        Err(error) if kind == Kind::LoadBalancer && error.is_not_found() => Ok(Vec::new()),
        found => found,
    }
}

fn parts_of<'a>(found: &'a mut BTreeMap<String, Parts>, claim: &Claim) -> Option<&'a mut Parts> {
    let parts = found.entry(claim.cluster()?.to_owned()).or_default();
    if let Claim::Ours(mark) = claim {
        let known = parts.expires_unix_s.unwrap_or(i64::MAX);
        parts.expires_unix_s = Some(known.min(mark.expires_unix_s));
    }
    Some(parts)
}

impl Parts {
    /// Whether nothing of it costs anything more.
    pub(crate) fn is_expired(&self, now_unix_s: i64) -> bool {
        self.expires_unix_s.is_some_and(|expires| expires <= now_unix_s)
    }

    /// What every provider says of a cluster.
    pub(crate) fn summary(&self, name: &str) -> FoundCluster {
        let off = self.servers.iter().filter(|server| server.status == ServerStatus::Off).count();
        let state = match (self.servers.len(), off) {
            (0, _) => format!("no servers, {} other resources", self.others),
            (_, 0) => "running".to_owned(),
            (all, off) if all == off => "stopped".to_owned(),
            (all, off) => format!("{off} of {all} nodes off"),
        };
        let expires = self.expires_unix_s.and_then(|unix_s| jiff::Timestamp::from_second(unix_s).ok());
        FoundCluster {
            name: name.to_owned(),
            provider: NAME,
            nodes: self.servers.len(),
            state,
            created: self.servers.iter().map(|server| server.created.clone()).min().unwrap_or_default(),
            expires: expires.map(|time| time.to_string()),
        }
    }
}
