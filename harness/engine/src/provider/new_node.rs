//! A node that a run adds and removes again: what is the same with every provider that can do it.

use super::MachineError;
use crate::cluster::{Cluster, ClusterError, LABEL_RUN, RunMark, Waiting, wait_for};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use std::time::Duration;

/// A machine as far as it matters for its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MadeBy<'a> {
    /// The run that made it, where one did.
    pub(super) run: Option<&'a str>,
    /// What the provider's machines are: `container`.
    pub(super) what: &'static str,
}

/// Reads a node; `None` where there is none of that name.
pub(super) async fn object_of(cluster: &Cluster, node: &str) -> Result<Option<Node>, MachineError> {
    let nodes: Api<Node> = Api::all(cluster.client());
    Ok(nodes.get_opt(node).await.map_err(ClusterError::api("read a node"))?)
}

/// Whether what has a node's name was made by this run. Where both are there, the machine decides: a new node has its label last.
///
/// # Errors
/// Names what was not made by the run.
pub(super) fn may_remove(
    run_id: &str,
    node: &str,
    machine: Option<MadeBy<'_>>,
    object: Option<&Node>,
) -> Result<(), MachineError> {
    let not = |what| Err(MachineError::NotOfRun { what, node: node.to_owned(), run: run_id.to_owned() });
    let label = object.and_then(|object| object.metadata.labels.as_ref()?.get(LABEL_RUN)).map(String::as_str);
    match (machine, object) {
        (Some(machine), _) if machine.run != Some(run_id) => not(machine.what),
        (None, Some(_)) if label != Some(run_id) => not("node"),
        _ => Ok(()),
    }
}

/// Waits until a new node is ready, and labels it with its run.
///
/// # Errors
/// Where it does not get ready within the limit, or the API server does not answer.
pub(super) async fn wait_and_label(
    cluster: &Cluster,
    mark: &RunMark,
    name: &str,
    limit: Duration,
) -> Result<(), MachineError> {
    wait_for(&format!("node {name} to be ready"), limit, || async {
        let ready = cluster.nodes().await?.iter().any(|node| node.name == name && node.ready);
        Ok(if ready { Waiting::Done(()) } else { Waiting::Not("not ready".to_owned()) })
    })
    .await?;
    let nodes: Api<Node> = Api::all(cluster.client());
    let patch = json!({"metadata": {"labels": {LABEL_RUN: mark.run_id}}});
    let marked = nodes.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    marked.map_err(ClusterError::api("label a node"))?;
    Ok(())
}

/// Deletes the request by which a kubelet got its certificate: Kubernetes keeps it for an hour.
///
/// # Errors
/// Where the API server does not do it.
pub(super) async fn forget_request(cluster: &Cluster, token_id: &str) -> Result<(), MachineError> {
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.client());
    let listed = requests.list(&ListParams::default()).await.map_err(ClusterError::api("list certificate requests"))?;
    let by = format!("system:bootstrap:{token_id}");
    for request in listed.items.into_iter().filter(|request| request.spec.username.as_deref() == Some(&by)) {
        let name = request.metadata.name.unwrap_or_default();
        let deleted = requests.delete(&name, &DeleteParams::default()).await;
        deleted.map_err(ClusterError::api("delete a certificate request"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_that_this_run_made_is_removed() {
        let machine = |run: Option<&'static str>| Some(MadeBy { run, what: "container" });
        let node = |run: Option<&str>| -> Option<Node> {
            let labels = run.map(|run| json!({LABEL_RUN: run})).unwrap_or_default();
            Some(serde_json::from_value(json!({"metadata": {"name": "w-new", "labels": labels}})).unwrap())
        };
        let may = |machine: Option<MadeBy<'_>>, node: Option<Node>| {
            may_remove("r1", "w-new", machine, node.as_ref()).map_err(|error| error.to_string())
        };
        assert_eq!(may(None, None), Ok(()), "it was never made, or is removed already");
        assert_eq!(may(machine(Some("r1")), None), Ok(()), "it did not join");
        assert_eq!(may(machine(Some("r1")), node(None)), Ok(()), "it joined and was not labelled yet");
        assert_eq!(may(None, node(Some("r1"))), Ok(()), "its machine is removed already");
        let refused = "container w-new is not removed: it does not carry the label firedrill.dev/run=r1";
        assert_eq!(may(machine(None), node(None)), Err(refused.to_owned()), "a node of the cluster's own");
        assert_eq!(may(machine(None), node(Some("r1"))), Err(refused.to_owned()), "a label of a node names no machine");
        assert_eq!(may(machine(Some("r2")), None), Err(refused.to_owned()), "another run's");
        assert!(may(None, node(None)).is_err() && may(None, node(Some("r2"))).is_err());
    }
}
