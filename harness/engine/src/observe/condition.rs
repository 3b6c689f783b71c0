//! Conditions and detectors, looked at afresh each time. What cannot be seen does not hold, and is not missing either.

use super::alerts;
use super::cnpg;
use super::kubernetes::{ended, node_ready, pod_is_ready, restarts};
use super::nats_state::{Replicas, quorum_lost, replicas};
use super::nats_view::views;
use super::rows::rows;
use super::symptom::{Occurrences, occurrences, symptom_since};
use crate::cluster::{Cluster, ClusterError, SAME_PAGE_FOR};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{Condition, Detector, Fault, PodSelector, Shown, Symptom, Variant};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often replicas of NATS are looked at for one answer, in which each has to be seen current.
const NATS_LOOKS: u32 = 5;
/// Time between two of these looks.
const BETWEEN_NATS_LOOKS: Duration = Duration::from_millis(250);
const _: () = assert!(BETWEEN_NATS_LOOKS.as_millis() > SAME_PAGE_FOR.as_millis(), "else two looks would be one");

/// How things were before the fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// How many pods each selector found.
    pub pods: BTreeMap<PodSelector, usize>,
    /// Restarts of each of these pods, by UID.
    pub restarts: BTreeMap<String, i32>,
    /// How many nodes there were.
    pub nodes: usize,
    /// What of the variant's symptoms was to be seen already.
    pub symptoms: Occurrences,
    /// The network policies of each namespace, by name.
    pub policies: BTreeMap<String, Policies>,
}

/// What network policies say, by their names.
type Policies = BTreeMap<String, Value>;

/// Why a condition is not known to hold, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// It was seen not to.
    Missing(String),
    /// It could not be looked at.
    Unseen(String),
}

impl std::fmt::Display for NotHeld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (NotHeld::Missing(why) | NotHeld::Unseen(why)) = self;
        f.write_str(why)
    }
}

impl From<ClusterError> for NotHeld {
    fn from(error: ClusterError) -> Self {
        NotHeld::Unseen(error.to_string())
    }
}

impl Baseline {
    /// Takes it, right before the fault.
    ///
    /// # Errors
    /// Where the API server does not answer.
    pub async fn take(cluster: &Cluster, variant: &Variant) -> Result<Self, ClusterError> {
        let mut baseline = Self::default();
        for selector in selectors(variant) {
            let pods = list(cluster, &selector).await?;
            for pod in &pods {
                baseline.restarts.insert(pod.uid().unwrap_or_default(), restarts(pod));
            }
            // A pod that has ended serves nothing, and nobody makes another one for it.
            baseline.pods.insert(selector, pods.iter().filter(|pod| ended(pod).is_none()).count());
        }
        for symptom in symptoms(variant) {
            baseline.symptoms.extend(occurrences(cluster, symptom).await?);
        }
        for condition in &variant.redundancy {
            if let Condition::PoliciesAsBefore { namespace } = condition {
                baseline.policies.insert(namespace.clone(), policies(cluster, namespace).await?);
            }
        }
        let nodes: Api<Node> = Api::all(cluster.client());
        let nodes = nodes.list_metadata(&ListParams::default()).await.map_err(ClusterError::api("list nodes"))?;
        baseline.nodes = nodes.items.len();
        Ok(baseline)
    }
}

/// Every symptom that the variant names.
fn symptoms(variant: &Variant) -> impl Iterator<Item = &Symptom> {
    let shown = match &variant.effect.shown {
        Shown::Seen(symptom) => Some(symptom),
        Shown::Down { .. } => None,
    };
    let detected = match &variant.detect {
        Detector::Symptom(symptom) => Some(symptom),
        _ => None,
    };
    shown.into_iter().chain(detected)
}

/// Every selector that the variant names.
fn selectors(variant: &Variant) -> BTreeSet<PodSelector> {
    let conditions = variant.redundancy.iter().filter_map(|condition| match condition {
        Condition::NatsCurrent { pods, .. } | Condition::PodsReady { pods } => Some(pods),
        Condition::CnpgHealthy { .. }
        | Condition::NoRows(_)
        | Condition::AlertOver { .. }
        | Condition::NodesReady
        | Condition::PoliciesAsBefore { .. } => None,
    });
    let detected = match &variant.detect {
        Detector::NatsQuorum { pods } => Some(pods),
        Detector::PodNotReady
        | Detector::NodeNotReady
        | Detector::CnpgPhase { .. }
        | Detector::Symptom(_)
        | Detector::Nothing => None,
    };
    let broken = variant.faults().filter_map(Fault::pods);
    conditions.chain(detected).chain(broken).cloned().collect()
}

pub(super) async fn list(cluster: &Cluster, selector: &PodSelector) -> Result<Vec<Pod>, ClusterError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &selector.namespace);
    let listed = pods.list(&ListParams::default().labels(&selector.labels)).await;
    Ok(listed.map_err(ClusterError::api("list pods"))?.items)
}

