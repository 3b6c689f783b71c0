//! A node powered off by its provider: every process on it ends at once, and nobody tells the API server.

use super::{FaultError, Proof, Tools};
use crate::cluster::{ClusterError, LABEL_RUN, NodeState, is_ready};
use crate::record::annotations::ANNOTATION_UNDO;
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use firedrill_core::scenario::PodSelector;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams, PartialObjectMeta, Patch, PatchParams};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, interval};

const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) fn undo_of(node: &str, new: bool) -> Undo {
    let node = node.to_owned();
    if new { Undo::RemoveNode { node } } else { Undo::PowerOn { node, container: None } }
}

pub(super) fn preview(target: &Target, new: bool) -> String {
    let (before, undone) = match new {
        true => ("make a node, have one of the pods start there, and ", "taking it away"),
        false => ("", "powering it on"),
    };
    format!("{before}power off {target}, by its provider (get nodes/proxy); undone by {undone}")
}

/// Waits until the pods that must be there are, and powers the node off. The injection's own limit bounds the wait.
pub(super) async fn inject(tools: &Tools, node: &str, with: Option<&PodSelector>) -> Result<(), FaultError> {
    if let Some(with) = with {
        let mut tick = interval(LOOK_EVERY);
        while !holds(tools, node, with).await?.held {
            tick.tick().await;
        }
    }
    Ok(tools.cluster.machines.power_off(node).await?)
}

/// Two proofs: the provider's own word on the state, and that the kubelet does not answer the API server while the one
/// of another node does. A third where other pods had to be on it.
pub(super) async fn prove(tools: &Tools, node: &str, with: Option<&PodSelector>) -> Result<Vec<Proof>, FaultError> {
    let is_on = tools.cluster.machines.is_on(node).await?;
    let evidence = if is_on { "it is on" } else { "it is off" };
    let power = Proof {
        subject: format!("power of {node}"),
        evidence: evidence.to_owned(),
        held: !is_on,
        at: tools.clock.now(),
    };

    let victim = tools.cluster.kubelet_answers(node).await;
    let at = tools.clock.now();
    let nodes: Api<Node> = Api::all(tools.cluster.client());
    let listed = nodes.list(&ListParams::default()).await.map_err(ClusterError::api("list nodes"))?;
    let other = listed.items.iter().filter_map(|other| other.metadata.name.as_deref()).find(|name| *name != node);
    let (held, evidence) = match (victim, other) {
        (Ok(()), _) => (false, "it answers".to_owned()),
        (Err(_), None) => (false, "it does not answer, and there is no other node to compare with".to_owned()),
        (Err(why), Some(other)) => match tools.cluster.kubelet_answers(other).await {
            Ok(()) => (true, format!("it does not answer ({why}), and that of {other} does")),
            Err(_) => (false, format!("it does not answer ({why}), but neither does that of {other}")),
        },
    };
    let mut proofs = vec![power, Proof { subject: format!("kubelet of {node}"), evidence, held, at }];
    if let Some(with) = with {
        proofs.push(holds(tools, node, with).await?);
    }
    Ok(proofs)
}

/// Whether all of these pods are on the node, and ready by the last word of its kubelet, which stands while the node is off
/// until the control plane gives it up.
async fn holds(tools: &Tools, node: &str, with: &PodSelector) -> Result<Proof, FaultError> {
    let pods: Api<Pod> = Api::namespaced(tools.cluster.client(), &with.namespace);
    let listed = pods.list(&ListParams::default().labels(&with.labels)).await;
    let at = tools.clock.now();
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        listed.map_err(ClusterError::api("list pods"))?.items.into_iter().partition(|pod| is_ready_on(pod, node));
    let names = |pods: &[Pod]| pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect::<Vec<_>>().join(", ");
    let (held, evidence) = match (here.as_slice(), elsewhere.as_slice()) {
        ([], []) => (false, "there are none".to_owned()),
        (here, []) => (true, format!("{} runs there", names(here))),
        (_, elsewhere) => (false, format!("not ready there: {}", names(elsewhere))),
    };
    Ok(Proof { subject: format!("{}/{} on {node}", with.namespace, with.labels), evidence, held, at })
}

pub(super) fn is_ready_on(pod: &Pod, node: &str) -> bool {
    let on_it = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
    on_it && is_ready(pod)
}

/// Powers it on, where its container is the one that was powered off: one that was made since under its name is left alone. That it is
/// ready again is [`is_clean`]'s to see.
pub(super) async fn undo(tools: &Tools, node: &str, container: Option<&str>) -> Result<(), FaultError> {
    if is_another(tools, node, container).await? {
        return Ok(());
    }
    tools.cluster.machines.power_on(node).await?;
    remove_annotation(tools, node).await
}

/// Whether the node is on, and ready by its own kubelet's word too; or its container is gone, or another one.
pub(super) async fn is_clean(
    tools: &Tools,
    node: &str,
    container: Option<&str>,
    deadline: Instant,
) -> Result<bool, FaultError> {
    let looked = async {
        if is_another(tools, node, container).await? {
            return Ok(true);
        }
        if !tools.cluster.machines.is_on(node).await? {
            return Ok(false);
        }
        let nodes: Api<Node> = Api::all(tools.cluster.client());
        let Some(object) = nodes.get_opt(node).await.map_err(ClusterError::api("read a node"))? else {
            return Ok(false);
        };
        let ready = NodeState::of(&object).ready;
        // The condition stays true for most of a minute after the node went: only its kubelet knows.
        Ok(ready && tools.cluster.kubelet_answers(node).await.is_ok())
    };
    // No answer is not clean.
    tokio::time::timeout_at(deadline, looked).await.unwrap_or(Ok(false))
}

/// Whether the container that was powered off is gone: what has the node's name by now was made anew.
async fn is_another(tools: &Tools, node: &str, container: Option<&str>) -> Result<bool, FaultError> {
    let Some(recorded) = container else { return Ok(false) };
    Ok(tools.cluster.machines.machine_id(node).await?.is_none_or(|id| id != recorded))
}

/// Removes the label and the annotation by which older versions marked a node that they powered off.
async fn remove_annotation(tools: &Tools, node: &str) -> Result<(), FaultError> {
    let nodes: Api<Node> = Api::all(tools.cluster.client());
    let object = nodes.get_metadata_opt(node).await.map_err(ClusterError::api("read a node"))?;
    let annotated = |object: &PartialObjectMeta<Node>| {
        object.metadata.annotations.iter().flatten().any(|(key, _)| key == ANNOTATION_UNDO)
    };
    if !object.as_ref().is_some_and(annotated) {
        return Ok(());
    }
    let patch = json!({"metadata": {"labels": {LABEL_RUN: null}, "annotations": {ANNOTATION_UNDO: null}}});
    match nodes.patch_metadata(node, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        // A runbook may have deleted the object, and its marks with it; the kubelet makes it again.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(ClusterError::api("remove the annotation of a node")(error).into()),
    }
}
