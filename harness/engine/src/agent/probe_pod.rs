//! The probe agent's pod.

use super::probe_wire::PORT;
use crate::cluster::{RunMark, typed};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// The pod's name.
pub(super) const NAME: &str = "probe-agent";

/// The manifest: no rights, no token, not on the nodes that are going to be hit, on a control-plane node where that can be.
/// `within_quota`: with every limit that a quota may ask for.
pub(super) fn manifest(
    mark: &RunMark,
    image: &str,
    avoid_nodes: &[String],
    within_quota: bool,
    left_s: i64,
) -> Result<Pod, serde_json::Error> {
    let mut affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "preference": {"matchExpressions": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]},
    }]}});
    if !avoid_nodes.is_empty() {
        // By the node's name: its host name label may be another one.
        let fields: Vec<Value> = avoid_nodes
            .iter()
            .map(|node| json!({"key": "metadata.name", "operator": "NotIn", "values": [node]}))
            .collect();
        affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": [{"matchFields": fields}]});
    }
    let mut limits = json!({"memory": "512Mi"});
    if within_quota {
        // A few probes at most run in a namespace of others, and a pod of theirs must still find room to be replaced.
        limits = json!({"memory": "128Mi", "cpu": "500m"});
    }
    let spec = json!({
        "restartPolicy": "Never",
        // Names are whole: a search list would ask the resolver beyond the cluster first, and measure that one.
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "activeDeadlineSeconds": left_s,
        "terminationGracePeriodSeconds": 2,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "affinity": affinity,
        "tolerations": [
            {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
        ],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65534, "runAsGroup": 65534, "seccompProfile": {"type": "RuntimeDefault"},
            // For two minutes the node's connection tracking sends a connection from a local port where an unanswered one
            // from that port went: to an endpoint that is gone. The more ports there are, the fewer come again in that time.
            "sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "1024 65535"}],
        },
        "containers": [{
            "name": NAME,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": [
                "/firedrill", "agent", "probe", format!("--listen=127.0.0.1:{PORT}"), format!("--expires-after={left_s}"),
            ],
            "ports": [{"containerPort": PORT, "protocol": "TCP"}],
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            },
            "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": limits},
        }],
    });
    Ok(Pod { metadata: mark.metadata(NAME), spec: Some(typed(&spec)?), status: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_has_no_rights_and_avoids_the_victims() {
        let mark = RunMark { run_id: "r1".to_owned(), expires_unix: 1_800_000_000 };
        let avoid = ["a".to_owned(), "b".to_owned()];
        let pod = serde_json::to_value(manifest(&mark, "registry/firedrill:1", &avoid, false, 600).unwrap()).unwrap();
        let spec = &pod["spec"];
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["activeDeadlineSeconds"], 600);
        let terms =
            &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        let fields = terms[0]["matchFields"].as_array().unwrap();
        let avoided: Vec<_> = fields.iter().map(|field| field["values"][0].as_str().unwrap()).collect();
        assert_eq!(avoided, ["a", "b"]);
        assert_eq!(spec["containers"][0]["securityContext"]["capabilities"]["drop"][0], "ALL");
        assert_eq!(pod["metadata"]["labels"]["firedrill.dev/run"], "r1");
        let nowhere = manifest(&mark, "i", &[], true, 600).unwrap();
        let limits = nowhere.spec.as_ref().unwrap().containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap();
        assert!(limits.contains_key("cpu") && limits.contains_key("memory"), "a quota refuses a pod without");
        let affinity = nowhere.spec.unwrap().affinity.unwrap().node_affinity.unwrap();
        assert!(affinity.required_during_scheduling_ignored_during_execution.is_none());
    }
}
