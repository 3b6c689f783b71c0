//! What counts as the same before and after.

use super::compare::{diff, resized};
use super::content::{RESTARTED_AT, digest, state};
use super::counted::owner_of;
use super::secrets::{is_helm_record, with_digest};
use super::*;
use crate::cluster::discovery::PASSING;
use firedrill_core::scenario::Irreversible;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

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
    let others = others.iter().map(|(kind, object)| with_state(kind, object));
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

#[test]
fn a_workload_that_gets_ready_is_no_difference() {
    let of = |wanted, ready, pods: &[DynamicObject]| inventory(pods, &[deployment(wanted, ready, json!({}), "a")]);
    let own = |ready: &str| pod("web-7d9-x", Some(("ReplicaSet", "web-7d9")), Some("7d9"), ready);
    let before = of(1, 0, &[own("False")]);
    assert_eq!(before.incomplete(), ["Deployment n/ironflow: 0 of 1 ready", "Pod n/Deployment/web: 1 pods, 0 ready"]);
    let after = of(1, 1, &[own("True")]);
    assert_eq!((diff(&before, &after), after.incomplete()), (vec![], vec![]));
    // What was ready and is not, and what changed beside it, differs all the same.
    assert_eq!(diff(&after, &before).len(), 2);
    assert_eq!(diff(&before, &of(2, 2, &[own("True"), own("True")])).len(), 2);
    let other = inventory(&[own("True")], &[deployment(1, 1, json!({}), "b")]);
    assert_eq!(diff(&before, &other).len(), 1, "its spec changed");
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
    let listed = |object: &DynamicObject| with_state(&kind("postgresql.cnpg.io", "Cluster"), object).1.to_string();
    assert_eq!(listed(&database), "Failing over, 1 of 2 ready");
    assert_eq!(listed(&object(json!({"metadata": {"name": "m"}, "spec": {}}))), "");
}

#[test]
fn a_database_cluster_that_gets_an_instance_is_no_difference_unless_its_phase_changes() {
    let database = |phase: &str, ready: u32| {
        let status = json!({"phase": phase, "readyInstances": ready});
        let json = json!({"metadata": {"name": "pg"}, "spec": {"instances": 2}, "status": status});
        inventory(&[], &[(kind("postgresql.cnpg.io", "Cluster"), object(json))])
    };
    let before = database("Cluster in healthy state", 1);
    assert_eq!(before.incomplete(), ["Cluster pg: Cluster in healthy state, 1 of 2 ready"]);
    assert!(diff(&before, &database("Cluster in healthy state", 2)).is_empty());
    assert_eq!(
        diff(&before, &database("Failing over", 2)),
        ["Cluster pg: Failing over, 2 of 2 ready, was Cluster in healthy state, 1 of 2 ready"]
    );
}

#[test]
fn counts_are_kept_as_numbers() {
    let kept = serde_json::to_value(inventory(&[], &[deployment(3, 2, json!(null), "a")])).unwrap();
    assert_eq!(kept[0][1]["readiness"], json!({"replicas": {"ready": 2, "desired": 3}}));
    assert_eq!(kept[0][1]["state"], "");
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
    assert_eq!(diff(&config(&nobodys, "a"), &config(&nobodys, "b")).len(), 1, "CoreDNS's is nobody's release");
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
    assert_eq!(count_volumes(&volumes, &[volume("pvc-1")]), count_volumes(&volumes, &[volume("pvc-2")]));
    assert_eq!(count_volumes(&volumes, &[volume("pvc-1")])[0].0.to_string(), "PersistentVolume of n/data-0");
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

#[test]
fn a_volume_that_is_left_over_beside_its_successor_is_seen() {
    let volume = |name: &str, phase: &str, policy: &str, size: &str| {
        object(json!({"metadata": {"name": name}, "status": {"phase": phase},
            "spec": {"claimRef": {"namespace": "n", "name": "data-0"}, "capacity": {"storage": size},
                "persistentVolumeReclaimPolicy": policy, "storageClassName": "standard"}}))
    };
    let list = |volumes: &[DynamicObject]| {
        Inventory(count_volumes(&kind("", "PersistentVolume"), volumes).into_iter().collect())
    };
    let before = list(&[volume("pvc-1", "Bound", "Delete", "1Gi")]);
    assert!(diff(&before, &list(&[volume("pvc-2", "Bound", "Delete", "1Gi")])).is_empty());
    // Whichever of the two is listed first.
    let both = [volume("pvc-2", "Bound", "Delete", "1Gi"), volume("pvc-1", "Released", "Delete", "1Gi")];
    for after in [list(&both), list(&[both[1].clone(), both[0].clone()])] {
        let lines = diff(&before, &after);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("Bound (Delete") && lines[0].contains(" and Released (Delete"), "{lines:?}");
    }
    assert_eq!(diff(&before, &list(&[volume("pvc-1", "Bound", "Retain", "1Gi")])).len(), 1);
    let grown = list(&[volume("pvc-1", "Bound", "Delete", "2Gi")]);
    assert!(diff(&before, &grown).is_empty(), "a drill may be meant to leave that");
    assert_eq!(resized(&before, &grown), ["PersistentVolume of n/data-0: has 2Gi, was 1Gi"]);
    assert!(differences(&before, &grown, Some(Irreversible::VolumesGrow)).undeclared.is_empty());
}

