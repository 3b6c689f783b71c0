//! The double with a cluster on it. `close` deletes everything; a test that fails leaves nothing either, unless `FIREDRILL_KEEP` is set.

use super::super::super::client::{Client, Kind, Limits, NewServer, UserData};
use super::super::super::cloud_init::{ClusterSecrets, ClusterSpec, Role, user_data};
use super::super::super::endpoint::Endpoint;
use super::super::super::firewall::{self, AllowFrom};
use super::super::super::labels::{Labels, Mark, ROLE, selector_of};
use super::super::super::token::Token;
use super::super::{AddOns, apply, network, nodes_ready, ready, volumes};
use crate::cluster::Cluster;
use crate::process::Tool;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const CONTROL_PLANE: &str = "control-plane-1";
const NAME: &str = "firedrill-boots";
const TOKEN: &str = "tokenOfTheClusterThatBootsOnTheDouble";
const SERVER_TYPE: &str = "cpx22";
const LOCATION: &str = "fsn1";
const BOOT_TIMEOUT: Duration = Duration::from_secs(600);
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// What the test needs of its surroundings.
fn setting(name: &str) -> String {
    crate::env::text(name).unwrap_or_else(|| panic!("{name} is not set: run ci/hetzner-cluster"))
}

/// The double's program.
struct Double {
    child: Child,
    instance: String,
    folder: Option<tempfile::TempDir>,
    endpoint: String,
    from_servers: String,
}

impl Double {
    fn start() -> Self {
        let instance = format!("boots-{}", std::process::id());
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let ready = folder.path().join("ready.json");
        let file = |path: PathBuf| std::fs::File::create(path).unwrap();
        let mut command = command(&instance, &folder);
        command.args(["--listen", "127.0.0.1:0"]).stdout(file(ready.clone())).stderr(file(folder.path().join("log")));
        let child = command.spawn().unwrap();
        let begun = Instant::now();
        let addresses: Value = loop {
            let text = std::fs::read_to_string(&ready).unwrap();
            if let Ok(value) = serde_json::from_str(&text) {
                break value;
            }
            assert!(begun.elapsed() < MINUTE, "the double does not start: {}", folder.path().join("log").display());
            std::thread::sleep(Duration::from_millis(100));
        };
        let of = |key: &str| addresses[key].as_str().unwrap().to_owned();
        let (endpoint, from_servers) = (of("endpoint"), of("from_servers"));
        let network = format!("hetzner-{instance}");
        docker(&["network", "connect", &network, &registry()]);
        Self { child, instance, folder: Some(folder), endpoint, from_servers }
    }

    fn gateway(&self) -> &str {
        self.from_servers.trim_start_matches("http://").split(':').next().unwrap()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let folder = self.folder.take().unwrap();
        if std::thread::panicking() && crate::env::text("FIREDRILL_KEEP").is_some() {
            eprintln!("kept: instance {} in {}", self.instance, folder.keep().display());
            return;
        }
        let network = format!("hetzner-{}", self.instance);
        let _ = Command::new("docker").args(["network", "disconnect", &network, &registry()]).status();
        let down = command(&self.instance, &folder).arg("--down").status();
        if !down.is_ok_and(|status| status.success()) {
            eprintln!("left behind: instance {} in {}", self.instance, folder.keep().display());
        }
    }
}

fn registry() -> String {
    crate::env::text("FIREDRILL_REGISTRY").unwrap_or_else(|| "firedrill-registry".to_owned())
}

fn command(instance: &str, folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(setting("FIREDRILL_HETZNER_DOUBLE"));
    command.args(["--backend", "docker", "--instance", instance, "--machines"]).arg(folder.path().join("machines"));
    command
        .arg("--state")
        .arg(folder.path().join("state.json"))
        .env("HETZNER_DOUBLE_TOKEN", TOKEN)
        .stdin(Stdio::null());
    command
}

