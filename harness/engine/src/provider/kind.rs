//! Clusters whose nodes are containers, made by kind's own command line.
//!
//! No file says which clusters there are: they are found by kind's labels on their node containers. The user's own
//! kubeconfig is neither written nor read; each cluster has its own file in the cache.

mod config;
mod inspect;
mod machines;
mod nodes;
mod power;
mod volumes;

use super::cache::{self, folder_of, forget};
use super::settle::{self, nodes_ready};
use super::{ClusterOptions, FoundCluster, NAME_PREFIX, Provider, ProviderError};
use crate::cluster::{Cluster, wait_for};
use crate::files;
use crate::lease::Lease;
use crate::process::{Progress, Tool};
use async_trait::async_trait;
use inspect::{KindCluster, find_named};
use machines::KindMachines;
use power::Containers;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// This provider's name.
const NAME: &str = "kind";
/// The registry container on kind's network, from which nodes pull what was built on this machine.
const REGISTRY: &str = "firedrill-registry";
/// The image host that stands for that registry.
const REGISTRY_HOST: &str = "firedrill.local";

const CREATE_LIMIT: Duration = Duration::from_secs(600);
const CALL_LIMIT: Duration = Duration::from_secs(60);
const READY_LIMIT: Duration = Duration::from_secs(180);

/// The provider.
pub(super) struct Kind;

#[async_trait]
impl Provider for Kind {
    fn name(&self) -> &'static str {
        NAME
    }

    fn makes_clusters(&self) -> bool {
        true
    }

    /// Images come from the local registry, add-ons are on the control plane, the service network is proven, and last comes the mark
    /// that drills may break it.
    async fn create(&self, options: &ClusterOptions, progress: Progress<'_>) -> Result<Cluster, ProviderError> {
        if !options.name.starts_with(NAME_PREFIX) {
            return Err(ProviderError::Other(format!("a cluster's name must begin with {NAME_PREFIX}")));
        }
        let kubeconfig = kubeconfig_of(&options.name)?;
        forget(&kubeconfig)?;
        progress(format!("making cluster {} with kind", options.name));
        let mut kind = Tool::new("kind", CREATE_LIMIT).args(["create", "cluster", "--config", "-"]);
        kind = kind.args(["--name", &options.name]).arg("--kubeconfig").arg(&kubeconfig);
        if let Some(image) = node_image(options) {
            kind = kind.args(["--image", &image]);
        }
        let mut steps = |line: &str| {
            // Without a terminal kind prints a step once when it begins and once, with a tick, when it is done.
            if let Some(step) = line.trim_start().strip_prefix('✓') {
                progress(format!("kind: {}", step.trim().trim_end_matches(|c: char| !c.is_alphanumeric() && c != ')')));
            }
        };
        let shared = options.volumes.as_ref().map(|_| volumes::make_folder(&options.name)).transpose()?;
        if let Err(error) = kind.input(config::yaml(options, shared.as_deref())).run_watched(&mut steps).await {
            // kind takes away what it had begun.
            if let Err(ProviderError::NotFound { .. }) = find_named(&options.name).await {
                drop(forget_all(&options.name));
            }
            return Err(error.into());
        }
        finish(options, progress).await
    }

    async fn ensure_ready(&self, options: &ClusterOptions, progress: Progress<'_>) -> Result<Cluster, ProviderError> {
        let name = options.name.as_str();
        let found = find_named(name).await?;
        start_registry(progress).await?;
        let off = found.nodes.iter().any(|node| !node.on);
        if off && found.control_plane()?.on {
            // A node that is off may be what a drill under way is about.
            let in_use = Lease::in_use_by(&open(name).await?).await?;
            if let Some(holder) = in_use {
                return Err(ProviderError::Other(format!("{name} is in use by {holder}, and a node of it is off")));
            }
        }
        for node in found.nodes.iter().filter(|node| !node.on) {
            progress(format!("node {} is off: powering it on", node.name));
            Containers { cluster: name.to_owned() }.on(&node.name).await?;
        }
        let cluster = open(name).await?;
        wait_for("every node of the cluster to be ready", READY_LIMIT, || nodes_ready(&cluster)).await?;
        if cluster.is_allowed().await? { Ok(cluster) } else { finish(options, progress).await }
    }

    async fn find(&self) -> Result<Vec<FoundCluster>, ProviderError> {
        Ok(inspect::find().await?.iter().map(KindCluster::summary).collect())
    }

    async fn find_named(&self, name: &str) -> Result<FoundCluster, ProviderError> {
        Ok(find_named(name).await?.summary())
    }

    /// Nodes that are off stay off; a control plane that is off is an error.
    async fn open(&self, name: &str, _kubeconfig: Option<&Path>) -> Result<Cluster, ProviderError> {
        open(name).await
    }

    async fn delete(&self, name: &str, _progress: Progress<'_>) -> Result<(), ProviderError> {
        let found = find_named(name).await?;
        let kubeconfig = kubeconfig_of(name)?;
        volumes::empty(&found).await;
        let kind = Tool::new("kind", CALL_LIMIT * 2).args(["delete", "cluster", "--name", name]);
        kind.arg("--kubeconfig").arg(&kubeconfig).run().await?;
        forget_all(name)?;
        match find_named(name).await {
            Err(ProviderError::NotFound { .. }) => Ok(()),
            Ok(_) => Err(ProviderError::Other(format!("kind deleted cluster {name}, and nodes of it are still there"))),
            Err(error) => Err(error),
        }
    }
}