fn record(revision: u32, status: &str) -> ObjectMeta {
    let labels = json!({"owner": "helm", "name": "ironflow", "version": revision.to_string(), "status": status});
    let name = format!("sh.helm.release.v1.ironflow.v{revision}");
    serde_json::from_value(json!({"name": name, "namespace": "n", "labels": labels})).unwrap()
}

#[test]
fn a_release_counts_by_the_status_of_its_latest_revision() {
    let list = |records: &[ObjectMeta]| Inventory(releases(records.iter()).into_iter().collect());
    let before = list(&[record(9, "superseded"), record(10, "deployed")]);
    assert!(before.defects().is_empty() && before.changing().is_empty());
    let rolled_back = list(&[record(10, "superseded"), record(11, "failed"), record(12, "deployed")]);
    assert!(diff(&before, &rolled_back).is_empty());
    let failed = list(&[record(10, "deployed"), record(11, "failed")]);
    assert_eq!(diff(&before, &failed), ["Release n/ironflow: failed, was deployed"]);
    let pending = list(&[record(10, "deployed"), record(11, "pending-upgrade")]);
    assert_eq!(diff(&before, &pending), ["Release n/ironflow: pending-upgrade, was deployed"]);
    assert_eq!(pending.changing(), ["Release n/ironflow is pending-upgrade"]);
    assert_eq!(diff(&before, &Inventory::default()), ["Release n/ironflow is gone"]);
    assert_eq!(failed.defects(), ["Release n/ironflow is failed"]);
    assert!(failed.changing().is_empty());
    assert!(diff(&failed, &failed).is_empty() && diff(&failed, &before).is_empty());
}

#[test]
fn what_is_being_deleted_is_told() {
    let namespace = |ending: Option<&str>| {
        let json = json!({"metadata": {"name": "tenant", "deletionTimestamp": ending}});
        with_content(&kind("", "Namespace"), &object(json))
    };
    let service = || {
        let json = json!({"metadata": {"name": "s", "namespace": "tenant"}, "spec": {}});
        with_state(&kind("", "Service"), &object(json))
    };
    let there = Inventory([namespace(None), service()].into());
    let ending = Inventory([namespace(Some("2026-01-01T00:00:00Z")), service()].into());
    assert_eq!(diff(&there, &ending), ["Namespace tenant is being deleted"]);
    assert_eq!(ending.changing(), ["Namespace tenant is being deleted"]);
    assert!(diff(&ending, &Inventory::default()).is_empty(), "it was on its way out, with all that it holds");
    assert_eq!(diff(&there, &Inventory::default()).len(), 2);
}

