//! The engine's view of a cluster: its node containers, found by kind's labels.

use super::super::{FoundCluster, NAME_PREFIX, ProviderError};
use super::NAME;
use super::config::{MARK, OUTSIDE_NODE_PORTS};
use crate::process::{ProcessError, Tool};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// kind's label of a node container, whose value is the cluster's name.
pub(super) const LABEL_CLUSTER: &str = "io.x-k8s.kind.cluster";
/// kind's label of a node container's role.
const LABEL_ROLE: &str = "io.x-k8s.kind.role";
const API_SERVER_PORT: &str = "6443/tcp";
const ENGINE_LIMIT: Duration = Duration::from_secs(20);

/// A cluster that firedrill has made with kind, as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KindCluster {
    /// Its name.
    pub(super) name: String,
    /// Its nodes, by name.
    pub(super) nodes: Vec<KindNode>,
}

/// A node container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KindNode {
    /// Its name, which is the node's name too.
    pub(super) name: String,
    /// Whether it is the control plane.
    pub(super) control_plane: bool,
    /// Whether it is running.
    pub(super) on: bool,
    /// When it was made (RFC 3339).
    pub(super) created: String,
    /// Ports of the loopback address, by the container's port (`6443/tcp`).
    ports: BTreeMap<String, u16>,
    /// Whether firedrill had it made.
    marked: bool,
}

impl KindCluster {
    /// Whether all of its nodes are on, in a word or two.
    fn state(&self) -> String {
        let off = self.nodes.iter().filter(|node| !node.on).count();
        match off {
            0 => "running".to_owned(),
            off if off == self.nodes.len() => "stopped".to_owned(),
            off => format!("{off} of {} nodes off", self.nodes.len()),
        }
    }

    /// Its control plane's node.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn control_plane(&self) -> Result<&KindNode, ProviderError> {
        let node = self.nodes.iter().find(|node| node.control_plane);
        node.ok_or_else(|| ProviderError::Other(format!("cluster {} has no control plane", self.name)))
    }

    /// The loopback port of its API server.
    pub(super) fn api_server_port(&self) -> Option<u16> {
        self.control_plane().ok().and_then(|node| node.ports.get(API_SERVER_PORT)).copied()
    }

    /// Loopback ports by node port.
    pub(super) fn outside_ports(&self) -> BTreeMap<u16, u16> {
        let Ok(node) = self.control_plane() else { return BTreeMap::new() };
        let host_port = |port: u16| node.ports.get(&format!("{port}/tcp")).map(|host| (port, *host));
        OUTSIDE_NODE_PORTS.filter_map(host_port).collect()
    }

    /// What every provider says of a cluster.
    pub(super) fn summary(&self) -> FoundCluster {
        let created = self.nodes.iter().map(|node| node.created.clone()).min().unwrap_or_default();
        let (name, nodes, state) = (self.name.clone(), self.nodes.len(), self.state());
        FoundCluster { name, provider: NAME, nodes, state, created, expires: None }
    }

    /// Whether firedrill has made it: its name says so, and a node has firedrill's mark, however early its making was cut off. Clusters
    /// of older versions have no mark; their control plane has the ports that only firedrill gives.
    fn is_ours(&self) -> bool {
        let marked = self.nodes.iter().any(|node| node.marked) || !self.outside_ports().is_empty();
        self.name.starts_with(NAME_PREFIX) && marked
    }
}

/// All clusters that firedrill has made with kind, by name.
///
/// # Errors
/// Where the engine does not say.
pub(super) async fn find() -> Result<Vec<KindCluster>, ProviderError> {
    let all = labelled(LABEL_CLUSTER).await?;
    Ok(all.into_iter().filter(KindCluster::is_ours).collect())
}

/// One of them.
///
/// # Errors
/// Where there is none of that name, firedrill did not make it, or the engine does not say.
pub(super) async fn find_named(name: &str) -> Result<KindCluster, ProviderError> {
    // Its own containers alone: one of another cluster that is being made or deleted right now cannot be read.
    let cluster = labelled(&format!("{LABEL_CLUSTER}={name}")).await?.into_iter().find(|cluster| cluster.name == name);
    let cluster = cluster.ok_or_else(|| ProviderError::NotFound { name: name.to_owned() })?;
    if cluster.is_ours() {
        return Ok(cluster);
    }
    let why = format!("its name does not begin with {NAME_PREFIX}, or none of its nodes has firedrill's mark");
    Err(ProviderError::NotOurs { name: name.to_owned(), why })
}

