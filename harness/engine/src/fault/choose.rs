//! Choosing what a fault acts on: real pods, running and ready, drawn by the run's seed.

use super::{FaultError, fill, helm_values, new_node, patch};
use crate::cluster::{Cluster, ClusterError, is_ready};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{Fault, PodSelector};
use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod};
use kube::api::{Api, ListParams};
use std::collections::BTreeSet;

/// Every pod that matches, of those that must then be running and ready.
const ALL: u32 = u32::MAX;
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// The fault's targets: as many as it asks for, the same ones for the same pods and seed, in order of name.
///
/// Pods on the nodes of `avoid` are taken only where the others do not suffice. No target for [`Fault::Noop`].
///
/// # Errors
/// Where the cluster does not answer, or has fewer running and ready pods (or nodes of such pods that are no control
/// plane) than asked for; the message says what there is.
pub async fn choose_targets(
    cluster: &Cluster,
    fault: &Fault,
    seed: u64,
    avoid: &[String],
) -> Result<Vec<Target>, FaultError> {
    let (selector, count) = match fault {
        Fault::Signal { pods, count, .. }
        | Fault::Freeze { pods, count, .. }
        | Fault::Corrupt { pods, count, .. }
        | Fault::Fill { pods, count, .. }
        | Fault::FillStream { pods, count, .. }
        | Fault::HoldDetach { pods, count, .. }
        | Fault::SlowAttach { pods, count, .. }
        | Fault::DeletePods { pods, count }
        | Fault::NodeOff { pods, count, .. } => (pods, *count),
        Fault::HelmValues { namespace, release, .. } => {
            return Ok(vec![helm_values::target(cluster, namespace, release).await?]);
        }
        Fault::Patch { object, merge } => return Ok(vec![patch::target(cluster, object, merge).await?]),
        // All that there are: one left out would keep the others' service up.
        Fault::EndConnections { pods, .. } => (pods, ALL),
        Fault::Noop => return Ok(Vec::new()),
    };
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &selector.namespace);
    let listed = pods.list(&ListParams::default().labels(&selector.labels)).await;
    let pods = listed.map_err(ClusterError::api("list pods")).map_err(FaultError::from)?.items;
    let count = if count == ALL { u32::try_from(pods.len()).unwrap_or(ALL) } else { count };
    let nodes = if matches!(fault, Fault::NodeOff { .. }) {
        let nodes: Api<Node> = Api::all(cluster.client());
        nodes.list(&ListParams::default()).await.map_err(ClusterError::api("list nodes"))?.items
    } else {
        Vec::new()
    };
    let chosen = choose(fault, selector, count, &pods, &nodes, seed, avoid)?;
    match fault.hits_volumes() {
        true => fill::with_volumes(cluster, chosen).await,
        false => Ok(chosen),
    }
}

/// A pod that may be chosen.
struct Candidate<'a> {
    pod: &'a Pod,
    name: &'a str,
    node: &'a str,
}

