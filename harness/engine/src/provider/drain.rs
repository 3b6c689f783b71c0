//! A node is taken out of a cluster: its pods end, its volumes are detached, its object is deleted. Its machine is for the provider to
//! delete afterwards.

use super::MachineError;
use crate::cluster::{Cluster, ClusterError, Waiting, exactly, wait_for};
use crate::process::Tool;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{Api, ListParams};
use std::time::Duration;

/// With the next one shorter than an undo may take, so that what will not end does not keep the node.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// The kubelet says within 10 s which volumes it has no longer in use.
const DETACH_LIMIT: Duration = Duration::from_secs(20);

/// Drains a node and deletes this object of it. What does not end in time ends with its node.
///
/// # Errors
/// Where the API server does not delete it.
pub(super) async fn drain_and_delete(cluster: &Cluster, node: &str, object: Node) -> Result<(), MachineError> {
    let drain = Tool::new("kubectl", DRAIN_LIMIT + Duration::from_secs(5)).env(cluster.kubectl_env());
    let limit = format!("--timeout={}s", DRAIN_LIMIT.as_secs());
    let drain = drain.args(["drain", node, "--force", "--ignore-daemonsets", "--delete-emptydir-data"]);
    // A pod that does not end in time ends with its node.
    if let Err(error) = drain.args(["--disable-eviction", "--grace-period=20", &limit]).run().await {
        tracing::warn!("{error}");
    }
    // A volume that is still attached when its node goes is held back for six minutes.
    if let Err(error) = wait_for(&format!("the volumes of {node}"), DETACH_LIMIT, || detached(cluster, node)).await {
        tracing::warn!("{error}");
    }
    let nodes: Api<Node> = Api::all(cluster.client());
    let deleted = nodes.delete(node, &exactly(object.metadata.uid)).await;
    match deleted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(ClusterError::api("delete a node")(error).into()),
    }
}

async fn detached(cluster: &Cluster, node: &str) -> Result<Waiting<()>, ClusterError> {
    let attachments: Api<VolumeAttachment> = Api::all(cluster.client());
    let listed =
        attachments.list(&ListParams::default()).await.map_err(ClusterError::api("list volume attachments"))?;
    let here = listed.items.iter().filter(|attachment| attachment.spec.node_name == node).count();
    Ok(if here == 0 { Waiting::Done(()) } else { Waiting::Not(format!("{here} attached")) })
}
