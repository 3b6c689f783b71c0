//! A node powered off by its provider: every process on it ends at once, and nobody tells the API server.

use super::choose::{Candidate, Choice};
use super::kind::{FaultKind, Site, UndoKind, not_a_target};
use super::{FaultError, Injected, Proof, Tools, new_node};
use crate::cluster::{ClusterError, LABEL_RUN, NodeState, is_ready};
use crate::provider::{Capability, MachineError};
use crate::record::annotations::ANNOTATION_UNDO;
use async_trait::async_trait;
use firedrill_core::event::{PowerOnUndo, Undo};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{NodeOffFault, PodSelector};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams, PartialObjectMeta, Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, interval};

const LOOK_EVERY: Duration = Duration::from_millis(250);

const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

#[async_trait]
impl FaultKind for NodeOffFault {
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        let nodes: Api<Node> = Api::all(choice.cluster.client());
        let nodes = nodes.list(&ListParams::default()).await.map_err(ClusterError::api("list nodes"))?.items;
        let things = "nodes of running and ready pods";
        choice.draw(&self.pods, Some(self.count), things, distinct_nodes(nodes, self.new)).await
    }

    fn preview(&self, target: &Target) -> String {
        let (before, undone) = match self.new {
            true => ("create a node, wait until one of the pods runs there, and ", "removing it"),
            false => ("", "powering it on"),
        };
        format!("{before}power off {target}, by its provider (get nodes/proxy); undone by {undone}")
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        let node = node_of(target)?.to_owned();
        Ok(Some(match self.new {
            true => Undo::RemoveNode { node },
            false => Undo::PowerOn(PowerOnUndo { node, container: None }),
        }))
    }

    fn needs(&self) -> &'static [Capability] {
        if self.new { &[Capability::NodePower, Capability::NewNode] } else { &[Capability::NodePower] }
    }

    /// Waits until the pods that must be there are, and powers the node off. The injection's own limit bounds the wait.
    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        let node = node_of(site.target)?;
        if let Some(with) = &self.with {
            let mut tick = interval(LOOK_EVERY);
            while !holds(site.tools, node, with).await?.held {
                tick.tick().await;
            }
        }
        site.tools.cluster.machines.power_off(node).await?;
        Ok(Injected::of(site.target))
    }

    async fn prove(&self, site: &mut Site<'_>, _: &Injected, _: Instant) -> Result<Vec<Proof>, FaultError> {
        let (tools, node) = (site.tools, node_of(site.target)?);
        let mut proofs = prove_off(tools, node).await?;
        if let Some(with) = &self.with {
            proofs.push(holds(tools, node, with).await?);
        }
        if self.new {
            proofs.extend(new_node::prove(tools, node, &self.pods).await?);
        }
        Ok(proofs)
    }
}

#[async_trait]
impl UndoKind for PowerOnUndo {
    async fn identify(&self, tools: &Tools) -> Result<Option<Undo>, FaultError> {
        let id = tools.cluster.machines.machine_id(&self.node).await?;
        let container = Some(id.ok_or_else(|| MachineError::NoMachine { node: self.node.clone() })?);
        Ok(Some(Undo::PowerOn(Self { container, ..self.clone() })))
    }

    /// Powers it on, where its container is the one that was powered off: one that was made since under its name is left
    /// alone. That it is ready again is for `is_clean` to see.
    async fn undo(&self, tools: &Tools, _: Instant) -> Result<(), FaultError> {
        if is_another(tools, self).await? {
            return Ok(());
        }
        tools.cluster.machines.power_on(&self.node).await?;
        remove_annotation(tools, &self.node).await
    }

