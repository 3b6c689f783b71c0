//! What of an object counts beside its presence, by kind, and what changes by itself and must not.

use super::super::discovery::Kind;
use super::super::{NodeState, ObjectKey, typed};
use super::Entry;
use super::readiness::Readiness;
use k8s_openapi::api::core::v1::Node;
use kube::api::DynamicObject;
use kube::core::ObjectMeta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What is compared of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// Its state, and what is wished of it elsewhere than in `spec`.
    State,
    /// Its `spec`, and its state where it has one.
    Spec,
    /// What is wished of it, elsewhere than in `spec`.
    Content,
    /// The number that the API server gives each change of its `spec`, which is too long to be read often.
    Generation,
    /// That it is there.
    Presence,
}

/// What is compared of this kind of that API group.
pub(super) fn compared(group: &str, kind: &str) -> Compared {
    match (group, kind) {
        ("", "Node") => Compared::State,
        (
            _,
            // Of CNPG or of Prometheus, and of the Cluster API.
            "Cluster" | "Pooler" | "PodMonitor" | "PrometheusRule" | "ServiceMonitor"
            // Of Kubernetes.
            | "CSIDriver" | "CronJob" | "DaemonSet" | "Deployment" | "HorizontalPodAutoscaler" | "Ingress" | "IngressClass"
            | "LimitRange" | "NetworkPolicy" | "PersistentVolumeClaim" | "PodDisruptionBudget" | "ResourceQuota" | "Service"
            | "StatefulSet" | "ValidatingAdmissionPolicy" | "ValidatingAdmissionPolicyBinding",
        ) => Compared::Spec,
        (
            _,
            "ClusterRole" | "ClusterRoleBinding" | "ConfigMap" | "MutatingWebhookConfiguration" | "Namespace"
            | "PriorityClass" | "Role" | "RoleBinding" | "ServiceAccount" | "StorageClass"
            | "ValidatingWebhookConfiguration",
        ) => Compared::Content,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Compared::Generation,
        _ => Compared::Presence,
    }
}

/// Where the storage stands that a kind asks for.
const SIZES: [(&str, &str); 2] =
    [("PersistentVolumeClaim", "/resources/requests/storage"), ("Cluster", "/storage/size")];
/// Set by `kubectl rollout restart`: a trace of an act, not a wish.
pub(super) const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// ConfigMaps whose content controllers write by themselves: a certificate that is published into every namespace and is
/// renewed, and the autoscaler's report, which is written every ten seconds.
const WRITTEN_BY_CONTROLLERS: [&str; 4] =
    ["cluster-autoscaler-status", "istio-ca-root-cert", "kube-root-ca.crt", "openshift-service-ca.crt"];
/// On a ConfigMap that controllers elect their leader by, renewed every few seconds.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Keys of `kube-public/cluster-info`: signatures by bootstrap tokens, which expire.
const SIGNATURES: &str = "jws-kubeconfig-";
/// Taints that say what `Ready` and `unschedulable` say, and that are set and taken away a moment later than these.
const TAINTS_OF_STATE: [&str; 3] =
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/unschedulable"];
/// Labels of nodes by these domains are the kubelet's or the cloud's: they tell what the machine is, come back with it, and may
/// come late. Labels that people set are by other domains, such as `topology.kubernetes.io` or `node-role.kubernetes.io`.
const NODE_LABELS_OF_MACHINES: [&str; 4] =
    ["beta.kubernetes.io", "failure-domain.beta.kubernetes.io", "kubernetes.io", "node.kubernetes.io"];

/// An object with its state, and its `spec` where that is compared.
pub(super) fn with_state(kind: &Kind, object: &DynamicObject) -> (ObjectKey, Entry) {
    let name = kind.resource.kind.as_str();
    let mut wish = object.data["spec"].clone();
    let size = SIZES.iter().find(|(of, _)| *of == name).and_then(|(_, place)| wish.pointer_mut(place)).map(Value::take);
    let size = size.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    let spec = match compared(&kind.resource.group, name) {
        Compared::Spec => digest(&wish),
        _ => digest(&node_labels(object.metadata.labels.as_ref())),
    };
    let (state, readiness) = (state(name, object), readiness(name, object));
    (kind.key(&object.metadata), Entry { state, readiness, spec, size, ending: is_ending(&object.metadata) })
}

/// An object of which only its presence counts, or the number of its last change.
pub(super) fn with_generation(kind: &Kind, metadata: &ObjectMeta) -> (ObjectKey, Entry) {
    let generation =
        metadata.generation.filter(|_| compared(&kind.resource.group, &kind.resource.kind) == Compared::Generation);
    let spec = generation.map(|number| number.to_string()).unwrap_or_default();
    (kind.key(metadata), Entry { spec, ending: is_ending(metadata), ..Entry::default() })
}

pub(super) fn is_ending(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

/// Whether a controller made it for another object and keeps it up to date by itself.
pub(super) fn is_derived(metadata: &ObjectMeta) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
}

