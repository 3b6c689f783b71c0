//! Connections between pods taken out of the connection tracking of a pod's node.
//!
//! A network policy is asked about connections that are not tracked: those that were open when it came live on. A packet
//! from the middle of a connection that the node has forgotten counts as new, so the policy decides, and until it is in
//! force what was forgotten is tracked again with the next packet. So they are ended until none comes back.

use super::choose::Choice;
use super::kind::{FaultKind, Site, not_a_target};
use super::line::Line;
use super::node_agent::ANSWER_LIMIT;
use super::{FaultError, Injected, Proof};
use crate::agent::node::wire::{Connection, Ends, Reply, Request};
use crate::cluster::{Cluster, ClusterError};
use async_trait::async_trait;
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use firedrill_core::scenario::{EndConnectionsFault, PodSelector};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Time between two rounds.
const ROUND: Duration = Duration::from_millis(250);
/// How long nothing may come back before it counts as ended. Under a drill's load a busy connection sends several times in it.
const QUIET_FOR: Duration = Duration::from_secs(3);
/// How long a policy may take to be in force. kube-router took a second or two.
const SETTLE_WITHIN: Duration = Duration::from_secs(45);

#[async_trait]
impl FaultKind for EndConnectionsFault {
    /// All that there are: one left out would keep the others' service up.
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        choice.pods(&self.pods, None).await
    }

    fn preview(&self, target: &Target) -> String {
        format!(
            "end the tracked connections between {target} and {}/{}, by a privileged pod on that node (create pods and \
             pods/portforward in the run's namespace); recovers by itself",
            self.peers.namespace, self.peers.labels
        )
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        match target {
            Target::Pod { .. } => {
                Ok(Some(Undo::HealsItself { what: format!("{target}: allowed connections are opened again") }))
            }
            _ => Err(not_a_target(target)),
        }
    }

    fn uses_agent(&self) -> bool {
        true
    }

    /// Ends them until none comes back.
    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        let (tools, target, line) = site.by_agent()?;
        let request = Request::EndConnections(ends(&tools.cluster, target, &self.peers).await?);
        let started = tools.clock.now();
        let (mut ended, mut last) = (0, started);
        let mut tick = interval(ROUND);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while tools.clock.now().since(last) < QUIET_FOR {
            tick.tick().await;
            let round = ask(line, &request).await?;
            // One that nobody answers is what a policy leaves behind on the way to it.
            if round.iter().any(|connection| connection.is_established) {
                last = tools.clock.now();
            }
            ended += round.len();
            if tools.clock.now().since(started) > SETTLE_WITHIN {
                let limit = SETTLE_WITHIN.as_secs();
                let reason =
                    format!("connections of {target} come back for {limit} s: no policy is in force between them");
                return Err(FaultError::Mismatch(reason));
            }
        }
        Ok(Injected { connections: ended, ..Injected::of(target) })
    }

    /// A fresh dump of the node's table has no connection between them that is established.
    async fn prove(&self, site: &mut Site<'_>, injected: &Injected, _: Instant) -> Result<Vec<Proof>, FaultError> {
        let (tools, target, line) = site.by_agent()?;
        let (peers, ended) = (&self.peers, injected.connections);
        let left = ask(line, &Request::Connections(ends(&tools.cluster, target, peers).await?)).await?;
        let established: Vec<&Connection> = left.iter().filter(|connection| connection.is_established).collect();
        let evidence = match established.first() {
            Some(one) => format!("{} are established, {one} among them", established.len()),
            None => format!("{ended} entries were ended; none is established, {} unanswered", left.len()),
        };
        let subject = format!("connections of {target} with {}/{}", peers.namespace, peers.labels);
        Ok(vec![Proof { subject, evidence, held: established.is_empty(), at: tools.clock.now() }])
    }
}

async fn ask(line: &mut Line, request: &Request) -> Result<Vec<Connection>, FaultError> {
    match line.ask(request, ANSWER_LIMIT).await? {
        Reply::Connections { connections } => Ok(connections),
        Reply::Failed { reason } => Err(FaultError::Mismatch(format!("tracked connections: {reason}"))),
        other => Err(FaultError::Mismatch(format!("a question about connections was answered with {other:?}"))),
    }
}

/// The addresses of both ends, as they are now.
async fn ends(cluster: &Cluster, target: &Target, peers: &PodSelector) -> Result<Ends, FaultError> {
    let Target::Pod { namespace, pod, uid, .. } = target else {
        return Err(FaultError::Mismatch(format!("{target} is not a pod")));
    };
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let found = pods.get_opt(pod).await.map_err(ClusterError::api("read a pod"))?;
    let found = found.filter(|found| found.metadata.uid.as_ref() == Some(uid));
    let found = found.ok_or_else(|| FaultError::Mismatch(format!("{target} is gone")))?;
    let others: Api<Pod> = Api::namespaced(cluster.client(), &peers.namespace);
    let others = others.list(&ListParams::default().labels(&peers.labels)).await;
    let others = others.map_err(ClusterError::api("list pods"))?.items;
    let ends = Ends { pods: addresses(&[found]), peers: addresses(&others) };
    if ends.pods.is_empty() || ends.peers.is_empty() {
        let (namespace, labels) = (&peers.namespace, &peers.labels);
        return Err(FaultError::Mismatch(format!("{target} or {namespace}/{labels} has no IPv4 address")));
    }
    Ok(ends)
}

/// Their IPv4 addresses; those of pods on their node's network are other programs' too, and are left out.
fn addresses(pods: &[Pod]) -> Vec<Ipv4Addr> {
    let own = pods.iter().filter(|pod| pod.spec.as_ref().is_some_and(|spec| spec.host_network != Some(true)));
    let listed = own.filter_map(|pod| pod.status.as_ref()?.pod_ips.as_ref()).flatten();
    let parsed = listed.filter_map(|ip| match ip.ip.parse() {
        Ok(IpAddr::V4(address)) => Some(address),
        _ => None,
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_pods_own_addresses_count() {
        let pod = |host: bool, ips: &[&str]| -> Pod {
            let ips: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
            serde_json::from_value(json!({
                "spec": {"hostNetwork": host, "containers": []}, "status": {"podIPs": ips}}))
            .unwrap()
        };
        let pods = [pod(false, &["10.0.0.1", "fd00::1"]), pod(true, &["172.18.0.2"]), pod(false, &[])];
        assert_eq!(addresses(&pods), [Ipv4Addr::new(10, 0, 0, 1)]);
    }
}
