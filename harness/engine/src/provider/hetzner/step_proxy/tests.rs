//! The proxy before the API double, asked by raw requests and by the real `hcloud`.

use super::*;
use crate::provider::hetzner::client::Action;
use hetzner_double::MemoryBackend;
use hetzner_double::config::Config;
use std::ffi::OsString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TOKEN: &str = "realTokenThatNoCommandMaySee";
const CLUSTER: &str = "firedrill-a3f";
const LIMIT: Duration = Duration::from_secs(30);

fn mark() -> Mark {
    let (run, owner) = ("run-1".to_owned(), "ann".to_owned());
    Mark { cluster: CLUSTER.to_owned(), run, owner, expires_unix_s: 1_900_000_000 }
}

fn limits() -> Limits {
    let short = Duration::from_millis(5);
    let (request_timeout, retry_timeout) = (Duration::from_secs(5), Duration::from_secs(5));
    Limits { request_timeout, retry_timeout, retry_wait: short, retry_wait_max: short, poll_wait: short }
}

struct Rig {
    double: hetzner_double::Double,
    /// With the real token, not through the proxy.
    client: Client,
    environment: StepEnvironment,
}

impl Rig {
    async fn start() -> Self {
        let double =
            hetzner_double::Double::start(Config::new(TOKEN), Arc::new(MemoryBackend::default())).await.unwrap();
        let (client, environment) = before(&format!("http://{}", double.api)).await;
        Self { double, client, environment }
    }

    /// Creates a resource past the proxy. Returns its id.
    async fn make(&self, kind: &str, name: &str, ours: bool, more: Value) -> i64 {
        let labels = if ours { json!(mark().labels().unwrap()) } else { json!({"env": "production"}) };
        let mut body = json!({"name": name, "labels": labels});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply: Value = self.client.post(&format!("/{kind}"), &body).await.unwrap();
        let actions = ["action", "next_actions"].map(|key| reply.get(key).cloned().unwrap_or_default());
        let actions = actions.into_iter().flat_map(|value| match value {
            Value::Array(all) => all,
            Value::Null => Vec::new(),
            one => vec![one],
        });
        let actions: Vec<Action> = actions.map(|action| serde_json::from_value(action).unwrap()).collect();
        self.client.wait_for_actions(actions, LIMIT).await.unwrap();
        let singular = kind.trim_end_matches('s');
        reply[singular]["id"].as_i64().unwrap()
    }

    async fn server(&self, name: &str, ours: bool) -> i64 {
        self.make("servers", name, ours, json!({"server_type": "cx23", "image": "debian-13", "location": "fsn1"})).await
    }

    async fn volume(&self, name: &str, ours: bool) -> i64 {
        self.make("volumes", name, ours, json!({"size": 10, "location": "fsn1"})).await
    }