async fn policies(cluster: &Cluster, namespace: &str) -> Result<Policies, ClusterError> {
    let policies: Api<NetworkPolicy> = Api::namespaced(cluster.client(), namespace);
    let listed = policies.list(&ListParams::default()).await.map_err(ClusterError::api("list network policies"))?;
    let said = listed.items.iter().map(|policy| {
        let spec = serde_json::to_value(&policy.spec).map_err(|error| ClusterError::Other(error.to_string()));
        spec.map(|spec| (policy.name_any(), spec))
    });
    said.collect()
}

/// Whether a condition holds now; what was seen, for people.
///
/// # Errors
/// Where it does not hold, or that cannot be seen.
pub async fn holds(cluster: &Cluster, condition: &Condition, baseline: &Baseline) -> Result<String, NotHeld> {
    match condition {
        Condition::NatsCurrent { pods, servers } => {
            let mut seen = BTreeSet::new();
            for _ in 1..NATS_LOOKS {
                if let Ok(caught_up) = nats_replicas(cluster, pods, *servers).await?.caught_up(&mut seen) {
                    return Ok(caught_up);
                }
                tokio::time::sleep(BETWEEN_NATS_LOOKS).await;
            }
            nats_replicas(cluster, pods, *servers).await?.caught_up(&mut seen).map_err(NotHeld::Missing)
        }
        Condition::CnpgHealthy { cluster: name } => cnpg::is_healthy(cluster, name).await,
        Condition::PodsReady { pods } => {
            let unknown = || NotHeld::Unseen("how many there were is not known".to_owned());
            let wanted = baseline.pods.get(pods).copied().ok_or_else(unknown)?;
            pods_ready(&list(cluster, pods).await?, wanted).map_err(NotHeld::Missing)
        }
        Condition::NoRows(query) => match rows(cluster, query).await?.as_slice() {
            [] => Ok(format!("none: {}", query.what)),
            found => Err(NotHeld::Missing(format!("{} of: {}", found.len(), query.what))),
        },
        Condition::AlertOver { name } => match alerts::active(cluster, name).await.map_err(NotHeld::Unseen)? {
            Some(active) => Err(NotHeld::Missing(active)),
            None => Ok(format!("alert {name} is over")),
        },
        Condition::PoliciesAsBefore { namespace } => {
            let now = policies(cluster, namespace).await?;
            as_before(&now, baseline.policies.get(namespace)).map_err(NotHeld::Missing)
        }
        Condition::NodesReady => {
            let nodes: Api<Node> = Api::all(cluster.client());
            let nodes = nodes.list(&ListParams::default()).await.map_err(ClusterError::api("list nodes"))?.items;
            let ready = nodes_ready(&nodes, baseline.nodes).map_err(NotHeld::Missing)?;
            let asked = nodes.iter().map(|node| kubelet(cluster.clone(), node.name_any()));
            try_join_all(asked).await.map_err(NotHeld::Unseen)?;
            Ok(ready)
        }
    }
}

async fn nats_replicas(cluster: &Cluster, pods: &PodSelector, servers: u32) -> Result<Replicas, NotHeld> {
    let views = views(cluster, pods).await?;
    replicas(&views, servers as usize)
}

fn as_before(now: &Policies, before: Option<&Policies>) -> Result<String, String> {
    let before = before.filter(|before| !before.is_empty()).ok_or("there was no network policy to come back")?;
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let other = names.into_iter().find_map(|name| match (before.get(name), now.get(name)) {
        (Some(_), None) => Some(format!("network policy {name} is gone")),
        (None, Some(_)) => Some(format!("network policy {name} is new")),
        (before, now) => (before != now).then(|| format!("network policy {name} is another one")),
    });
    other.map_or_else(|| Ok(format!("{} network policies as before", before.len())), Err)
}

async fn kubelet(cluster: Cluster, node: String) -> Result<(), String> {
    cluster.kubelet_answers(&node).await.map_err(|why| format!("kubelet of {node} does not answer: {why}"))
}

/// Whether as many pods as before are ready. Pods that have ended (phase Failed or Succeeded) do not count, and the answer names
/// them.
fn pods_ready(pods: &[Pod], wanted: usize) -> Result<String, String> {
    let (gone, alive): (Vec<&Pod>, Vec<&Pod>) = pods.iter().partition(|pod| ended(pod).is_some());
    let named: Vec<_> =
        gone.iter().map(|pod| format!("{} ({})", pod.name_any(), ended(pod).unwrap_or_default())).collect();
    if alive.is_empty() && !gone.is_empty() {
        return Err(format!("every pod has ended: {}", named.join(", ")));
    }
    let not_counted = match named.as_slice() {
        [] => String::new(),
        named => format!(" (not counted, since they have ended: {})", named.join(", ")),
    };
    if let Some(pod) = alive.iter().find(|pod| !pod_is_ready(pod)) {
        return Err(format!("{} is not ready{not_counted}", pod.name_any()));
    }
    if wanted == 0 || alive.len() < wanted {
        return Err(format!("{} of {wanted} pods are there{not_counted}", alive.len()));
    }
    Ok(format!("{} pods ready{not_counted}", alive.len()))
}

