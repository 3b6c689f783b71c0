//! Tests of the provider against the double, whose servers are rows: no Kubernetes starts, so that part is replaced.

mod every_step;
mod machines;
mod refusals;
mod way;

use super::account::Account;
use super::client::{Client, Kind, Limits, Resource};
use super::endpoint::Endpoint;
use super::kubernetes::{SetUp, Setup};
use super::labels::Labels;
use super::token::Token;
use super::{Access, Hetzner};
use crate::cluster::Cluster;
use crate::process::Progress;
use crate::provider::{CloudOptions, ClusterOptions, Provider, ProviderError};
use async_trait::async_trait;
use hetzner_double::config::Config;
use hetzner_double::{Double, MemoryBackend};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use way::{Strike, Way};

const TOKEN: &str = "t0kenOfTheTestsThatNothingMayShow";
const OTHER_TOKEN: &str = "t0kenOfAnotherProject";
const READ_ONLY_TOKEN: &str = "t0kenThatMayOnlyRead";
const NAME: &str = "firedrill-a3f";
/// A busy machine is slow, and its API is not down.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY_S: i64 = 24 * 3600;

/// Instead of waiting for Kubernetes.
struct NoKubernetes {
    fails: bool,
}

#[async_trait]
impl SetUp for NoKubernetes {
    async fn set_up(&self, _: &Cluster, _: &Setup<'_>, _: Progress<'_>) -> Result<(), ProviderError> {
        if self.fails { Err(ProviderError::Other("the API server does not answer".to_owned())) } else { Ok(()) }
    }
}

/// A project with strangers' resources, and a provider on another machine.
struct World {
    double: Double,
    way: Way,
    folder: TempDir,
    strangers: Vec<(Kind, i64, String)>,
    /// How long a request is repeated.
    patience: Duration,
}

impl World {
    async fn new() -> Self {
        Self::with(|config| config).await
    }

    async fn with(change: impl FnOnce(Config) -> Config) -> Self {
        use hetzner_double::config::Token;
        let mut config = Config::new(TOKEN);
        let token = |secret: &str, project: &str, read_only| Token {
            secret: secret.to_owned(),
            project: project.to_owned(),
            read_only,
        };
        config.tokens.push(token(READ_ONLY_TOKEN, "default", true));
        config.tokens.push(token(OTHER_TOKEN, "other", false));
        config.poll_interval = Duration::from_millis(20);
        let double = Double::start(change(config), Arc::new(MemoryBackend::default())).await.unwrap();
        let way = Way::to(double.api).await;
        let mut world =
            Self { double, way, folder: tempfile::tempdir().unwrap(), strangers: Vec::new(), patience: PATIENCE };
        world.add_strangers().await;
        world
    }

    /// What others have in the same project: one of each kind, and a cluster with a label that looks like ours.
    async fn add_strangers(&mut self) {
        let client = self.client(TOKEN);
        let alike = Labels::from([("firedrill.dev/cluster".to_owned(), "production".to_owned())]);
        let server =
            json!({"name": "web-1", "server_type": "cx23", "location": "fsn1", "image": "debian-13", "labels": alike});
        let made: Value = client.post("/servers", &server).await.unwrap();
        let server = made["server"]["id"].as_i64().unwrap();
        let volume = json!({"name": "pvc-of-web", "size": 10, "server": server, "labels": {"team": "web"}});
        let _: Value = client.post("/volumes", &volume).await.unwrap();
        for (path, body) in [
            ("/firewalls", json!({"name": "web"})),
            ("/placement_groups", json!({"name": "web", "type": "spread"})),
            ("/networks", json!({"name": "web", "ip_range": "10.0.0.0/16"})),
        ] {
            let _: Value = client.post(path, &body).await.unwrap();
        }
        self.strangers = self.all().await;
        assert!(self.strangers.len() >= 6, "{:?}", self.strangers);
    }

    fn account(&self, token: &str, address: std::net::SocketAddr) -> Account {
        let limits = Limits {
            request_timeout: PATIENCE,
            retry_timeout: self.patience,
            retry_wait: Duration::from_millis(5),
            retry_wait_max: Duration::from_millis(20),
            poll_wait: Duration::from_millis(5),
        };
        // What goes straight to the double checks, and is never what fails.
        let limits = match address == self.double.api {
            true => Limits { retry_timeout: PATIENCE, ..limits },
            false => limits,
        };
        let endpoint = Endpoint::of_test(&format!("http://{address}/v1"), None);
        Account::new(endpoint, Token::parse(token, "test").unwrap(), limits).unwrap()
    }

