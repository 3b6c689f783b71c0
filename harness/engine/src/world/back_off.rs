//! The kubelet's restart back-off, which one run would leave to the next.
//!
//! A kubelet starts a crashed container again with a delay of 10 s that doubles up to 300 s, and forgets it once the container has
//! run for 10 minutes. A run that begins before that measures the delay too. A pod that is made anew begins without one.

use crate::clock::Clock;
use crate::cluster::{Cluster, exactly, is_ready};
use crate::observe;
use crate::process::Progress;
use firedrill_core::event::{ContainerRestarts, Event};
use firedrill_core::scenario::{Condition, Scenario, Variant};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use std::time::Duration;

/// For how long a kubelet remembers a restart.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// How long a pod that was deleted may take until another one serves in its place.
const POD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long making all such pods anew may take.
const ALL_TIMEOUT: Duration = Duration::from_secs(300);
/// How long looking at restarts may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether a pod serves.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the stack's containers were restarted, and which of these their kubelets remember; then why some were not seen.
pub(super) async fn restarts(
    cluster: &Cluster,
    scenario: &Scenario,
    clock: Clock,
) -> (Vec<ContainerRestarts>, Vec<String>) {
    let looking = async {
        let (mut containers, mut unseen) = (Vec::new(), Vec::new());
        for namespace in observe::namespaces(scenario) {
            match pods(cluster, &namespace).await {
                Ok(pods) => containers.extend(pods.iter().flat_map(|pod| of_pod(pod, clock.timestamp(clock.now())))),
                Err(error) => unseen.push(error),
            }
        }
        (containers, unseen)
    };
    let seen = tokio::time::timeout(LOOK_TIMEOUT, looking).await;
    seen.unwrap_or_else(|_| {
        (Vec::new(), vec![format!("the API server did not answer within {} s", LOOK_TIMEOUT.as_secs())])
    })
}

/// Deletes the stack's pods whose kubelets remember a restart, one after the other, each once the one before serves again and
/// everything redundant is there, so that no quorum is hurt. `None` where there is no such pod, or the cluster is not firedrill's own.
pub(super) async fn replace_crashed(
    cluster: &Cluster,
    scenario: &Scenario,
    variant: &Variant,
    clock: Clock,
    say: Progress<'_>,
) -> Option<Event> {
    if !cluster.is_own() {
        return None;
    }
    let until = clock.now().plus(ALL_TIMEOUT);
    let (mut made, mut failed) = (Vec::new(), Vec::new());
    for namespace in observe::namespaces(scenario) {
        // What cannot be listed is said by the look before the run.
        let Ok(listed) = pods(cluster, &namespace).await else { continue };
        for pod in listed.iter().filter(|pod| is_remembered(pod, clock.timestamp(clock.now()))) {
            let name = full_name(pod);
            if !failed.is_empty() || clock.now() >= until {
                failed.push(format!("{name}: not tried"));
                continue;
            }
            say(format!("recreating pod {name}: after its crash the kubelet would delay the next restart"));
            match one(cluster, pod, variant, clock).await {
                Ok(()) => made.push(name),
                Err(why) => failed.push(format!("{name}: {why}")),
            }
        }
    }
    (!made.is_empty() || !failed.is_empty()).then_some(Event::PodsMadeAnew { pods: made, failed })
}

/// Makes one pod anew, and waits until as many of its controller's are ready as were before and all is redundant.
async fn one(cluster: &Cluster, pod: &Pod, variant: &Variant, clock: Clock) -> Result<(), String> {
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    let owner = controller(pod).ok_or("no controller would recreate it")?;
    let baseline = observe::Baseline::take(cluster, variant).await.map_err(|error| error.to_string())?;
    // With the new pod, also where the old one was not ready: a run must not begin before it is.
    let wanted = serving(&pods(cluster, &namespace).await?, &owner, &pod.uid().unwrap_or_default()) + 1;
    let api: Api<Pod> = Api::namespaced(cluster.client(), &namespace);
    let params = exactly(pod.uid());
    let deleted = api.delete(&name, &params);
    cluster.ask(format!("the end of pod {name}"), deleted).await.map_err(|error| error.to_string())?;
    let old = pod.uid().unwrap_or_default();
    let until = clock.now().plus(POD_TIMEOUT);
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let lacks = lacks(cluster, &namespace, (&owner, &old, wanted), variant, &baseline).await;
        match lacks {
            None => return Ok(()),
            Some(lacks) if clock.now() >= until => {
                return Err(format!("{lacks}, after {} s", POD_TIMEOUT.as_secs()));
            }
            Some(_) => {}
        }
    }
}

