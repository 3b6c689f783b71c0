//! Symptoms in Kubernetes: looked for right before the injection, so that only what came after it counts.

use super::alerts;
use super::condition::list;
use super::rows::rows;
use crate::cluster::{Cluster, ClusterError};
use firedrill_core::scenario::Symptom;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use std::collections::BTreeMap;

/// What shows a symptom: its mark, which tells one occurrence from another, and the words for people.
pub(super) type Occurrences = BTreeMap<String, String>;

/// Every occurrence of a symptom that the cluster shows now.
pub(super) async fn occurrences(cluster: &Cluster, symptom: &Symptom) -> Result<Occurrences, ClusterError> {
    match symptom {
        Symptom::PodsFailing { pods, reason } => {
            let pods = list(cluster, pods).await?;
            Ok(pods.iter().flat_map(|pod| failing(pod, reason)).collect())
        }
        Symptom::Event { namespace, reason, contains } => {
            let events: Api<Event> = Api::namespaced(cluster.client(), namespace);
            let params = ListParams::default().fields(&format!("reason={reason}"));
            let listed = events.list(&params).await.map_err(ClusterError::api("list events"))?;
            Ok(listed.items.iter().filter_map(|event| told(event, contains.as_deref())).collect())
        }
        Symptom::Rows(query) => {
            let found = rows(cluster, query).await?;
            Ok(found.into_iter().map(|row| (row.clone(), format!("{}: {row}", query.what))).collect())
        }
        Symptom::Alert { name } => {
            let of = alerts::active(cluster, name).await.map_err(ClusterError::Other)?;
            Ok(of.map(|said| (name.clone(), said)).into_iter().collect())
        }
    }
}

/// What came since `before`, in words; `None` where nothing did.
///
/// # Errors
/// Where the API server does not answer.
pub async fn symptom_since(
    cluster: &Cluster,
    symptom: &Symptom,
    before: &Occurrences,
) -> Result<Option<String>, ClusterError> {
    let now = occurrences(cluster, symptom).await?;
    Ok(now.into_iter().find(|(mark, _)| !before.contains_key(mark)).map(|(_, words)| words))
}

fn failing(pod: &Pod, reason: &str) -> Vec<(String, String)> {
    let status = pod.status.as_ref();
    let init = status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    let containers = status.iter().flat_map(|status| status.container_statuses.iter().flatten()).chain(init);
    let uid = pod.uid().unwrap_or_default();
    let failing = containers.filter_map(|container| {
        let how = why(container, reason)?;
        let restarts = container.restart_count;
        let mark = format!("{uid}/{}/{restarts}/{how} {reason}", container.name);
        Some((mark, format!("{} in {}: {how} {reason}, {restarts} restarts", container.name, pod.name_any())))
    });
    failing.collect()
}

/// How a container shows a reason.
fn why(container: &ContainerStatus, reason: &str) -> Option<&'static str> {
    let states = [("is", container.state.as_ref()), ("last ended as", container.last_state.as_ref())];
    states.into_iter().find_map(|(how, state)| {
        let state = state?;
        let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
        let ended = state.terminated.as_ref().and_then(|ended| ended.reason.as_deref());
        (waiting == Some(reason) || ended == Some(reason)).then_some(how)
    })
}

fn told(event: &Event, contains: Option<&str>) -> Option<(String, String)> {
    let message = event.message.clone().unwrap_or_default();
    if contains.is_some_and(|text| !message.contains(text)) {
        return None;
    }
    // A repeated event is the same object with another version.
    let version = event.metadata.resource_version.clone().unwrap_or_default();
    let mark = format!("{}/{version}", event.metadata.uid.clone().unwrap_or_default());
    let object = &event.involved_object;
    let (kind, name) = (object.kind.as_deref().unwrap_or("?"), object.name.as_deref().unwrap_or("?"));
    Some((mark, format!("{kind} {name}: {message}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reason_is_found_in_the_state_and_in_the_last_one() {
        let pod = |state: serde_json::Value, last: serde_json::Value, restarts: u32| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "status": {"containerStatuses": [
                {"name": "c", "ready": false, "restartCount": restarts, "image": "", "imageID": "",
                 "state": state, "lastState": last}]}}))
            .unwrap()
        };
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let first = failing(&pod(killed.clone(), json!({}), 0), "OOMKilled");
        assert_eq!(first[0].1, "c in p: is OOMKilled, 0 restarts");
        let again = failing(&pod(json!({"running": {}}), killed, 1), "OOMKilled");
        assert_eq!(again[0].1, "c in p: last ended as OOMKilled, 1 restarts");
        assert_ne!(first[0].0, again[0].0);
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert_eq!(failing(&pod(waits.clone(), json!({}), 2), "CrashLoopBackOff").len(), 1);
        assert!(failing(&pod(waits, json!({}), 2), "OOMKilled").is_empty());
    }

    #[test]
    fn an_event_that_comes_again_is_another_one() {
        let event = |version: &str| -> Event {
            serde_json::from_value(json!({"metadata": {"name": "e", "uid": "u", "resourceVersion": version},
                "involvedObject": {"kind": "ReplicaSet", "name": "acme"}, "message": "pods is forbidden: exceeded quota"}))
            .unwrap()
        };
        assert_ne!(told(&event("1"), None).unwrap().0, told(&event("2"), None).unwrap().0);
        assert_eq!(
            told(&event("1"), Some("exceeded quota")).unwrap().1,
            "ReplicaSet acme: pods is forbidden: exceeded quota"
        );
        assert!(told(&event("1"), Some("other")).is_none());
    }
}