fn choose(
    fault: &Fault,
    selector: &PodSelector,
    count: u32,
    pods: &[Pod],
    nodes: &[Node],
    seed: u64,
    avoid: &[String],
) -> Result<Vec<Target>, FaultError> {
    let mut candidates: Vec<_> = pods.iter().filter_map(candidate).collect();
    candidates.sort_by_key(|candidate| candidate.name);
    shuffle(&mut candidates, seed);
    candidates.sort_by_key(|candidate| avoid.iter().any(|node| node == candidate.node));
    let ready = candidates.len();

    let mut used_nodes = BTreeSet::new();
    let mut refused = Vec::new();
    let mut targets = Vec::new();
    for candidate in candidates {
        let target = match fault {
            Fault::NodeOff { .. } if !used_nodes.insert(candidate.node) => continue,
            Fault::NodeOff { new: true, .. } => Ok(new_node::target(candidate.node, candidate.name)),
            Fault::NodeOff { .. } => node_target(&candidate, nodes),
            Fault::DeletePods { .. } | Fault::EndConnections { .. } => pod_target(&candidate, selector),
            Fault::Signal { container, .. } | Fault::Freeze { container, .. } | Fault::Corrupt { container, .. } => {
                container_target(&candidate, selector, container)
            }
            Fault::Fill { container, path, .. }
            | Fault::FillStream { container, path, .. }
            | Fault::HoldDetach { container, path, .. }
            | Fault::SlowAttach { container, path, .. } => {
                uid(candidate.pod).and_then(|uid| fill::target(candidate.pod, &uid, container, path))
            }
            Fault::HelmValues { .. } | Fault::Patch { .. } | Fault::Noop => return Ok(Vec::new()),
        };
        match target {
            Ok(target) => targets.push(target),
            Err(reason) => refused.push(format!("{}: {reason}", candidate.name)),
        }
        if targets.len() == count as usize {
            break;
        }
    }
    if count > 0 && targets.len() == count as usize {
        targets.sort();
        return Ok(targets);
    }
    let thing = if matches!(fault, Fault::NodeOff { .. }) {
        "nodes of running and ready pods"
    } else {
        "running and ready pods"
    };
    let mut found = format!("found {} ({} pods match, {ready} of them running and ready)", targets.len(), pods.len());
    if !refused.is_empty() {
        found = format!("{found}; {}", refused.join("; "));
    }
    Err(FaultError::TooFewTargets {
        selector: format!("{}/{}", selector.namespace, selector.labels),
        wanted: format!("{} {thing}", count.max(1)),
        found,
    })
}

fn candidate(pod: &Pod) -> Option<Candidate<'_>> {
    let status = pod.status.as_ref()?;
    if pod.metadata.deletion_timestamp.is_some() || status.phase.as_deref() != Some("Running") || !is_ready(pod) {
        return None;
    }
    Some(Candidate { pod, name: pod.metadata.name.as_deref()?, node: pod.spec.as_ref()?.node_name.as_deref()? })
}

fn uid(pod: &Pod) -> Result<String, String> {
    pod.metadata.uid.clone().ok_or_else(|| "has no uid".to_owned())
}

fn pod_target(candidate: &Candidate<'_>, selector: &PodSelector) -> Result<Target, String> {
    Ok(Target::Pod {
        namespace: selector.namespace.clone(),
        pod: candidate.name.to_owned(),
        uid: uid(candidate.pod)?,
        node: candidate.node.to_owned(),
    })
}

fn container_target(candidate: &Candidate<'_>, selector: &PodSelector, container: &str) -> Result<Target, String> {
    let status = status_of(candidate.pod, container).ok_or_else(|| format!("has no container `{container}`"))?;
    let container_id = running_id(status).ok_or_else(|| format!("container `{container}` does not run"))?;
    Ok(Target::Container {
        namespace: selector.namespace.clone(),
        pod: candidate.name.to_owned(),
        uid: uid(candidate.pod)?,
        container: container.to_owned(),
        container_id: container_id.to_owned(),
        node: candidate.node.to_owned(),
    })
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

/// The status of one of a pod's containers.
pub(super) fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    pod.status.as_ref()?.container_statuses.iter().flatten().find(|status| status.name == container)
}

/// A running container's id, without its runtime's prefix.
pub(super) fn running_id(status: &ContainerStatus) -> Option<&str> {
    status.state.as_ref()?.running.as_ref()?;
    let id = status.container_id.as_deref()?;
    Some(id.split_once("://").map_or(id, |(_, id)| id))
}