fn docker(args: &[&str]) {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The double and the cluster.
pub(super) struct Bed {
    pub(super) client: Client,
    cluster: Cluster,
    spec: ClusterSpec,
    endpoint: Endpoint,
    token: Token,
    labels: Labels,
    servers: BTreeMap<String, i64>,
    addresses: BTreeMap<String, Ipv4Addr>,
    _home: tempfile::TempDir,
    double: Double,
}

impl Bed {
    /// Boots a control plane, these further ones and these workers by their user data, and waits until the nodes are there. They get ready
    /// with the network.
    pub(super) async fn boot(control_planes: &[&str], workers: &[&str]) -> Self {
        let double = Double::start();
        let token = Token::parse(TOKEN, "test").unwrap();
        let endpoint = Endpoint::of_test(&double.endpoint, None);
        let client = Client::new(&endpoint, &token, Limits::default()).unwrap();
        let now = jiff::Timestamp::now().as_second();
        let mark = Mark {
            cluster: NAME.to_owned(),
            run: "boots".to_owned(),
            owner: "tests".to_owned(),
            expires_unix_s: now + 3600,
        };
        let labels = mark.labels().unwrap();
        let spec = ClusterSpec::new(NAME, Some(&format!("http://{}:5000", registry())));
        let secrets = ClusterSecrets::generate(now).unwrap();
        let allow = [AllowFrom::parse(double.gateway()).unwrap()];
        let firewall = client.create_firewall(NAME, firewall::rules(&allow, &[]).unwrap(), &labels).await.unwrap();
        let image: Value = client.get("/images", &[("name", "debian-13"), ("architecture", "x86")]).await.unwrap();
        let new = |name: &str, role: &str, user_data: UserData| NewServer {
            name: name.to_owned(),
            server_type: SERVER_TYPE.to_owned(),
            location: LOCATION.to_owned(),
            image: image["images"][0]["id"].as_i64().unwrap(),
            labels: labels.clone().into_iter().chain([(ROLE.to_owned(), role.to_owned())]).collect(),
            firewall: firewall.resource.id,
            placement_group: None,
            user_data,
        };
        let begun = Instant::now();
        let data = user_data(&spec, &secrets, CONTROL_PLANE, Role::First).unwrap();
        let first = client.create_server(&new(CONTROL_PLANE, "control-plane", data)).await.unwrap();
        let api_server = first.resource.ipv4().unwrap().to_owned();
        let (mut servers, mut actions) =
            (BTreeMap::from([(CONTROL_PLANE.to_owned(), first.resource.id)]), first.actions);
        let mut addresses = BTreeMap::from([(CONTROL_PLANE.to_owned(), api_server.parse::<Ipv4Addr>().unwrap())]);
        let api_server = api_server.as_str();
        let control_planes =
            control_planes.iter().map(|name| (name, "control-plane", Role::ControlPlane { api_server }));
        let workers = workers.iter().map(|name| (name, "worker", Role::Worker { api_server }));
        for (name, label, role) in control_planes.chain(workers) {
            let data = user_data(&spec, &secrets, name, role).unwrap();
            let made = client.create_server(&new(name, label, data)).await.unwrap();
            addresses.insert((*name).to_owned(), made.resource.ipv4().unwrap().parse().unwrap());
            servers.insert((*name).to_owned(), made.resource.id);
            actions.extend(made.actions);
        }
        client.wait_for_actions(actions, BOOT_TIMEOUT).await.unwrap();
        let rules = firewall::rules(&allow, &addresses.values().copied().collect::<Vec<_>>()).unwrap();
        let actions = client.set_firewall_rules(firewall.resource.id, rules).await.unwrap();
        client.wait_for_actions(actions, MINUTE).await.unwrap();
        eprintln!("{} servers run and the firewall knows them after {:.1?}", servers.len(), begun.elapsed());

        let home = tempfile::tempdir().unwrap();
        let kubeconfig = home.path().join("kubeconfig");
        crate::files::write(&kubeconfig, secrets.kubeconfig(NAME, &format!("{api_server}:6443")).as_bytes()).unwrap();
        let cluster = Cluster::connect(NAME, &kubeconfig, NAME).await.unwrap();
        let bed = Self { client, cluster, spec, endpoint, token, labels, servers, addresses, _home: home, double };
        bed.until(BOOT_TIMEOUT, "the API server answers", async || bed.cluster.info().await.is_ok()).await;
        eprintln!("the API server answers after {:.1?}", begun.elapsed());
        bed.until(BOOT_TIMEOUT, "all nodes have joined", async || {
            bed.cluster.nodes().await.is_ok_and(|nodes| nodes.len() == bed.servers.len())
        })
        .await;
        eprintln!("all nodes have joined after {:.1?}", begun.elapsed());
        bed
    }

    /// Installs the pod network and the volume driver, and waits until they work.
    pub(super) async fn add_ons(&self) {
        let begun = Instant::now();
        let mut progress = |line: String| eprintln!("  {line}");
        apply(&self.cluster, network(&self.spec).unwrap()).await.unwrap();
        let names = self.servers.keys().cloned().collect();
        nodes_ready(&self.cluster, &names, BOOT_TIMEOUT, &mut progress).await.unwrap();
        eprintln!("all nodes are ready {:.1?} after the network was applied", begun.elapsed());
        let image = setting("FIREDRILL_VOLUMES_IMAGE");
        let add_ons = AddOns {
            spec: &self.spec,
            volumes_image: Some(&image),
            endpoint: &self.endpoint,
            token: &self.token,
            location: LOCATION,
            labels: &self.labels,
        };
        apply(&self.cluster, volumes(&add_ons, &image, &self.double.from_servers).unwrap()).await.unwrap();
        ready(&self.cluster, true, &mut progress).await.unwrap();
        eprintln!("the add-ons work after {:.1?}", begun.elapsed());
    }

    pub(super) fn server(&self, name: &str) -> i64 {
        self.servers[name]
    }

    /// Whether this machine gets a connection to a port of a server.
    pub(super) fn connects(&self, server: &str, port: u16) -> bool {
        let address = (self.addresses[server], port).into();
        std::net::TcpStream::connect_timeout(&address, Duration::from_secs(3)).is_ok()
    }

    pub(super) fn selector(&self) -> String {
        selector_of(NAME)
    }

    pub(super) async fn kubectl(&self, args: &[&str]) -> Result<String, String> {
        let kubectl = Tool::new("kubectl", 4 * MINUTE).env(self.cluster.kubectl_env());
        kubectl.args(args).run().await.map_err(|error| error.to_string())
    }

    pub(super) async fn apply(&self, manifest: &str) {
        let kubectl = Tool::new("kubectl", MINUTE).env(self.cluster.kubectl_env());
        // The default account of a new namespace is made a moment after it.
        self.until(MINUTE, "the default service account is there", async || {
            self.kubectl(&["get", "serviceaccount", "default"]).await.is_ok()
        })
        .await;
        kubectl.args(["apply", "-f", "-"]).input(manifest).run().await.unwrap();
    }

    /// Runs a line of shell in a pod.
    pub(super) async fn exec(&self, pod: &str, line: &str) -> Result<String, String> {
        self.kubectl(&["exec", pod, "--", "sh", "-c", line]).await
    }

    /// Whether a pod gets an answer by HTTP.
    pub(super) async fn fetches(&self, pod: &str, address: &str) -> bool {
        self.exec(pod, &format!("wget -qO- -T 3 http://{address}/")).await.is_ok_and(|text| text.starts_with("web-1"))
    }

    pub(super) async fn rolled_out(&self, deployment: &str) {
        let name = format!("deployment/{deployment}");
        if let Err(error) = self.kubectl(&["rollout", "status", "--timeout=180s", &name]).await {
            let events = self.kubectl(&["get", "events", "--sort-by=.lastTimestamp"]).await.unwrap_or_default();
            panic!("{error}\n{events}");
        }
    }

    pub(super) async fn is_ready(&self, node: &str) -> bool {
        let nodes = self.cluster.nodes().await.unwrap_or_default();
        nodes.iter().any(|found| found.name == node && found.ready)
    }

    /// The node of a Deployment's newest pod.
    pub(super) async fn node_of(&self, app: &str) -> String {
        let (selector, newest) = (format!("app={app}"), "jsonpath={.items[-1:].spec.nodeName}");
        let args = ["get", "pods", "--selector", &selector, "--sort-by=.metadata.creationTimestamp", "-o", newest];
        self.kubectl(&args).await.unwrap()
    }

    /// Waits for a named condition.
    pub(super) async fn until(&self, limit: Duration, condition: &str, mut holds: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        while !holds().await {
            assert!(begun.elapsed() < limit, "not so within {limit:?}: {condition}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Deletes the servers and the firewall through the API, and then all that the double has.
    pub(super) async fn close(self) {
        for kind in [Kind::Server, Kind::Volume, Kind::Firewall] {
            for resource in self.client.resources(kind, &self.selector()).await.unwrap() {
                self.client.delete_resource(kind, resource.id, 2 * MINUTE).await.unwrap();
            }
        }
    }
}