async fn open(name: &str) -> Result<Cluster, ProviderError> {
    let found = find_named(name).await?;
    let control_plane = found.control_plane()?;
    if !control_plane.on {
        let node = &control_plane.name;
        return Err(ProviderError::Other(format!("the control plane of {name} is off (`docker start {node}`)")));
    }
    let kubeconfig = kubeconfig_of(name)?;
    if !leads_to(&kubeconfig, found.api_server_port()) {
        let text = Tool::new("kind", CALL_LIMIT).args(["get", "kubeconfig", "--name", name]).run().await?;
        files::write(&kubeconfig, text.as_bytes())
            .map_err(|source| ProviderError::File { path: kubeconfig.clone(), source })?;
    }
    let cluster = Cluster::connect(name, &kubeconfig, &format!("kind-{name}")).await?;
    Ok(cluster.provided_by(NAME, Arc::new(KindMachines::new(name, found.outside_ports()))))
}

async fn finish(options: &ClusterOptions, progress: Progress<'_>) -> Result<Cluster, ProviderError> {
    let (name, driver) = (options.name.as_str(), options.volumes.as_ref());
    let image = node_image(options).unwrap_or_else(|| "default".to_owned());
    start_registry(progress).await?;
    let found = find_named(name).await?;
    name_registry(&found).await?;
    let cluster = open(name).await?;
    if let Some(driver) = driver {
        volumes::install(&cluster, driver, progress).await?;
    }
    settle::settle(&cluster, progress).await?;
    if driver.is_some() {
        volumes::ready(&cluster, &found, progress).await?;
    }
    cluster.ensure_system_namespace().await?;
    let mark = [("provider", NAME), ("name", name), ("nodeImage", &image)];
    cluster.allow(mark.map(|(key, value)| (key.to_owned(), value.to_owned())).into()).await?;
    Ok(cluster)
}

/// Starts the local registry where there is one that is off.
async fn start_registry(progress: Progress<'_>) -> Result<(), ProviderError> {
    let format = "{{.State.Running}}";
    let inspect = Tool::new("docker", CALL_LIMIT).args(["ps", "--all", "--quiet", "--filter"]);
    if inspect.arg(format!("name=^{REGISTRY}$")).run().await?.trim().is_empty() {
        progress(format!("no container {REGISTRY}: every image must come from its own registry"));
        return Ok(());
    }
    let state = Tool::new("docker", CALL_LIMIT).args(["container", "inspect", "--format", format, REGISTRY]);
    if state.run().await?.trim() != "true" {
        progress(format!("starting {REGISTRY}"));
        Tool::new("docker", CALL_LIMIT).args(["start", REGISTRY]).run().await?;
    }
    Ok(())
}

/// Tells every node's containerd where images of this machine come from.
async fn name_registry(cluster: &KindCluster) -> Result<(), ProviderError> {
    let folder = format!("/etc/containerd/certs.d/{REGISTRY_HOST}");
    let script = format!("mkdir -p {folder} && cat > {folder}/hosts.toml");
    let hosts = format!("[host.\"http://{REGISTRY}:5000\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
    let writes = cluster.nodes.iter().map(|node| {
        let exec = Tool::new("docker", CALL_LIMIT).args(["exec", "--interactive", &node.name, "sh", "-c", &script]);
        exec.input(hosts.clone()).run()
    });
    futures::future::try_join_all(writes).await?;
    Ok(())
}

/// The image of new nodes, from the user or the environment. Other providers have images of other names.
fn node_image(options: &ClusterOptions) -> Option<String> {
    options.node_image.clone().or_else(|| crate::env::text(&crate::env::of_image("node")))
}

/// Where a cluster's kubeconfig is.
fn kubeconfig_of(name: &str) -> Result<PathBuf, ProviderError> {
    Ok(folder_of(name)?.join("kubeconfig"))
}

/// Removes everything of a cluster that is kept on this machine.
fn forget_all(name: &str) -> Result<(), ProviderError> {
    forget(&kubeconfig_of(name)?)?;
    volumes::remove_folder(name)?;
    cache::remove_folder(name)
}

/// Whether a kubeconfig is there and is of the cluster whose API server has this port now.
fn leads_to(kubeconfig: &Path, port: Option<u16>) -> bool {
    let text = std::fs::read_to_string(kubeconfig).unwrap_or_default();
    port.is_some_and(|port| text.lines().any(|line| line.trim() == format!("server: https://127.0.0.1:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_of_another_life_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        assert!(!leads_to(&file, Some(40_123)));
        files::write(&file, b"clusters:\n- cluster:\n    server: https://127.0.0.1:40123\n").unwrap();
        assert!(leads_to(&file, Some(40_123)) && !leads_to(&file, Some(4_012)) && !leads_to(&file, None));
    }
}
