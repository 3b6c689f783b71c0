//! Volumes filled by the messages of a stream that has a replica on each of them: what purging or keeping less would free.

use super::fill::{FILE, MIB, filler};
use super::line::Line;
use super::node_agent::{ANSWER_LIMIT, NodeAgent};
use super::{FaultError, Proof, Tools};
use crate::agent::node::stream::is_as_before;
use crate::agent::node::wire::{Messages, Request, Space};
use crate::cluster::{Cluster, ClusterError};
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use firedrill_core::scenario::{Fault, PodSelector};
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

/// What a fault of this kind publishes, and where it is left.
#[derive(Clone, Copy)]
pub(super) struct Flood<'a> {
    servers: &'a PodSelector,
    stream: &'a str,
    subject: &'a str,
    leave_mib: u32,
}

impl<'a> Flood<'a> {
    /// Of a fault, where it is of this kind.
    pub(super) fn of(fault: &'a Fault) -> Option<Self> {
        match fault {
            Fault::FillStream { pods, stream, subject, leave_mib, .. } => {
                Some(Flood { servers: pods, stream, subject, leave_mib: *leave_mib })
            }
            _ => None,
        }
    }

    fn messages(&self, tools: &Tools, address: &str) -> Messages {
        Messages {
            server: format!("{address}:{PORT}"),
            stream: self.stream.to_owned(),
            subject: format!("{}.{}", self.subject, tools.mark.run_id),
        }
    }

    fn request(&self, tools: &Tools, target: &Target, address: &str) -> Result<Request, FaultError> {
        Ok(Request::FillStream {
            messages: self.messages(tools, address),
            filler: filler(target, FILE)?,
            leave_bytes: u64::from(self.leave_mib) * MIB,
            bytes_max: BYTES_PER_ANSWER,
        })
    }
}

pub(super) fn preview(target: &Target, stream: &str, subject: &str, leave_mib: u32) -> String {
    format!(
        "fill {target} but for {leave_mib} MiB with messages of stream {stream}, subject {subject}.RUN, by a privileged pod on \
         that node (create pods and pods/portforward in the run's namespace); they are purged, and the stream gets the \
         configuration back that it had"
    )
}

/// How it is undone: with the configuration that the stream has now.
///
/// # Errors
/// Where it cannot be filled, and emptied after, without touching what is others'.
pub(super) async fn undo_of(
    tools: &Tools,
    line: &mut Line,
    target: &Target,
    flood: Flood<'_>,
) -> Result<Undo, FaultError> {
    let messages = flood.messages(tools, &address_of(tools, target).await?);
    let subject = messages.subject.clone();
    let cannot = |why: &str| FaultError::Mismatch(format!("stream {} cannot be filled: {why}", flood.stream));
    let seen = line.stream(messages, ANSWER_LIMIT).await?.ok_or_else(|| cannot("it is not there"))?;
    if let Some(why) = &seen.unfit {
        return Err(cannot(why));
    }
    if !seen.servers.is_empty() && !seen.servers.iter().any(|server| server == target.name()) {
        return Err(cannot(&format!("it has no replica on {}", target.name())));
    }
    Ok(Undo::EmptyStream {
        servers: flood.servers.clone(),
        stream: flood.stream.to_owned(),
        subject,
        before: seen.now,
        node: target.node().unwrap_or_default().to_owned(),
    })
}

