//! What each NATS server says of itself, asked at its monitor port through the API server.

use crate::cluster::{Cluster, ClusterError};
use bytes::Bytes;
use firedrill_core::scenario::PodSelector;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

/// The monitor's port, which the NATS chart fixes.
const MONITOR_PORT: u16 = 8222;
/// The limit of the list of servers.
const LIST_LIMIT: Duration = Duration::from_secs(2);
/// What is asked of the JetStream endpoint.
const JSZ: &str = "jsz?streams=true&consumers=true&config=1&raft=1";

/// One server's own view.
#[derive(Clone, Debug)]
pub(super) struct ServerView {
    /// Its pod.
    pub(super) pod: String,
    /// What it answered; why not otherwise.
    pub(super) answer: Result<Answer, String>,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// What its own health check says.
    pub(super) health: Result<(), String>,
    /// Its name and the servers that it has routes to.
    pub(super) routes: Routes,
    /// JetStream as it sees it.
    pub(super) jetstream: JetStream,
}

/// `/routez`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Routes {
    /// Its own name.
    pub(super) server_name: String,
    /// Its routes; several to each other server.
    #[serde(default)]
    pub(super) routes: Vec<Route>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Route {
    #[serde(default)]
    pub(super) remote_name: String,
}

impl Routes {
    /// The other servers that it has at least one route to.
    pub(super) fn peers(&self) -> BTreeSet<&str> {
        self.routes.iter().map(|route| route.remote_name.as_str()).filter(|name| *name != self.server_name).collect()
    }
}

/// `/jsz`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct JetStream {
    #[serde(default)]
    pub(super) disabled: bool,
    /// The group that holds the assignments; `None` outside a cluster.
    pub(super) meta_cluster: Option<Group>,
    #[serde(default)]
    pub(super) account_details: Vec<Account>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Account {
    #[serde(default)]
    pub(super) stream_detail: Vec<Stream>,
}

/// A Raft group.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Group {
    /// Its leader's name; empty where it has none.
    #[serde(default)]
    pub(super) leader: String,
    /// The others; complete on the leader only.
    #[serde(default)]
    pub(super) replicas: Vec<Peer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Peer {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) current: bool,
    #[serde(default)]
    pub(super) offline: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) cluster: Option<Group>,
    pub(super) config: Option<StreamConfig>,
    #[serde(default)]
    pub(super) state: StreamState,
    #[serde(default)]
    pub(super) consumer_detail: Vec<Consumer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct StreamConfig {
    #[serde(default)]
    pub(super) num_replicas: usize,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct StreamState {
    #[serde(default)]
    pub(super) messages: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Consumer {
    #[serde(default)]
    pub(super) name: String,
    pub(super) cluster: Option<Group>,
}

impl JetStream {
    /// Every stream that it holds a replica of.
    pub(super) fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.account_details.iter().flat_map(|account| &account.stream_detail)
    }
}

/// Asks all servers at once. A server whose pod is there and that does not answer is a view without an answer.
///
/// # Errors
/// Where the pods cannot be listed.
pub(super) async fn views(cluster: &Cluster, servers: &PodSelector) -> Result<Vec<ServerView>, ClusterError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &servers.namespace);
    let limit = LIST_LIMIT;
    let listed = timeout(limit, pods.list_metadata(&ListParams::default().labels(&servers.labels))).await;
    let listed = listed.map_err(|_| ClusterError::Deadline { what: "the list of NATS servers".to_owned(), limit })?;
    let listed = listed.map_err(ClusterError::api("list NATS servers"))?;
    let mut asked = Vec::new();
    for pod in listed.items.into_iter().filter_map(|pod| pod.metadata.name) {
        asked.push(view(cluster.clone(), servers.namespace.clone(), pod));
    }
    Ok(join_all(asked).await)
}

async fn view(cluster: Cluster, namespace: String, pod: String) -> ServerView {
    let answer = ask(&cluster, &namespace, &pod).await;
    ServerView { pod, answer }
}

async fn ask(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Answer, String> {
    let (health, routes, jetstream) = tokio::join!(
        get(cluster, namespace, pod, "healthz"),
        get(cluster, namespace, pod, "routez"),
        get(cluster, namespace, pod, JSZ),
    );
    let health = match health? {
        (200, _) => Ok(()),
        (status, body) => Err(format!("{status} {}", String::from_utf8_lossy(&body).trim())),
    };
    Ok(Answer { health, routes: json("routez", routes?)?, jetstream: json("jsz", jetstream?)? })
}

fn json<T: DeserializeOwned>(what: &str, (status, body): (u16, Bytes)) -> Result<T, String> {
    if status != 200 {
        return Err(format!("{what} answered {status}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("{what} is not readable: {error}"))
}

/// One of a server's monitor pages, with its status.
///
/// # Errors
/// Where it does not answer within a second, for people.
pub(super) async fn get(cluster: &Cluster, namespace: &str, pod: &str, path: &str) -> Result<(u16, Bytes), String> {
    cluster.page(namespace, &format!("pods/{pod}:{MONITOR_PORT}"), path).await
}
