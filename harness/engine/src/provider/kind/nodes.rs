//! One more node for a cluster whose nodes are containers: what a provider does when it replaces a machine that is lost.
//!
//! The container is made as kind made the lost one, and its kubelet joins by `kubeadm join` with a token of its own, which is
//! taken back. The lost node's container stays: powered on, it is the node that it was.

use super::super::MachineError;
use super::super::drain::drain_and_delete;
use super::super::new_node::{MadeBy, forget_request, may_remove, object_of, wait_and_label};
use super::power::Containers;
use crate::cluster::{Cluster, LABEL_RUN, RunMark, Waiting, wait_for};
use crate::process::{ProcessError, Tool};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

const CALL_LIMIT: Duration = Duration::from_secs(30);
const BOOT_LIMIT: Duration = Duration::from_secs(60);
const JOIN_LIMIT: Duration = Duration::from_secs(90);
const READY_LIMIT: Duration = Duration::from_secs(120);
const TOKEN_LIFE: &str = "15m";
/// How a node of kind joined.
const CONFIGURATION: &str = "/kind/kubeadm.conf";

/// Makes a node of that name as another one is, lost or not, and waits until it is ready.
///
/// # Errors
/// Where the node does not join in time. The caller records how to remove the node before it calls this.
pub(super) async fn add(
    containers: &Containers,
    cluster: &Cluster,
    mark: &RunMark,
    like: &str,
    name: &str,
) -> Result<(), MachineError> {
    // Each by the id of a container that is this cluster's: a node's name alone could be that of any container.
    let like_id = containers.machine(like).await?.id;
    let container = inspect(&like_id).await?;
    let control_plane = cluster.nodes().await?.into_iter().find(|node| node.control_plane);
    let control_plane =
        control_plane.ok_or_else(|| MachineError::Unreadable("the cluster has no control plane".to_owned()))?.name;
    let control_plane = containers.machine(&control_plane).await?.id;

    docker(CALL_LIMIT, run_arguments(&container, name, &mark.run_id)).await?;
    wait_for(&format!("containerd on {name}"), BOOT_LIMIT, || async {
        // It says no until the node has started.
        let active = docker(CALL_LIMIT, ["exec", name, "systemctl", "is-active", "containerd"]).await;
        Ok(if active.is_ok() { Waiting::Done(()) } else { Waiting::Not("not active yet".to_owned()) })
    })
    .await?;
    // A container that is off still gives its files: where images come from, and how its kubelet joined.
    copy(&like_id, "/etc/containerd", name, "/etc/").await?;
    docker(CALL_LIMIT, ["exec", name, "systemctl", "restart", "containerd"]).await?;
    copy(&like_id, CONFIGURATION, name, "/kind/").await?;
    let conf = docker(CALL_LIMIT, ["exec", name, "cat", CONFIGURATION]).await?;

    let address = inspect(name).await?.address();
    let address = address.ok_or_else(|| MachineError::Unreadable(format!("{name} has no address")))?;
    let token = docker(CALL_LIMIT, ["exec", &control_plane, "kubeadm", "token", "create", "--ttl", TOKEN_LIFE]).await?;
    let token = token.trim();
    let joined = join(name, like, &conf, &address, token).await;
    let id = token.split('.').next().unwrap_or_default();
    docker(CALL_LIMIT, ["exec", &control_plane, "kubeadm", "token", "delete", id]).await?;
    joined?;
    forget_request(cluster, id).await?;

    wait_and_label(cluster, mark, name, READY_LIMIT).await
}

