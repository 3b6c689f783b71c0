//! Objects with generated names: they count by what they belong to, since their successors are as good.

use super::super::discovery::Kind;
use super::super::{ObjectKey, is_ready, typed};
use super::Entry;
use super::content::is_ending;
use super::readiness::Readiness;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::DynamicObject;
use kube::core::ObjectMeta;
use serde_json::Value;
use std::collections::BTreeMap;

/// Volumes, by the claim that each is bound to or was: one that is made anew for the same claim is the same, and one that is
/// left over beside it is one more. A volume of no claim counts by its own name.
pub(super) fn count_volumes(kind: &Kind, volumes: &[DynamicObject]) -> Vec<(ObjectKey, Entry)> {
    let mut of_claims: BTreeMap<ObjectKey, Vec<(String, String)>> = BTreeMap::new();
    for volume in volumes {
        let mut key = kind.key(&volume.metadata);
        let (spec, status) = (&volume.data["spec"], &volume.data["status"]);
        let claim = &spec["claimRef"];
        if let (Some(namespace), Some(name)) = (claim["namespace"].as_str(), claim["name"].as_str()) {
            key.name = format!("of {namespace}/{name}");
        }
        let text = |value: &Value, none: &str| value.as_str().unwrap_or(none).to_owned();
        let modes = spec["accessModes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let wish = [
            text(&spec["persistentVolumeReclaimPolicy"], "Retain"),
            format!("class {}", text(&spec["storageClassName"], "none")),
            modes.collect::<Vec<_>>().join("+"),
        ];
        let ending = if is_ending(&volume.metadata) { ", being deleted" } else { "" };
        let state = format!("{} ({}){ending}", text(&status["phase"], "no phase"), wish.join(", "));
        of_claims.entry(key).or_default().push((state, text(&spec["capacity"]["storage"], "nothing")));
    }
    let entry = |mut volumes: Vec<(String, String)>| {
        volumes.sort();
        let (states, sizes): (Vec<_>, Vec<_>) = volumes.into_iter().unzip();
        Entry { state: states.join(" and "), size: sizes.join(" and "), ..Entry::default() }
    };
    of_claims.into_iter().map(|(key, volumes)| (key, entry(volumes))).collect()
}

/// Attachments, by their driver: how many are there, and how many of them are done. Which node has one changes with the pods.
pub(super) fn count_attachments(kind: &Kind, attachments: &[DynamicObject]) -> Vec<(ObjectKey, Entry)> {
    let mut counts: BTreeMap<ObjectKey, (u32, u32)> = BTreeMap::new();
    for object in attachments {
        let mut key = kind.key(&object.metadata);
        key.name = object.data["spec"]["attacher"].as_str().unwrap_or("of nobody").to_owned();
        let attached = object.data["status"]["attached"] == true && !is_ending(&object.metadata);
        let count = counts.entry(key).or_default();
        *count = (count.0 + 1, count.1 + u32::from(attached));
    }
    let state = |(all, attached): (u32, u32)| format!("{all} volumes, {attached} attached");
    let entry = |count| Entry { state: state(count), ..Entry::default() };
    counts.into_iter().map(|(key, count)| (key, entry(count))).collect()
}

/// Pods, by their owner: how many are there, and how many of them are ready or done.
pub(super) fn count_pods(kind: &Kind, pods: &[DynamicObject]) -> Vec<(ObjectKey, Entry)> {
    let mut counts: BTreeMap<ObjectKey, (u32, u32, u32)> = BTreeMap::new();
    for object in pods {
        let pod: Pod = typed(object).unwrap_or_default();
        let mut key = kind.key(&object.metadata);
        key.name = owner_of(&object.metadata);
        let ready = is_ready(&pod);
        let done = pod.status.is_some_and(|status| status.phase.as_deref() == Some("Succeeded"));
        let count = counts.entry(key).or_default();
        *count = (count.0 + 1, count.1 + u32::from(ready), count.2 + u32::from(done));
    }
    let entry = |(total, ready, completed)| Entry {
        readiness: Some(Readiness::Pods { total, ready, completed }),
        ..Entry::default()
    };
    counts.into_iter().map(|(key, count)| (key, entry(count))).collect()
}

/// Whose a pod is, as `Kind/name`; a Deployment's pods count as the Deployment's, though a ReplicaSet lies between.
pub(super) fn owner_of(metadata: &ObjectMeta) -> String {
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