    /// A client that goes straight to the double.
    fn client(&self, token: &str) -> Client {
        self.account(token, self.double.api).client
    }

    fn provider(&self) -> Hetzner {
        self.provider_with(TOKEN, false)
    }

    fn provider_with(&self, token: &str, fails: bool) -> Hetzner {
        let account = Arc::new(self.account(token, self.way.address));
        let access = Access::Given(account, self.folder.path().to_owned());
        Hetzner { access, set_up: Arc::new(NoKubernetes { fails }), remove_timeout: self.patience * 2 }
    }

    async fn all(&self) -> Vec<(Kind, i64, String)> {
        let client = self.client(TOKEN);
        let mut all = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::LoadBalancer) {
            let path = format!("/{}", kind.plural());
            let found: Vec<Resource> = client.list(&path, kind.plural(), &[]).await.unwrap();
            all.extend(found.into_iter().map(|found| (kind, found.id, found.name)));
        }
        all
    }

    /// What there is beside the strangers', by kind and name.
    async fn ours(&self) -> Vec<String> {
        let all = self.all().await;
        assert!(self.strangers.iter().all(|known| all.contains(known)), "a stranger's resource is gone: {all:?}");
        let ours = all.into_iter().filter(|known| !self.strangers.contains(known));
        ours.map(|(kind, _, name)| format!("{kind} {name}")).collect()
    }

    /// Has the double fail; see its README.
    async fn fail(&self, failure: Value) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/failures", self.double.control.unwrap());
        let sent = http.post(url).header("content-type", "application/json").body(failure.to_string());
        assert!(sent.send().await.unwrap().status().is_success());
    }

    /// As `up` does it: goes on with what is there, or makes it.
    async fn up(&self, provider: &Hetzner, options: &ClusterOptions) -> (Result<Cluster, ProviderError>, Vec<String>) {
        let mut lines = Vec::new();
        let there = match provider.find().await {
            Ok(found) => found.iter().any(|found| found.name == options.name),
            Err(error) => return (Err(error), lines),
        };
        let made = match there {
            true => provider.ensure_ready(options, &mut |line| lines.push(line)).await,
            false => provider.create(options, &mut |line| lines.push(line)).await,
        };
        (made, lines)
    }
}

fn options() -> ClusterOptions {
    let cloud = CloudOptions {
        allow_from: vec!["198.51.100.7/32".to_owned()],
        owner: Some("ann".to_owned()),
        ..CloudOptions::default()
    };
    ClusterOptions { name: NAME.to_owned(), workers: 2, node_image: None, volumes: None, cloud }
}

/// Everything of a cluster that is finished. Primary IPs have names that Hetzner gives.
const FINISHED: [&str; 5] = [
    "server firedrill-a3f-control-plane-1",
    "server firedrill-a3f-worker-1",
    "server firedrill-a3f-worker-2",
    "firewall firedrill-a3f",
    "placement group firedrill-a3f-workers",
];

fn without_addresses(mut ours: Vec<String>) -> Vec<String> {
    ours.retain(|name| !name.starts_with("Primary IP"));
    ours
}

