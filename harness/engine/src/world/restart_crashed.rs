//! What crashed or could not be made while the fault was in is started anew once it is out.

use crate::cluster::{Cluster, ClusterError};
use crate::observe;
use firedrill_core::scenario::Scenario;
use k8s_openapi::api::apps::v1::ReplicaSet;
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
        lines.extend(delete_waiting(cluster, &namespace).await);
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

async fn delete_waiting(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let deleted = match cluster.delete_crashed(namespace).await {
        Ok(deleted) => deleted,
        Err(error) => return vec![error.to_string()],
    };
    let line = |(name, result): (String, Result<(), ClusterError>)| match result {
        Ok(()) => format!("after the undo, pod {name} was in CrashLoopBackOff and was deleted"),
        Err(error) => error.to_string(),
    };
    deleted.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lacks_the_pods_that_were_refused() {
        let set = |wanted: i32, there: i32| -> ReplicaSet {
            serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": {"replicas": wanted, "selector": {}},
                "status": {"replicas": there}}))
            .unwrap()
        };
        assert!(lacks_pods(&set(1, 0)) && !lacks_pods(&set(1, 1)) && !lacks_pods(&set(0, 0)));
    }
}
