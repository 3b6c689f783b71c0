//! What crashed or could not be made while the fault was in is started anew once it is out.

use crate::cluster::{Cluster, exactly};
use crate::observe;
use firedrill_core::scenario::Scenario;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

/// Deletes the pods that wait in `CrashLoopBackOff`, which their controllers make again, and has ReplicaSets that lack pods
/// try again: otherwise the first would wait for up to five minutes before a start that can succeed, the others for up to a
/// quarter of an hour. Only for a run whose recovery is not measured any more. Returns a line for each, and for each
/// request that failed.
pub(super) async fn restart_crashed(cluster: &Cluster, scenario: &Scenario, run_id: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for namespace in observe::namespaces(scenario) {
        let pods: Api<Pod> = Api::namespaced(cluster.client(), &namespace);
        let listed = cluster.ask(format!("the pods of {namespace}"), pods.list(&ListParams::default())).await;
        lines.extend(match listed {
            Ok(listed) => delete_waiting(cluster, &pods, &listed.items).await,
            Err(error) => vec![error.to_string()],
        });
        let sets: Api<ReplicaSet> = Api::namespaced(cluster.client(), &namespace);
        let listed = cluster.ask(format!("the sets of {namespace}"), sets.list(&ListParams::default())).await;
        lines.extend(match listed {
            Ok(listed) => retry_sets(cluster, &sets, &listed.items, run_id).await,
            Err(error) => vec![error.to_string()],
        });
    }
    lines
}

/// A change of the set itself is looked at at once; an annotation that comes and goes changes nothing else.
async fn retry_sets(cluster: &Cluster, sets: &Api<ReplicaSet>, listed: &[ReplicaSet], run_id: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for set in listed.iter().filter(|set| lacks_pods(set)) {
        let name = set.name_any();
        let touch = async |value: Value| {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {"firedrill.dev/again": value}}}));
            let params = PatchParams::default();
            let patched = sets.patch(&name, &params, &patch);
            cluster.ask(format!("a note on ReplicaSet {name}"), patched).await
        };
        let on = touch(json!(run_id)).await;
        // Taken off in any case: where no answer came, the note may be there.
        let off = touch(Value::Null).await;
        lines.push(match on.and(off) {
            Ok(_) => format!("after the undo, ReplicaSet {name} lacked pods and was made to retry"),
            Err(error) => error.to_string(),
        });
    }
    lines
}

fn lacks_pods(set: &ReplicaSet) -> bool {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    set.metadata.deletion_timestamp.is_none() && set.status.as_ref().map_or(0, |status| status.replicas) < wanted
}

async fn delete_waiting(cluster: &Cluster, pods: &Api<Pod>, listed: &[Pod]) -> Vec<String> {
    let mut lines = Vec::new();
    for pod in listed.iter().filter(|pod| waits_after_a_crash(pod)) {
        let name = pod.name_any();
        let params = exactly(pod.uid());
        lines.push(match cluster.ask(format!("the end of pod {name}"), pods.delete(&name, &params)).await {
            Ok(_) => format!("after the undo, pod {name} was in CrashLoopBackOff and was deleted"),
            Err(error) => error.to_string(),
        });
    }
    lines
}

/// Whether a container waits to be started again, in a pod that a controller makes again.
fn waits_after_a_crash(pod: &Pod) -> bool {
    let made_again = pod.owner_references().iter().any(|owner| owner.controller == Some(true));
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let waits = statuses.into_iter().flatten().any(|container| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.and_then(|waiting| waiting.reason.as_deref()) == Some("CrashLoopBackOff")
    });
    made_again && waits && pod.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(controller: bool, state: &serde_json::Value) -> Pod {
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": controller});
        serde_json::from_value(json!({"metadata": {"name": "p", "ownerReferences": [owner]},
            "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 9,
                "state": state}]}}))
        .unwrap()
    }

    #[test]
    fn a_set_lacks_the_pods_that_were_refused() {
        let set = |wanted: i32, there: i32| -> ReplicaSet {
            serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": {"replicas": wanted, "selector": {}},
                "status": {"replicas": there}}))
            .unwrap()
        };
        assert!(lacks_pods(&set(1, 0)) && !lacks_pods(&set(1, 1)) && !lacks_pods(&set(0, 0)));
    }

    #[test]
    fn only_what_waits_after_a_crash_and_is_made_again() {
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert!(waits_after_a_crash(&pod(true, &waits)));
        assert!(!waits_after_a_crash(&pod(false, &waits)));
        assert!(!waits_after_a_crash(&pod(true, &json!({"running": {}}))));
        assert!(!waits_after_a_crash(&pod(true, &json!({"waiting": {"reason": "ContainerCreating"}}))));
    }
}