/// Removes a node that a run made: its pods end in order where they do so in time, then the object and the container go. Repeating
/// it, and removing what was never made, is harmless.
///
/// What is removed carries the label of the run: the container gets it when it is made, where no tenant of the cluster can set it, the
/// node when it is ready. A container of another cluster, or of none, is not even looked at.
///
/// # Errors
/// Where the API server or the engine does not do it, and where what has the node's name was not made by this run.
pub(super) async fn remove(
    containers: &Containers,
    cluster: &Cluster,
    run_id: &str,
    node: &str,
) -> Result<(), MachineError> {
    let object = object_of(cluster, node).await?;
    let machine = containers.find_machine(node).await?;
    let made_by = machine.as_ref().map(|machine| MadeBy { run: machine.run.as_deref(), what: "container" });
    may_remove(run_id, node, made_by, object.as_ref())?;
    if let Some(object) = object {
        drain_and_delete(cluster, node, object).await?;
    }
    if let Some(machine) = machine {
        docker(CALL_LIMIT, ["rm", "--force", "--volumes", &machine.id]).await?;
    }
    Ok(())
}

/// Whether neither the node nor its container is there.
///
/// # Errors
/// Where that cannot be told.
pub(super) async fn is_gone(containers: &Containers, cluster: &Cluster, node: &str) -> Result<bool, MachineError> {
    let object = object_of(cluster, node).await?;
    let machine = containers.find_machine(node).await?;
    Ok(object.is_none() && machine.is_none())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    config: Config,
    host_config: HostConfig,
    network_settings: NetworkSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: String,
    env: Vec<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    binds: Option<Vec<String>>,
    network_mode: String,
    security_opt: Option<Vec<String>>,
    tmpfs: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: BTreeMap<String, Network>,
}

#[derive(Deserialize)]
struct Network {
    #[serde(rename = "IPAddress")]
    address: String,
}

impl Container {
    fn address(&self) -> Option<String> {
        let network = self.network_settings.networks.get(&self.host_config.network_mode)?;
        (!network.address.is_empty()).then(|| network.address.clone())
    }
}

/// The arguments by which kind runs a node, as they can be read back from one.
fn run_arguments(like: &Container, name: &str, run_id: &str) -> Vec<String> {
    let fixed = ["run", "--detach", "--tty", "--privileged", "--cgroupns=private", "--init=false", "--volume=/var"];
    let mut arguments: Vec<String> = fixed.map(str::to_owned).into();
    // One start again, as kind's nodes have: the engine may go down and come up.
    arguments.push("--restart=on-failure:1".to_owned());
    arguments.extend([format!("--name={name}"), format!("--hostname={name}")]);
    arguments.push(format!("--network={}", like.host_config.network_mode));
    let labels = like.config.labels.iter().filter(|(key, _)| *key != LABEL_RUN);
    arguments.extend(labels.map(|(key, value)| format!("--label={key}={value}")));
    // By it the container is known when it is to be removed.
    arguments.push(format!("--label={LABEL_RUN}={run_id}"));
    arguments.extend(like.config.env.iter().map(|variable| format!("--env={variable}")));
    arguments.extend(like.host_config.security_opt.iter().flatten().map(|option| format!("--security-opt={option}")));
    arguments.extend(like.host_config.tmpfs.iter().flatten().map(|(path, _)| format!("--tmpfs={path}")));
    arguments.extend(like.host_config.binds.iter().flatten().map(|bind| format!("--volume={bind}")));
    arguments.push(like.config.image.clone());
    arguments
}

/// Has the kubelet of a new container join with the lost node's configuration, its name, address and token exchanged.
async fn join(name: &str, lost: &str, conf: &str, address: &str, token: &str) -> Result<(), MachineError> {
    let conf = configuration(conf, lost, name, address, token);
    let conf = conf.ok_or_else(|| MachineError::Unreadable(format!("how {lost} joined cannot be read")))?;
    let write = ["exec", "--interactive", name, "tee", CONFIGURATION];
    Tool::new("docker", CALL_LIMIT).args(write).input(conf).run().await?;
    let join = ["exec", name, "kubeadm", "join", "--config", CONFIGURATION, "--skip-phases=preflight"];
    docker(JOIN_LIMIT, join).await?;
    Ok(())
}

