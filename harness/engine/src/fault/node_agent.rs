//! The pod that acts on a victim's node: privileged, without a service account, and only for the run.

use super::kind::{UndoKind, undo_kind_of};
use super::line::Line;
use super::{FaultError, Tools};
use crate::agent::node::wire;
use crate::cluster::{ClusterError, typed};
use firedrill_core::event::Undo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// Label that tells node agents from a run's other pods.
pub(crate) const LABEL_COMPONENT: (&str, &str) = ("app.kubernetes.io/component", "node-agent");
/// How long a node agent may take to let go what it holds when its pod is deleted, in seconds.
const GRACE_S: i64 = 30;
/// How long an agent lives at least, in seconds.
const UNDO_LIFE_S: i64 = 300;
/// Time between two looks at a pod that is coming up or going away.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// The limit of one answer.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// A node agent that runs.
#[derive(Clone)]
pub(super) struct NodeAgent {
    pods: Api<Pod>,
    pod: String,
    node: String,
}

impl NodeAgent {
    /// The node agent on a node: the one that is there, or a new one that answers.
    ///
    /// # Errors
    /// Where it does not come up before the deadline, with what holds it up.
    pub(super) async fn ensure(
        tools: &Tools,
        node: &str,
        undos: &[Undo],
        deadline: Instant,
    ) -> Result<Self, FaultError> {
        let mut last = "nothing was done yet".to_owned();
        let came = timeout_at(deadline, Self::bring_up(tools, node, undos, &mut last)).await;
        came.unwrap_or_else(|_| {
            Err(FaultError::Agent { node: node.to_owned(), reason: format!("it did not come up in time: {last}") })
        })
    }

    async fn bring_up(tools: &Tools, node: &str, undos: &[Undo], last: &mut String) -> Result<Self, FaultError> {
        // Made where it is not there: an undo must work after somebody deleted it.
        let namespace = tools.cluster.create_namespace(&tools.mark).await?;
        let pods: Api<Pod> = Api::namespaced(tools.cluster.client(), &namespace);
        let name = pod_name(node);
        let wanted = manifest(tools, node, undos)?;
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let Some(pod) = pods.get_opt(&name).await.map_err(ClusterError::api("read a node agent"))? else {
                *last = "it is being created".to_owned();
                match pods.create(&PostParams::default(), &wanted).await {
                    Ok(_) => continue,
                    // Another undo of the same run was first.
                    Err(kube::Error::Api(status)) if status.code == 409 => continue,
                    Err(error) => return Err(ClusterError::api("create a node agent")(error).into()),
                }
            };
            match state(&pod) {
                State::Runs => {
                    let agent = NodeAgent { pods: pods.clone(), pod: name, node: node.to_owned() };
                    agent.line().await?;
                    return Ok(agent);
                }
                State::Comes(why) => *last = why,
                State::Goes => *last = "an earlier one is still going away".to_owned(),
                State::Ended => {
                    *last = "an earlier one that ended is being deleted".to_owned();
                    delete(&pods, &name).await?;
                }
                State::Cannot(reason) => return Err(FaultError::Agent { node: node.to_owned(), reason }),
            }
        }
    }

    /// A line to it.
    ///
    /// # Errors
    /// Where it does not answer.
    pub(super) async fn line(&self) -> Result<Line, FaultError> {
        Line::open(&self.pods, &self.pod, &self.node, ANSWER_LIMIT).await
    }
}

async fn delete(pods: &Api<Pod>, name: &str) -> Result<(), FaultError> {
    match pods.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(ClusterError::api("delete a node agent")(error).into()),
    }
}

enum State {
    Runs,
    Comes(String),
    Goes,
    Ended,
    Cannot(String),
}