async fn labelled(label: &str) -> Result<Vec<KindCluster>, ProviderError> {
    let filter = format!("label={label}");
    let ids = Tool::new("docker", ENGINE_LIMIT).args(["ps", "--all", "--quiet", "--filter", &filter]).run().await;
    // kind makes its nodes with that program: without it there are none, and users of other providers need not have it.
    if let Err(ProcessError::NotStarted { is_missing: true, .. }) = ids {
        return Ok(Vec::new());
    }
    let ids = ids?;
    if ids.trim().is_empty() {
        return Ok(Vec::new());
    }
    let inspect = Tool::new("docker", ENGINE_LIMIT).args(["container", "inspect"]).args(ids.split_whitespace());
    parse(&inspect.run().await?)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    name: String,
    created: String,
    state: State,
    config: Config,
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    port_bindings: Option<BTreeMap<String, Vec<Binding>>>,
    binds: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    host_port: String,
}

fn parse(json: &str) -> Result<Vec<KindCluster>, ProviderError> {
    let containers: Vec<Container> = serde_json::from_str(json)
        .map_err(|error| ProviderError::Other(format!("the engine's list of nodes cannot be read: {error}")))?;
    let mut clusters: BTreeMap<String, Vec<KindNode>> = BTreeMap::new();
    for container in containers {
        let labels = &container.config.labels;
        let Some(cluster) = labels.get(LABEL_CLUSTER).cloned() else { continue };
        let bindings = container.host_config.port_bindings.unwrap_or_default();
        let port = |bindings: &[Binding]| bindings.first().and_then(|binding| binding.host_port.parse().ok());
        clusters.entry(cluster).or_default().push(KindNode {
            name: container.name.trim_start_matches('/').to_owned(),
            control_plane: labels.get(LABEL_ROLE).is_some_and(|role| role == "control-plane"),
            on: container.state.running,
            created: container.created,
            marked: container.host_config.binds.iter().flatten().any(|bind| bind.split(':').nth(1) == Some(MARK)),
            ports: bindings.into_iter().filter_map(|(inner, outer)| Some((inner, port(&outer)?))).collect(),
        });
    }
    let sorted = clusters.into_iter().map(|(name, mut nodes)| {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        KindCluster { name, nodes }
    });
    Ok(sorted.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn container(cluster: &str, role: &str, running: bool, ports: serde_json::Value) -> serde_json::Value {
        json!({"Name": format!("/{cluster}-{role}"), "Created": "2026-11-22T19:00:00Z", "State": {"Running": running},
            "Config": {"Labels": {LABEL_CLUSTER: cluster, LABEL_ROLE: role}}, "HostConfig": {"PortBindings": ports}})
    }

    fn ports() -> serde_json::Value {
        json!({"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "40123"}],
            "31901/tcp": [{"HostIp": "127.0.0.1", "HostPort": "40125"}],
            "31900/tcp": [{"HostIp": "127.0.0.1", "HostPort": "40124"}]})
    }

    #[test]
    fn clusters_come_from_the_labels_of_their_nodes() {
        let json = json!([
            container("firedrill-a3f", "worker", false, json!({})),
            container("firedrill-a3f", "control-plane", true, ports()),
            container("dev", "control-plane", true, json!({"6443/tcp": [{"HostPort": "1"}]})),
        ]);
        let clusters = parse(&json.to_string()).unwrap();
        let [dev, ours] = clusters.as_slice() else { panic!("{clusters:?}") };
        assert_eq!((ours.state().as_str(), ours.api_server_port()), ("1 of 2 nodes off", Some(40_123)));
        assert_eq!(ours.outside_ports(), BTreeMap::from([(31_900, 40_124), (31_901, 40_125)]));
        assert!(ours.is_ours() && !dev.is_ours());
        let line = "firedrill-a3f      kind  2 nodes  1 of 2 nodes off     made 2026-11-22 19:00 UTC";
        assert_eq!(ours.summary().to_string(), line);
    }

    #[test]
    fn a_name_alone_does_not_make_a_cluster_ours() {
        let foreign = container("firedrill-lookalike", "control-plane", true, json!(null));
        let workers = container("firedrill-workers", "worker", true, json!(null));
        let mut cut_off = container("firedrill-cut", "worker", true, json!(null));
        cut_off["HostConfig"]["Binds"] = json!(["/a:/b", "/dev/null:/etc/firedrill-made-this:ro"]);
        let mut other_name = cut_off.clone();
        other_name["Config"]["Labels"][LABEL_CLUSTER] = json!("dev");
        let clusters = parse(&json!([foreign, cut_off, workers, other_name]).to_string()).unwrap();
        let ours: Vec<_> = clusters.iter().filter(|cluster| cluster.is_ours()).map(|one| one.name.as_str()).collect();
        assert_eq!(ours, ["firedrill-cut"]);
    }
}