#[tokio::test]
async fn a_cluster_comes_up_and_goes_and_nothing_of_others_is_touched() {
    let world = World::new().await;
    let provider = world.provider();
    assert!(provider.find().await.unwrap().is_empty());
    let (made, lines) = world.up(&provider, &options()).await;
    let cluster = made.unwrap();
    assert_eq!(without_addresses(world.ours().await), FINISHED);
    assert!(lines.iter().any(|line| line.contains("per hour; at most")), "{lines:?}");
    assert!(cluster.is_own() && cluster.provider == "hetzner");

    let found = provider.find().await.unwrap();
    let [found] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((found.name.as_str(), found.nodes, found.state.as_str()), (NAME, 3, "running"));
    assert!(found.expires.is_some() && !found.created.is_empty());
    assert_eq!(provider.find_named(NAME).await.unwrap(), *found);
    assert!(provider.cost(NAME).await.unwrap().unwrap().starts_with("6 billed resources: at most "));
    let opened = provider.open(NAME, None).await.unwrap();
    assert_eq!(opened.kubeconfig, cluster.kubeconfig);
    for file in ["hetzner.json", "kubeconfig"] {
        let mode = std::fs::metadata(world.folder.path().join(NAME).join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }

    let mut lines = Vec::new();
    provider.delete(NAME, &mut |line| lines.push(line)).await.unwrap();
    assert!(world.ours().await.is_empty());
    assert!(lines.iter().any(|line| line.contains("Hetzner lists nothing more of the cluster")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("cost: 6 billed resources")), "{lines:?}");
    assert!(!world.folder.path().join(NAME).exists());
    let gone = provider.delete(NAME, &mut |_| ()).await;
    assert!(matches!(gone, Err(ProviderError::NotFound { .. })));
}

/// The nodes reach each other, and only the user's network reaches the API server.
#[tokio::test]
async fn the_firewall_is_for_the_users_network_and_the_nodes() {
    let world = World::new().await;
    let (provider, mut options) = (world.provider(), options());
    options.cloud.keep = true;
    assert!(world.up(&world.provider_with(TOKEN, true), &options).await.0.is_err(), "it is kept unfinished");
    let sources = async || {
        let reply: Value = world.client(TOKEN).get("/firewalls", &[("name", NAME)]).await.unwrap();
        let rules = reply["firewalls"][0]["rules"].as_array().unwrap().clone();
        assert!(rules.iter().all(|rule| rule["direction"] == "in"));
        let of = |rule: &Value| {
            rule["source_ips"].as_array().unwrap().iter().map(|ip| ip.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        rules.iter().map(of).collect::<Vec<_>>()
    };
    let before = sources().await;
    assert!(before.iter().any(|sources| *sources == ["198.51.100.7/32"]), "{before:?}");
    assert!(before.iter().any(|sources| sources.len() == 3), "three nodes: {before:?}");
    // The user's address has changed when a second `up` goes on.
    options.cloud.allow_from = vec!["203.0.113.0/24".to_owned()];
    world.up(&provider, &options).await.0.unwrap();
    let after = sources().await;
    assert!(after.iter().any(|sources| *sources == ["203.0.113.0/24"]), "{after:?}");
    assert!(!after.iter().flatten().any(|source| source.starts_with("198.51")), "{after:?}");
}

#[tokio::test]
async fn three_control_planes_have_a_group_of_their_own() {
    let world = World::new().await;
    let mut options = options();
    options.cloud.control_planes = Some(3);
    world.up(&world.provider(), &options).await.0.unwrap();
    let ours = world.ours().await;
    assert_eq!(ours.iter().filter(|name| name.starts_with("server ")).count(), 5, "{ours:?}");
    assert!(ours.contains(&"placement group firedrill-a3f-control-planes".to_owned()), "{ours:?}");
}

/// Each secret goes to Hetzner in the user data, and nowhere else.
#[tokio::test]
async fn no_secret_is_shown() {
    let world = World::new().await;
    let provider = world.provider();
    let (made, lines) = world.up(&provider, &options()).await;
    let cluster = made.unwrap();
    let record = super::record::Folder::of(world.folder.path(), NAME).load().unwrap().unwrap();
    let mut secrets: Vec<String> = record.secrets.reveal().iter().map(|(_, secret)| (*secret).to_owned()).collect();
    let in_user_data = world.way.bodies().concat();
    for secret in &secrets {
        let json = serde_json::to_string(secret).unwrap();
        let escaped = serde_json::to_string(&json.trim_matches('"')).unwrap();
        let is_admins =
            record.secrets.reveal().iter().any(|(label, text)| text == secret && label.contains("administrator"));
        let token = secret.len() < 30;
        assert!(
            is_admins || token || in_user_data.contains(escaped.trim_matches('"')),
            "a CA's key goes to the servers"
        );
    }
    secrets.push(TOKEN.to_owned());
    let redactor = cluster.redactor();
    let shown = format!("{lines:?} {record:?}");
    for secret in &secrets {
        assert!(!shown.contains(secret.as_str()));
        let text = format!("it said: {secret} and ended");
        assert!(!redactor.text(&text).contains(secret.trim()), "the redactor knows it");
    }
}
