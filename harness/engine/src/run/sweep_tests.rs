//! Sweeps against an API server in memory: what is obeyed, what is not, and that all of it can be repeated.

use super::interrupt::InterruptSource;
use super::sweep::{SweepOptions, Swept, sweep};
use crate::clock::Clock;
use crate::cluster::{Cluster, RunMark};
use crate::fake_api::FakeApi;
use crate::fault::{self, Tools};
use crate::port::Ports;
use crate::record::Records;
use crate::world;
use firedrill_core::event::{
    LetAttachUndo, LetDetachUndo, MendFilesUndo, RemoveFillerUndo, RestoreUndo, RollBackUndo, ThawUndo, Undo,
};
use firedrill_core::plan::Target;
use firedrill_core::scenario::ObjectRef;
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;

const RECORDS: &str = "/apis/apps/v1/namespaces/firedrill-system/controllerrevisions";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/n/deployments/web";
const VOLUME: &str = "/api/v1/persistentvolumes/pv";
const RUN: &str = "11300812-node-7c";
const WITHIN: Duration = Duration::from_secs(5);

struct World {
    api: FakeApi,
    cluster: Cluster,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let api = FakeApi::start().await;
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::connect("c", &api.kubeconfig(folder.path()), "x").await.unwrap();
        api.put(DEPLOYMENT, json!({"metadata": {"uid": "d1"}, "spec": {"replicas": 0}}));
        Self { api, cluster, folder }
    }

    async fn sweep(&self, trust_annotations: bool) -> Swept {
        let runs = self.folder.path().join("runs");
        let (_source, interrupts) = InterruptSource::new();
        let interrupts = &interrupts;
        let options =
            SweepOptions { runs: &runs, only: None, agent_image: None, trust_annotations, dry_run: false, interrupts };
        sweep(&self.ports(), options, &mut |_| ()).await.unwrap()
    }

    fn ports(&self) -> Ports {
        world::ports(&self.cluster, None, None, "")
    }

    fn tools(&self) -> Tools {
        Tools { cluster: self.cluster.clone(), clock: Clock::start(), mark: mark(), image: String::new() }
    }

    async fn record(&self, id: u32, undo: &Undo) {
        Records::new(&self.cluster, "here", &mark(), Clock::start()).write(id, undo).await.unwrap();
    }

    fn replicas(&self) -> Value {
        self.api.get(DEPLOYMENT).unwrap()["spec"]["replicas"].clone()
    }

    /// Changes the data or metadata of the record with that number.
    fn change_record(&self, id: u32, change: impl Fn(&mut Value)) {
        let path = format!("{RECORDS}/undo-{RUN}-{id}");
        let mut record = self.api.get(&path).unwrap();
        change(&mut record);
        self.api.put(&path, record);
    }
}

fn mark() -> RunMark {
    RunMark { run_id: RUN.to_owned(), expires_unix: 9 }
}

