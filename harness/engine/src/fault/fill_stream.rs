//! Volumes filled by the messages of a stream that has a replica on each of them: what purging or keeping less would free.

use super::choose::Choice;
use super::fill::{FILE, MIB, filler};
use super::kind::{FaultKind, HitsTogether, Site, UndoKind, not_a_target};
use super::line::Line;
use super::node_agent::{ANSWER_LIMIT, NodeAgent};
use super::{FaultError, Injected, Proof, Tools, volumes};
use crate::agent::node::stream::is_as_before;
use crate::agent::node::wire::{Messages, Request, Space};
use crate::cluster::{Cluster, ClusterError};
use async_trait::async_trait;
use firedrill_core::event::{EmptyStreamUndo, Undo};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{FillStreamFault, PodSelector};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Where NATS's chart has a server take clients.
const PORT: u16 = 4222;
/// What is published for one answer: each byte is written twice on every replica.
const BYTES_PER_ANSWER: u64 = 2 << 20;
/// How long filling may take, with the looks whether it stays so.
const FILL_LIMIT: Duration = Duration::from_secs(170);
/// After how long it is looked at again: the log of a stream's replicas holds every message once more, until the server cuts
/// it, which it does at most every 10 s (`minSnapDelta` in nats-server's `jetstream_cluster.go`).
const SETTLES_AFTER: Duration = Duration::from_secs(12);
/// By how much what is left free on the fullest may differ from what was asked for.
const LEFT_BYTES_OFF: u64 = 16 << 20;
/// By how much more may be left free on the others than on the fullest: what a server writes of its own differs.
const APART_BYTES_MAX: u64 = 64 << 20;
/// How long the agent on the node that published may take to be there.
const OWN_WITHIN: Duration = Duration::from_secs(20);
/// After how long an undo is tried again: a server that had no space is started anew first, and elects a leader.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

#[async_trait]
impl FaultKind for FillStreamFault {
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        volumes::targets(choice, &self.pods, self.count, (&self.container, &self.path)).await
    }

    fn preview(&self, target: &Target) -> String {
        let Self { leave_mib, stream, subject, .. } = self;
        format!(
            "fill {target} but for {leave_mib} MiB with messages of stream {stream}, subject {subject}.RUN, by a privileged pod on \
             that node (create pods and pods/portforward in the run's namespace); they are purged, and the stream gets the \
             configuration back that it had"
        )
    }

    /// The configuration that the stream has is not known without a look.
    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        filler(target, FILE).map(|_| None)
    }

    /// With the configuration that the stream has now. An error where it cannot be filled, and emptied after, without touching
    /// what is others'.
    async fn look_up_undo(&self, site: &mut Site<'_>) -> Result<Undo, FaultError> {
        let (tools, target, line) = site.by_agent()?;
        let messages = messages(self, tools, &address_of(tools, target).await?);
        let subject = messages.subject.clone();
        let cannot = |why: &str| FaultError::Mismatch(format!("stream {} cannot be filled: {why}", self.stream));
        let seen = line.stream(messages, ANSWER_LIMIT).await?.ok_or_else(|| cannot("it is not there"))?;
        if let Some(why) = &seen.unfit {
            return Err(cannot(why));
        }
        if !seen.servers.is_empty() && !seen.servers.iter().any(|server| server == target.name()) {
            return Err(cannot(&format!("it has no replica on {}", target.name())));
        }
        Ok(Undo::EmptyStream(EmptyStreamUndo {
            servers: self.pods.clone(),
            stream: self.stream.clone(),
            subject,
            before: seen.now,
            node: target.node().unwrap_or_default().to_owned(),
        }))
    }

    fn uses_agent(&self) -> bool {
        true
    }

    fn together(&self) -> Option<&dyn HitsTogether> {
        Some(self)
    }

    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        Err(not_a_target(site.target))
    }

    /// A fresh look at both ends: the kernel counts the space as taken, and the stream's leader counts the messages.
    async fn prove(&self, site: &mut Site<'_>, _: &Injected, _: Instant) -> Result<Vec<Proof>, FaultError> {
        let (tools, target, line) = site.by_agent()?;
        let at = tools.clock.now();
        let space = left(line, target).await?;
        let messages = messages(self, tools, &address_of(tools, target).await?);
        let there = line.stream(messages, ANSWER_LIMIT).await?.map_or(0, |seen| seen.messages);
        // What is far below is as good as full altogether, which is another fault.
        let right = u64::from(self.leave_mib) * MIB / 2..=most_left(self.leave_mib) + APART_BYTES_MAX;
        let held = right.contains(&space.bytes_free) && there > 0;
        let (free, all) = (space.bytes_free / MIB, space.bytes / MIB);
        let stream = &self.stream;
        let evidence = format!("{free} of {all} MiB free; {there} messages of the fault's subject in stream {stream}");
        Ok(vec![Proof { subject: target.to_string(), evidence, held, at }])
    }
}

