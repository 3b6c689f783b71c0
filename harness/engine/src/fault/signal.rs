//! A signal to the first process of a container, sent from the node: inside, the kernel would not let SIGKILL through.

use super::choose::Choice;
use super::freeze::container_of;
use super::kind::{FaultKind, Site};
use super::line::Line;
use super::node_agent::ANSWER_LIMIT;
use super::{FaultError, Injected, Proof, Tools, choose};
use crate::agent::node::wire::{Process, Request};
use crate::cluster::ClusterError;
use async_trait::async_trait;
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use firedrill_core::scenario::{Signal, SignalFault};
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// Time between two looks at the processes of the container.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time between two looks at the pod's status, which follows the processes by a second or two.
const STATUS_EVERY: Duration = Duration::from_millis(200);

#[async_trait]
impl FaultKind for SignalFault {
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        choice.containers(&self.pods, self.count, &self.container).await
    }

    fn preview(&self, target: &Target) -> String {
        let signal = format!("{:?}", self.signal).to_uppercase();
        format!(
            "SIG{signal} to the first process of {target}, by a privileged pod on that node (create pods and \
             pods/portforward in the run's namespace); recovers by itself"
        )
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        container_of(target)?;
        Ok(Some(Undo::HealsItself { what: format!("{target}: its kubelet starts it again") }))
    }

    fn uses_agent(&self) -> bool {
        true
    }

    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        let (_, target, line) = site.by_agent()?;
        let processes = send(line, target, self.signal).await?;
        Ok(Injected { processes, ..Injected::of(target) })
    }

    async fn prove(
        &self,
        site: &mut Site<'_>,
        injected: &Injected,
        deadline: Instant,
    ) -> Result<Vec<Proof>, FaultError> {
        let (tools, target, line) = site.by_agent()?;
        prove_ended(tools, line, target, &injected.processes, deadline).await
    }
}

/// Sends it, and returns the process that it went to.
pub(super) async fn send(line: &mut Line, target: &Target, signal: Signal) -> Result<Vec<Process>, FaultError> {
    let container_id = container_of(target)?.container_id.to_owned();
    line.processes(&Request::Signal { container_id, signal }, ANSWER_LIMIT).await
}

/// Two proofs: the process is gone from its node, and the kubelet tells of it.
pub(super) async fn prove_ended(
    tools: &Tools,
    line: &mut Line,
    target: &Target,
    signalled: &[Process],
    deadline: Instant,
) -> Result<Vec<Proof>, FaultError> {
    Ok(vec![
        prove_process(tools, line, target, signalled, deadline).await?,
        prove_status(tools, target, deadline).await?,
    ])
}

async fn prove_process(
    tools: &Tools,
    line: &mut Line,
    target: &Target,
    signalled: &[Process],
    deadline: Instant,
) -> Result<Proof, FaultError> {
    let container = container_of(target)?;
    let Some(process) = signalled.first() else {
        return Err(FaultError::Mismatch(format!("no process of {target} was signalled")));
    };
    let subject = format!("process {} ({}) on {}", process.pid, process.command, container.node);
    let request = Request::Look { container_id: container.container_id.to_owned() };
    let gone = async {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if !line.processes(&request, ANSWER_LIMIT).await?.iter().any(|other| other.is_same(process)) {
                return Ok::<_, FaultError>(());
            }
        }
    };
    let held = timeout_at(deadline, gone).await.map_or(Ok(false), |result| result.map(|()| true))?;
    let evidence = if held { "it is gone" } else { "it is still there" };
    Ok(Proof { subject, evidence: evidence.to_owned(), held, at: tools.clock.now() })
}

async fn prove_status(tools: &Tools, target: &Target, deadline: Instant) -> Result<Proof, FaultError> {
    let container = container_of(target)?;
    let pods: Api<Pod> = Api::namespaced(tools.cluster.client(), container.namespace);
    let told = async {
        let mut tick = interval(STATUS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let pod = pods.get_opt(container.pod).await.map_err(ClusterError::api("read a pod"))?;
            if let Some(change) = change_of(pod.as_ref(), target) {
                return Ok::<_, FaultError>(change);
            }
        }
    };
    let (held, evidence) = match timeout_at(deadline, told).await {
        Ok(change) => (true, change?),
        Err(_) => (false, "its status still names the same running container".to_owned()),
    };
    let subject = format!("status of container {} in {}", container.container, container.pod);
    Ok(Proof { subject, evidence, held, at: tools.clock.now() })
}

/// What the API server tells of a container that no longer is the one that was chosen; `None` where it still is.
pub(super) fn change_of(pod: Option<&Pod>, target: &Target) -> Option<String> {
    let Target::Container { uid, container, container_id, .. } = target else { return None };
    let Some(pod) = pod else { return Some("the pod is gone".to_owned()) };
    if pod.metadata.uid.as_ref() != Some(uid) {
        return Some("another pod has its name".to_owned());
    }
    let status = choose::status_of(pod, container)?;
    let restarts = status.restart_count;
    match (choose::running_id(status), &status.state) {
        (Some(id), _) if id == container_id => None,
        (Some(_), _) => Some(format!("another container runs, restarts {restarts}")),
        (None, Some(state)) if state.terminated.is_some() => {
            let exit = state.terminated.as_ref().map_or(0, |terminated| terminated.exit_code);
            Some(format!("it terminated with exit code {exit}"))
        }
        (None, Some(state)) if state.waiting.is_some() => {
            let reason = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone()).unwrap_or_default();
            Some(format!("it waits to be started again ({reason}), restarts {restarts}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn target() -> Target {
        Target::Container {
            namespace: "n".to_owned(),
            pod: "nats-0".to_owned(),
            uid: "u".to_owned(),
            container: "nats".to_owned(),
            container_id: "aa".to_owned(),
            node: "w".to_owned(),
        }
    }

    fn pod(uid: &str, id: &str, state: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "nats-0", "uid": uid}, "status": {"containerStatuses": [{
            "name": "nats", "ready": true, "restartCount": 1, "image": "", "imageID": "",
            "containerID": format!("containerd://{id}"), "state": state}]}}))
        .unwrap()
    }

    #[test]
    fn a_container_that_is_still_the_same_is_no_proof() {
        let running = json!({"running": {}});
        let change = |pod: Option<Pod>| change_of(pod.as_ref(), &target());
        assert_eq!(change(Some(pod("u", "aa", running.clone()))), None);
        assert_eq!(change(Some(pod("u", "bb", running.clone()))).unwrap(), "another container runs, restarts 1");
        assert_eq!(change(Some(pod("v", "aa", running))).unwrap(), "another pod has its name");
        assert_eq!(change(None).unwrap(), "the pod is gone");
        let terminated = pod("u", "aa", json!({"terminated": {"exitCode": 137}}));
        assert_eq!(change(Some(terminated)).unwrap(), "it terminated with exit code 137");
        let no_status: Pod = serde_json::from_value(json!({"metadata": {"uid": "u"}})).unwrap();
        assert_eq!(change(Some(no_status)), None, "no news is no proof");
    }
}