fn restore(uid: &str) -> Undo {
    let of = str::to_owned;
    let object = ObjectRef { api_version: of("apps/v1"), kind: of("Deployment"), namespace: of("n"), name: of("web") };
    Undo::Restore(RestoreUndo { object, uid: uid.to_owned(), merge: r#"{"spec":{"replicas":3}}"#.to_owned() })
}

fn volume(uid: Option<&str>) -> (Target, Option<String>) {
    let of = str::to_owned;
    let target = Target::Volume {
        namespace: of("n"),
        pod: of("p"),
        uid: of("u"),
        claim: of("data-p"),
        volume: of("pv"),
        node: of("w"),
    };
    (target, uid.map(str::to_owned))
}

fn namespace() -> Undo {
    let (api_version, kind) = ("v1".to_owned(), "Namespace".to_owned());
    Undo::DeleteObject { api_version, kind, namespace: None, name: format!("firedrill-{RUN}") }
}

/// An object of a tenant that carries the annotation of an older version.
fn annotated(undo: &str) -> Value {
    json!({"metadata": {
        "labels": {"firedrill.dev/run": "r9", "app.kubernetes.io/component": "node-agent"},
        "annotations": {"firedrill.dev/undo": undo}}})
}

#[tokio::test]
async fn what_a_tenant_writes_on_its_objects_is_told_and_not_obeyed() {
    let world = World::new().await;
    world.api.put("/api/v1/nodes/w1", json!({}));
    let merge = r#"[{"restore":{"object":{"api_version":"apps/v1","kind":"Deployment","namespace":"n","name":"web"},
        "uid":"d1","merge":"{\"spec\":{\"replicas\":9}}"}}]"#;
    world.api.put("/api/v1/namespaces/tenant/pods/a", annotated(r#"[{"remove_node":{"node":"w1"}}]"#));
    world.api.put("/api/v1/namespaces/tenant/pods/b", annotated(merge));
    world.api.put("/api/v1/namespaces/tenant/pods/c", annotated("{"));
    world.api.put("/api/v1/namespaces/tenant2", annotated(r#"[{"power_on":{"node":"w1"}}]"#));
    let swept = world.sweep(false).await;
    assert_eq!((swept.done.as_slice(), swept.left.as_slice()), ([].as_slice(), [].as_slice()));
    assert_eq!(swept.not_obeyed.len(), 4, "{:#?}", swept.not_obeyed);
    assert!(swept.not_obeyed[0].contains("pod tenant/a, run r9: take node w1 away"), "{:?}", swept.not_obeyed[0]);
    assert!(world.api.writes().is_empty() && world.replicas() == 0);
    // Only where the user says so.
    let swept = world.sweep(true).await;
    assert!(swept.done.iter().any(|line| line.contains("restore Deployment n/web")), "{swept:#?}");
    assert_eq!(world.replicas(), 9);
}

#[tokio::test]
async fn what_a_tenant_labels_is_not_deleted() {
    let world = World::new().await;
    let labels = json!({"firedrill.dev/run": "r9", "app.kubernetes.io/managed-by": "firedrill"});
    world.api.put("/api/v1/nodes/w1", json!({"metadata": {"labels": labels}}));
    let swept = world.sweep(false).await;
    assert!(swept.not_obeyed.len() == 1 && swept.not_obeyed[0].contains("Node w1"), "{swept:#?}");
    assert!(world.api.get("/api/v1/nodes/w1").is_some());
}

#[tokio::test]
async fn a_record_is_obeyed_once_and_its_repetition_is_harmless() {
    let world = World::new().await;
    let labels = json!({"firedrill.dev/run": RUN, "app.kubernetes.io/managed-by": "firedrill"});
    world.api.put(&format!("/api/v1/namespaces/firedrill-{RUN}"), json!({"metadata": {"labels": labels}}));
    world.record(0, &namespace()).await;
    world.record(1, &restore("d1")).await;
    let dry = SweepOptions {
        runs: &world.folder.path().join("runs"),
        only: None,
        agent_image: None,
        trust_annotations: false,
        dry_run: true,
        interrupts: &InterruptSource::new().1,
    };
    world.api.writes();
    let planned = sweep(&world.ports(), dry, &mut |_| ()).await.unwrap().planned;
    assert!(planned.len() == 2 && planned[0].contains("may touch: Deployment n/web, if it has the recorded UID"));
    assert!(world.api.writes().is_empty(), "it only looked");

    let swept = world.sweep(false).await;
    assert!(swept.left.is_empty() && swept.not_obeyed.is_empty(), "{swept:#?}");
    assert!(swept.done[0].ends_with("restore Deployment n/web"), "faults go first: {:?}", swept.done);
    assert_eq!(world.replicas(), 3);
    assert!(world.api.paths(RECORDS).is_empty());
    assert!(world.api.get(&format!("/api/v1/namespaces/firedrill-{RUN}")).is_none());
    assert!(world.api.get("/api/v1/namespaces/firedrill-system").is_some(), "no sweep deletes it");
    // A crash after the undo and before its record was deleted.
    world.record(1, &restore("d1")).await;
    world.api.writes();
    let swept = world.sweep(false).await;
    assert!(swept.left.is_empty() && swept.done.len() == 1);
    assert_eq!(world.api.writes(), [format!("DELETE {RECORDS}/undo-{RUN}-1")], "nothing but the record");
    assert_eq!(world.sweep(false).await, Swept::default());
}

#[tokio::test]
async fn records_that_do_not_fit_are_not_obeyed() {
    let world = World::new().await;
    for id in 0..8 {
        world.record(id, &restore("d1")).await;
    }
    world.change_record(0, |record| record["data"]["cluster_uid"] = json!("elsewhere"));
    world.change_record(1, |record| record["data"]["run"] = json!("another"));
    world.change_record(2, |record| record["metadata"]["labels"]["firedrill.dev/run"] = json!("another"));
    world.change_record(3, |record| record["data"]["id"] = json!(99));
    world.change_record(4, |record| record["data"]["format"] = json!(2));
    world.change_record(5, |record| record["data"]["undo"]["restore"]["uid"] = json!(""));
    world.change_record(6, |record| {
        record["data"]["undo"] = json!({"delete_object":
            {"api_version": "v1", "kind": "Namespace", "namespace": null, "name": "kube-system"}});
    });
    // A node of another provider's cluster: its container may be anybody's.
    world.change_record(7, |record| {
        record["data"]["provider"] = json!("kind");
        record["data"]["undo"] = json!({"remove_node": {"node": "somebody-elses-container"}});
    });
    world.api.writes();
    let swept = world.sweep(false).await;
    assert_eq!(swept.not_obeyed.len(), 8, "{:#?}", swept.not_obeyed);
    assert!(swept.not_obeyed[0].ends_with("it is of another cluster"), "{}", swept.not_obeyed[0]);
    assert!(swept.not_obeyed[7].contains("its node is of the kind cluster c"), "{}", swept.not_obeyed[7]);
    assert!(world.api.writes().is_empty() && world.replicas() == 0);
    assert!(world.api.get("/api/v1/namespaces/kube-system").is_some());
}

#[tokio::test]
async fn records_that_others_can_write_are_not_obeyed() {
    let world = World::new().await;
    world.record(1, &restore("d1")).await;
    let rights = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{"apiGroups": ["apps"], "resources": ["*"], "verbs": ["create"]}]);
    let subjects = json!([{"kind": "ServiceAccount", "name": "operator", "namespace": "tenant"}]);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "wide"});
    world.api.put(&format!("{rights}/clusterroles/wide"), json!({"rules": rules}));
    world.api.put(&format!("{rights}/clusterrolebindings/b"), json!({"subjects": subjects, "roleRef": role}));
    let swept = world.sweep(false).await;
    assert!(swept.not_obeyed.len() == 1 && swept.done.is_empty(), "{swept:#?}");
    assert!(swept.warnings[0].contains("ServiceAccount tenant/operator by ClusterRoleBinding b"), "{swept:#?}");
    assert_eq!(world.replicas(), 0);
    // Who cannot read the roles does not know.
    world.api.remove(&format!("{rights}/clusterrolebindings/b"));
    world.api.refuse("GET", &format!("{rights}/clusterroles"));
    let swept = world.sweep(false).await;
    assert!(swept.not_obeyed.len() == 1 && swept.warnings[0].contains("cannot be listed"), "{swept:#?}");
    world.api.accept_all();
    assert!(world.sweep(false).await.not_obeyed.is_empty());
    assert_eq!(world.replicas(), 3);
}

