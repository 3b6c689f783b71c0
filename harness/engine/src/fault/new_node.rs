//! A node made for a fault: it has no volumes, and one of the fault's pods is on it.

use super::node_off::is_ready_on;
use super::{FaultError, Proof, Tools};
use crate::cluster::{ClusterError, Waiting, is_ready};
use firedrill_core::plan::Target;
use firedrill_core::scenario::PodSelector;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{Api, DeleteParams, ListParams};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const STARTED_WITHIN: Duration = Duration::from_secs(120);

/// The node that is made for a pod.
pub(super) fn target(node: &str, pod: &str) -> Target {
    // Its UID is not known before it is there.
    Target::Node { node: format!("{node}-new"), uid: String::new(), because_of: pod.to_owned() }
}

/// Makes the node, as the one is that the pod is on, and has one of the pods start on it: the pod is deleted, and the scheduler
/// prefers the node that has none. Where it did not, what it started is deleted again.
///
/// How to undo it is for the caller to have journalled before.
///
/// # Errors
/// Where the provider makes no nodes, the node does not join, or none of the pods starts there within two minutes.
pub async fn make(tools: &Tools, node: &str, pods: &PodSelector, because_of: &str) -> Result<(), FaultError> {
    let api: Api<Pod> = Api::namespaced(tools.cluster.client(), &pods.namespace);
    let pod = api.get(because_of).await.map_err(ClusterError::api(format!("read pod {because_of}")))?;
    let like = pod.spec.and_then(|spec| spec.node_name);
    let like = like.ok_or_else(|| FaultError::Mismatch(format!("pod {because_of} is on no node")))?;
    tools.cluster.machines.add_node(&tools.cluster, &tools.mark, &like, node).await?;

    let begun = AtomicBool::new(false);
    let what = format!("one of {}/{} to start on {node}", pods.namespace, pods.labels);
    let started = tools.cluster.wait_for(&what, STARTED_WITHIN, || async {
        let listed = api.list(&ListParams::default().labels(&pods.labels)).await;
        let listed = listed.map_err(ClusterError::api("list pods"))?.items;
        let settled = listed.iter().all(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
        if !settled {
            return Ok(Waiting::Not("not all ready yet".to_owned()));
        }
        if listed.iter().any(|pod| is_ready_on(pod, node)) {
            return Ok(Waiting::Done(()));
        }
        let newest = listed.iter().max_by_key(|pod| pod.metadata.creation_timestamp.clone());
        let newest = newest.and_then(|pod| pod.metadata.name.as_deref()).unwrap_or(because_of);
        let next = if begun.swap(true, Ordering::Relaxed) { newest } else { because_of };
        match api.delete(next, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(ClusterError::api(format!("delete pod {next}"))(error)),
        }
        Ok(Waiting::Not(format!("{next} ends")))
    });
    Ok(started.await?)
}

/// That one of the pods was on the node, ready by the last word of its kubelet, and no volume.
pub(super) async fn prove(tools: &Tools, node: &str, pods: &PodSelector) -> Result<[Proof; 2], FaultError> {
    let api: Api<Pod> = Api::namespaced(tools.cluster.client(), &pods.namespace);
    let listed = api.list(&ListParams::default().labels(&pods.labels)).await.map_err(ClusterError::api("list pods"))?;
    let here = listed.items.iter().filter(|pod| is_ready_on(pod, node));
    let here: Vec<_> = here.filter_map(|pod| pod.metadata.name.clone()).collect();
    let on_it = Proof {
        subject: format!("{}/{} on {node}", pods.namespace, pods.labels),
        evidence: if here.is_empty() { "there are none".to_owned() } else { format!("{} runs there", here.join(", ")) },
        held: !here.is_empty(),
        at: tools.clock.now(),
    };
    let attachments: Api<VolumeAttachment> = Api::all(tools.cluster.client());
    let listed =
        attachments.list(&ListParams::default()).await.map_err(ClusterError::api("list volume attachments"))?;
    let attached = listed.items.iter().filter(|attachment| attachment.spec.node_name == node).count();
    let volumes = Proof {
        subject: format!("volumes of {node}"),
        evidence: format!("{attached} attached"),
        held: attached == 0,
        at: tools.clock.now(),
    };
    Ok([on_it, volumes])
}
