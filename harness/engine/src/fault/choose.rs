//! Choosing what a fault acts on: real pods, running and ready, drawn by the run's seed.

use super::FaultError;
use super::kind::kind_of;
use crate::cluster::{Cluster, ClusterError, is_ready};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{Fault, PodSelector};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{Api, ListParams};

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
    kind_of(fault).targets(&Choice { cluster, seed, avoid }).await
}

/// What targets are chosen from, and by what.
pub(super) struct Choice<'a> {
    pub(super) cluster: &'a Cluster,
    seed: u64,
    avoid: &'a [String],
}

impl Choice<'_> {
    /// Containers of that name in as many pods as asked for.
    pub(super) async fn containers(
        &self,
        pods: &PodSelector,
        count: u32,
        container: &str,
    ) -> Result<Vec<Target>, FaultError> {
        self.of_pods(pods, Some(count), |pod| container_target(pod, pods, container)).await
    }

    /// As many pods as asked for; all where no number is given.
    pub(super) async fn pods(&self, pods: &PodSelector, count: Option<u32>) -> Result<Vec<Target>, FaultError> {
        self.of_pods(pods, count, |pod| pod_target(pod, pods)).await
    }

    /// What `target` makes of as many pods as asked for, or says why it makes nothing of one.
    pub(super) async fn of_pods(
        &self,
        pods: &PodSelector,
        count: Option<u32>,
        target: impl Fn(&Candidate<'_>) -> Result<Target, String> + Send,
    ) -> Result<Vec<Target>, FaultError> {
        self.draw(pods, count, "running and ready pods", move |pod| Some(target(pod))).await
    }

    /// The same, where `target` may pass over a pod without a word. `things` are what is counted, for people.
    pub(super) async fn draw(
        &self,
        pods: &PodSelector,
        count: Option<u32>,
        things: &str,
        target: impl FnMut(&Candidate<'_>) -> Option<Result<Target, String>> + Send,
    ) -> Result<Vec<Target>, FaultError> {
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), &pods.namespace);
        let listed = api.list(&ListParams::default().labels(&pods.labels)).await;
        let listed = listed.map_err(ClusterError::api("list pods"))?.items;
        let count = count.map_or(listed.len(), |count| count as usize);
        let targets = choose(&listed, count, self.seed, self.avoid, target);
        targets.map_err(|found| FaultError::TooFewTargets {
            selector: format!("{}/{}", pods.namespace, pods.labels),
            wanted: format!("{} {things}", count.max(1)),
            found,
        })
    }
}

/// A pod that may be chosen.
pub(super) struct Candidate<'a> {
    pub(super) pod: &'a Pod,
    pub(super) name: &'a str,
    pub(super) node: &'a str,
}

impl Candidate<'_> {
    pub(super) fn uid(&self) -> Result<String, String> {
        self.pod.metadata.uid.clone().ok_or_else(|| "has no uid".to_owned())
    }
}

/// Draws from the pods, or says what there is instead, for people.
pub(super) fn choose(
    pods: &[Pod],
    count: usize,
    seed: u64,
    avoid: &[String],
    mut target: impl FnMut(&Candidate<'_>) -> Option<Result<Target, String>>,
) -> Result<Vec<Target>, String> {
    let mut candidates: Vec<_> = pods.iter().filter_map(candidate).collect();
    candidates.sort_by_key(|candidate| candidate.name);
    shuffle(&mut candidates, seed);
    candidates.sort_by_key(|candidate| avoid.iter().any(|node| node == candidate.node));
    let ready = candidates.len();

    let mut refused = Vec::new();
    let mut targets = Vec::new();
    for candidate in candidates {
        match target(&candidate) {
            None => continue,
            Some(Ok(target)) => targets.push(target),
            Some(Err(reason)) => refused.push(format!("{}: {reason}", candidate.name)),
        }
        if targets.len() == count {
            break;
        }
    }
    if count > 0 && targets.len() == count {
        targets.sort();
        return Ok(targets);
    }
    let mut found = format!("found {} ({} pods match, {ready} of them running and ready)", targets.len(), pods.len());
    if !refused.is_empty() {
        found = format!("{found}; {}", refused.join("; "));
    }
    Err(found)
}

fn candidate(pod: &Pod) -> Option<Candidate<'_>> {
    let status = pod.status.as_ref()?;
    if pod.metadata.deletion_timestamp.is_some() || status.phase.as_deref() != Some("Running") || !is_ready(pod) {
        return None;
    }
    Some(Candidate { pod, name: pod.metadata.name.as_deref()?, node: pod.spec.as_ref()?.node_name.as_deref()? })
}