fn state(pod: &Pod) -> State {
    if pod.metadata.deletion_timestamp.is_some() {
        return State::Goes;
    }
    let Some(status) = &pod.status else { return State::Comes("it has no status".to_owned()) };
    let container = status.container_statuses.iter().flatten().next();
    let waiting = container.and_then(|c| c.state.as_ref()).and_then(|state| state.waiting.as_ref());
    match (status.phase.as_deref(), container, waiting) {
        (Some("Succeeded" | "Failed"), _, _) => State::Ended,
        (_, Some(container), _) if container.state.as_ref().is_some_and(|state| state.running.is_some()) => State::Runs,
        (_, _, Some(waiting)) => {
            let reason = waiting.reason.as_deref().unwrap_or("waiting");
            let message = waiting.message.as_deref().unwrap_or_default();
            match reason {
                // These do not go away by waiting.
                "ErrImagePull"
                | "ImagePullBackOff"
                | "InvalidImageName"
                | "ErrImageNeverPull"
                | "CreateContainerConfigError"
                | "CreateContainerError"
                | "CrashLoopBackOff" => State::Cannot(format!("{reason}: {message}")),
                _ => State::Comes(reason.to_owned()),
            }
        }
        (phase, _, _) => State::Comes(phase.unwrap_or("it has no phase").to_owned()),
    }
}

/// One agent a node: its name follows from the node's, so that whoever comes later finds it.
fn pod_name(node: &str) -> String {
    // FNV-1a; a node's name may be longer than a pod's host name can be.
    let hash = node
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("node-agent-{hash:016x}")
}

fn manifest(tools: &Tools, node: &str, undos: &[Undo]) -> Result<Pod, FaultError> {
    let broken = |error: serde_json::Error| FaultError::Mismatch(format!("the node agent's manifest: {error}"));
    let now_unix = tools.clock.unix_seconds(tools.clock.now());
    // A sweep undoes what expired long ago, and its agent must live to do it.
    let left_s = tools.mark.expires_unix.saturating_sub(now_unix).max(UNDO_LIFE_S);
    let mut command = vec![
        "/firedrill".to_owned(),
        "agent".to_owned(),
        "node".to_owned(),
        format!("--listen=127.0.0.1:{}", wire::PORT),
        format!("--expires-after={left_s}"),
    ];
    for undo in undos {
        let guard = undo_kind_of(undo).and_then(UndoKind::guard);
        command.extend(guard.map(|guard| format!("--guard={guard}")));
    }
    let mut metadata = tools.mark.metadata(&pod_name(node));
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(LABEL_COMPONENT.0.to_owned(), LABEL_COMPONENT.1.to_owned());
    let spec = json!({
        "nodeName": node,
        "hostPID": true,
        // Started again after a kill, it first lets go what the killed one held.
        "restartPolicy": "OnFailure",
        // Counted over all its starts, which the agent's own limit is not.
        "activeDeadlineSeconds": left_s,
        "terminationGracePeriodSeconds": GRACE_S,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "tolerations": [{"operator": "Exists"}],
        "containers": [{
            "name": "node-agent",
            "image": tools.image,
            "command": command,
            "securityContext": {"privileged": true, "runAsUser": 0},
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
        }],
    });
    Ok(Pod { metadata, spec: Some(typed(&spec).map_err(broken)?), status: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap()
    }

    #[test]
    fn what_holds_a_pod_up_is_told_from_what_passes() {
        let waiting = |reason: &str| {
            pod(json!({"phase": "Pending", "containerStatuses": [{"name": "a", "ready": false, "restartCount": 0,
                "image": "", "imageID": "", "state": {"waiting": {"reason": reason, "message": "m"}}}]}))
        };
        assert!(matches!(state(&waiting("ContainerCreating")), State::Comes(why) if why == "ContainerCreating"));
        assert!(matches!(state(&waiting("ErrImagePull")), State::Cannot(why) if why == "ErrImagePull: m"));
        assert!(matches!(state(&pod(json!({"phase": "Failed"}))), State::Ended));
        assert!(matches!(state(&pod(json!({"phase": "Pending"}))), State::Comes(_)));
    }

    #[test]
    fn names_fit_and_differ() {
        let long = "node-".repeat(50);
        assert!(pod_name(&long).len() <= 63);
        assert_ne!(pod_name("kind-worker"), pod_name("kind-worker2"));
        assert_eq!(pod_name("kind-worker"), pod_name("kind-worker"));
    }
}