/// An object whose wish is elsewhere than in `spec`.
pub(super) fn with_content(kind: &Kind, object: &DynamicObject) -> (ObjectKey, Entry) {
    let (metadata, data) = (&object.metadata, &object.data);
    let content = match kind.resource.kind.as_str() {
        "ConfigMap" => config_map(metadata, data),
        // What is put together from other roles is compared there.
        "ClusterRole" | "Role" if data["aggregationRule"].is_null() => Some(data["rules"].clone()),
        "ClusterRoleBinding" | "RoleBinding" => Some(json!([data["roleRef"], data["subjects"]])),
        "Namespace" => Some(json!(metadata.labels)),
        "PriorityClass" => Some(json!([data["value"], data["globalDefault"], data["preemptionPolicy"]])),
        // The token controller of older versions adds to `secrets`.
        "ServiceAccount" => Some(json!([data["imagePullSecrets"], data["automountServiceAccountToken"]])),
        "StorageClass" => Some(storage_class(metadata, data)),
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => Some(webhooks(data)),
        _ => None,
    };
    let spec = content.as_ref().map(digest).unwrap_or_default();
    (kind.key(metadata), Entry { spec, ending: is_ending(metadata), ..Entry::default() })
}

fn config_map(metadata: &ObjectMeta, data: &Value) -> Option<Value> {
    let name = metadata.name.as_deref().unwrap_or_default();
    let elects = metadata.annotations.as_ref().is_some_and(|notes| notes.contains_key(LEADER));
    if WRITTEN_BY_CONTROLLERS.contains(&name) || elects || is_derived(metadata) {
        return None;
    }
    let mut texts = data["data"].clone();
    if let Some(texts) = texts.as_object_mut() {
        texts.retain(|key, _| !key.starts_with(SIGNATURES));
    }
    Some(json!([texts, data["binaryData"]]))
}

fn storage_class(metadata: &ObjectMeta, data: &Value) -> Value {
    let default = "storageclass.kubernetes.io/is-default-class";
    let fields = [
        "provisioner",
        "parameters",
        "reclaimPolicy",
        "mountOptions",
        "allowVolumeExpansion",
        "volumeBindingMode",
        "allowedTopologies",
    ];
    let wish: Vec<&Value> = fields.iter().map(|field| &data[*field]).collect();
    json!([wish, metadata.annotations.as_ref().and_then(|notes| notes.get(default))])
}

/// Without the certificates by which the API server knows the webhooks: whoever serves one renews its certificate.
fn webhooks(data: &Value) -> Value {
    let mut hooks = data["webhooks"].clone();
    for hook in hooks.as_array_mut().into_iter().flatten() {
        if let Some(client) = hook["clientConfig"].as_object_mut() {
            client.remove("caBundle");
        }
    }
    hooks
}

/// The labels of a node that people or its provider set, without the marks of runs, which are looked for elsewhere.
fn node_labels(labels: Option<&BTreeMap<String, String>>) -> Value {
    let is_own = |label: &str| {
        let domain = label.split_once('/').map_or("", |(domain, _)| domain);
        let firedrills = domain == "firedrill.dev" || domain.ends_with(".firedrill.dev");
        !(firedrills || NODE_LABELS_OF_MACHINES.contains(&domain))
    };
    let own: BTreeMap<_, _> = labels.into_iter().flatten().filter(|(label, _)| is_own(label)).collect();
    json!(own)
}

/// The state of an object in a few words; empty for a kind that has none here.
pub(super) fn state(kind: &str, object: &DynamicObject) -> String {
    let status = &object.data["status"];
    let phase = || status["phase"].as_str().unwrap_or("no phase").to_owned();
    match kind {
        "Node" => node_state(object),
        "PersistentVolumeClaim" => phase(),
        "Cluster" if status["readyInstances"].is_i64() => phase(),
        _ => String::new(),
    }
}

/// How many pods of an object are ready; `None` for a kind that has no pods.
pub(super) fn readiness(kind: &str, object: &DynamicObject) -> Option<Readiness> {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let or = |value: &Value, absent: u32| value.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(absent);
    let (ready, desired) = match kind {
        "Deployment" | "StatefulSet" => (or(&status["readyReplicas"], 0), or(&spec["replicas"], 1)),
        "DaemonSet" => (or(&status["numberReady"], 0), or(&status["desiredNumberScheduled"], 0)),
        "Cluster" if status["readyInstances"].is_i64() => (or(&status["readyInstances"], 0), or(&spec["instances"], 0)),
        _ => return None,
    };
    Some(Readiness::Replicas { ready, desired })
}

fn node_state(object: &DynamicObject) -> String {
    let Ok(node) = typed::<Node>(object).map(|node| NodeState::of(&node)) else { return "unreadable".to_owned() };
    let mut words = vec![if node.ready { "Ready".to_owned() } else { "not Ready".to_owned() }];
    if node.unschedulable {
        words.push("unschedulable".to_owned());
    }
    let lasts = |taint: &&String| !TAINTS_OF_STATE.iter().any(|of_state| taint.split('=').next() == Some(of_state));
    let mut taints: Vec<_> = node.taints.iter().filter(lasts).collect();
    // Their order says nothing.
    taints.sort();
    words.extend(taints.iter().map(|taint| format!("tainted {taint}")));
    words.join(", ")
}

/// A digest of a wish, the same for the same content.
pub(super) fn digest(spec: &Value) -> String {
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
