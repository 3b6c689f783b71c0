//! What is in a cluster, in terms that are equal before and after a drill exactly if nothing was left behind.
//!
//! Objects count by kind, namespace and name. Pods and other objects with generated names count by their owner, volumes by their
//! claim, and attachments of volumes by their driver: which node has one changes with the pods. Nodes, workloads, volumes and
//! database clusters also have a state, and the wish that they were given (`spec`).

use super::discovery::Kind;
use super::{Cluster, ClusterError, NodeState, ObjectKey, is_ready};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::DynamicObject;
use kube::core::ObjectMeta;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const PARALLEL: usize = 8;
/// Kinds whose wish is compared, beside their presence.
const WITH_SPEC: [&str; 12] = [
    "Cluster",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "Pooler",
    "ResourceQuota",
    "Service",
    "StatefulSet",
];
/// Where the storage stands that a kind asks for.
const SIZES: [(&str, &str); 2] =
    [("PersistentVolumeClaim", "/resources/requests/storage"), ("Cluster", "/storage/size")];
/// Set by `kubectl rollout restart`: a trace of an act, not a wish.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// What is in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory(BTreeMap<ObjectKey, Entry>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    /// Its state, for people; empty where only its presence counts.
    state: String,
    /// A digest of its wish; empty where that is not compared.
    spec: String,
    /// The storage that it asks for; empty where it asks for none.
    size: String,
}

impl Inventory {
    /// How many objects it holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its objects.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.0.keys()
    }
}

impl Cluster {
    /// Lists the cluster.
    ///
    /// # Errors
    /// Where the API server does not say.
    pub async fn inventory(&self) -> Result<Inventory, ClusterError> {
        let kinds = self.kinds().await?;
        let lists = futures::stream::iter(&kinds)
            .map(|kind| self.entries(kind))
            .buffer_unordered(PARALLEL)
            .collect::<Vec<_>>()
            .await;
        let mut all = BTreeMap::new();
        for list in lists {
            all.extend(list?);
        }
        Ok(Inventory(all))
    }

    async fn entries(&self, kind: &Kind) -> Result<Vec<(ObjectKey, Entry)>, ClusterError> {
        match kind.resource.kind.as_str() {
            // Each change of a workload makes one more of these, and old ones are kept for a way back.
            "ReplicaSet" | "ControllerRevision" => Ok(Vec::new()),
            "Pod" => Ok(count_pods(kind, &self.list_whole(kind).await?)),
            "VolumeAttachment" => Ok(count_attachments(kind, &self.list_whole(kind).await?)),
            "PersistentVolume" => {
                Ok(self.list_whole(kind).await?.iter().map(|object| by_claim(kind, object)).collect())
            }
            "Node" => Ok(self.list_whole(kind).await?.iter().map(|object| with_state(kind, object, false)).collect()),
            name if WITH_SPEC.contains(&name) => {
                Ok(self.list_whole(kind).await?.iter().map(|object| with_state(kind, object, true)).collect())
            }
            _ => {
                let objects = self.list_metadata(kind, "").await?;
                let lasting =
                    objects.iter().filter(|object| !is_of_a_pod(&object.metadata) && !is_helm_record(&object.metadata));
                Ok(lasting.map(|object| (kind.key(&object.metadata), Entry::default())).collect())
            }
        }
    }
}

/// What differs between two inventories, a line each; empty where nothing does.
pub fn diff(before: &Inventory, after: &Inventory) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, old) in &before.0 {
        match after.0.get(key) {
            None => lines.push(format!("{key} is gone")),
            Some(new) if new.state != old.state => lines.push(format!("{key}: {}, was {}", new.state, old.state)),
            Some(new) if new.spec != old.spec => lines.push(format!("{key}: its spec has changed")),
            Some(_) => {}
        }
    }
    lines.extend(after.0.keys().filter(|key| !before.0.contains_key(*key)).map(|key| format!("{key} is new")));
    lines
}

/// What asks for other storage than before, a line each. Not in [`diff`]: a drill may be meant to leave that.
pub fn resized(before: &Inventory, after: &Inventory) -> Vec<String> {
    let both = before.0.iter().filter_map(|(key, old)| Some((key, old, after.0.get(key)?)));
    let other = both.filter(|(_, old, new)| old.size != new.size);
    other.map(|(key, old, new)| format!("{key}: asks for {}, was {}", new.size, old.size)).collect()
}

fn is_of_a_pod(metadata: &ObjectMeta) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| owner.kind == "Pod")
}