    /// Whether the node is on, and ready by its own kubelet's word too; or its container is gone, or another one.
    async fn is_clean(&self, tools: &Tools, deadline: Instant) -> Result<bool, FaultError> {
        let looked = async {
            if is_another(tools, self).await? {
                return Ok(true);
            }
            if !tools.cluster.machines.is_on(&self.node).await? {
                return Ok(false);
            }
            let nodes: Api<Node> = Api::all(tools.cluster.client());
            let Some(object) = nodes.get_opt(&self.node).await.map_err(ClusterError::api("read a node"))? else {
                return Ok(false);
            };
            let ready = NodeState::of(&object).ready;
            // The condition stays true for most of a minute after the node went: only its kubelet knows.
            Ok(ready && tools.cluster.kubelet_answers(&self.node).await.is_ok())
        };
        // No answer is not clean.
        tokio::time::timeout_at(deadline, looked).await.unwrap_or(Ok(false))
    }

    fn finish_first(&self, tools: &Tools) -> Option<String> {
        tools.cluster.machines.power_on_command(&self.node)
    }
}

fn node_of(target: &Target) -> Result<&str, FaultError> {
    match target {
        Target::Node { node, .. } => Ok(node),
        _ => Err(not_a_target(target)),
    }
}

/// Makes a target of each pod's node, or of the new one that is made for it: of every node once.
fn distinct_nodes(nodes: Vec<Node>, new: bool) -> impl FnMut(&Candidate<'_>) -> Option<Result<Target, String>> + Send {
    let mut used = BTreeSet::new();
    move |candidate| {
        let is_first = used.insert(candidate.node.to_owned());
        is_first.then(|| match new {
            true => Ok(new_node::target(candidate.node, candidate.name)),
            false => node_target(candidate, &nodes),
        })
    }
}

fn node_target(candidate: &Candidate<'_>, nodes: &[Node]) -> Result<Target, String> {
    let node = nodes.iter().find(|node| node.metadata.name.as_deref() == Some(candidate.node));
    let node = node.ok_or_else(|| format!("node {} is not listed", candidate.node))?;
    if node.metadata.labels.iter().flatten().any(|(key, _)| key == CONTROL_PLANE) {
        return Err(format!("node {} is a control plane, which no drill powers off", candidate.node));
    }
    Ok(Target::Node {
        node: candidate.node.to_owned(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        because_of: candidate.name.to_owned(),
    })
}

/// Two proofs: the provider's own word on the state, and that the kubelet does not answer the API server while the one
/// of another node does.
async fn prove_off(tools: &Tools, node: &str) -> Result<Vec<Proof>, FaultError> {
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
    Ok(vec![power, Proof { subject: format!("kubelet of {node}"), evidence, held, at }])
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

/// Whether the container that was powered off is gone: what has the node's name by now was made anew.
async fn is_another(tools: &Tools, undo: &PowerOnUndo) -> Result<bool, FaultError> {
    let Some(recorded) = &undo.container else { return Ok(false) };
    Ok(tools.cluster.machines.machine_id(&undo.node).await?.is_none_or(|id| id != *recorded))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::choose::choose;
    use crate::fault::choose::tests::pod;

    fn node(name: &str, control_plane: bool) -> Node {
        let labels = if control_plane { json!({CONTROL_PLANE: ""}) } else { json!({}) };
        serde_json::from_value(json!({"metadata": {"name": name, "uid": "n", "labels": labels}})).unwrap()
    }

    #[test]
    fn nodes_are_distinct_and_never_a_control_plane() {
        let draw = |pods: &[Pod]| {
            let nodes = vec![node("cp", true), node("w1", false), node("w2", false)];
            choose(pods, 2, 3, &[], distinct_nodes(nodes, false))
        };
        let error = draw(&[pod(0, "cp", "True"), pod(1, "w1", "True"), pod(2, "w1", "True")]).unwrap_err();
        assert!(error.contains("found 1") && error.contains("node cp is a control plane"), "{error}");
        let chosen = draw(&[pod(0, "w2", "True"), pod(1, "w1", "True"), pod(2, "w1", "True")]).unwrap();
        let names: Vec<_> = chosen.iter().filter_map(Target::node).collect();
        assert_eq!(names, ["w1", "w2"]);
    }
}
