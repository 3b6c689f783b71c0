//! What counts as the same before and after.

use super::compare::{diff, resized};
use super::*;
use crate::cluster::discovery::PASSING;
use firedrill_core::scenario::Irreversible;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

fn kind(group: &str, name: &str) -> Kind {
    Kind { resource: ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", name)), deletable: true }
}

fn object(json: Value) -> DynamicObject {
    serde_json::from_value(json).unwrap()
}

fn pod(name: &str, owner: Option<(&str, &str)>, hash: Option<&str>, ready: &str) -> DynamicObject {
    let owners = owner
        .map(|(kind, name)| json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": true}]));
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
fn what_is_wished_elsewhere_than_in_a_spec_is_compared_there() {
    let of = |group: &str, name: &str, labels: Value, more: Value| {
        let mut json = json!({"metadata": {"name": "it", "labels": labels}});
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Inventory([with_content(&kind(group, name), &object(json))].into())
    };
    let (helms, nobodys) = (json!({"app.kubernetes.io/managed-by": "Helm"}), json!({}));
    let config = |labels: &Value, value: &str| of("", "ConfigMap", labels.clone(), json!({"data": {"LOG": value}}));
    assert_eq!(diff(&config(&helms, "a"), &config(&helms, "b")), ["ConfigMap it: its content has changed"]);
    assert!(diff(&config(&helms, "a"), &config(&helms, "a")).is_empty());
    assert!(diff(&config(&nobodys, "a"), &config(&nobodys, "b")).is_empty(), "a controller may keep its notes");
    assert!(diff(&Inventory::default(), &config(&helms, "a")).iter().any(|line| line.ends_with("is new")));

    let rbac = "rbac.authorization.k8s.io";
    let role =
        |rules: Value, sum: Value| of(rbac, "ClusterRole", json!({}), json!({"rules": rules, "aggregationRule": sum}));
    let differs = |one: Inventory, other: Inventory| !diff(&one, &other).is_empty();
    assert!(differs(role(json!([]), json!(null)), role(json!([{"verbs": ["get"]}]), json!(null))));
    assert!(!differs(role(json!([]), json!({})), role(json!([{"verbs": ["get"]}]), json!({}))));
    let binding =
        |to: &str| of(rbac, "RoleBinding", json!({}), json!({"roleRef": {"name": "r"}, "subjects": [{"name": to}]}));
    assert!(differs(binding("a"), binding("b")));
    assert!(differs(of("", "Namespace", json!({"tenant": "a"}), json!({})), of("", "Namespace", json!({}), json!({}))));
}

#[test]
fn a_listing_that_did_not_look_into_contents_says_nothing_of_them() {
    let key = ObjectKey { api_version: "v1".into(), kind: "Role".into(), namespace: None, name: "it".into() };
    let listing = |spec: &str| Inventory([(key.clone(), Entry { spec: spec.into(), ..Entry::default() })].into());
    assert!(diff(&listing(""), &listing("a")).is_empty());
    assert_eq!(diff(&listing("a"), &listing("")).len(), 1);
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
    assert!(!PASSING.contains(&attachments.resource.kind.as_str()), "it is listed at all");
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

#[test]
fn what_was_kept_in_a_file_is_what_was_seen() {
    let before =
        inventory(&[pod("pg-1", Some(("Cluster", "pg")), None, "True")], &[deployment(3, 3, json!(null), "a")]);
    let kept = serde_json::to_string(&before).unwrap();
    let again: Inventory = serde_json::from_str(&kept).unwrap();
    assert_eq!(again, before);
    let after = inventory(&[], &[deployment(3, 2, json!(null), "a")]);
    let differences = differences(&again, &after, Some(Irreversible::VolumesGrow));
    assert_eq!(
        differences.undeclared,
        ["Deployment n/ironflow: 2 of 3 ready, was 3 of 3 ready", "Pod n/Cluster/pg is gone"]
    );
}
