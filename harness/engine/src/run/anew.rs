//! What crashed while the fault was in is started anew once it is out.

use super::context::Context;
use crate::observe;
use firedrill_core::event::Event;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};

/// Deletes the pods that wait in `CrashLoopBackOff`, which their controllers make again: otherwise they would wait for up to
/// five minutes before the first start that can succeed. Only for a run whose recovery is not measured any more. What
/// cannot be asked or deleted is noted.
pub(super) async fn start_anew(context: &Context) {
    context.doing("starting anew what crashed");
    for namespace in observe::namespaces(&context.drill.scenario) {
        let pods: Api<Pod> = Api::namespaced(context.cluster.client(), &namespace);
        let listed = context.cluster.ask(format!("the pods of {namespace}"), pods.list(&ListParams::default())).await;
        let text = match listed {
            Ok(listed) => started_anew(context, &pods, &listed.items).await,
            Err(error) => vec![error.to_string()],
        };
        for text in text {
            context.recorder.record(Event::Note { text });
        }
    }
}

async fn started_anew(context: &Context, pods: &Api<Pod>, listed: &[Pod]) -> Vec<String> {
    let mut told = Vec::new();
    for pod in listed.iter().filter(|pod| waits_after_a_crash(pod)) {
        let name = pod.name_any();
        let preconditions = Some(Preconditions { uid: pod.uid(), ..Preconditions::default() });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        told.push(match context.cluster.ask(format!("the end of pod {name}"), pods.delete(&name, &params)).await {
            Ok(_) => format!("once the fault was out, pod {name} was deleted, which waited in CrashLoopBackOff"),
            Err(error) => error.to_string(),
        });
    }
    told
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
    use serde_json::json;

    fn pod(controller: bool, state: &serde_json::Value) -> Pod {
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": controller});
        serde_json::from_value(json!({"metadata": {"name": "p", "ownerReferences": [owner]},
            "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 9,
                "state": state}]}}))
        .unwrap()
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
