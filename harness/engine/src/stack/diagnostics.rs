//! What a cluster says itself of a stack that does not get healthy: it may be gone before anybody can ask it.

use crate::cluster::{Cluster, ClusterError, is_ready};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use std::collections::BTreeMap;

/// The most warnings that are told of one namespace; the newest are.
const WARNINGS: usize = 6;

/// One line for each pod of a namespace that is not ready, and for each of its newest warnings.
pub(super) async fn of_namespace(cluster: &Cluster, namespace: &str) -> Result<Vec<String>, ClusterError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let pods = cluster.ask("the stack's pods", pods.list(&ListParams::default())).await?;
    let mut told: Vec<_> = pods.iter().filter_map(of_pod).collect();
    let events: Api<Event> = Api::namespaced(cluster.client(), namespace);
    let warnings = ListParams::default().fields("type=Warning");
    told.extend(newest(&cluster.ask("the stack's warnings", events.list(&warnings)).await?.items));
    Ok(told)
}

/// Why a pod is not ready; nothing where it is, or is done.
fn of_pod(pod: &Pod) -> Option<String> {
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_default();
    if phase == "Succeeded" || is_ready(pod) {
        return None;
    }
    let containers = status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
    let mut why: Vec<_> = containers.filter_map(|container| of_container(&container)).collect();
    let mut conditions = status.conditions.into_iter().flatten();
    let unscheduled = conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    why.extend(unscheduled.and_then(|condition| condition.message));
    let why = if why.is_empty() { phase } else { why.join("; ") };
    Some(format!("pod {}: {why}", pod.name_any()))
}

fn of_container(container: &ContainerStatus) -> Option<String> {
    let (state, last) = (container.state.clone()?, container.last_state.clone().unwrap_or_default());
    let ended = state.terminated.or(last.terminated);
    let ended = ended
        .filter(|ended| ended.exit_code != 0)
        .map(|ended| format!("ended as {} with {}", ended.reason.unwrap_or_default(), ended.exit_code));
    let waits = state.waiting.map(|waiting| {
        let message = waiting.message.map(|message| format!(" ({message})")).unwrap_or_default();
        format!("waits: {}{message}", waiting.reason.unwrap_or_default())
    });
    let is: Vec<_> = waits.into_iter().chain(ended).collect();
    let restarts = container.restart_count;
    (!is.is_empty()).then(|| format!("{} {}, {restarts} restarts", container.name, is.join(", ")))
}

/// The newest warnings, oldest of them first; of those alike, one.
fn newest(events: &[Event]) -> Vec<String> {
    let mut alike = BTreeMap::new();
    for event in events {
        let at = event.last_timestamp.as_ref().map(|time| time.0);
        let at = at.or(event.event_time.as_ref().map(|time| time.0)).or(event
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0));
        let object = event.involved_object.name.clone().unwrap_or_default();
        let reason = event.reason.clone().unwrap_or_default();
        let seen = alike.entry((object, reason)).or_insert((at, event));
        if at > seen.0 {
            *seen = (at, event);
        }
    }
    let mut alike: Vec<_> = alike.into_iter().collect();
    alike.sort_by_key(|(_, (at, _))| *at);
    let first = alike.len().saturating_sub(WARNINGS);
    let line = |((object, reason), (_, event)): ((String, String), (_, &Event))| {
        let message = event.message.as_deref().unwrap_or("no message");
        let message: String = message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
        format!("warning of {object}: {reason}: {message}")
    };
    alike.into_iter().skip(first).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
    }

    #[test]
    fn a_pod_says_why_it_is_not_ready() {
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(of_pod(&pod(&ready)), None);
        assert_eq!(of_pod(&pod(&json!({"phase": "Succeeded"}))), None);
        let crashing = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]});
        let why = of_pod(&pod(&crashing)).unwrap();
        assert_eq!(why, "pod p: c waits: CrashLoopBackOff, ended as OOMKilled with 137, 4 restarts");
        let full = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/4 nodes are available"}]});
        assert_eq!(of_pod(&pod(&full)).unwrap(), "pod p: 0/4 nodes are available");
    }

    #[test]
    fn of_warnings_alike_the_newest_is_told_and_not_all() {
        let event = |object: &str, minute: usize, message: &str| -> Event {
            let at = format!("2026-11-23T12:{minute:02}:00Z");
            let json = json!({"metadata": {"name": "e"}, "involvedObject": {"name": object}, "reason": "FailedMount",
                "message": message, "lastTimestamp": at});
            serde_json::from_value(json).unwrap()
        };
        let alike = [event("p", 2, "new\n  words"), event("p", 1, "old")];
        assert_eq!(newest(&alike), ["warning of p: FailedMount: new words"]);
        let many: Vec<_> = (0..9).map(|n| event(&format!("p{n}"), n, "m")).collect();
        let told = newest(&many);
        assert_eq!(told.len(), WARNINGS);
        assert!(told[0].contains("p3") && told[5].contains("p8"));
    }
}
