//! What acts on the machines of a cluster, with servers of the double and an API server in memory.

use super::super::machines::HetznerMachines;
use super::super::record::{Folder, Record};
use super::*;
use crate::cluster::{LABEL_RUN, RunMark};
use crate::fake_api::FakeApi;
use crate::provider::{Capability, ExternalNeed, MachineError, Machines, Route};
use firedrill_core::scenario::ServiceRef;

const NODES: &str = "/api/v1/nodes";
const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

struct Site {
    world: World,
    api: FakeApi,
    cluster: Cluster,
    record: Record,
}

impl Site {
    async fn new() -> Self {
        let (world, api) = (World::new().await, FakeApi::start().await);
        world.up(&world.provider(), &options()).await.0.unwrap();
        let record = Folder::of(world.folder.path(), NAME).load().unwrap().unwrap();
        let account = Arc::new(world.account(TOKEN, world.double.api));
        let address = "198.18.0.2".to_owned();
        let machines = HetznerMachines { account, record: record.clone(), address };
        let cluster = Cluster::connect(NAME, &api.kubeconfig(world.folder.path()), "x").await.unwrap();
        let cluster = cluster.provided_by("hetzner", Arc::new(machines));
        Self { world, api, cluster, record }
    }

    fn machines(&self) -> &dyn Machines {
        &*self.cluster.machines
    }
}

fn mark(run_id: &str) -> RunMark {
    RunMark { run_id: run_id.to_owned(), expires_unix: 1 }
}

#[tokio::test]
async fn a_node_is_powered_off_and_on_by_its_server() {
    let site = Site::new().await;
    let (machines, node) = (site.machines(), "firedrill-a3f-worker-1");
    assert!(machines.is_on(node).await.unwrap());
    machines.power_off(node).await.unwrap();
    machines.power_off(node).await.unwrap();
    assert!(!machines.is_on(node).await.unwrap());
    let id = machines.machine_id(node).await.unwrap().unwrap();
    assert!(id.parse::<i64>().is_ok(), "{id}");
    machines.power_on(node).await.unwrap();
    assert!(machines.is_on(node).await.unwrap());
    assert_eq!(machines.power_on_command(node).unwrap(), "hcloud server poweron firedrill-a3f-worker-1");
    // A node may have the name of somebody's server.
    assert!(matches!(machines.power_off("web-1").await, Err(MachineError::NoMachine { .. })));
    assert_eq!(machines.machine_id("web-1").await.unwrap(), None);
}

#[tokio::test]
async fn volumes_have_faults_on_a_double_alone() {
    let site = Site::new().await;
    assert!(site.machines().capabilities().check(Capability::VolumeFault).is_ok());
    let token = Token::parse(TOKEN, "test").unwrap();
    let endpoint = Endpoint::of_test("https://api.hetzner.cloud/v1", None);
    let account = Arc::new(Account::new(endpoint, token, Limits::default()).unwrap());
    let real = HetznerMachines { account, record: site.record.clone(), address: String::new() };
    let error = real.capabilities().check(Capability::VolumeFault).unwrap_err().to_string();
    assert!(error.contains("cannot delay an attach or hold a detach"), "{error}");
    assert!(real.volumes().is_none() && real.capabilities().check(Capability::NodePower).is_ok());
}

#[tokio::test]
async fn services_are_reached_by_a_control_planes_address() {
    let site = Site::new().await;
    let service = ServiceRef { namespace: "n".into(), name: "nats".into(), port: 4222 };
    let need = ExternalNeed { service, http: false };
    let taken = json!({"spec": {"type": "NodePort", "ports": [{"port": 1, "nodePort": 31_900}]}});
    site.api.put("/api/v1/namespaces/n/services/other", taken);
    let found = site.machines().external_endpoints(&site.cluster, std::slice::from_ref(&need)).await.unwrap();
    let shown: Vec<_> = found.iter().map(|found| (found.host.as_str(), found.port, found.route.clone())).collect();
    assert_eq!(shown, [("198.18.0.2", 31_901, Route::New { node_port: 31_901 })]);
    assert!(site.machines().check_external(&site.cluster, &vec![need; 33]).await.is_err());
}

#[tokio::test]
async fn a_plan_says_what_bounds_the_cost() {
    let site = Site::new().await;
    let note = site.machines().cost_note().await.unwrap().unwrap();
    assert!(note.contains("EUR per hour") && note.contains("`firedrill sweep --expired` ends the cost of "), "{note}");
}

#[tokio::test]
async fn a_lost_node_is_replaced_by_a_server_of_the_run() {
    let site = Site::new().await;
    let (machines, name) = (site.machines(), "firedrill-a3f-worker-1-replacement");
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    site.api.put(&format!("{NODES}/{name}"), ready);
    machines.add_node(&site.cluster, &mark("r1"), "firedrill-a3f-worker-1", name).await.unwrap();
    let ours = site.world.ours().await;
    assert!(ours.contains(&format!("server {name}")), "{ours:?}");
    assert_eq!(site.api.get(&format!("{NODES}/{name}")).unwrap()["metadata"]["labels"][LABEL_RUN], "r1");
    let writes = site.api.writes();
    let made = |write: &&String| **write == format!("POST {SECRETS}");
    assert_eq!(writes.iter().filter(made).count(), 1, "{writes:?}");
    assert!(site.api.paths(SECRETS).is_empty(), "its token is taken back");
    assert!(site.api.paths(REQUESTS).is_empty());
    let bodies = site.world.way.bodies().concat();
    assert!(!bodies.contains(name), "the way was not used here");

    // Another run, and a node of the cluster's own.
    for (run, node) in [("r2", name), ("r1", "firedrill-a3f-worker-2")] {
        let error = machines.remove_node(&site.cluster, run, node).await.unwrap_err();
        assert!(matches!(error, MachineError::NotOfRun { what: "server", .. }), "{error}");
    }
    assert!(!machines.is_node_gone(&site.cluster, name).await.unwrap());
    for _ in 0..2 {
        machines.remove_node(&site.cluster, "r1", name).await.unwrap();
        assert!(machines.is_node_gone(&site.cluster, name).await.unwrap());
    }
    assert_eq!(without_addresses(site.world.ours().await), FINISHED);
}

#[tokio::test]
async fn a_server_that_was_deleted_is_replaced_too() {
    let site = Site::new().await;
    let (machines, lost) = (site.machines(), "firedrill-a3f-worker-1");
    let client = site.world.client(TOKEN);
    let id: i64 = machines.machine_id(lost).await.unwrap().unwrap().parse().unwrap();
    client.delete_resource(Kind::Server, id, Duration::from_secs(20)).await.unwrap();
    let name = crate::provider::replacement_of(lost);
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    site.api.put(&format!("{NODES}/{name}"), ready);
    machines.add_node(&site.cluster, &mark("r1"), lost, &name).await.unwrap();
    // The token of the new node is a new one.
    assert!(site.world.ours().await.contains(&format!("server {name}")));
    let down = site.world.provider().delete(NAME, &mut |_| ()).await;
    down.unwrap();
    assert!(site.world.ours().await.is_empty(), "what a drill made goes with its cluster");
}