/// Whether it is one of Helm's records of a release: each upgrade makes one more, a rollback as well.
fn is_helm_record(metadata: &ObjectMeta) -> bool {
    metadata.labels.as_ref().is_some_and(|labels| labels.get("owner").is_some_and(|owner| owner == "helm"))
        && metadata.name.as_ref().is_some_and(|name| name.starts_with("sh.helm.release.v1."))
}

fn with_state(kind: &Kind, object: &DynamicObject, with_spec: bool) -> (ObjectKey, Entry) {
    let name = kind.resource.kind.as_str();
    let mut wish = object.data["spec"].clone();
    let size = SIZES.iter().find(|(of, _)| *of == name).and_then(|(_, place)| wish.pointer_mut(place)).map(Value::take);
    let size = size.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    let spec = if with_spec { digest(&wish) } else { String::new() };
    (kind.key(&object.metadata), Entry { state: state(name, object), spec, size })
}

/// A volume, by the claim that it is bound to: one that is made anew for the same claim is the same.
fn by_claim(kind: &Kind, volume: &DynamicObject) -> (ObjectKey, Entry) {
    let (mut key, entry) = with_state(kind, volume, false);
    let claim = &volume.data["spec"]["claimRef"];
    if let (Some(namespace), Some(name)) = (claim["namespace"].as_str(), claim["name"].as_str()) {
        key.name = format!("of {namespace}/{name}");
    }
    (key, entry)
}

/// Attachments, by their driver: how many are there, and how many of them are done.
fn count_attachments(kind: &Kind, attachments: &[DynamicObject]) -> Vec<(ObjectKey, Entry)> {
    let mut counts: BTreeMap<ObjectKey, (u32, u32)> = BTreeMap::new();
    for object in attachments {
        let mut key = kind.key(&object.metadata);
        key.name = object.data["spec"]["attacher"].as_str().unwrap_or("of nobody").to_owned();
        let attached = object.data["status"]["attached"] == true && object.metadata.deletion_timestamp.is_none();
        let count = counts.entry(key).or_default();
        *count = (count.0 + 1, count.1 + u32::from(attached));
    }
    let state = |(all, attached): (u32, u32)| format!("{all} volumes, {attached} attached");
    let entry = |count| Entry { state: state(count), ..Entry::default() };
    counts.into_iter().map(|(key, count)| (key, entry(count))).collect()
}

/// The state of an object in a few words; empty for a kind that has none here.
fn state(kind: &str, object: &DynamicObject) -> String {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let phase = |name: &str| status[name].as_str().unwrap_or("no phase").to_owned();
    match kind {
        "Node" => node_state(object),
        "Deployment" | "StatefulSet" => {
            format!("{} of {} ready", number(&status["readyReplicas"]), spec["replicas"].as_i64().unwrap_or(1))
        }
        "DaemonSet" => {
            format!("{} of {} ready", number(&status["numberReady"]), number(&status["desiredNumberScheduled"]))
        }
        "PersistentVolume" | "PersistentVolumeClaim" => phase("phase"),
        "Cluster" if status["readyInstances"].is_i64() => {
            format!("{}, {} of {} ready", phase("phase"), number(&status["readyInstances"]), number(&spec["instances"]))
        }
        _ => String::new(),
    }
}

fn node_state(object: &DynamicObject) -> String {
    let whole = serde_json::to_value(object).and_then(serde_json::from_value::<Node>);
    let Ok(node) = whole.map(|node| NodeState::of(&node)) else { return "unreadable".to_owned() };
    let mut words = vec![if node.ready { "Ready".to_owned() } else { "not Ready".to_owned() }];
    if node.unschedulable {
        words.push("unschedulable".to_owned());
    }
    words.extend(node.taints.iter().map(|taint| format!("tainted {taint}")));
    words.join(", ")
}

/// Pods, by their owner: how many are there, and how many of them are ready or done.
fn count_pods(kind: &Kind, pods: &[DynamicObject]) -> Vec<(ObjectKey, Entry)> {
    let mut counts: BTreeMap<ObjectKey, (u32, u32, u32)> = BTreeMap::new();
    for object in pods {
        let whole = serde_json::to_value(object).and_then(serde_json::from_value::<Pod>);
        let pod = whole.unwrap_or_default();
        let mut key = kind.key(&object.metadata);
        key.name = owner_of(&object.metadata);
        let ready = is_ready(&pod);
        let done = pod.status.is_some_and(|status| status.phase.as_deref() == Some("Succeeded"));
        let count = counts.entry(key).or_default();
        *count = (count.0 + 1, count.1 + u32::from(ready), count.2 + u32::from(done));
    }
    let entry = |(all, ready, done): (u32, u32, u32)| {
        let done = if done == 0 { String::new() } else { format!(", {done} done") };
        Entry { state: format!("{all} pods, {ready} ready{done}"), ..Entry::default() }
    };
    counts.into_iter().map(|(key, count)| (key, entry(count))).collect()
}

