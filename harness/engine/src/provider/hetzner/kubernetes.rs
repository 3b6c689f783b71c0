//! From servers that boot to a cluster that drills may break.

use super::super::settle;
use super::super::{ProviderError, VolumesDriver};
use super::NAME;
use super::account::{Account, other};
use super::add_ons::{self, AddOns};
use super::cloud_init::ClusterSpec;
use super::create::Made;
use super::record::Record;
use crate::cluster::{Cluster, ClusterError, Waiting, wait_and_tell};
use crate::process::Progress;
use async_trait::async_trait;
use std::time::Duration;

/// How long the first control plane may take to boot, install its packages and start the API server.
const API_SERVER_TIMEOUT: Duration = Duration::from_secs(900);
/// How long the other nodes may take after that.
const NODES_TIMEOUT: Duration = Duration::from_secs(900);

/// What a cluster is finished with.
pub(crate) struct Setup<'a> {
    /// Access to the project.
    pub(crate) account: &'a Account,
    /// The cluster's settings and secrets.
    pub(crate) record: &'a Record,
    /// Its servers.
    pub(crate) made: &'a Made,
    /// The driver of volumes, where the user named one.
    pub(crate) volumes: Option<&'a VolumesDriver>,
}

/// Finishes a cluster whose servers exist. Tests of the API have servers in which nothing runs.
#[async_trait]
pub(crate) trait SetUp: Send + Sync {
    /// Waits for the API server and the nodes, installs what a cluster needs, and marks it for drills. Repeating it is harmless.
    ///
    /// # Errors
    /// If one of them does not get ready in time.
    async fn set_up(&self, cluster: &Cluster, setup: &Setup<'_>, progress: Progress<'_>) -> Result<(), ProviderError>;
}

/// The real one.
pub(crate) struct Kubernetes;

#[async_trait]
impl SetUp for Kubernetes {
    async fn set_up(&self, cluster: &Cluster, setup: &Setup<'_>, progress: Progress<'_>) -> Result<(), ProviderError> {
        let Setup { account, record, made, volumes } = setup;
        wait_for_api_server(cluster, made, progress).await?;
        let add_ons = AddOns {
            spec: &ClusterSpec::new(&record.settings.name, record.settings.image_mirror.as_deref()),
            volumes_image: volumes.map(|driver| driver.image.as_str()),
            endpoint: &account.endpoint,
            token: &account.token,
            location: &made.location,
            labels: &record.labels()?,
        };
        add_ons::install(cluster, &add_ons, progress).await?;
        progress(format!("waiting for {} nodes to join and be ready", made.nodes.len()));
        let nodes = made.nodes.iter().cloned().collect();
        add_ons::nodes_ready(cluster, &nodes, NODES_TIMEOUT, progress).await?;
        add_ons::ready(cluster, volumes.is_some(), progress).await?;
        settle::settle(cluster, progress).await?;
        cluster.ensure_system_namespace().await?;
        let mark = [("provider", NAME), ("name", &record.settings.name), ("nodeImage", &record.settings.image)];
        cluster.allow(mark.map(|(key, value)| (key.to_owned(), value.to_owned())).into()).await?;
        Ok(())
    }
}

async fn wait_for_api_server(cluster: &Cluster, made: &Made, progress: Progress<'_>) -> Result<(), ProviderError> {
    let address = made.api_server();
    progress(format!("waiting for the API server at {address}: the first control plane boots and installs Kubernetes"));
    let what = format!("the API server at {address} to answer");
    let waited = wait_and_tell(&what, API_SERVER_TIMEOUT, progress, || async {
        let request = http::Request::get("/readyz").body(Vec::new()).map_err(|e| ClusterError::Other(e.to_string()))?;
        Ok(match cluster.ask("whether the API server is ready", cluster.client().request_text(request)).await {
            Ok(_) => Waiting::Done(()),
            Err(error) if error.is_unreachable() => Waiting::Not("the API server does not answer yet".to_owned()),
            // It lists each of its checks, which change many times a second.
            Err(_) => Waiting::Not("the API server answers, and is not ready yet".to_owned()),
        })
    })
    .await;
    waited.map_err(|error| {
        let first = made.nodes.first().map_or("", String::as_str);
        other(format!("{error}; look at what server {first} says: `hcloud server request-console {first}`"))
    })
}
