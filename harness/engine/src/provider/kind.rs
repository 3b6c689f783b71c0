//! Clusters whose nodes are containers, made by kind's own command line.
//!
//! No file says which clusters there are: they are found by kind's labels on their node containers. The user's own
//! kubeconfig is neither written nor read; each cluster has its own file in the cache.

mod config;
mod inspect;
mod volumes;

pub use config::{KindOptions, LABEL_CLUSTER, VolumesDriver};
pub use inspect::{KindCluster, KindNode, find, find_named};

use super::{ProviderError, settle};
use crate::cluster::{Cluster, Waiting, wait_for};
use crate::files;
use crate::lease::Lease;
use crate::power::Power;
use crate::process::{Progress, Tool};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

/// What the name of every cluster begins with.
pub const NAME_PREFIX: &str = "firedrill-";
/// The registry container on kind's network, from which nodes pull what was built on this machine.
const REGISTRY: &str = "firedrill-registry";
/// The image host that stands for that registry.
const REGISTRY_HOST: &str = "firedrill.local";

const CREATE_LIMIT: Duration = Duration::from_secs(600);
const CALL_LIMIT: Duration = Duration::from_secs(60);
const READY_LIMIT: Duration = Duration::from_secs(180);

/// A name for a new cluster, `firedrill-` and three random hexadecimal digits.
pub fn random_name() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{NAME_PREFIX}{:03x}", random & 0xfff)
}

/// Makes a cluster and settles it: images from the local registry, add-ons on the control plane, service network proven,
/// and last the mark that drills may break it.
///
/// # Errors
/// Where kind fails, or the cluster does not work within its limits. What is there then is found and deleted by name.
pub async fn create(options: &KindOptions, progress: Progress<'_>) -> Result<Cluster, ProviderError> {
    if !options.name.starts_with(NAME_PREFIX) {
        return Err(ProviderError::Other(format!("a cluster's name must begin with {NAME_PREFIX}")));
    }
    let kubeconfig = kubeconfig_of(&options.name)?;
    forget(&kubeconfig)?;
    progress(format!("making cluster {} with kind", options.name));
    let mut kind = Tool::new("kind", CREATE_LIMIT).args(["create", "cluster", "--config", "-"]);
    kind = kind.args(["--name", &options.name]).arg("--kubeconfig").arg(&kubeconfig);
    if let Some(image) = &options.node_image {
        kind = kind.args(["--image", image]);
    }
    let mut steps = |line: &str| {
        // Without a terminal kind prints a step once when it begins and once, with a tick, when it is done.
        if let Some(step) = line.trim_start().strip_prefix('✓') {
            progress(format!("kind: {}", step.trim().trim_end_matches(|c: char| !c.is_alphanumeric() && c != ')')));
        }
    };
    let shared = options.volumes.as_ref().map(|_| volumes::make_folder(&options.name)).transpose()?;
    if let Err(error) = kind.input(options.yaml(shared.as_deref())).run_watched(&mut steps).await {
        // kind takes away what it had begun.
        if let Err(ProviderError::NotFound { .. }) = find_named(&options.name).await {
            drop(forget_all(&options.name));
        }
        return Err(error.into());
    }
    finish(&options.name, options.node_image.as_deref(), options.volumes.as_ref(), progress).await
}

/// Makes an existing cluster ready: nodes that are off are powered on, and what its making left undone is done.
///
/// # Errors
/// Where there is no such cluster, firedrill did not make it, or it does not get ready.
pub async fn ensure_ready(
    name: &str,
    image: Option<&str>,
    driver: Option<&VolumesDriver>,
    progress: Progress<'_>,
) -> Result<Cluster, ProviderError> {
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
        Power::Docker { cluster: name.to_owned() }.on(&node.name).await?;
    }
    let cluster = open(name).await?;
    wait_for("every node of the cluster to be ready", READY_LIMIT, || nodes_ready(&cluster)).await?;
    if cluster.is_allowed().await? { Ok(cluster) } else { finish(name, image, driver, progress).await }
}