#[async_trait]
impl HitsTogether for FillStreamFault {
    /// Publishes beside the first target until the fullest of all is as full as asked for, and stays so. All volumes fill together:
    /// if they were unlike, one would run out of space while another one is filled.
    async fn inject(&self, tools: &Tools, targets: &mut [(&Target, &mut Line)]) -> Result<(), FaultError> {
        let Some(&(first, _)) = targets.first() else { return Ok(()) };
        let request = Request::FillStream {
            messages: messages(self, tools, &address_of(tools, first).await?),
            filler: filler(first, FILE)?,
            leave_bytes: u64::from(self.leave_mib) * MIB,
            bytes_max: BYTES_PER_ANSWER,
        };
        // The last answer's messages are written twice.
        let near = u64::from(self.leave_mib) * MIB + 2 * BYTES_PER_ANSWER;
        let filled = async {
            loop {
                while least_left(targets).await? > near {
                    if targets[0].1.space(&request, ANSWER_LIMIT).await?.full {
                        break;
                    }
                }
                sleep(SETTLES_AFTER).await;
                if least_left(targets).await? <= most_left(self.leave_mib) {
                    return Ok(());
                }
            }
        };
        let late = || FaultError::Mismatch(format!("{first} was not full after {} s", FILL_LIMIT.as_secs()));
        timeout(FILL_LIMIT, filled).await.map_err(|_| late())?
    }
}

