//! A node powered off by its provider: every process on it ends at once, and nobody tells the API server.

use super::{ANNOTATION_UNDO, FaultError, Proof, Tools};
use crate::cluster::{ClusterError, LABEL_RUN};
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

pub(super) fn undo_of(node: &str) -> Undo {
    Undo::PowerOn { node: node.to_owned() }
}

pub(super) fn preview(target: &Target) -> String {
    format!("power off {target}, by its provider (patch nodes, get nodes/proxy); undone by powering it on")
}

/// Marks the node object, so that a sweep without the journal knows what to do, and powers the node off.
pub(super) async fn inject(tools: &Tools, node: &str) -> Result<(), FaultError> {
    let undo = serde_json::to_string(&[undo_of(node)]);
    let undo = undo.map_err(|error| FaultError::Mismatch(format!("the undo of node {node}: {error}")))?;
    mark(tools, node, Some((&tools.mark.run_id, &undo))).await?;
    Ok(tools.power.off(node).await?)
}

/// Two proofs: the provider's own word on the state, and that the kubelet does not answer the API server while the one
/// of another node does.
pub(super) async fn prove(tools: &Tools, node: &str) -> Result<Vec<Proof>, FaultError> {
    let is_on = tools.power.is_on(node).await?;
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
    Ok(vec![power, Proof { subject: format!("kubelet of {node}"), evidence, held, at }])
}

/// Powers it on, and takes the mark away. That it is ready again is [`is_clean`]'s to see.
pub(super) async fn undo(tools: &Tools, node: &str) -> Result<(), FaultError> {
    tools.power.on(node).await?;
    mark(tools, node, None).await
}

/// Whether the node is on, ready by its own kubelet's word too, and unmarked.
pub(super) async fn is_clean(tools: &Tools, node: &str, deadline: Instant) -> Result<bool, FaultError> {
    let looked = async {
        if !tools.power.is_on(node).await? {
            return Ok(false);
        }
        let nodes: Api<Node> = Api::all(tools.cluster.client());
        let Some(object) = nodes.get_opt(node).await.map_err(ClusterError::api("read a node"))? else {
            return Ok(false);
        };
        let marked = object.metadata.annotations.iter().flatten().any(|(key, _)| key == ANNOTATION_UNDO);
        let conditions = object.status.and_then(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        // The condition stays true for most of a minute after the node went: only its kubelet knows.
        Ok(!marked && ready && tools.cluster.kubelet_answers(node).await.is_ok())
    };
    // No answer is not clean.
    tokio::time::timeout_at(deadline, looked).await.unwrap_or(Ok(false))
}

async fn mark(tools: &Tools, node: &str, mark: Option<(&str, &str)>) -> Result<(), FaultError> {
    let (run, undo) = mark.unzip();
    let patch = json!({"metadata": {"labels": {LABEL_RUN: run}, "annotations": {ANNOTATION_UNDO: undo}}});
    let nodes: Api<Node> = Api::all(tools.cluster.client());
    match nodes.patch_metadata(node, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        // A runbook may have deleted the object, and the mark with it; the kubelet makes it again.
        Err(kube::Error::Api(status)) if status.code == 404 && undo.is_none() => Ok(()),
        Err(error) => Err(ClusterError::api("mark a node")(error).into()),
    }
}
