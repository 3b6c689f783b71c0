//! What is in a cluster, in terms that are equal before and after a drill exactly if nothing was left behind.
//!
//! Objects count by kind, namespace and name. Pods and other objects with generated names count by their owner, volumes by their
//! claim, and attachments of volumes by their driver: which node has one changes with the pods. Nodes, workloads, volumes and
//! database clusters also have a state, and the wish that they were given (`spec`). Where the wish is elsewhere, it is compared there: Helm's
//! ConfigMaps, roles, what binds them, and the labels of namespaces, which policies select by. Secrets are not looked into.

mod compare;

pub use compare::{Differences, differences};

use super::discovery::Kind;
use super::{Cluster, ClusterError, LABEL_MANAGED_BY, NodeState, ObjectKey, is_ready};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::DynamicObject;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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
/// Kinds whose wish is not in `spec`, compared as well.
const WITH_CONTENT: [&str; 6] = ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "Namespace", "Role", "RoleBinding"];
/// Where the storage stands that a kind asks for.
const SIZES: [(&str, &str); 2] =
    [("PersistentVolumeClaim", "/resources/requests/storage"), ("Cluster", "/storage/size")];
/// Set by `kubectl rollout restart`: a trace of an act, not a wish.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// What is in a cluster. It can be kept in a file, as a list of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(ObjectKey, Entry)>", into = "Vec<(ObjectKey, Entry)>")]
pub struct Inventory(BTreeMap<ObjectKey, Entry>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// Its state, for people; empty where only its presence counts.
    state: String,
    /// A digest of its wish, in `spec` or elsewhere; empty where that is not compared.
    spec: String,
    /// The storage that it asks for; empty where it asks for none.
    size: String,
}

impl From<Vec<(ObjectKey, Entry)>> for Inventory {
    fn from(objects: Vec<(ObjectKey, Entry)>) -> Self {
        Self(objects.into_iter().collect())
    }
}

impl From<Inventory> for Vec<(ObjectKey, Entry)> {
    fn from(inventory: Inventory) -> Self {
        inventory.0.into_iter().collect()
    }
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
            name if WITH_CONTENT.contains(&name) => {
                let objects = self.list_whole(kind).await?;
                Ok(objects.iter().filter(|object| lasts(&object.metadata)).map(|it| with_content(kind, it)).collect())
            }
            _ => {
                let objects = self.list_metadata(kind, "").await?;
                let lasting = objects.iter().filter(|object| lasts(&object.metadata));
                Ok(lasting.map(|object| (kind.key(&object.metadata), Entry::default())).collect())
            }
        }
    }
}

/// Whether it is there for longer than a pod or an upgrade.
fn lasts(metadata: &ObjectMeta) -> bool {
    !is_of_a_pod(metadata) && !is_helm_record(metadata)
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

/// An object of [`WITH_CONTENT`]. What controllers keep in a ConfigMap, or put together from other roles, is nobody's wish.
fn with_content(kind: &Kind, object: &DynamicObject) -> (ObjectKey, Entry) {
    let (labels, data) = (object.metadata.labels.as_ref(), &object.data);
    let is_helms = || labels.and_then(|labels| labels.get(LABEL_MANAGED_BY)).is_some_and(|by| by == "Helm");
    let content = match kind.resource.kind.as_str() {
        "ConfigMap" if is_helms() => Some(json!([data["data"], data["binaryData"]])),
        "ClusterRole" | "Role" if data["aggregationRule"].is_null() => Some(data["rules"].clone()),
        "ClusterRoleBinding" | "RoleBinding" => Some(json!([data["roleRef"], data["subjects"]])),
        "Namespace" => Some(json!(labels)),
        _ => None,
    };
    let spec = content.as_ref().map(digest).unwrap_or_default();
    (kind.key(&object.metadata), Entry { spec, ..Entry::default() })
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
mod tests;