/// What keeps the next pod from being deleted.
async fn lacks(
    cluster: &Cluster,
    namespace: &str,
    (owner, old, wanted): (&str, &str, usize),
    variant: &Variant,
    baseline: &observe::Baseline,
) -> Option<String> {
    let listed = match pods(cluster, namespace).await {
        Ok(listed) => listed,
        Err(error) => return Some(error),
    };
    if listed.iter().any(|pod| pod.uid().as_deref() == Some(old)) {
        return Some("it has not ended".to_owned());
    }
    let ready = serving(&listed, owner, old);
    if ready < wanted {
        return Some(format!("{ready} of {wanted} pods are ready"));
    }
    // An alert lags by minutes and says nothing of a quorum.
    for condition in variant.redundancy.iter().filter(|asked| !matches!(asked, Condition::AlertOver { .. })) {
        if let Err(why) = observe::holds(cluster, condition, baseline).await {
            return Some(why.to_string());
        }
    }
    None
}

async fn pods(cluster: &Cluster, namespace: &str) -> Result<Vec<Pod>, String> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let listed = cluster.ask(format!("the pods of {namespace}"), api.list(&ListParams::default())).await;
    listed.map(|listed| listed.items).map_err(|error| error.to_string())
}

fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

/// The UID of a pod's controller, which makes another one in its place; that of a Job may not.
fn controller(pod: &Pod) -> Option<String> {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true) && owner.kind != "Job");
    owner.map(|owner| owner.uid.clone())
}

/// How many pods of a controller are ready, but for one.
fn serving(pods: &[Pod], owner: &str, but: &str) -> usize {
    let serves = |pod: &&Pod| {
        is_ready(pod)
            && pod.metadata.deletion_timestamp.is_none()
            && controller(pod).as_deref() == Some(owner)
            && pod.uid().as_deref() != Some(but)
    };
    pods.iter().filter(serves).count()
}

/// Whether a pod that a controller makes again has a container whose restart its kubelet remembers.
fn is_remembered(pod: &Pod, now: Timestamp) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && controller(pod).is_some()
        && of_pod(pod, now).iter().any(|container| container.in_back_off_s.is_some())
}

/// The containers of a pod that were restarted. A pod that has ended starts none again.
fn of_pod(pod: &Pod, now: Timestamp) -> Vec<ContainerRestarts> {
    let status = pod.status.as_ref();
    if status.and_then(|status| status.phase.as_deref()).is_some_and(|phase| matches!(phase, "Failed" | "Succeeded")) {
        return Vec::new();
    }
    let main = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let init = status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    let restarted = init.chain(main).filter(|container| container.restart_count > 0);
    restarted
        .map(|container| ContainerRestarts {
            pod: full_name(pod),
            container: container.name.clone(),
            restarts: u32::try_from(container.restart_count).unwrap_or_default(),
            in_back_off_s: remembered_s(container, now),
        })
        .collect()
}