#[async_trait]
impl UndoKind for EmptyStreamUndo {
    /// Purges the messages through whichever server answers, again until the deadline: one that had no space comes back first.
    async fn undo(&self, tools: &Tools, deadline: Instant) -> Result<(), FaultError> {
        loop {
            let tried = async {
                let (mut line, messages) = reach(tools, self, deadline).await?;
                line.emptied(&Request::EmptyStream { messages, before: self.before.clone() }, ANSWER_LIMIT).await
            };
            match tried.await {
                Err(_) if from_now(tools, AGAIN_AFTER) < deadline => sleep(AGAIN_AFTER).await,
                Err(error) => {
                    let hint = "where NATS has no space left for it, let its volumes grow first";
                    return Err(FaultError::Mismatch(format!("{error}; {hint}")));
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Whether none of the messages is left, and the stream is set up as it was.
    async fn is_clean(&self, tools: &Tools, deadline: Instant) -> Result<bool, FaultError> {
        let (mut line, messages) = reach(tools, self, deadline).await?;
        let seen = line.stream(messages, ANSWER_LIMIT).await?;
        Ok(seen.is_none_or(|seen| seen.messages == 0 && is_as_before(&seen.now, &self.before)))
    }
}

/// What a fault of this kind publishes.
fn messages(fault: &FillStreamFault, tools: &Tools, address: &str) -> Messages {
    Messages {
        server: format!("{address}:{PORT}"),
        stream: fault.stream.clone(),
        subject: format!("{}.{}", fault.subject, tools.mark.run_id),
    }
}

/// What is free on the fullest of the volumes, in bytes.
async fn least_left(targets: &mut [(&Target, &mut Line)]) -> Result<u64, FaultError> {
    let mut least = u64::MAX;
    for (target, line) in targets {
        least = least.min(left(line, target).await?.bytes_free);
    }
    Ok(least)
}

fn most_left(leave_mib: u32) -> u64 {
    u64::from(leave_mib) * MIB + LEFT_BYTES_OFF
}

async fn left(line: &mut Line, target: &Target) -> Result<Space, FaultError> {
    line.space(&Request::Space { filler: filler(target, FILE)?, try_write: false }, ANSWER_LIMIT).await
}

async fn address_of(tools: &Tools, target: &Target) -> Result<String, FaultError> {
    let Target::Volume { namespace, pod, .. } = target else {
        return Err(FaultError::Mismatch(format!("{target} is not a volume")));
    };
    let pods: Api<Pod> = Api::namespaced(tools.cluster.client(), namespace);
    let found = pods.get_opt(pod).await.map_err(ClusterError::api("read a pod"))?;
    let address = found.and_then(|pod| pod.status?.pod_ip);
    address.ok_or_else(|| FaultError::Mismatch(format!("pod {namespace}/{pod} has no address")))
}

fn from_now(tools: &Tools, after: Duration) -> Instant {
    tools.clock.deadline(tools.clock.now().plus(after))
}

/// A line to the agent on the node that published, or on a server's where that one does not answer, and the messages by the
/// address of a server: a ready one, where there is one.
async fn reach(tools: &Tools, undo: &EmptyStreamUndo, deadline: Instant) -> Result<(Line, Messages), FaultError> {
    let EmptyStreamUndo { servers, stream, subject, node, .. } = undo;
    let pods = listed(&tools.cluster, servers).await?;
    let none = || FaultError::Mismatch(format!("no pod of {}/{} runs", servers.namespace, servers.labels));
    let (beside, address) = beside(&pods).ok_or_else(none)?;
    let own = NodeAgent::ensure(tools, node, &[], deadline.min(from_now(tools, OWN_WITHIN))).await;
    let agent = match own {
        Ok(agent) => agent,
        Err(_) => NodeAgent::ensure(tools, &beside, &[], deadline).await?,
    };
    let server = format!("{address}:{PORT}");
    Ok((agent.line().await?, Messages { server, stream: stream.clone(), subject: subject.clone() }))
}

async fn listed(cluster: &Cluster, servers: &PodSelector) -> Result<Vec<Pod>, FaultError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &servers.namespace);
    let listed = pods.list(&ListParams::default().labels(&servers.labels)).await;
    Ok(listed.map_err(ClusterError::api("list pods"))?.items)
}

/// Node and address of a server: a ready one before the others.
fn beside(pods: &[Pod]) -> Option<(String, String)> {
    let placed = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
    let mut there: Vec<_> = pods.iter().filter(placed).collect();
    there.sort_by_key(|pod| !crate::cluster::is_ready(pod));
    there
        .into_iter()
        .find_map(|pod| Some((pod.spec.as_ref()?.node_name.clone()?, pod.status.as_ref()?.pod_ip.clone()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_server_that_is_ready_is_asked_first_and_one_that_goes_never() {
        let pod = |name: &str, ready: &str| -> Pod {
            serde_json::from_value(
                json!({"metadata": {"name": name}, "spec": {"nodeName": format!("on-{name}"), "containers": []},
                "status": {"podIP": format!("of-{name}"), "conditions": [{"type": "Ready", "status": ready}]}}),
            )
            .unwrap()
        };
        let of = |name: &str| Some((format!("on-{name}"), format!("of-{name}")));
        let mut going = pod("going", "True");
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-30T00:00:00Z")).unwrap();
        assert_eq!(beside(&[pod("a", "False"), pod("b", "True"), going.clone()]), of("b"));
        assert_eq!(beside(&[pod("a", "False")]), of("a"));
        assert_eq!(beside(&[going]), None);
    }
}