/// As many nodes as there were, whichever they are: one that is replaced has another name. None of them may be lost.
fn nodes_ready(nodes: &[Node], wanted: usize) -> Result<String, String> {
    if wanted == 0 {
        return Err("how many nodes there were is not known".to_owned());
    }
    for node in nodes {
        let name = node.name_any();
        node_ready(node).map_err(|why| format!("node {name}: {why}"))?;
        let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let bad =
            ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready", "node.kubernetes.io/out-of-service"];
        if let Some(taint) = taints.into_iter().find(|taint| bad.contains(&taint.key.as_str())) {
            return Err(format!("node {name} is tainted {}", taint.key));
        }
    }
    if nodes.len() < wanted {
        return Err(format!("{} of {wanted} nodes are there", nodes.len()));
    }
    Ok(format!("{} nodes ready", nodes.len()))
}

/// What shows that the system has noticed the fault; `None` where nothing does yet, or where it cannot be seen: without an
/// answer nothing is detected.
pub async fn detected(
    cluster: &Cluster,
    detector: &Detector,
    targets: &[Target],
    baseline: &Baseline,
) -> Option<String> {
    match detect(cluster, detector, targets, baseline).await {
        Ok(detected) => detected,
        Err(error) => {
            tracing::debug!(%error, "the detector could not look");
            None
        }
    }
}

async fn detect(
    cluster: &Cluster,
    detector: &Detector,
    targets: &[Target],
    baseline: &Baseline,
) -> Result<Option<String>, ClusterError> {
    match detector {
        Detector::PodNotReady => {
            for target in targets {
                let (Target::Container { namespace, pod: name, uid, .. }
                | Target::Pod { namespace, pod: name, uid, .. }) = target
                else {
                    continue;
                };
                let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
                let pod = pods.get_opt(name).await.map_err(ClusterError::api("read a target"))?;
                if let Some(change) = pod_change(pod.as_ref(), uid, baseline) {
                    return Ok(Some(format!("{name} {change}")));
                }
            }
            Ok(None)
        }
        Detector::NodeNotReady => {
            let nodes: Api<Node> = Api::all(cluster.client());
            for target in targets {
                let Some(name) = target.node() else { continue };
                match nodes.get_opt(name).await.map_err(ClusterError::api("read a node"))? {
                    None => return Ok(Some(format!("node {name} is gone"))),
                    Some(node) => {
                        if let Err(why) = node_ready(&node) {
                            return Ok(Some(format!("node {name}: {why}")));
                        }
                    }
                }
            }
            Ok(None)
        }
        Detector::CnpgPhase { cluster: name } => {
            let state = cnpg::read(cluster, name).await?;
            let state = state.ok_or_else(|| ClusterError::Other(format!("there is no CNPG cluster {name}")))?;
            Ok((state.phase != cnpg::HEALTHY).then(|| state.to_string()))
        }
        Detector::NatsQuorum { pods } => {
            let views = views(cluster, pods).await?;
            let servers = baseline.pods.get(pods).copied().unwrap_or(views.len());
            Ok(quorum_lost(&views, servers))
        }
        Detector::Symptom(symptom) => symptom_since(cluster, symptom, &baseline.symptoms).await,
        Detector::Nothing => Ok(None),
    }
}

