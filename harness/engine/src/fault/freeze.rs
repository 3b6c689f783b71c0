//! Every process of a container stopped. Its connections stay open and its port still accepts: it hangs.

use super::choose::Choice;
use super::kind::{FaultKind, Site, UndoKind};
use super::node_agent::{ANSWER_LIMIT, NodeAgent};
use super::{FaultError, Injected, Proof, Tools, signal};
use crate::agent::node::wire::{Guard, Process, Request};
use crate::cluster::ClusterError;
use async_trait::async_trait;
use firedrill_core::event::{ThawUndo, Undo};
use firedrill_core::plan::Target;
use firedrill_core::scenario::FreezeFault;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::Api;
use std::time::Duration;
use tokio::time::Instant;

/// Time between the two looks that show that nothing ran meanwhile. A server's own timers run many times in it.
const STILL_FOR: Duration = Duration::from_millis(300);

/// The parts of a container target.
pub(super) struct ContainerRef<'a> {
    pub(super) namespace: &'a str,
    pub(super) pod: &'a str,
    pub(super) container: &'a str,
    pub(super) container_id: &'a str,
    pub(super) node: &'a str,
}

pub(super) fn container_of(target: &Target) -> Result<ContainerRef<'_>, FaultError> {
    match target {
        Target::Container { namespace, pod, container, container_id, node, .. } => {
            Ok(ContainerRef { namespace, pod, container, container_id, node })
        }
        _ => Err(FaultError::Mismatch(format!("{target} is not a container"))),
    }
}

#[async_trait]
impl FaultKind for FreezeFault {
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        choice.containers(&self.pods, self.count, &self.container).await
    }

    fn preview(&self, target: &Target) -> String {
        format!(
            "SIGSTOP to every process of {target}, by a privileged pod on that node (create pods and pods/portforward in \
             the run's namespace); undone by SIGCONT, also by that pod itself when it is deleted or expires"
        )
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        container_of(target)?;
        Ok(Some(Undo::Thaw(ThawUndo { target: target.clone() })))
    }

    fn uses_agent(&self) -> bool {
        true
    }

    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        let (_, target, line) = site.by_agent()?;
        let container_id = container_of(target)?.container_id.to_owned();
        let lasts_ms = self.lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        // As they are once they are stopped.
        let processes = line.processes(&Request::Freeze { container_id, lasts_ms }, ANSWER_LIMIT).await?;
        Ok(Injected { processes, ..Injected::of(target) })
    }

    /// Two proofs: between two looks at the node not one thread of the frozen processes ran, and the API server still names
    /// the same container, so that nobody started it again.
    async fn prove(&self, site: &mut Site<'_>, injected: &Injected, _: Instant) -> Result<Vec<Proof>, FaultError> {
        let (tools, target, line) = site.by_agent()?;
        let container = container_of(target)?;
        let request = Request::Look { container_id: container.container_id.to_owned() };
        let first = line.processes(&request, ANSWER_LIMIT).await?;
        let first_at = tools.clock.now();
        tokio::time::sleep(STILL_FOR).await;
        let second = line.processes(&request, ANSWER_LIMIT).await?;
        let (held, evidence) = compare(&injected.processes, &first, &second);
        let subject = format!("processes of {} in {} on {}", container.container, container.pod, container.node);
        // What was still at the second look had been still since the first one.
        let processes = Proof { subject, evidence, held, at: first_at };

        let pods: Api<Pod> = Api::namespaced(tools.cluster.client(), container.namespace);
        let pod = pods.get_opt(container.pod).await.map_err(ClusterError::api("read a pod"))?;
        let change = signal::change_of(pod.as_ref(), target);
        let held = change.is_none();
        let evidence = change.unwrap_or_else(|| "the same container still counts as running".to_owned());
        let subject = format!("status of container {} in {}", container.container, container.pod);
        Ok(vec![processes, Proof { subject, evidence, held, at: tools.clock.now() }])
    }
}

