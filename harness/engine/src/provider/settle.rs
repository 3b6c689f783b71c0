//! A new cluster, made fit for drills: what every pod depends on is kept off the nodes that drills break, and its network
//! is proven by a request through a Service address. Pods can be Running on a cluster whose Services lead nowhere.

use super::ProviderError;
use crate::cluster::{Cluster, ClusterError, LABEL_MANAGED_BY, MANAGED_BY, Waiting, typed, wait_for};
use crate::process::Progress;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;
use std::time::Duration;

const NODES_LIMIT: Duration = Duration::from_secs(120);
const PLACED_LIMIT: Duration = Duration::from_secs(120);
const PROOF_LIMIT: Duration = Duration::from_secs(90);
/// Its shell, `nslookup` and `nc` make the proof.
const PROOF_IMAGE: &str = "busybox:latest";
const PROOF_LABEL: &str = "firedrill.dev/proof";

pub(super) async fn settle(cluster: &Cluster, progress: Progress<'_>) -> Result<(), ProviderError> {
    progress("waiting for nodes".to_owned());
    wait_for("every node of the cluster to be ready", NODES_LIMIT, || nodes_ready(cluster)).await?;
    progress("keeping CoreDNS on the control plane".to_owned());
    cluster.prefer_control_plane("kube-system", "coredns", PLACED_LIMIT).await?;
    progress("asking a Service from a pod on every worker".to_owned());
    let proof = prove(cluster).await;
    let api = Api::<Pod>::namespaced(cluster.client(), "default");
    let all = ListParams::default().labels(PROOF_LABEL);
    let at_once = DeleteParams::default().grace_period(0);
    cluster.ask("deleting the pods of the proof", api.delete_collection(&at_once, &all)).await?;
    proof
}

pub(super) async fn nodes_ready(cluster: &Cluster) -> Result<Waiting<()>, ClusterError> {
    let nodes = cluster.nodes().await?;
    let missing: Vec<_> = nodes.iter().filter(|node| !node.ready).map(|node| node.name.as_str()).collect();
    Ok(if missing.is_empty() { Waiting::Done(()) } else { Waiting::Not(format!("not ready: {}", missing.join(", "))) })
}

/// A pod on every worker resolves the API server's Service by name and connects to its address: both go through Services.
async fn prove(cluster: &Cluster) -> Result<(), ProviderError> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), "default");
    let workers: Vec<_> = cluster.nodes().await?.into_iter().filter(|node| !node.control_plane).collect();
    for worker in &workers {
        let pod = pod_of_proof(&worker.name)?;
        cluster.ask(format!("a pod on {}", worker.name), api.create(&PostParams::default(), &pod)).await?;
    }
    wait_for("an answer through a Service address on every worker", PROOF_LIMIT, || async {
        let pods = cluster.ask("the pods of the proof", api.list(&ListParams::default().labels(PROOF_LABEL))).await?;
        let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        let open: Vec<_> = pods.iter().filter(|pod| phase(pod) != "Succeeded").map(why_not).collect();
        let proven = open.is_empty() && pods.items.len() == workers.len();
        Ok(if proven { Waiting::Done(()) } else { Waiting::Not(open.join(", ")) })
    })
    .await?;
    Ok(())
}

fn pod_of_proof(node: &str) -> Result<Pod, ProviderError> {
    let script = "until nslookup kubernetes.default.svc.cluster.local >/dev/null \
                  && nc -w 2 kubernetes.default.svc.cluster.local 443 </dev/null; do sleep 0.2; done";
    let pod = json!({
        "metadata": {"name": format!("firedrill-proof-{node}"), "labels": {
            PROOF_LABEL: "service-network", LABEL_MANAGED_BY: MANAGED_BY}},
        "spec": {
            "nodeName": node, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "activeDeadlineSeconds": PROOF_LIMIT.as_secs(), "automountServiceAccountToken": false,
            "containers": [{"name": "ask", "image": PROOF_IMAGE, "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", script]}]}});
    typed(&pod).map_err(|error| ProviderError::Other(error.to_string()))
}

/// Why a pod is not done, in the words of its container's state.
fn why_not(pod: &Pod) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let state = status.container_statuses.into_iter().flatten().next().and_then(|container| container.state);
    let waiting = state.and_then(|state| state.waiting).map(|waiting| {
        let message = waiting.message.map(|message| format!(": {message}")).unwrap_or_default();
        format!("{}{message}", waiting.reason.unwrap_or_default())
    });
    format!("{node}: {}", waiting.unwrap_or_else(|| "no answer".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_runs_on_the_node_it_is_meant_for() {
        let pod = pod_of_proof("firedrill-a3f-worker2").unwrap();
        assert_eq!(pod.spec.unwrap().node_name.unwrap(), "firedrill-a3f-worker2");
    }
}
