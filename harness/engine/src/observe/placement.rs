//! Where everything runs that could spoil a measurement.

use crate::cluster::{Cluster, ClusterError, LABEL_RUN, RunMark};
use firedrill_core::event::{Place, PlaceKind};
use firedrill_core::plan::Target;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use std::collections::BTreeSet;

/// Every pod of the CNPG operator, of CoreDNS, of this run and of whatever is no part of Kubernetes, with its node.
///
/// # Errors
/// Where the API server does not answer.
pub async fn placement(cluster: &Cluster, targets: &[Target], mark: &RunMark) -> Result<Vec<Place>, ClusterError> {
    let pods: Api<Pod> = Api::all(cluster.client());
    let pods = pods.list(&ListParams::default()).await.map_err(ClusterError::api("list pods"))?.items;
    let victims: BTreeSet<_> = targets.iter().filter_map(Target::node).collect();
    let mut places: Vec<_> = pods.iter().filter_map(|pod| place(pod, &mark.run_id, &victims)).collect();
    places.sort_by(|a, b| (&a.what, &a.name).cmp(&(&b.what, &b.name)));
    Ok(places)
}

fn place(pod: &Pod, run_id: &str, victims: &BTreeSet<&str>) -> Option<Place> {
    let namespace = pod.metadata.namespace.as_deref()?;
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let label = |key: &str| labels.get(key).map(String::as_str);
    let what = if label(LABEL_RUN) == Some(run_id) {
        match label("app.kubernetes.io/component") {
            Some("node-agent") => PlaceKind::NodeAgent,
            _ => PlaceKind::ProbeAgent,
        }
    } else if label("app.kubernetes.io/name") == Some("cloudnative-pg") {
        PlaceKind::CnpgOperator
    } else if namespace == "kube-system" && label("k8s-app") == Some("kube-dns") {
        PlaceKind::CoreDns
    } else if namespace.starts_with("kube-") || namespace == "local-path-storage" || label(LABEL_RUN).is_some() {
        return None;
    } else {
        PlaceKind::StackPod
    };
    let node = pod.spec.as_ref()?.node_name.as_deref()?;
    Some(Place {
        what,
        name: pod.metadata.name.clone()?,
        node: node.to_owned(),
        // A node agent belongs on the node of its victim.
        on_victim: victims.contains(node) && what != PlaceKind::NodeAgent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_pod_is_called_what_it_is() {
        let place = |namespace: &str, labels: serde_json::Value| {
            let pod = json!({"metadata": {"name": "p", "namespace": namespace, "labels": labels},
                "spec": {"nodeName": "w1", "containers": []}});
            place(&serde_json::from_value(pod).unwrap(), "r1", &["w1"].into()).map(|place| place.what)
        };
        assert_eq!(
            place("cnpg-system", json!({"app.kubernetes.io/name": "cloudnative-pg"})).unwrap(),
            PlaceKind::CnpgOperator
        );
        assert_eq!(place("kube-system", json!({"k8s-app": "kube-dns"})).unwrap(), PlaceKind::CoreDns);
        assert_eq!(place("kube-system", json!({"k8s-app": "kube-proxy"})), None);
        assert_eq!(place("ironflow", json!({})).unwrap(), PlaceKind::StackPod);
        assert_eq!(place("firedrill-r1", json!({LABEL_RUN: "r1"})).unwrap(), PlaceKind::ProbeAgent);
        assert_eq!(place("firedrill-r2", json!({LABEL_RUN: "r2"})), None);
    }
}