    /// Whether a server goes away. Some versions of `hcloud` do not wait for that.
    async fn goes(&self, server: i64) -> bool {
        let waiting = async {
            while self.thing("server", server).await.is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.is_ok()
    }

    async fn thing(&self, kind: &str, id: i64) -> Option<Value> {
        match self.client.get::<Value>(&format!("/{kind}s/{id}"), &[]).await {
            Ok(mut reply) => Some(reply[kind].take()),
            Err(error) => {
                assert!(error.is_not_found(), "{error}");
                None
            }
        }
    }

    /// The server of a volume, once no action of it runs.
    async fn attached(&self, volume: i64) -> Option<i64> {
        let busy: Vec<Action> =
            self.client.list(&format!("/volumes/{volume}/actions"), "actions", &[("status", "running")]).await.unwrap();
        self.client.wait_for_actions(busy, LIMIT).await.unwrap();
        self.thing("volume", volume).await.unwrap()["server"].as_i64()
    }

    fn variable(&self, name: &str) -> String {
        variable(&self.environment, name)
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        ask(&self.environment, method, path, body).await
    }

    fn log(&self) -> Vec<String> {
        self.environment.requests.take().iter().map(ToString::to_string).collect()
    }
}

async fn before(upstream: &str) -> (Client, StepEnvironment) {
    let (endpoint, token) = (Endpoint::of_test(&format!("{upstream}/v1"), None), Token::parse(TOKEN, "test").unwrap());
    let environment = start(&endpoint, &token, &mark(), limits()).await.unwrap();
    (Client::new(&endpoint, &token, limits()).unwrap(), environment)
}

fn variable(environment: &StepEnvironment, name: &str) -> String {
    let found = environment.variables.iter().find(|(key, _)| key == name);
    found.unwrap().1.to_str().unwrap().to_owned()
}

fn address(environment: &StepEnvironment) -> String {
    let endpoint = variable(environment, "HCLOUD_ENDPOINT");
    endpoint.trim_start_matches("http://").trim_end_matches("/v1").to_owned()
}

async fn ask(environment: &StepEnvironment, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let (host, token) = (address(environment), variable(environment, "HCLOUD_TOKEN"));
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let head = format!("{method} /v1{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}");
    raw(&host, &format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await
}

/// Sends a request as it stands. Status 0 means that the connection was closed without a reply.
async fn raw(host: &str, request: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(host).await.unwrap();
    // A request that is refused early may not be read to its end.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut bytes)).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    assert!(!text.contains(TOKEN), "{text}");
    (status, serde_json::from_str(body).unwrap_or_default())
}

#[track_caller]
fn is_refused((status, body): &(u16, Value), words: &str) {
    assert_eq!((*status, body["error"]["code"].as_str()), (403, Some("forbidden")), "{body}");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains(words), "{message}");
}

#[tokio::test]
async fn a_runbooks_hcloud_may_read_with_its_own_token_alone() {
    let rig = Rig::start().await;
    rig.server("web", false).await;
    let (status, body) = rig.ask("GET", "/servers?name=web&label_selector=env%3Dproduction", None).await;
    assert_eq!((status, body["servers"][0]["name"].as_str()), (200, Some("web")));
    assert_eq!(rig.ask("GET", "/servers/4711", None).await.0, 404);
    let (host, own) = (rig.double.api.to_string(), address(&rig.environment));
    assert_ne!(host, own);
    let token = rig.variable("HCLOUD_TOKEN");
    assert_eq!(token.len(), 64);
    let get = |host: &str, lines: &str| format!("GET /v1/servers HTTP/1.1\r\n{host}{lines}\r\n");
    let (ours, bearer) = (format!("Host: {own}\r\n"), format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(raw(&own, &get(&ours, &bearer)).await.0, 200);
    let twice = format!("{bearer}{bearer}");
    let real = format!("Authorization: Bearer {TOKEN}\r\n");
    for lines in ["", "Authorization: Bearer\r\n", "Authorization: Bearer x\r\n", &real, &twice] {
        let (status, body) = raw(&own, &get(&ours, lines)).await;
        assert_eq!((status, body["error"]["code"].as_str()), (401, Some("unauthorized")), "{lines}");
    }
    for other in
        ["Host: api.hetzner.cloud\r\n", "Host: localhost\r\n", "Host: 127.0.0.1\r\n", "", &format!("{ours}{ours}")]
    {
        let (status, _) = raw(&own, &get(other, &bearer)).await;
        assert!(matches!(status, 400 | 403), "{other}: {status}");
    }
    let elsewhere = format!("GET http://{host}/v1/servers HTTP/1.1\r\n{ours}{bearer}\r\n");
    assert_eq!(raw(&own, &elsewhere).await.0, 403);
    let tunnel = format!("CONNECT {host} HTTP/1.1\r\n{ours}{bearer}\r\n");
    assert_ne!(raw(&own, &tunnel).await.0, 200);
    assert!(rig.log().is_empty(), "reading is no change");
}

#[tokio::test]
async fn a_runbooks_hcloud_changes_what_belongs_to_its_cluster_and_nothing_else() {
    let rig = Rig::start().await;
    let (ours, theirs) = (rig.server("firedrill-a3f-worker-1", true).await, rig.server("web", false).await);
    let (data, books) = (rig.volume("pvc-1", true).await, rig.volume("books", false).await);
    let before = (rig.thing("server", theirs).await, rig.thing("volume", books).await);
    for (method, path, body) in [
        ("DELETE", format!("/servers/{theirs}"), None),
        ("PUT", format!("/servers/{theirs}"), Some(json!({"name": "mine"}))),
        ("POST", format!("/servers/{theirs}/actions/poweroff"), None),
        ("DELETE", format!("/volumes/{books}"), None),
        ("POST", format!("/volumes/{books}/actions/attach"), Some(json!({"server": ours}))),
    ] {
        let answer = rig.ask(method, &path, body).await;
        is_refused(&answer, "does not have the label firedrill.dev/cluster=firedrill-a3f");
    }
    let attach = format!("/volumes/{data}/actions/attach");
    is_refused(&rig.ask("POST", &attach, Some(json!({"server": theirs}))).await, "belongs to others");
    is_refused(&rig.ask("POST", &format!("/servers/{ours}/actions/rebuild"), None).await, "not among the changes");
    is_refused(&rig.ask("POST", "/floating_ips", Some(json!({"type": "ipv4"}))).await, "not among the changes");
    is_refused(&rig.ask("POST", &format!("/servers/{ours}/../{theirs}"), None).await, "path is not one of the API");
    assert_eq!((rig.thing("server", theirs).await, rig.thing("volume", books).await), before);
    let refused = rig.log();
    assert!(refused.len() == 9 && refused.iter().all(|line| line.contains(": refused by firedrill: ")), "{refused:#?}");
    assert!(refused[8].starts_with("POST (an unusual path): "), "{refused:#?}");

    assert_eq!(rig.ask("POST", &attach, Some(json!({"server": ours}))).await.0, 201);
    assert_eq!(rig.attached(data).await, Some(ours));
    assert_eq!(rig.ask("POST", &format!("/volumes/{data}/actions/detach"), None).await.0, 201);
    assert_eq!(rig.attached(data).await, None);
    assert_eq!(rig.ask("DELETE", &format!("/servers/{ours}"), None).await.0, 200);
    assert_eq!(rig.ask("DELETE", &format!("/servers/{ours}0"), None).await.0, 404);
    let lines = [
        format!("POST {attach}: passed on, HTTP 201"),
        format!("POST /volumes/{data}/actions/detach: passed on, HTTP 201"),
        format!("DELETE /servers/{ours}: passed on, HTTP 200"),
    ];
    assert_eq!(rig.log(), lines);
}

#[tokio::test]
async fn the_labels_by_which_a_cluster_is_deleted_stay() {
    let rig = Rig::start().await;
    let id = rig.volume("pvc-1", true).await;
    let path = format!("/volumes/{id}");
    let labels = mark().labels().unwrap();
    let mut more = labels.clone();
    more.insert("team".to_owned(), "db".to_owned());
    let mut later = labels.clone();
    later.insert(labels::EXPIRES.to_owned(), "9999999999".to_owned());
    for bad in [json!({}), json!({"team": "db"}), json!(later)] {
        is_refused(&rig.ask("PUT", &path, Some(json!({"labels": bad}))).await, "must stay as they are");
    }
    assert_eq!(rig.ask("PUT", &path, Some(json!({"labels": more, "name": "pvc-2"}))).await.0, 200);
    let found = rig.thing("volume", id).await.unwrap();
    assert_eq!((found["name"].as_str(), found["labels"]["team"].as_str()), (Some("pvc-2"), Some("db")));
    let protect = format!("{path}/actions/change_protection");
    is_refused(&rig.ask("POST", &protect, Some(json!({"delete": true}))).await, "can be deleted with its cluster");
    assert_eq!(rig.ask("POST", &protect, Some(json!({"delete": false}))).await.0, 201);
}

#[tokio::test]
async fn a_new_resource_must_have_the_clusters_labels() {
    let rig = Rig::start().await;
    let body = |labels: Value| json!({"name": "w", "server_type": "cx23", "image": "debian-13", "labels": labels});
    let answer = rig.ask("POST", "/servers", Some(body(json!({})))).await;
    let options = "add --label firedrill.dev/cluster=firedrill-a3f --label firedrill.dev/expires=1900000000 \
                   --label firedrill.dev/owner=ann --label firedrill.dev/run=run-1; firedrill's proxy";
    is_refused(&answer, options);
    let mut labels = mark().labels().unwrap();
    labels.insert(labels::CLUSTER.to_owned(), "firedrill-b00".to_owned());
    is_refused(
        &rig.ask("POST", "/servers", Some(body(json!(labels)))).await,
        "add --label firedrill.dev/cluster=firedrill-a3f;",
    );
    let (status, reply) = rig.ask("POST", "/servers", Some(body(json!(mark().labels().unwrap())))).await;
    assert_eq!((status, &reply["root_password"]), (201, &Value::Null), "a password would stand in the run's files");
    let direct: Value =
        rig.client.post("/servers", &json!({"name": "x", "server_type": "cx23", "image": "debian-13"})).await.unwrap();
    assert!(direct["root_password"].is_string(), "the API itself sends one");
}

#[tokio::test]
async fn what_was_checked_is_what_the_api_reads() {
    let rig = Rig::start().await;
    let (ours, theirs) = (rig.server("worker", true).await, rig.server("web", false).await);
    let data = rig.volume("pvc-1", true).await;
    let (host, token) = (address(&rig.environment), rig.variable("HCLOUD_TOKEN"));
    let attach = |body: String| {
        let head =
            format!("POST /v1/volumes/{data}/actions/attach HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}");
        format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    is_refused(&raw(&host, &attach(format!(r#"{{"server":{ours},"server":{theirs}}}"#))).await, "belongs to others");
    for body in ["[]", "{", "7", "\u{feff}{}"] {
        is_refused(&raw(&host, &attach(body.to_owned())).await, "not a JSON object");
    }
    assert_eq!(raw(&host, &attach(format!(r#"{{"server":{theirs},"server":{ours}}}"#))).await.0, 201);
    assert_eq!(rig.attached(data).await, Some(ours));
    let large = format!(r#"{{"server":{ours},"automount":"{}"}}"#, "x".repeat(BODY_BYTES_MAX));
    let (status, _) = raw(&host, &attach(large)).await;
    // The connection may be reset before the whole body was sent.
    assert!(matches!(status, 0 | 403), "{status}");
    assert_eq!(rig.log().iter().filter(|line| line.contains("passed on")).count(), 1);
}

#[tokio::test]
async fn an_api_that_redirects_or_does_not_answer_is_an_error_of_the_gateway() {
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers};
    let api = MockServer::start().await;
    let moved =
        ResponseTemplate::new(302).insert_header("location", "http://192.0.2.1/").insert_header("x-secret", "s");
    Mock::given(matchers::any()).respond_with(moved).mount(&api).await;
    let (_, environment) = before(&api.uri()).await;
    assert_eq!(ask(&environment, "GET", "/servers", None).await.0, 502);
    drop(api);
    let gone = format!("http://127.0.0.1:{}", unused_port().await);
    let (_, environment) = before(&gone).await;
    let (status, body) = ask(&environment, "GET", "/servers", None).await;
    assert_eq!((status, body["error"]["code"].as_str()), (502, Some("bad_gateway")), "{body}");
    assert_eq!(ask(&environment, "DELETE", "/servers/1", None).await.0, 502);
    assert!(environment.requests.take().is_empty(), "nothing was passed on");
}

async fn unused_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn the_proxy_ends_with_its_run() {
    let rig = Rig::start().await;
    let host = address(&rig.environment);
    assert!(TcpStream::connect(&host).await.is_ok());
    drop(rig.environment);
    let is_closed = async {
        while TcpStream::connect(&host).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, is_closed).await.unwrap();
}

/// The real `hcloud`, as a step of a runbook runs it.
async fn hcloud(environment: &StepEnvironment, command: &str) -> (bool, String) {
    let home = tempfile::tempdir().unwrap();
    let mut variables: Vec<(OsString, OsString)> = vec![("PATH".into(), crate::env::raw("PATH").unwrap())];
    variables.push(("HOME".into(), home.path().into()));
    variables.extend(environment.variables.iter().cloned());
    let environment = crate::runbook::Environment { variables, directory: home.path().to_owned() };
    let stop = CancellationToken::new();
    let end = crate::runbook::run_command(command, &environment, Some(0), None, LIMIT, &stop).await;
    (end.end.held(), format!("{}{}", end.stdout, end.stderr))
}

#[tokio::test]
async fn the_real_hcloud_deletes_and_detaches_by_id_and_by_name() {
    let rig = Rig::start().await;
    let run = async |command: &str| hcloud(&rig.environment, command).await;
    if !run("command -v hcloud").await.0 {
        use std::io::Write;
        writeln!(std::io::stderr(), "not run: hcloud is not installed (Debian: hcloud-cli)").unwrap();
        return;
    }
    let (one, two) = (rig.server("worker-1", true).await, rig.server("worker-2", true).await);
    let theirs = rig.server("web", false).await;
    let (data, books) = (rig.volume("pvc-1", true).await, rig.volume("books", false).await);
    for (volume, by) in [(data, data.to_string()), (data, "pvc-1".to_owned())] {
        let (done, said) = run(&format!("hcloud volume attach {by} --server worker-1")).await;
        assert!(done && rig.attached(volume).await == Some(one), "{said}");
        let (done, said) = run(&format!("hcloud volume detach {by}")).await;
        assert!(done && rig.attached(volume).await.is_none(), "{said}");
    }
    for refused in [
        "hcloud server delete web".to_owned(),
        format!("hcloud server delete {theirs}"),
        "hcloud volume attach books --server worker-1".to_owned(),
        "hcloud volume attach pvc-1 --server web".to_owned(),
        "hcloud server add-label web env=test --overwrite".to_owned(),
    ] {
        let (done, said) = run(&refused).await;
        assert!(
            !done && said.contains("firedrill's proxy passes on") && said.contains("(forbidden"),
            "{refused}: {said}"
        );
    }
    let (done, said) = run("hcloud server create --name worker-3 --type cx23 --image debian-13").await;
    assert!(!done && said.contains("add --label firedrill.dev/cluster=firedrill-a3f"), "{said}");
    let (done, said) = run("hcloud server delete worker-1").await;
    assert!(done && rig.goes(one).await, "{said}");
    let (done, said) = run(&format!("hcloud server delete {two}")).await;
    assert!(done && rig.goes(two).await, "{said}");
    let (done, said) = run("hcloud server list -o noheader -o columns=name; hcloud all list; env").await;
    assert!(done && said.starts_with("web\n") && !said.contains(TOKEN), "{said}");
    assert!(rig.thing("server", theirs).await.is_some() && rig.thing("volume", books).await.is_some());
    let log = rig.log();
    assert_eq!(log.iter().filter(|line| line.contains("passed on, HTTP 20")).count(), 6, "{log:#?}");
    assert_eq!(log.iter().filter(|line| line.contains("refused by firedrill")).count(), 6, "{log:#?}");
}