/// The configuration of another node: its name, its address and the token are exchanged wherever they stand.
fn configuration(conf: &str, lost: &str, name: &str, address: &str, token: &str) -> Option<String> {
    let value_after = |key: &str, is_of: fn(char) -> bool| {
        let from = conf.find(key)? + key.len();
        let rest = conf[from..].trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        // Of a list of arguments, the value stands behind a key of its own.
        let rest = rest.strip_prefix("value").map_or(rest, |rest| rest.trim_start_matches(|c: char| !is_of(c)));
        Some(rest.split(|c: char| !is_of(c)).next().unwrap_or_default().to_owned())
    };
    let old_address = value_after("node-ip", |c| c.is_ascii_digit() || c == '.')?;
    let old_token = value_after("token:", |c| c.is_ascii_alphanumeric() || c == '.')?;
    if old_address.is_empty() || old_token.is_empty() {
        return None;
    }
    Some(conf.replace(lost, name).replace(&old_address, address).replace(&old_token, token))
}

/// Copies a file or a folder from one container to another, as an archive.
async fn copy(from: &str, path: &str, to: &str, into: &str) -> Result<(), ProcessError> {
    let archive = docker(CALL_LIMIT, ["cp", &format!("{from}:{path}"), "-"]).await?;
    Tool::new("docker", CALL_LIMIT).args(["cp", "-", &format!("{to}:{into}")]).input(archive).run().await?;
    Ok(())
}

async fn inspect(name: &str) -> Result<Container, MachineError> {
    let text = docker(CALL_LIMIT, ["container", "inspect", name]).await?;
    let read: Result<[Container; 1], _> = serde_json::from_str(&text);
    read.map(|[container]| container).map_err(|error| MachineError::Unreadable(format!("container {name}: {error}")))
}

async fn docker(
    limit: Duration,
    arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
) -> Result<String, ProcessError> {
    Tool::new("docker", limit).args(arguments).run().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_joins_as_another_one_did() {
        let plain = "discovery:\n  bootstrapToken:\n    token: abcdef.0123456789abcdef\nnodeRegistration:\n  kubeletExtraArgs:\n    node-ip: 172.18.0.14\n    provider-id: kind://docker/f-a/f-a-worker\n";
        let new = configuration(plain, "f-a-worker", "f-a-worker-replacement", "172.18.0.9", "new.token").unwrap();
        insta::assert_snapshot!(new, @r"
        discovery:
          bootstrapToken:
            token: new.token
        nodeRegistration:
          kubeletExtraArgs:
            node-ip: 172.18.0.9
            provider-id: kind://docker/f-a/f-a-worker-replacement
        ");
        let listed = "token: \"a.b\"\n  - name: node-ip\n    value: \"10.0.0.1\"\n";
        let new = configuration(listed, "w", "x", "10.0.0.2", "c.d").unwrap();
        assert_eq!(new, "token: \"c.d\"\n  - name: node-ip\n    value: \"10.0.0.2\"\n");
        assert_eq!(configuration("token: a.b\n", "w", "x", "10.0.0.2", "c.d"), None);
    }

    #[test]
    fn a_container_is_run_as_the_lost_one_was() {
        let like: Container = serde_json::from_value(json!({
            "Config": {"Image": "node:v1", "Env": ["A=b"], "Labels": {"firedrill.dev/run": "r1", "io.x-k8s.kind.role": "worker"}},
            "HostConfig": {"Binds": ["/lib/modules:/lib/modules:ro"], "NetworkMode": "kind",
                "SecurityOpt": ["seccomp=unconfined"], "Tmpfs": {"/run": ""}},
            "NetworkSettings": {"Networks": {"kind": {"IPAddress": ""}}}}))
        .unwrap();
        assert_eq!(like.address(), None);
        let line = run_arguments(&like, "w-replacement", "r2").join(" ");
        insta::assert_snapshot!(line, @"run --detach --tty --privileged --cgroupns=private --init=false --volume=/var --restart=on-failure:1 --name=w-replacement --hostname=w-replacement --network=kind --label=io.x-k8s.kind.role=worker --label=firedrill.dev/run=r2 --env=A=b --security-opt=seccomp=unconfined --tmpfs=/run --volume=/lib/modules:/lib/modules:ro node:v1");
    }
}