/// Fisher-Yates over splitmix64: the same order for the same seed on every machine and in every version.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    for last in (1..items.len()).rev() {
        let range = last as u64 + 1;
        items.swap(last, usize::try_from(next() % range).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firedrill_core::scenario::Signal;
    use serde_json::json;

    fn selector() -> PodSelector {
        PodSelector { namespace: "ironflow".to_owned(), labels: "app=nats".to_owned() }
    }

    fn pod(index: u32, node: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": format!("nats-{index}"), "uid": format!("u{index}")},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}],
                "containerStatuses": [{"name": "nats", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                    "containerID": format!("containerd://id{index}"), "state": {"running": {}}}]},
        }))
        .unwrap()
    }

    fn node(name: &str, control_plane: bool) -> Node {
        let labels = if control_plane { json!({CONTROL_PLANE: ""}) } else { json!({}) };
        serde_json::from_value(json!({"metadata": {"name": name, "uid": "n", "labels": labels}})).unwrap()
    }

    fn kill(count: u32) -> Fault {
        Fault::Signal { pods: selector(), container: "nats".to_owned(), count, signal: Signal::Kill }
    }

    fn draw(fault: &Fault, count: u32, pods: &[Pod], nodes: &[Node], seed: u64) -> Result<Vec<Target>, String> {
        choose(fault, &selector(), count, pods, nodes, seed, &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn the_seed_decides_and_every_pair_can_come() {
        let pods: Vec<_> = (0..3).map(|index| pod(index, "w1", "True")).collect();
        let mut pairs = BTreeSet::new();
        for seed in 0..50 {
            let chosen = draw(&kill(2), 2, &pods, &[], seed).unwrap();
            let reversed: Vec<_> = pods.iter().rev().cloned().collect();
            assert_eq!(chosen, draw(&kill(2), 2, &reversed, &[], seed).unwrap(), "the listing's order must not matter");
            assert_eq!(chosen.len(), 2);
            pairs.insert(chosen);
        }
        assert_eq!(pairs.len(), 3);
        let chosen = draw(&kill(3), 3, &pods, &[], 1).unwrap();
        assert!(matches!(&chosen[0], Target::Container { container_id, .. } if container_id == "id0"));
    }

    #[test]
    fn too_few_targets_say_what_there_is() {
        let pods = [pod(0, "w1", "True"), pod(1, "w1", "False")];
        assert_eq!(
            draw(&kill(2), 2, &pods, &[], 7).unwrap_err(),
            "2 running and ready pods wanted that match `ironflow/app=nats`, found 1 (2 pods match, 1 of them running and ready)"
        );
        assert!(
            draw(&kill(1), 1, &[], &[], 7)
                .unwrap_err()
                .ends_with("found 0 (0 pods match, 0 of them running and ready)")
        );
        assert!(draw(&kill(0), 0, &pods, &[], 7).is_err(), "no target at all is never right");
        let other = Fault::Freeze { pods: selector(), container: "reloader".to_owned(), count: 1, lasts: None };
        assert!(draw(&other, 1, &pods, &[], 7).unwrap_err().ends_with("nats-0: has no container `reloader`"));
    }

    #[test]
    fn nodes_are_distinct_and_never_a_control_plane() {
        let fault = Fault::NodeOff { pods: selector(), new: false, count: 2, with: None };
        let nodes = [node("cp", true), node("w1", false), node("w2", false)];
        let pods = [pod(0, "cp", "True"), pod(1, "w1", "True"), pod(2, "w1", "True")];
        let error = draw(&fault, 2, &pods, &nodes, 3).unwrap_err();
        assert!(error.contains("found 1") && error.contains("node cp is a control plane"), "{error}");
        let pods = [pod(0, "w2", "True"), pod(1, "w1", "True"), pod(2, "w1", "True")];
        let names: Vec<_> =
            draw(&fault, 2, &pods, &nodes, 3).unwrap().iter().filter_map(|t| t.node().map(str::to_owned)).collect();
        assert_eq!(names, ["w1", "w2"]);
    }

    #[test]
    fn avoided_nodes_come_last() {
        let pods: Vec<_> = (0..3).map(|index| pod(index, &format!("w{index}"), "True")).collect();
        for seed in 0..20 {
            let chosen = choose(&kill(2), &selector(), 2, &pods, &[], seed, &["w1".to_owned()]).unwrap();
            assert!(chosen.iter().all(|target| target.node() != Some("w1")));
        }
        assert_eq!(choose(&kill(3), &selector(), 3, &pods, &[], 1, &["w1".to_owned()]).unwrap().len(), 3);
    }
}