/// Whose a pod is, as `Kind/name`; a Deployment's pods count as the Deployment's, though a ReplicaSet lies between.
fn owner_of(metadata: &ObjectMeta) -> String {
    let own = || metadata.name.clone().unwrap_or_default();
    let is_controller = |owner: &&OwnerReference| owner.controller == Some(true);
    let Some(owner) = metadata.owner_references.iter().flatten().find(is_controller) else { return own() };
    let hash = metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
    match (owner.kind.as_str(), hash) {
        ("Node", _) => own(),
        ("ReplicaSet", Some(hash)) => {
            let name = owner.name.strip_suffix(hash.as_str()).and_then(|name| name.strip_suffix('-'));
            name.map_or_else(|| format!("ReplicaSet/{}", owner.name), |name| format!("Deployment/{name}"))
        }
        (kind, _) => format!("{kind}/{}", owner.name),
    }
}

/// A digest of a wish, the same for the same content.
fn digest(spec: &Value) -> String {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        // A claim's volume has a generated name.
        fields.remove("volumeName");
    }
    if let Some(notes) = spec.pointer_mut("/template/metadata/annotations").and_then(Value::as_object_mut) {
        notes.remove(RESTARTED_AT);
        if notes.is_empty()
            && let Some(metadata) = spec.pointer_mut("/template/metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("annotations");
        }
    }
    let hash = Sha256::digest(spec.to_string());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::{ApiResource, GroupVersionKind};
    use serde_json::json;

    fn kind(group: &str, name: &str) -> Kind {
        Kind { resource: ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", name)), deletable: true }
    }

    fn object(json: Value) -> DynamicObject {
        serde_json::from_value(json).unwrap()
    }

    fn pod(name: &str, owner: Option<(&str, &str)>, hash: Option<&str>, ready: &str) -> DynamicObject {
        let owners = owner.map(
            |(kind, name)| json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": true}]),
        );
        object(json!({
            "metadata": {"name": name, "namespace": "n", "ownerReferences": owners,
                "labels": hash.map(|hash| json!({"pod-template-hash": hash}))},
            "spec": {"containers": []},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
    }

    fn inventory(pods: &[DynamicObject], others: &[(Kind, DynamicObject)]) -> Inventory {
        let pods = count_pods(&kind("", "Pod"), pods);
        let others = others.iter().map(|(kind, object)| with_state(kind, object, true));
        Inventory(pods.into_iter().chain(others).collect())
    }

    fn deployment(replicas: i64, ready: i64, notes: Value, image: &str) -> (Kind, DynamicObject) {
        let template = json!({"metadata": {"annotations": notes}, "spec": {"image": image}});
        let json = json!({"metadata": {"name": "ironflow", "namespace": "n"},
            "spec": {"replicas": replicas, "template": template}, "status": {"readyReplicas": ready}});
        (kind("apps", "Deployment"), object(json))
    }

    #[test]
    fn replaced_pods_are_the_same_pods() {
        let of = Some(("ReplicaSet", "ironflow-6c5"));
        let before = inventory(&[pod("ironflow-6c5-aa", of, Some("6c5"), "True")], &[]);
        let of = Some(("ReplicaSet", "ironflow-7d8"));
        let after = inventory(&[pod("ironflow-7d8-bb", of, Some("7d8"), "True")], &[]);
        assert_eq!(diff(&before, &after), Vec::<String>::new());
        let after = inventory(
            &[pod("ironflow-7d8-bb", of, Some("7d8"), "True"), pod("ironflow-7d8-cc", of, Some("7d8"), "False")],
            &[pod_alone()],
        );
        assert_eq!(
            diff(&before, &after),
            ["Pod n/Deployment/ironflow: 2 pods, 1 ready, was 1 pods, 1 ready", "Service n/left is new"]
        );
        assert_eq!(diff(&before, &Inventory::default()), ["Pod n/Deployment/ironflow is gone"]);
    }

    fn pod_alone() -> (Kind, DynamicObject) {
        (kind("", "Service"), object(json!({"metadata": {"name": "left", "namespace": "n"}, "spec": {}})))
    }

    #[test]
    fn a_restart_leaves_a_trace_and_a_change_leaves_a_difference() {
        let before = inventory(&[], &[deployment(3, 3, json!(null), "a")]);
        let restarted = inventory(&[], &[deployment(3, 3, json!({RESTARTED_AT: "2026-01-01"}), "a")]);
        let none = inventory(&[], &[deployment(3, 3, json!({}), "a")]);
        assert_eq!(diff(&none, &restarted).len(), 0);
        assert_eq!(
            diff(&before, &inventory(&[], &[deployment(3, 3, json!(null), "b")])),
            ["Deployment n/ironflow: its spec has changed"]
        );
        assert_eq!(
            diff(&before, &inventory(&[], &[deployment(3, 2, json!(null), "a")])),
            ["Deployment n/ironflow: 2 of 3 ready, was 3 of 3 ready"]
        );
    }

    #[test]
    fn nodes_show_readiness_and_taints() {
        let node = object(json!({"metadata": {"name": "w"},
            "spec": {"unschedulable": true, "taints": [{"key": "k", "effect": "NoExecute"}]},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}));
        assert_eq!(state("Node", &node), "not Ready, unschedulable, tainted k=:NoExecute");
    }

    #[test]
    fn a_database_cluster_shows_its_phase_and_a_machine_cluster_does_not() {
        let database = object(json!({"metadata": {"name": "pg"}, "spec": {"instances": 2},
            "status": {"phase": "Failing over", "readyInstances": 1}}));
        assert_eq!(state("Cluster", &database), "Failing over, 1 of 2 ready");
        assert_eq!(state("Cluster", &object(json!({"metadata": {"name": "m"}, "spec": {}}))), "");
    }

    #[test]
    fn records_of_a_release_are_a_trace() {
        let of = |name: &str, labels: Value| -> ObjectMeta {
            serde_json::from_value(json!({"name": name, "labels": labels})).unwrap()
        };
        assert!(is_helm_record(&of("sh.helm.release.v1.ironflow.v2", json!({"owner": "helm"}))));
        assert!(!is_helm_record(&of("sh.helm.release.v1.ironflow.v2", json!({}))));
        assert!(!is_helm_record(&of("ironflow-postgresql-app", json!({"owner": "helm"}))));
    }

    #[test]
    fn a_volume_that_moved_or_was_made_anew_is_the_same_and_one_that_hangs_is_not() {
        let (volumes, attachments) = (kind("", "PersistentVolume"), kind("storage.k8s.io", "VolumeAttachment"));
        let volume = |name: &str| {
            object(json!({"metadata": {"name": name}, "status": {"phase": "Bound"},
                "spec": {"claimRef": {"namespace": "n", "name": "data-0"}}}))
        };
        assert_eq!(by_claim(&volumes, &volume("pvc-1")), by_claim(&volumes, &volume("pvc-2")));
        assert_eq!(by_claim(&volumes, &volume("pvc-1")).0.to_string(), "PersistentVolume of n/data-0");
        let attachment = |name: &str, attached: bool| {
            object(json!({"metadata": {"name": name}, "spec": {"attacher": "d"}, "status": {"attached": attached}}))
        };
        let count = |of: &[DynamicObject]| Inventory(count_attachments(&attachments, of).into_iter().collect());
        let before = count(&[attachment("csi-1", true), attachment("csi-2", true)]);
        assert_eq!(diff(&before, &count(&[attachment("csi-3", true), attachment("csi-4", true)])).len(), 0);
        assert_eq!(
            diff(&before, &count(&[attachment("csi-1", true), attachment("csi-2", false)])),
            ["VolumeAttachment d: 2 volumes, 1 attached, was 2 volumes, 2 attached"]
        );
        assert_eq!(digest(&json!({"volumeName": "pvc-1", "a": 1})), digest(&json!({"a": 1})));
    }

    #[test]
    fn a_volume_that_grew_is_told_apart_from_what_else_changed() {
        let claim = |size: &str, class: &str| {
            let spec = json!({"resources": {"requests": {"storage": size}}, "storageClassName": class});
            let claim = json!({"metadata": {"name": "data-0", "namespace": "n"}, "spec": spec});
            inventory(&[], &[(kind("", "PersistentVolumeClaim"), object(claim))])
        };
        let (before, grown) = (claim("1Gi", "a"), claim("2Gi", "a"));
        assert!(diff(&before, &grown).is_empty());
        assert_eq!(resized(&before, &grown), ["PersistentVolumeClaim n/data-0: asks for 2Gi, was 1Gi"]);
        assert_eq!(diff(&before, &claim("2Gi", "b")), ["PersistentVolumeClaim n/data-0: its spec has changed"]);
        assert!(resized(&before, &Inventory::default()).is_empty());
    }

    #[test]
    fn static_pods_and_lone_pods_count_by_name() {
        assert_eq!(owner_of(&pod("etcd-cp", Some(("Node", "cp")), None, "True").metadata), "etcd-cp");
        assert_eq!(owner_of(&pod("lone", None, None, "True").metadata), "lone");
        assert_eq!(owner_of(&pod("pg-1", Some(("Cluster", "pg")), None, "True").metadata), "Cluster/pg");
    }
}