#[async_trait]
impl UndoKind for ThawUndo {
    /// Lets them go on, from whatever state.
    async fn undo(&self, tools: &Tools, deadline: Instant) -> Result<(), FaultError> {
        let container = container_of(&self.target)?;
        if !node_exists(tools, container.node).await? {
            return Ok(());
        }
        let agent = NodeAgent::ensure(tools, container.node, &[Undo::Thaw(self.clone())], deadline).await?;
        let request = Request::Thaw { container_id: container.container_id.to_owned() };
        agent.line().await?.processes(&request, ANSWER_LIMIT).await?;
        Ok(())
    }

    /// Whether no process of the container is stopped.
    async fn is_clean(&self, tools: &Tools, deadline: Instant) -> Result<bool, FaultError> {
        let container = container_of(&self.target)?;
        if !node_exists(tools, container.node).await? {
            return Ok(true);
        }
        let agent = NodeAgent::ensure(tools, container.node, &[], deadline).await?;
        let request = Request::Look { container_id: container.container_id.to_owned() };
        let processes = agent.line().await?.processes(&request, ANSWER_LIMIT).await?;
        Ok(processes.iter().all(|process| process.state != 'T' && process.threads_stopped == 0))
    }

    fn guard(&self) -> Option<Guard> {
        Some(Guard::Container(container_of(&self.target).ok()?.container_id.to_owned()))
    }
}

/// Whether all frozen processes were there and still, from the first look to the second.
///
/// A process that was started in the container from outside meanwhile, as by an exec, is not the frozen workload: it is
/// told, and does not count.
fn compare(frozen: &[Process], first: &[Process], second: &[Process]) -> (bool, String) {
    let mut threads = 0;
    for process in frozen {
        let at = |looks: &[Process]| looks.iter().find(|other| other.is_same(process)).cloned();
        let (Some(before), Some(after)) = (at(first), at(second)) else {
            return (false, format!("process {} ({}) is gone", process.pid, process.command));
        };
        if !before.is_stopped() || !after.is_stopped() {
            return (false, format!("process {} ({}) runs", process.pid, process.command));
        }
        if before.switches != after.switches {
            return (false, format!("process {} ({}) ran meanwhile", process.pid, process.command));
        }
        threads += after.threads;
    }
    if frozen.is_empty() {
        return (false, "no process was frozen".to_owned());
    }
    let others = second.iter().filter(|process| !frozen.iter().any(|one| one.is_same(process))).count();
    let also = if others == 0 { String::new() } else { format!("; {others} started from outside since") };
    let (count, ms) = (frozen.len(), STILL_FOR.as_millis());
    (true, format!("{count} processes, {threads} threads, all stopped, no context switch in {ms} ms{also}"))
}

/// Where the node object is gone there is no container to let go, and no node to put an agent on.
async fn node_exists(tools: &Tools, node: &str) -> Result<bool, FaultError> {
    let nodes: Api<Node> = Api::all(tools.cluster.client());
    Ok(nodes.get_opt(node).await.map_err(ClusterError::api("read a node"))?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, state: char, switches: u64) -> Process {
        let threads_stopped = if state == 'T' { 4 } else { 0 };
        let command = "nats-server".to_owned();
        Process { pid, start_ticks: 9, parent: 1, state, command, threads: 4, threads_stopped, switches }
    }

    #[test]
    fn a_freeze_is_believed_only_where_nothing_ran() {
        let still = [process(7, 'T', 100)];
        let (held, evidence) = compare(&still, &still, &still);
        assert!(held);
        assert_eq!(evidence, "1 processes, 4 threads, all stopped, no context switch in 300 ms");
        assert_eq!(
            compare(&still, &still, &[process(7, 'T', 101)]),
            (false, "process 7 (nats-server) ran meanwhile".into())
        );
        assert_eq!(compare(&still, &still, &[process(7, 'S', 100)]), (false, "process 7 (nats-server) runs".into()));
        assert_eq!(compare(&still, &still, &[]), (false, "process 7 (nats-server) is gone".into()));
        assert!(!compare(&[], &[], &[]).0);
        let half = [Process { threads_stopped: 3, ..process(7, 'T', 100) }];
        assert!(!compare(&still, &half, &half).0, "one thread that runs is not frozen");
        let (held, evidence) = compare(&still, &still, &[process(7, 'T', 100), process(8, 'S', 1)]);
        assert!(held && evidence.ends_with("1 started from outside since"), "{evidence}");
    }
}