/// Opens a cluster that firedrill made. Nothing in it is changed and nodes that are off stay off.
///
/// # Errors
/// Where there is no such cluster, firedrill did not make it, or its control plane is off.
pub async fn open(name: &str) -> Result<Cluster, ProviderError> {
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
    let mut cluster = Cluster::connect(name, &kubeconfig, &format!("kind-{name}")).await?;
    "kind".clone_into(&mut cluster.provider);
    cluster.power = Power::Docker { cluster: name.to_owned() };
    cluster.outside_ports = found.outside_ports();
    Ok(cluster)
}

/// Deletes a cluster that firedrill made, with its kubeconfig, and looks whether it is gone.
///
/// # Errors
/// Where there is no such cluster, firedrill did not make it, or it is still there afterwards.
pub async fn delete(name: &str) -> Result<(), ProviderError> {
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

async fn finish(
    name: &str,
    image: Option<&str>,
    driver: Option<&VolumesDriver>,
    progress: Progress<'_>,
) -> Result<Cluster, ProviderError> {
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
    let mark = [("provider", "kind"), ("name", name), ("nodeImage", image.unwrap_or("default"))];
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

pub(super) async fn nodes_ready(cluster: &Cluster) -> Result<Waiting<()>, crate::cluster::ClusterError> {
    let nodes = cluster.nodes().await?;
    let missing: Vec<_> = nodes.iter().filter(|node| !node.ready).map(|node| node.name.as_str()).collect();
    Ok(if missing.is_empty() { Waiting::Done(()) } else { Waiting::Not(format!("not ready: {}", missing.join(", "))) })
}

/// Where a cluster's kubeconfig is.
fn kubeconfig_of(name: &str) -> Result<PathBuf, ProviderError> {
    Ok(folder_of(name)?.join("kubeconfig"))
}

/// Where everything of a cluster is that is kept on this machine; the folder is made.
fn folder_of(name: &str) -> Result<PathBuf, ProviderError> {
    let cache = crate::env::cache_dir();
    let cache = cache.ok_or_else(|| ProviderError::Other("neither XDG_CACHE_HOME nor HOME is set".to_owned()))?;
    let folder = cache.join("clusters").join(name);
    files::create_dir_all(&folder).map_err(|source| ProviderError::File { path: folder.clone(), source })?;
    Ok(folder)
}

/// Removes everything of a cluster that is kept on this machine.
fn forget_all(name: &str) -> Result<(), ProviderError> {
    forget(&kubeconfig_of(name)?)?;
    volumes::remove_folder(name)?;
    let folder = folder_of(name)?;
    match std::fs::remove_dir(&folder) {
        // What somebody else put there stays.
        Err(source) if source.kind() != ErrorKind::DirectoryNotEmpty => {
            Err(ProviderError::File { path: folder, source })
        }
        _ => Ok(()),
    }
}

fn forget(kubeconfig: &std::path::Path) -> Result<(), ProviderError> {
    match std::fs::remove_file(kubeconfig) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(ProviderError::File { path: kubeconfig.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Whether a kubeconfig is there and is of the cluster whose API server has this port now.
fn leads_to(kubeconfig: &std::path::Path, port: Option<u16>) -> bool {
    let text = std::fs::read_to_string(kubeconfig).unwrap_or_default();
    port.is_some_and(|port| text.lines().any(|line| line.trim() == format!("server: https://127.0.0.1:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ours_and_differ() {
        let names: std::collections::BTreeSet<_> = (0..50).map(|_| random_name()).collect();
        assert!(names.iter().all(|name| name.len() == NAME_PREFIX.len() + 3 && name.starts_with(NAME_PREFIX)));
        assert!(names.len() > 25, "{names:?}");
    }

    #[test]
    fn a_kubeconfig_of_another_life_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        assert!(!leads_to(&file, Some(40_123)));
        files::write(&file, b"clusters:\n- cluster:\n    server: https://127.0.0.1:40123\n").unwrap();
        assert!(leads_to(&file, Some(40_123)) && !leads_to(&file, Some(4_012)) && !leads_to(&file, None));
    }
}