fn pod_change(pod: Option<&Pod>, uid: &str, baseline: &Baseline) -> Option<String> {
    let Some(pod) = pod else { return Some("is gone".to_owned()) };
    if pod.metadata.uid.as_deref() != Some(uid) {
        return Some("was replaced".to_owned());
    }
    let now = restarts(pod);
    let before = baseline.restarts.get(uid).copied().unwrap_or(now);
    if now > before {
        return Some(format!("restarted, {before} to {now} restarts"));
    }
    (!pod_is_ready(pod)).then(|| "is not ready".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, ready: &str, restarts: i32) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "uid": uid}, "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "c", "ready": true, "restartCount": restarts, "image": "", "imageID": ""}]}}))
        .unwrap()
    }

    #[test]
    fn as_many_as_before_and_all_of_them() {
        let ready = pod("a", "True", 0);
        assert_eq!(pods_ready(&[ready.clone(), ready.clone()], 2).unwrap(), "2 pods ready");
        assert_eq!(pods_ready(std::slice::from_ref(&ready), 2).unwrap_err(), "1 of 2 pods are there");
        assert_eq!(pods_ready(&[ready.clone(), pod("b", "False", 0)], 1).unwrap_err(), "p is not ready");
        let mut going = ready.clone();
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert!(pods_ready(&[ready, going], 1).is_err(), "a pod that is going away is not ready");
        assert!(pods_ready(&[], 0).is_err(), "nothing is never all of them");
    }

    #[test]
    fn pods_that_have_ended_do_not_count_and_are_named() {
        let ready = pod("a", "True", 0);
        let in_phase = |phase: &str| {
            let mut pod = pod("b", "False", 0);
            pod.metadata.name = Some(format!("old-{}", phase.to_lowercase()));
            pod.status.as_mut().unwrap().phase = Some(phase.to_owned());
            pod
        };
        let (failed, succeeded) = (in_phase("Failed"), in_phase("Succeeded"));
        let held = pods_ready(&[ready.clone(), failed.clone(), succeeded.clone()], 1).unwrap();
        assert_eq!(
            held,
            "1 pods ready (not counted, since they have ended: old-failed (Failed), old-succeeded (Succeeded))"
        );
        let lacks = pods_ready(&[ready.clone(), failed.clone()], 2).unwrap_err();
        assert_eq!(lacks, "1 of 2 pods are there (not counted, since they have ended: old-failed (Failed))");
        let all = pods_ready(&[failed, succeeded], 0).unwrap_err();
        assert_eq!(all, "every pod has ended: old-failed (Failed), old-succeeded (Succeeded)");
        assert!(pods_ready(&[ready, in_phase("Pending")], 1).is_err(), "what has not ended counts");
    }

    #[test]
    fn policies_are_back_when_each_is_as_it_was() {
        let of = |all: &[(&str, &str)]| -> Policies {
            all.iter().map(|(name, of)| ((*name).to_owned(), json!({"policyTypes": [of]}))).collect()
        };
        let before = of(&[("deny", "Ingress"), ("dns", "Egress")]);
        let wrong = |now: &[(&str, &str)]| as_before(&of(now), Some(&before)).unwrap_err();
        assert_eq!(as_before(&before, Some(&before)).unwrap(), "2 network policies as before");
        assert_eq!(wrong(&[("dns", "Egress")]), "network policy deny is gone");
        assert_eq!(wrong(&[("deny", "Egress"), ("dns", "Egress")]), "network policy deny is another one");
        let open = [("deny", "Ingress"), ("dns", "Egress"), ("open", "Ingress")];
        assert_eq!(wrong(&open), "network policy open is new");
        assert!(as_before(&Policies::new(), Some(&Policies::new())).is_err(), "none were never all of them");
        assert!(as_before(&before, None).is_err());
    }

    #[test]
    fn as_many_nodes_as_before_are_ready_and_untainted() {
        let node = |name: &str, ready: &str, taint: &str| -> Node {
            serde_json::from_value(json!({"metadata": {"name": name},
                "spec": {"taints": [{"key": taint, "effect": "NoExecute"}]},
                "status": {"conditions": [{"type": "Ready", "status": ready, "reason": "R"}]}}))
            .unwrap()
        };
        let control_plane = "node-role.kubernetes.io/control-plane";
        let ready = node("w1", "True", control_plane);
        assert!(nodes_ready(&[ready.clone(), node("new", "True", "x")], 2).is_ok(), "another name, as many nodes");
        let tainted = nodes_ready(&[node("w1", "True", "node.kubernetes.io/unreachable")], 1);
        assert_eq!(tainted.unwrap_err(), "node w1 is tainted node.kubernetes.io/unreachable");
        let lost = nodes_ready(&[ready.clone(), node("w2", "Unknown", "x")], 1);
        assert_eq!(lost.unwrap_err(), "node w2: Ready is Unknown (R)", "enough without it, but it is still there");
        assert_eq!(nodes_ready(&[ready], 2).unwrap_err(), "1 of 2 nodes are there");
        assert!(nodes_ready(&[], 0).is_err());
    }

    #[test]
    fn a_target_that_changed_is_a_detection() {
        let baseline = Baseline { restarts: [("u".to_owned(), 1)].into(), ..Baseline::default() };
        let change = |pod: Option<Pod>| pod_change(pod.as_ref(), "u", &baseline);
        assert_eq!(change(Some(pod("u", "True", 1))), None);
        assert_eq!(change(Some(pod("u", "True", 2))).unwrap(), "restarted, 1 to 2 restarts");
        assert_eq!(change(Some(pod("u", "False", 1))).unwrap(), "is not ready");
        assert_eq!(change(Some(pod("v", "True", 0))).unwrap(), "was replaced");
        assert_eq!(change(None).unwrap(), "is gone");
    }
}