#[tokio::test]
async fn what_was_made_anew_since_is_left_alone() {
    let world = World::new().await;
    let tools = world.tools();
    world
        .api
        .put(VOLUME, json!({"metadata": {"uid": "v2"}, "spec": {"csi": {"driver": "other", "volumeHandle": "h"}}}));
    world.api.put("/api/v1/namespaces/n/persistentvolumeclaims/data-p", json!({"spec": {"volumeName": "pv"}}));
    let pod = json!({"spec": {"nodeName": "w", "containers": [{"name": "c", "volumeMounts": [{"name": "d", "mountPath": "/d"}]}],
        "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data-p"}}]}, "status": {"phase": "Running"}});
    world.api.put("/api/v1/namespaces/n/pods/p", pod);
    let of = str::to_owned;
    let container = Target::Container {
        namespace: of("n"),
        pod: of("p"),
        uid: of("u"),
        container: of("c"),
        container_id: of("id"),
        node: of("gone"),
    };
    let volume_uid = Some(of("v1"));
    let (target, file) = (volume(None).0, of("firedrill-filler"));
    let of_another = [
        restore("d0"),
        namespace(),
        Undo::Thaw(ThawUndo { target: container.clone() }),
        Undo::MendFiles(MendFilesUndo { target: container, directory: of("/d/x"), volume_uid: volume_uid.clone() }),
        Undo::RemoveFiller(RemoveFillerUndo { target: target.clone(), file, volume_uid: volume_uid.clone() }),
        Undo::LetDetach(LetDetachUndo { target: target.clone(), volume_uid: volume_uid.clone() }),
        Undo::LetAttach(LetAttachUndo { target, volume_uid }),
        Undo::RollBack(RollBackUndo { namespace: of("n"), release: of("r"), revision: 2, uid: Some(of("s")) }),
        Undo::RemoveNode { node: of("never-made") },
        Undo::HealsItself { what: of("it") },
    ];
    // A namespace of the run's name that somebody else has made.
    world.api.put(&format!("/api/v1/namespaces/firedrill-{RUN}"), json!({"metadata": {"labels": {}}}));
    world.api.writes();
    for undo in &of_another {
        for _ in 0..2 {
            fault::undo(&tools, undo, WITHIN).await.unwrap_or_else(|error| panic!("{undo}: {error}"));
            assert!(fault::is_clean(&tools, undo, WITHIN).await.unwrap(), "{undo}");
        }
    }
    assert_eq!(world.api.writes(), [""; 0], "nothing of it was touched");
    assert_eq!(world.replicas(), 0);
}