fn pod_target(candidate: &Candidate<'_>, selector: &PodSelector) -> Result<Target, String> {
    Ok(Target::Pod {
        namespace: selector.namespace.clone(),
        pod: candidate.name.to_owned(),
        uid: candidate.uid()?,
        node: candidate.node.to_owned(),
    })
}

fn container_target(candidate: &Candidate<'_>, selector: &PodSelector, container: &str) -> Result<Target, String> {
    let status = status_of(candidate.pod, container).ok_or_else(|| format!("has no container `{container}`"))?;
    let container_id = running_id(status).ok_or_else(|| format!("container `{container}` does not run"))?;
    Ok(Target::Container {
        namespace: selector.namespace.clone(),
        pod: candidate.name.to_owned(),
        uid: candidate.uid()?,
        container: container.to_owned(),
        container_id: container_id.to_owned(),
        node: candidate.node.to_owned(),
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
pub(super) mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    pub(in crate::fault) fn pod(index: u32, node: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": format!("nats-{index}"), "uid": format!("u{index}")},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}],
                "containerStatuses": [{"name": "nats", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                    "containerID": format!("containerd://id{index}"), "state": {"running": {}}}]},
        }))
        .unwrap()
    }

    fn draw(container: &str, count: usize, pods: &[Pod], seed: u64, avoid: &[String]) -> Result<Vec<Target>, String> {
        let selector = PodSelector { namespace: "ironflow".to_owned(), labels: "app=nats".to_owned() };
        choose(pods, count, seed, avoid, |pod| Some(container_target(pod, &selector, container)))
    }

    #[test]
    fn the_seed_decides_and_every_pair_can_come() {
        let pods: Vec<_> = (0..3).map(|index| pod(index, "w1", "True")).collect();
        let mut pairs = BTreeSet::new();
        for seed in 0..50 {
            let chosen = draw("nats", 2, &pods, seed, &[]).unwrap();
            let reversed: Vec<_> = pods.iter().rev().cloned().collect();
            let of_reversed = draw("nats", 2, &reversed, seed, &[]).unwrap();
            assert_eq!(chosen, of_reversed, "the listing's order must not matter");
            assert_eq!(chosen.len(), 2);
            pairs.insert(chosen);
        }
        assert_eq!(pairs.len(), 3);
        let chosen = draw("nats", 3, &pods, 1, &[]).unwrap();
        assert!(matches!(&chosen[0], Target::Container { container_id, .. } if container_id == "id0"));
    }

    #[test]
    fn too_few_targets_say_what_there_is() {
        let pods = [pod(0, "w1", "True"), pod(1, "w1", "False")];
        let found = |container: &str, count: usize, pods: &[Pod]| draw(container, count, pods, 7, &[]).unwrap_err();
        assert_eq!(found("nats", 2, &pods), "found 1 (2 pods match, 1 of them running and ready)");
        assert_eq!(found("nats", 1, &[]), "found 0 (0 pods match, 0 of them running and ready)");
        assert!(found("nats", 0, &pods).starts_with("found"), "no target at all is never right");
        assert!(found("reloader", 1, &pods).ends_with("nats-0: has no container `reloader`"));
    }

    #[test]
    fn avoided_nodes_come_last() {
        let pods: Vec<_> = (0..3).map(|index| pod(index, &format!("w{index}"), "True")).collect();
        for seed in 0..20 {
            let chosen = draw("nats", 2, &pods, seed, &["w1".to_owned()]).unwrap();
            assert!(chosen.iter().all(|target| target.node() != Some("w1")));
        }
        assert_eq!(draw("nats", 3, &pods, 1, &["w1".to_owned()]).unwrap().len(), 3);
    }
}