/// How long ago a restart was that the kubelet remembers: it counts from the later of the end before and the start after it. A time
/// that lies ahead is that of a node whose clock is fast, and counts as now.
fn remembered_s(container: &ContainerStatus, now: Timestamp) -> Option<u64> {
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let state = container.state.as_ref();
    let times = [
        last.and_then(|ended| ended.finished_at.as_ref()),
        state.and_then(|state| state.running.as_ref()).and_then(|running| running.started_at.as_ref()),
        state.and_then(|state| state.terminated.as_ref()).and_then(|ended| ended.finished_at.as_ref()),
    ];
    let Some(latest) = times.into_iter().flatten().map(|time| time.0).max() else {
        // It waits, and its kubelet tells no time: the delay may be what it waits for.
        return Some(0);
    };
    let ago_s = now.duration_since(latest).as_secs().max(0).unsigned_abs();
    (ago_s < REMEMBERED_FOR.as_secs()).then_some(ago_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-12-01T10:00:00Z";

    fn pod(kind: &str, restarts: i32, state: &Value, last: &Value) -> Pod {
        let owner = json!({"apiVersion": "apps/v1", "kind": kind, "name": "s", "uid": "o", "controller": true});
        serde_json::from_value(json!({
            "metadata": {"name": "nats-0", "namespace": "n", "uid": "u", "ownerReferences": [owner]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "nats", "image": "", "imageID": "", "ready": true,
                    "restartCount": restarts, "state": state, "lastState": last}]}}))
        .unwrap()
    }

    fn seconds_ago(pod: &Pod) -> Option<u64> {
        of_pod(pod, NOW.parse().unwrap()).first().and_then(|container| container.in_back_off_s)
    }

    fn ended(at: &str) -> Value {
        json!({"terminated": {"exitCode": 137, "finishedAt": at}})
    }

    fn running(at: &str) -> Value {
        json!({"running": {"startedAt": at}})
    }

    #[test]
    fn a_restart_is_remembered_for_ten_minutes() {
        let crashed = |ended_at: &str, started: &str| pod("StatefulSet", 1, &running(started), &ended(ended_at));
        assert_eq!(seconds_ago(&crashed("2026-12-01T09:59:20Z", "2026-12-01T09:59:25Z")), Some(35));
        assert_eq!(seconds_ago(&crashed("2026-12-01T09:49:30Z", "2026-12-01T09:50:10Z")), Some(590));
        assert_eq!(seconds_ago(&crashed("2026-12-01T09:49:00Z", "2026-12-01T09:50:00Z")), None);
        assert_eq!(seconds_ago(&crashed("2026-12-01T10:00:05Z", "2026-12-01T10:00:05Z")), Some(0), "a fast clock");
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert_eq!(seconds_ago(&pod("StatefulSet", 3, &waits, &ended("2026-12-01T09:58:00Z"))), Some(120));
        assert_eq!(seconds_ago(&pod("StatefulSet", 3, &waits, &json!({}))), Some(0), "no time is known");
        let fresh = pod("StatefulSet", 0, &running("2026-12-01T09:59:59Z"), &json!({}));
        assert!(of_pod(&fresh, NOW.parse().unwrap()).is_empty());
    }

    #[test]
    fn only_pods_that_are_made_again_are_deleted() {
        let now: Timestamp = NOW.parse().unwrap();
        let (state, last) = (running("2026-12-01T09:59:25Z"), ended("2026-12-01T09:59:20Z"));
        let remembered = pod("StatefulSet", 1, &state, &last);
        assert!(is_remembered(&remembered, now));
        assert!(!is_remembered(&pod("Job", 1, &state, &last), now));
        let mut other = remembered.clone();
        other.metadata.owner_references = None;
        assert!(!is_remembered(&other, now), "nobody makes it again");
        let mut other = remembered.clone();
        other.metadata.deletion_timestamp = serde_json::from_value(json!(NOW)).unwrap();
        assert!(!is_remembered(&other, now), "it goes already");
        let mut other = remembered;
        other.status.as_mut().unwrap().phase = Some("Failed".to_owned());
        assert!(!is_remembered(&other, now) && of_pod(&other, now).is_empty(), "it has ended");
    }

    #[test]
    fn the_old_pod_does_not_serve_for_the_new_one() {
        let state = running("2026-12-01T09:59:25Z");
        let (old, mut new) = (pod("StatefulSet", 1, &state, &json!({})), pod("StatefulSet", 0, &state, &json!({})));
        new.metadata.uid = Some("v".to_owned());
        assert_eq!(serving(&[old.clone(), new.clone()], "o", ""), 2);
        assert_eq!(serving(&[old, new.clone()], "o", "u"), 1);
        assert_eq!(serving(&[new], "another", ""), 0);
    }
}