#[tokio::test]
async fn each_undo_of_an_object_can_be_repeated_and_follow_no_act() {
    let world = World::new().await;
    let tools = world.tools();
    let labels = json!({"firedrill.dev/run": RUN, "app.kubernetes.io/managed-by": "firedrill"});
    let (pod, of) = ("/api/v1/namespaces/n/pods/agent", str::to_owned);
    let delete = |kind: &str, name: &str| Undo::DeleteObject {
        api_version: of("v1"),
        kind: of(kind),
        namespace: Some(of("n")),
        name: of(name),
    };
    // Without the act: there is nothing.
    for undo in [namespace(), delete("Pod", "agent"), delete("Service", "door"), restore("d1")] {
        for _ in 0..2 {
            fault::undo(&tools, &undo, WITHIN).await.unwrap();
            assert!(fault::is_clean(&tools, &undo, WITHIN).await.unwrap(), "{undo}");
        }
    }
    assert_eq!(world.replicas(), 3);
    // With it, twice.
    world.api.put(pod, json!({"metadata": {"labels": labels}}));
    assert!(!fault::is_clean(&tools, &delete("Pod", "agent"), WITHIN).await.unwrap());
    for _ in 0..2 {
        fault::undo(&tools, &delete("Pod", "agent"), WITHIN).await.unwrap();
    }
    assert!(world.api.get(pod).is_none());
    // What carries another run's label is another run's.
    world.api.put(pod, json!({"metadata": {"labels": {"firedrill.dev/run": "another"}}}));
    fault::undo(&tools, &delete("Pod", "agent"), WITHIN).await.unwrap();
    assert!(world.api.get(pod).is_some());
}

#[tokio::test]
async fn a_patch_that_is_no_faults_is_never_written() {
    let world = World::new().await;
    let Undo::Restore(RestoreUndo { object, .. }) = restore("d1") else { unreachable!() };
    for (uid, merge) in [("d1", r#"{"metadata":{"finalizers":["x"]}}"#), ("", r#"{"spec":{"replicas":3}}"#)] {
        let undo = Undo::Restore(RestoreUndo { object: object.clone(), uid: uid.to_owned(), merge: merge.to_owned() });
        // With no UID it is taken for another object, with a forbidden field it is refused.
        let undone = fault::undo(&world.tools(), &undo, WITHIN).await;
        assert!(uid.is_empty() || undone.is_err());
    }
    assert_eq!(world.api.writes(), [""; 0]);
}
