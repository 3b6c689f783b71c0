//! Volumes with a size on a cluster whose nodes are containers of this machine: the folder that they share, and the driver.

use super::super::cache::folder_of;
use super::super::volumes::{DRIVER, NAMESPACE};
use super::super::{ProviderError, VolumesDriver};
use super::config::SHARED_FOLDER;
use super::inspect::KindCluster;
use crate::cluster::{Cluster, MANAGED_BY, Waiting, wait_for};
use crate::process::{Progress, Tool};
use k8s_openapi::api::storage::v1::CSINode;
use kube::api::{Api, ListParams};
use std::path::PathBuf;
use std::time::Duration;

/// What stands for the driver's image in its manifest.
const IMAGE: &str = "image: firedrill.local/volumes\n";
/// Takes the default away from a class.
const NOT_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class=false";
const CALL_LIMIT: Duration = Duration::from_secs(60);
const READY_LIMIT: Duration = Duration::from_secs(180);

fn shared(name: &str) -> Result<PathBuf, ProviderError> {
    Ok(folder_of(name)?.join("volumes"))
}

/// Makes the folder that a cluster's nodes are to share.
pub(super) fn make_folder(name: &str) -> Result<PathBuf, ProviderError> {
    let path = shared(name)?;
    std::fs::create_dir_all(&path).map_err(|source| ProviderError::File { path: path.clone(), source })?;
    Ok(path)
}

/// Removes what is in the folder, from inside a node: there it is root's, and perhaps not this user's. What a node still has
/// mounted goes with the node. Where it cannot be done, [`remove_folder`] says so.
pub(super) async fn empty(cluster: &KindCluster) {
    let Some(node) = cluster.nodes.iter().find(|node| node.on) else { return };
    let script = format!("[ ! -d {SHARED_FOLDER} ] || find {SHARED_FOLDER} -mindepth 1 -delete");
    let _ = Tool::new("docker", CALL_LIMIT).args(["exec", &node.name, "sh", "-c", &script]).run().await;
}

/// Removes the folder.
pub(super) fn remove_folder(name: &str) -> Result<(), ProviderError> {
    let path = shared(name)?;
    match std::fs::remove_dir_all(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(ProviderError::File { path, source }),
        _ => Ok(()),
    }
}

/// Installs the driver, with its class as the default one. Its images are pulled while the caller does something else.
pub(super) async fn install(
    cluster: &Cluster,
    driver: &VolumesDriver,
    progress: Progress<'_>,
) -> Result<(), ProviderError> {
    let unreadable = |source| ProviderError::File { path: driver.manifest.clone(), source };
    let manifest = std::fs::read_to_string(&driver.manifest).map_err(unreadable)?;
    let manifest = manifest.replace(IMAGE, &format!("image: {}\n", driver.image));
    if !manifest.contains(&driver.image) {
        let message = format!("{} does not say where its image goes", driver.manifest.display());
        return Err(ProviderError::Other(message));
    }
    progress("installing the driver of volumes with a size".to_owned());
    let kubectl = || Tool::new("kubectl", CALL_LIMIT).env(cluster.kubectl_env());
    // kind's own class stays for those who name it.
    kubectl().args(["annotate", "storageclass", "--all", "--overwrite", NOT_DEFAULT]).run().await?;
    let apply = kubectl().args(["apply", "--server-side", "--field-manager", MANAGED_BY, "--filename", "-"]);
    apply.input(manifest).run().await?;
    Ok(())
}

/// Waits until every node lists the driver and its controller is there.
pub(super) async fn ready(cluster: &Cluster, found: &KindCluster, progress: Progress<'_>) -> Result<(), ProviderError> {
    progress("waiting for the driver of volumes on every node".to_owned());
    let api: Api<CSINode> = Api::all(cluster.client());
    wait_for("the driver of volumes on every node", READY_LIMIT, || async {
        let nodes = cluster.ask("the nodes' drivers", api.list(&ListParams::default())).await?;
        let has_it = |node: &&CSINode| node.spec.drivers.iter().any(|driver| driver.name == DRIVER);
        let count = nodes.iter().filter(has_it).count();
        let done = count == found.nodes.len();
        Ok(if done { Waiting::Done(()) } else { Waiting::Not(format!("{count} of {} have it", found.nodes.len())) })
    })
    .await?;
    let kubectl = Tool::new("kubectl", READY_LIMIT).env(cluster.kubectl_env());
    kubectl.args(["rollout", "status", "--namespace", NAMESPACE, "deployment/controller"]).run().await?;
    Ok(())
}