/// Publishes beside the first target until the fullest of all is as full as asked for, and stays so. They fill together, whoever
/// publishes: of volumes that are not alike one would be without any space while another one is filled.
pub(super) async fn inject(
    tools: &Tools,
    targets: &mut [(&Target, &mut Line)],
    flood: Flood<'_>,
) -> Result<(), FaultError> {
    let Some(&(first, _)) = targets.first() else { return Ok(()) };
    let request = flood.request(tools, first, &address_of(tools, first).await?)?;
    // The last answer's messages are written twice.
    let near = u64::from(flood.leave_mib) * MIB + 2 * BYTES_PER_ANSWER;
    let filled = async {
        loop {
            while least_left(targets).await? > near {
                if targets[0].1.space(&request, ANSWER_LIMIT).await?.full {
                    break;
                }
            }
            sleep(SETTLES_AFTER).await;
            if least_left(targets).await? <= most_left(flood.leave_mib) {
                return Ok(());
            }
        }
    };
    let late = || FaultError::Mismatch(format!("{first} was not full after {} s", FILL_LIMIT.as_secs()));
    timeout(FILL_LIMIT, filled).await.map_err(|_| late())?
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

/// A fresh look at both ends: the kernel counts the space as taken, and the stream's leader counts the messages.
pub(super) async fn prove(
    tools: &Tools,
    line: &mut Line,
    target: &Target,
    flood: Flood<'_>,
) -> Result<Vec<Proof>, FaultError> {
    let at = tools.clock.now();
    let space = left(line, target).await?;
    let messages = flood.messages(tools, &address_of(tools, target).await?);
    let there = line.stream(messages, ANSWER_LIMIT).await?.map_or(0, |seen| seen.messages);
    // What is far below is as good as full altogether, which is another fault.
    let right = u64::from(flood.leave_mib) * MIB / 2..=most_left(flood.leave_mib) + APART_BYTES_MAX;
    let held = right.contains(&space.bytes_free) && there > 0;
    let (free, all) = (space.bytes_free / MIB, space.bytes / MIB);
    let evidence =
        format!("{free} of {all} MiB free; {there} messages of the fault's subject in stream {}", flood.stream);
    Ok(vec![Proof { subject: target.to_string(), evidence, held, at }])
}

async fn address_of(tools: &Tools, target: &Target) -> Result<String, FaultError> {
    let Target::Volume { namespace, pod, .. } = target else {
        return Err(FaultError::Mismatch(format!("{target} is no volume")));
    };
    let pods: Api<Pod> = Api::namespaced(tools.cluster.client(), namespace);
    let found = pods.get_opt(pod).await.map_err(ClusterError::api("read a pod"))?;
    let address = found.and_then(|pod| pod.status?.pod_ip);
    address.ok_or_else(|| FaultError::Mismatch(format!("pod {namespace}/{pod} has no address")))
}

/// Purges the messages through whichever server answers, again until the deadline: one that had no space comes back first.
pub(super) async fn undo(tools: &Tools, undo: &Undo, deadline: Instant) -> Result<(), FaultError> {
    let Undo::EmptyStream { servers, stream, subject, before, node } = undo else { return Ok(()) };
    loop {
        let tried = async {
            let (mut line, server) = reach(tools, servers, node, deadline).await?;
            let messages = Messages { server, stream: stream.clone(), subject: subject.clone() };
            line.emptied(&Request::EmptyStream { messages, before: before.clone() }, ANSWER_LIMIT).await
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

fn from_now(tools: &Tools, after: Duration) -> Instant {
    tools.clock.deadline(tools.clock.now().plus(after))
}

/// Whether none of the messages is left, and the stream is set up as it was, by a fresh look.
pub(super) async fn is_clean(tools: &Tools, undo: &Undo, deadline: Instant) -> Result<bool, FaultError> {
    let Undo::EmptyStream { servers, stream, subject, before, node } = undo else { return Ok(true) };
    let (mut line, server) = reach(tools, servers, node, deadline).await?;
    let messages = Messages { server, stream: stream.clone(), subject: subject.clone() };
    let seen = line.stream(messages, ANSWER_LIMIT).await?;
    Ok(seen.is_none_or(|seen| seen.messages == 0 && is_as_before(&seen.now, before)))
}

/// A line to the agent on the node that published, or on a server's where that one does not answer, and the address of a
/// server: a ready one, where there is one.
async fn reach(
    tools: &Tools,
    servers: &PodSelector,
    node: &str,
    deadline: Instant,
) -> Result<(Line, String), FaultError> {
    let pods = listed(&tools.cluster, servers).await?;
    let none = || FaultError::Mismatch(format!("no pod of {}/{} runs", servers.namespace, servers.labels));
    let (beside, address) = beside(&pods).ok_or_else(none)?;
    let own = NodeAgent::ensure(tools, node, &[], deadline.min(from_now(tools, OWN_WITHIN))).await;
    let agent = match own {
        Ok(agent) => agent,
        Err(_) => NodeAgent::ensure(tools, &beside, &[], deadline).await?,
    };
    Ok((agent.line().await?, format!("{address}:{PORT}")))
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
