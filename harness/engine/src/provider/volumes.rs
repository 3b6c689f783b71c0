//! Faults of volumes: attached late, or not detached. The driver of `fixtures/volumes` has settings for both, and checks the file
//! systems of its volumes. Its own program is asked, in its controller's pod.

use super::MachineError;
use crate::cluster::{Cluster, ClusterError, Container, ExecOutput};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The name of the driver of `fixtures/volumes`, as nodes list it and as its volumes carry it.
pub(super) const DRIVER: &str = "volumes.firedrill.dev";
/// Where its controller runs.
pub(super) const NAMESPACE: &str = "firedrill-volumes";

/// The limit of one answer about settings.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// The limit of one check: the driver's own limits of a copy (60 s) and of reading one are beyond what a drill's volume takes.
const CHECK_LIMIT: Duration = Duration::from_secs(90);

/// A fault of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeFault {
    /// It is not detached from its node.
    HoldDetach,
    /// Each attach takes this long.
    SlowAttach(Duration),
}

/// A volume's setting, as its driver lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct VolumeSetting {
    /// How long an attach takes, in seconds.
    pub slow_attach_s: u64,
    /// Whether a detach is refused.
    pub hold_detach: bool,
    /// When the setting ends by itself, in seconds since the epoch.
    pub until_unix_s: u64,
}

/// What a check of a file system found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FileSystemFindings {
    /// Whether it is whole.
    pub clean: bool,
    /// What the check said.
    pub lines: Vec<String>,
}

/// Puts faults into volumes of one driver. A fault ends by itself when its time is up.
#[async_trait]
pub trait Volumes: Send + Sync {
    /// The driver's name, as its volumes carry it. Volumes of other drivers are left alone.
    fn driver(&self) -> &'static str;

    /// The driver's own id of a PersistentVolume; `None` where that is gone or of another driver.
    ///
    /// # Errors
    /// Where the API server does not say.
    async fn handle(&self, cluster: &Cluster, volume: &str) -> Result<Option<String>, MachineError>;

    /// Puts a fault into the volume with that id.
    ///
    /// # Errors
    /// Where the driver does not do it.
    async fn inject(
        &self,
        cluster: &Cluster,
        handle: &str,
        fault: VolumeFault,
        lasts: Duration,
    ) -> Result<(), MachineError>;

    /// Takes the faults of the volume with that id out. A detach that was refused goes on.
    ///
    /// # Errors
    /// Where the driver does not do it.
    async fn clear(&self, cluster: &Cluster, handle: &str) -> Result<(), MachineError>;

    /// The settings of all volumes that have some, by the volume's id.
    ///
    /// # Errors
    /// Where the driver does not say.
    async fn settings(&self, cluster: &Cluster) -> Result<BTreeMap<String, VolumeSetting>, MachineError>;

    /// Checks the file system of the volume with that id, without changing it.
    ///
    /// # Errors
    /// Where it could not be checked.
    async fn check_file_system(&self, cluster: &Cluster, handle: &str) -> Result<FileSystemFindings, MachineError>;
}

/// The driver of `fixtures/volumes`, which any cluster may have.
pub(super) struct FixtureDriver;

#[async_trait]
impl Volumes for FixtureDriver {
    fn driver(&self) -> &'static str {
        DRIVER
    }

    async fn handle(&self, cluster: &Cluster, volume: &str) -> Result<Option<String>, MachineError> {
        let volumes: Api<PersistentVolume> = Api::all(cluster.client());
        let found = volumes.get_opt(volume).await.map_err(ClusterError::api("read a volume"))?;
        let csi = found.and_then(|volume| volume.spec).and_then(|spec| spec.csi);
        Ok(csi.filter(|csi| csi.driver == DRIVER).map(|csi| csi.volume_handle))
    }

    async fn inject(
        &self,
        cluster: &Cluster,
        handle: &str,
        fault: VolumeFault,
        lasts: Duration,
    ) -> Result<(), MachineError> {
        let mut args = ["knob", "set", "--volume", handle].map(str::to_owned).to_vec();
        match fault {
            VolumeFault::HoldDetach => args.push("--hold-detach".to_owned()),
            VolumeFault::SlowAttach(takes) => args.extend(["--slow-attach".to_owned(), takes.as_secs().to_string()]),
        }
        args.extend(["--for".to_owned(), lasts.as_secs().to_string()]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        setting(cluster, &args).await.map(drop)
    }

    async fn clear(&self, cluster: &Cluster, handle: &str) -> Result<(), MachineError> {
        setting(cluster, &["knob", "clear", "--volume", handle]).await.map(drop)
    }

    async fn settings(&self, cluster: &Cluster) -> Result<BTreeMap<String, VolumeSetting>, MachineError> {
        let said = setting(cluster, &["knob", "list"]).await?;
        let unreadable = |error| MachineError::Unreadable(format!("settings of the volume driver: {error}"));
        serde_json::from_str(&said).map_err(unreadable)
    }

    async fn check_file_system(&self, cluster: &Cluster, handle: &str) -> Result<FileSystemFindings, MachineError> {
        let mut ended = ask(cluster, CONTROLLER, &["check", handle], CHECK_LIMIT).await?;
        // If only the node that has the volume can check it, the controller names that node.
        if let Ok(Elsewhere { node }) = serde_json::from_str(&ended.stdout) {
            ended = ask(cluster, &Asked::Node(node), &["check", handle], CHECK_LIMIT).await?;
        }
        // A damaged file system is reported on standard output too, with another exit code.
        serde_json::from_str(&ended.stdout)
            .map_err(|_| MachineError::VolumeDriver(format!("it could not check the volume: {}", failure(&ended))))
    }
}

async fn setting(cluster: &Cluster, args: &[&str]) -> Result<String, MachineError> {
    let ended = ask(cluster, CONTROLLER, args, ANSWER_LIMIT).await?;
    if ended.ok { Ok(ended.stdout) } else { Err(MachineError::VolumeDriver(failure(&ended))) }
}

/// The controller's answer to a check that only a node can do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    /// The node's name.
    node: String,
}

/// The part of the driver that is asked.
enum Asked {
    /// Its controller.
    Controller,
    /// The part on the node of that name.
    Node(String),
}

const CONTROLLER: &Asked = &Asked::Controller;

/// Runs a command of the driver's program. Its failure is no error here: the answer says so.
async fn ask(cluster: &Cluster, asked: &Asked, args: &[&str], limit: Duration) -> Result<ExecOutput, MachineError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    let (label, what) = match asked {
        Asked::Controller => ("app=controller", "its controller".to_owned()),
        Asked::Node(node) => ("app=node", format!("its part on node {node}")),
    };
    let found = pods.list(&ListParams::default().labels(label)).await;
    let found = found.map_err(ClusterError::api("list the volume driver's pods"))?;
    let is_there = |pod: &&Pod| {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        let runs = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        runs && match asked {
            Asked::Controller => true,
            Asked::Node(name) => node == Some(name),
        }
    };
    let pod = found.items.iter().find(is_there).map(ResourceExt::name_any);
    let pod = pod.ok_or_else(|| MachineError::VolumeDriver(format!("{what} does not run in namespace {NAMESPACE}")))?;
    let pod = pod.as_str();
    let place = Container { namespace: NAMESPACE, pod, container: "driver" };
    let command: Vec<&str> = ["/volumes-driver"].iter().chain(args).copied().collect();
    Ok(cluster.exec(place, &command, limit).await?)
}

/// What the program said last of why it failed.
fn failure(ended: &ExecOutput) -> String {
    ended.stderr.lines().last().unwrap_or("it said nothing").to_owned()
}