#[test]
fn secrets_are_compared_without_being_kept() {
    let key = DigestKey::random().unwrap();
    let of = |key: &DigestKey, more: Value, data: Value| {
        let mut json = json!({"metadata": {"name": "it"}, "type": "Opaque", "data": data});
        json["metadata"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let secret: Secret = serde_json::from_value(json).unwrap();
        Inventory([with_digest(&kind("", "Secret"), &secret, key)].into())
    };
    let password = |text: &str| of(&key, json!({}), json!({"password": text, "user": "YWJj"}));
    let before = password("MTIz");
    assert!(diff(&before, &password("MTIz")).is_empty());
    assert_eq!(diff(&before, &password("MTI0")), ["Secret it: its content has changed"]);
    let kept = serde_json::to_string(&before).unwrap();
    assert!(!kept.contains("MTIz") && !kept.contains("123") && !kept.contains("password"), "{kept}");
    let other = DigestKey::random().unwrap();
    let elsewhere = of(&other, json!({}), json!({"password": "MTIz", "user": "YWJj"}));
    assert_ne!(before, elsewhere, "without the key, a digest says nothing of a short password");
    let again = DigestKey::from_hex(&key.to_hex()).unwrap();
    assert_eq!(before, of(&again, json!({}), json!({"password": "MTIz", "user": "YWJj"})));
    assert!(DigestKey::from_hex("12").is_none() && DigestKey::from_hex(&"zz".repeat(32)).is_none());
    // Names and values are told apart.
    assert_ne!(of(&key, json!({}), json!({"a": "YmM="})), of(&key, json!({}), json!({"ab": "Yw=="})));
    // What renews itself.
    let operators = json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Cluster", "name": "pg", "uid": "u", "controller": true}]});
    let renewed = |value: &str| of(&key, operators.clone(), json!({"password": value}));
    assert!(diff(&renewed("MTIz"), &renewed("MTI0")).is_empty());
    let certificate = |value: &str| of(&key, json!({}), json!({"tls.crt": value, "tls.key": value}));
    assert!(diff(&certificate("MTIz"), &certificate("MTI0")).is_empty());
}

#[test]
fn what_changes_by_itself_makes_no_difference() {
    let config = |metadata: Value, data: Value| {
        let mut json = json!({"metadata": {"name": "it", "namespace": "n"}, "data": data});
        json["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        Inventory([with_content(&kind("", "ConfigMap"), &object(json))].into())
    };
    let same = |metadata: Value, key: &str| {
        diff(&config(metadata.clone(), json!({key: "a"})), &config(metadata, json!({key: "b"}))).is_empty()
    };
    assert!(!same(json!({"name": "coredns"}), "Corefile"));
    assert!(same(json!({"name": "kube-root-ca.crt"}), "ca.crt"));
    assert!(same(json!({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}), "x"));
    assert!(same(json!({"name": "cluster-info"}), "jws-kubeconfig-abcdef"));
    assert!(!same(json!({"name": "cluster-info"}), "kubeconfig"));

    let node = |labels: Value, taints: Value| {
        let json = json!({"metadata": {"name": "w", "labels": labels}, "spec": {"taints": taints}});
        Inventory([with_state(&kind("", "Node"), &object(json))].into())
    };
    let plain = node(json!({}), json!([]));
    let machine =
        json!({"kubernetes.io/hostname": "w", "node.kubernetes.io/instance-type": "x", "firedrill.dev/run": "r"});
    assert!(diff(&plain, &node(machine, json!([]))).is_empty());
    assert_eq!(diff(&plain, &node(json!({"disk": "fast"}), json!([]))), ["Node w: its labels have changed"]);
    let late = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
    assert!(diff(&plain, &node(json!({}), late)).is_empty());
    let pressed = json!([{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]);
    assert_eq!(diff(&plain, &node(json!({}), pressed)).len(), 1);
    let two = |a: &str, b: &str| json!([{"key": a, "effect": "NoExecute"}, {"key": b, "effect": "NoExecute"}]);
    assert!(diff(&node(json!({}), two("a", "b")), &node(json!({}), two("b", "a"))).is_empty());

    let hook = |url: &str, bundle: &str| {
        let client = json!({"url": url, "caBundle": bundle});
        let json = json!({"metadata": {"name": "h"}, "webhooks": [{"name": "a", "clientConfig": client}]});
        let kind = kind("admissionregistration.k8s.io", "ValidatingWebhookConfiguration");
        Inventory([with_content(&kind, &object(json))].into())
    };
    assert!(diff(&hook("u", "a"), &hook("u", "b")).is_empty());
    assert_eq!(diff(&hook("u", "a"), &hook("v", "a")).len(), 1);
}

#[test]
fn classes_and_definitions_are_compared() {
    let class = |policy: &str| {
        let json = json!({"metadata": {"name": "standard"}, "provisioner": "p", "reclaimPolicy": policy});
        Inventory([with_content(&kind("storage.k8s.io", "StorageClass"), &object(json))].into())
    };
    assert_eq!(diff(&class("Delete"), &class("Retain")), ["StorageClass standard: its content has changed"]);
    let definition = |generation: i64| {
        let metadata = serde_json::from_value(json!({"name": "clusters", "generation": generation})).unwrap();
        Inventory([with_generation(&kind("apiextensions.k8s.io", "CustomResourceDefinition"), &metadata)].into())
    };
    assert_eq!(diff(&definition(1), &definition(2)), ["CustomResourceDefinition clusters: its spec has changed"]);
    // Of other kinds the number says too little: one that was changed and put back has another one.
    let metadata = |generation: i64| serde_json::from_value(json!({"name": "j", "generation": generation})).unwrap();
    let job = |generation| Inventory([with_generation(&kind("batch", "Job"), &metadata(generation))].into());
    assert!(diff(&job(1), &job(2)).is_empty());
}
