//! States of Kubernetes' own objects, in a few words.

use crate::cluster::{Cluster, is_ready};
use firedrill_core::event::{Observation, Source};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::ResourceExt;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Time between two looks whether the API server answers.
const API_EVERY: Duration = Duration::from_secs(1);
/// The limit of such a look.
const API_LIMIT: Duration = Duration::from_secs(2);

/// Tells when the API server goes away and when it is back, once each.
pub(super) async fn watch_api(cluster: Cluster, to: Sender<Observation>) {
    let mut answered = true;
    let mut tick = interval(API_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return };
        let answer = timeout(API_LIMIT, cluster.client().request_text(request)).await;
        let (answers, state) = match answer {
            Ok(Ok(_)) => (true, "answers again".to_owned()),
            Ok(Err(error)) => (false, format!("does not answer: {error}")),
            Err(_) => (false, format!("does not answer within {} s", API_LIMIT.as_secs())),
        };
        if answers != answered {
            answered = answers;
            let object = "API server".to_owned();
            let healthy = Some(answers);
            let observation = Observation { source: Source::Nodes, object, state, healthy, fact: None };
            if to.send(observation).await.is_err() {
                return;
            }
        }
    }
}

/// Whether a pod's Ready condition holds and it is not being deleted.
pub(super) fn pod_is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && is_ready(pod)
}

/// The phase of a pod whose containers have all ended for good: `Failed` or `Succeeded`.
pub(super) fn ended(pod: &Pod) -> Option<&str> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase.filter(|phase| matches!(*phase, "Failed" | "Succeeded"))
}

/// Restarts of all of a pod's containers.
pub(super) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).sum()
}

pub(super) fn pod_state(pod: &Pod) -> Observation {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
    let containers: Vec<_> = status.iter().flat_map(|status| status.container_statuses.iter().flatten()).collect();
    let init = status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    let ready = pod_is_ready(pod);
    let mut parts = Vec::new();
    if pod.metadata.deletion_timestamp.is_some() {
        parts.push("terminating".to_owned());
    }
    parts.push(phase.to_lowercase());
    parts.push(if ready { "ready".to_owned() } else { "not ready".to_owned() });
    if restarts(pod) > 0 {
        parts.push(format!("restarts {}", restarts(pod)));
    }
    for container in init.chain(containers) {
        let Some(state) = &container.state else { continue };
        if let Some(reason) = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref()) {
            parts.push(format!("{} waits: {reason}", container.name));
        }
        if let Some(ended) = state.terminated.as_ref().filter(|ended| ended.exit_code != 0) {
            parts.push(format!("{} ended with exit code {}", container.name, ended.exit_code));
        }
    }
    match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
        Some(node) => parts.push(format!("on {node}")),
        None => parts.push("on no node".to_owned()),
    }
    // A pod that did its work and ended is as it should be.
    let healthy = if phase == "Succeeded" { None } else { Some(ready) };
    Observation { source: Source::Pods, object: pod.name_any(), state: parts.join(", "), healthy, fact: None }
}

/// Whether a node's Ready condition holds, with its reason where not.
pub(super) fn node_ready(node: &Node) -> Result<(), String> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    match conditions.into_iter().find(|condition| condition.type_ == "Ready") {
        Some(condition) if condition.status == "True" => Ok(()),
        Some(condition) => {
            let reason = condition.reason.as_deref().unwrap_or("no reason");
            Err(format!("Ready is {} ({reason})", condition.status))
        }
        None => Err("it has no Ready condition".to_owned()),
    }
}

pub(super) fn node_state(node: &Node) -> Observation {
    let ready = node_ready(node);
    let healthy = Some(ready.is_ok());
    let mut state = ready.map_or_else(|why| format!("not ready: {why}"), |()| "ready".to_owned());
    let spec = node.spec.as_ref();
    if spec.and_then(|spec| spec.unschedulable).unwrap_or(false) {
        state.push_str(", cordoned");
    }
    for taint in spec.iter().flat_map(|spec| spec.taints.iter().flatten()) {
        state.push_str(&format!(", {} {}", taint.key, taint.effect));
    }
    Observation { source: Source::Nodes, object: node.name_any(), state, healthy, fact: None }
}

pub(super) fn event_state(event: &Event) -> Observation {
    let involved = &event.involved_object;
    let kind = involved.kind.as_deref().unwrap_or("object").to_lowercase();
    let object = format!("{kind} {}", involved.name.as_deref().unwrap_or_default());
    let reason = event.reason.as_deref().unwrap_or("no reason");
    let message = event.message.as_deref().unwrap_or_default().trim();
    let healthy = if event.type_.as_deref() == Some("Warning") { Some(false) } else { None };
    let times = match event.count.unwrap_or(1) {
        ..=1 => String::new(),
        count => format!(" (the {count}th time)"),
    };
    let state = format!("{reason}: {message}{times}");
    Observation { source: Source::Events, object, state, healthy, fact: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_are_told_in_a_line() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "nats-1"},
            "spec": {"nodeName": "w1", "containers": []},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{"name": "nats", "ready": false, "restartCount": 2, "image": "", "imageID": "",
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
        }))
        .unwrap();
        let state = pod_state(&pod);
        assert_eq!(state.state, "running, not ready, restarts 2, nats waits: CrashLoopBackOff, on w1");
        assert_eq!((state.object.as_str(), state.healthy), ("nats-1", Some(false)));
    }

    #[test]
    fn a_node_without_news_is_not_ready() {
        let node = |status: &str| -> Node {
            let condition = json!({"type": "Ready", "status": status, "reason": "NodeStatusUnknown"});
            let taint = json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"});
            serde_json::from_value(json!({"metadata": {"name": "w1"}, "spec": {"taints": [taint]},
                "status": {"conditions": [condition]}}))
            .unwrap()
        };
        let unknown = node_state(&node("Unknown"));
        assert_eq!(unknown.healthy, Some(false));
        let expected = "not ready: Ready is Unknown (NodeStatusUnknown), node.kubernetes.io/unreachable NoExecute";
        assert_eq!(unknown.state, expected);
        assert_eq!(node_state(&node("True")).healthy, Some(true));
        assert!(node_ready(&Node::default()).is_err());
    }
}
