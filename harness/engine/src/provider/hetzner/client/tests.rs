//! Tests of the client against documented replies and reported failures.

use super::testing::{TOKEN, client_at, client_through};
use super::*;
use crate::provider::hetzner::labels::{Labels, Mark};
use serde_json::json;
use std::time::Duration;
use wiremock::matchers::{body_partial_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const LIMIT: Duration = Duration::from_secs(5);

fn labels(run: &str) -> Labels {
    let mark = Mark {
        cluster: "firedrill-a3f".to_owned(),
        run: run.to_owned(),
        owner: "ann".to_owned(),
        expires_unix_s: 1_800_000_000,
    };
    mark.labels().unwrap()
}

fn new_server() -> NewServer {
    NewServer {
        name: "firedrill-a3f-worker-1".to_owned(),
        server_type: "cx23".to_owned(),
        location: "fsn1".to_owned(),
        image: 7,
        labels: labels("run-1"),
        firewall: 3,
        placement_group: Some(4),
        user_data: UserData::new("#cloud-config\nca-key: s3cretOfTheAuthority\n".to_owned()).unwrap(),
    }
}

async fn answering(answer: ResponseTemplate) -> (MockServer, Client) {
    let server = MockServer::start().await;
    Mock::given(method("GET")).and(path("/v1/servers/1")).respond_with(answer).mount(&server).await;
    let client = client_of(&server);
    (server, client)
}

/// Replies with a failure first, then with success.
async fn failing_first(times: u64, failure: ResponseTemplate) -> (MockServer, Client) {
    let server = MockServer::start().await;
    let first = Mock::given(path("/v1/servers/1")).respond_with(failure).up_to_n_times(times).expect(times);
    first.mount(&server).await;
    let done = ResponseTemplate::new(200).set_body_json(json!({"ok": true}));
    Mock::given(path("/v1/servers/1")).respond_with(done).expect(1).mount(&server).await;
    let client = client_of(&server);
    (server, client)
}

#[tokio::test]
async fn what_passes_by_itself_is_repeated() {
    for (name, failure) in [
        ("429 burst", refusal(429, "rate_limit_exceeded", "limit of 3600 requests per hour reached")),
        ("conflict", refusal(409, "conflict", "the resource has changed during the request")),
        ("server is locked for 9 s", refusal(423, "locked", "server is locked")),
        ("502", refusal(502, "bad_gateway", "bad gateway")),
        ("504", ResponseTemplate::new(504).set_body_string("<html>504 Gateway Time-out</html>")),
    ] {
        let (server, client) = failing_first(3, failure).await;
        let reply: Value = client.get("/servers/1", &[]).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(reply, json!({"ok": true}), "{name}");
        server.verify().await;
    }
}

#[tokio::test]
async fn what_does_not_pass_is_said_at_once() {
    for (status, code, hint) in [
        (401, "unauthorized", "HCLOUD_TOKEN is not a valid token"),
        (403, "forbidden", "Read & Write"),
        (403, "resource_limit_exceeded", "limit is reached"),
        (412, "resource_unavailable", "choose another location"),
        (412, "placement_error", "no free host"),
        (409, "uniqueness_error", ""),
        (500, "unknown_error", ""),
        (404, "not_found", ""),
    ] {
        let (server, client) = answering(refusal(status, code, "because")).await;
        let error = client.get::<Value>("/servers/1", &[]).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("Hetzner refused GET /servers/1: because ({code}, HTTP {status})")),
            "{text}"
        );
        assert!(text.contains(hint), "{text}");
        assert_eq!(error.is_not_found(), code == "not_found");
        assert_eq!(server.received_requests().await.unwrap().len(), 1, "{code} is not repeated");
    }
}

#[tokio::test]
async fn a_failure_that_stays_is_given_up_with_its_reason() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/servers/1")).respond_with(refusal(423, "locked", "server is locked")).mount(&server).await;
    let mut client = client_of(&server);
    client.limits.retry_timeout = Duration::from_millis(200);
    let error = client.get::<Value>("/servers/1", &[]).await.unwrap_err();
    assert!(
        error.to_string().starts_with("gave up after 0 s: Hetzner refused GET /servers/1: server is locked"),
        "{error}"
    );
    assert_eq!(error.code(), Some(&Code::Locked));
    assert!(server.received_requests().await.unwrap().len() > 2);
}

/// A loopback address without a listener.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn an_api_that_is_down_is_named() {
    let address = nobody();
    let mut client = client_at(&address);
    client.limits.retry_timeout = Duration::from_millis(200);
    let error = client.post::<Value>("/servers", &json!({})).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("API at {address}/v1 does not answer POST /servers: ")), "{text}");
    assert!(!error.maybe_done(), "no connection, so nothing was done: {text}");
}

#[tokio::test]
async fn an_encrypted_endpoint_needs_no_setup() {
    let mut client = client_at(&nobody().replace("http://", "https://"));
    client.limits.retry_timeout = Duration::from_millis(200);
    let error = client.get::<Value>("/servers/1", &[]).await.unwrap_err();
    assert!(error.to_string().contains("does not answer GET /servers/1: "), "{error}");
}

#[tokio::test]
async fn a_proxy_sees_the_host_and_not_the_token() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let mut client = client_through("https://api.example", Some(&address));
    client.limits.retry_timeout = Duration::from_millis(500);
    let refuse = async {
        let (mut stream, _) = proxy.accept().await.unwrap();
        let mut bytes = vec![0; 4096];
        let length = stream.read(&mut bytes).await.unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let (seen, error) = tokio::join!(refuse, client.get::<Value>("/servers/1", &[]));
    assert!(seen.starts_with("CONNECT api.example:443 HTTP/1.1") && !seen.contains(TOKEN), "{seen}");
    assert!(error.is_err());
}

#[tokio::test]
async fn a_reply_that_never_comes_ends_at_the_limit() {
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
    let (_server, mut client) = answering(slow).await;
    client.limits.retry_timeout = Duration::from_millis(300);
    let error = client.get::<Value>("/servers/1", &[]).await.unwrap_err();
    assert!(error.to_string().contains("does not answer GET /servers/1: timeout") && error.maybe_done(), "{error}");
}

#[tokio::test]
async fn every_request_carries_the_token_and_nothing_shows_it() {
    let server = MockServer::start().await;
    let bearer = format!("Bearer {TOKEN}");
    let ok = ResponseTemplate::new(200).set_body_string("{");
    Mock::given(header("authorization", bearer.as_str())).respond_with(ok).expect(1).mount(&server).await;
    let client = client_of(&server);
    let error = client.get::<Value>("/servers/1", &[]).await.unwrap_err();
    server.verify().await;
    let mut nowhere = client_at(&nobody());
    nowhere.limits.retry_timeout = Duration::from_millis(50);
    let down = nowhere.get::<Value>("/servers/1", &[]).await.unwrap_err();
    for shown in [format!("{client:?}"), format!("{error} {error:?}"), format!("{down} {down:?}")] {
        assert!(!shown.contains(TOKEN), "{shown}");
    }
}

#[tokio::test]
async fn the_rate_limit_is_read_from_every_reply() {
    let headers = |answer: ResponseTemplate, remaining: &str| {
        let answer = answer.insert_header("RateLimit-Limit", "3600").insert_header("RateLimit-Reset", "1800000000");
        answer.insert_header("RateLimit-Remaining", remaining)
    };
    let (_server, client) = answering(headers(ResponseTemplate::new(200).set_body_json(json!({})), "3599")).await;
    assert_eq!(client.rate_limit(), None);
    client.get::<Value>("/servers/1", &[]).await.unwrap();
    let expected = RateLimit { limit: 3600, remaining: 3599, reset_unix_s: 1_800_000_000 };
    assert_eq!(client.rate_limit(), Some(expected));
    let (_server, client) = answering(headers(refusal(404, "not_found", "no"), "17")).await;
    client.get::<Value>("/servers/1", &[]).await.unwrap_err();
    assert_eq!(client.rate_limit().unwrap().remaining, 17);
}

#[tokio::test]
async fn every_page_of_a_list_is_read() {
    let server = MockServer::start().await;
    let entries =
        |from: i64, to: i64| (from..=to).map(|id| json!({"id": id, "name": format!("v{id}")})).collect::<Vec<_>>();
    let page = |entries: Vec<Value>, next: Value| {
        let meta = json!({"pagination": {"next_page": next, "total_entries": 51}});
        ResponseTemplate::new(200).set_body_json(json!({"volumes": entries, "meta": meta}))
    };
    for (number, answer) in [("1", page(entries(1, 50), json!(2))), ("2", page(entries(51, 51), Value::Null))] {
        let asked =
            Mock::given(path("/v1/volumes")).and(query_param("page", number)).and(query_param("per_page", "50"));
        let asked = asked.and(query_param("label_selector", "firedrill.dev/cluster=firedrill-a3f"));
        asked.respond_with(answer).expect(1).mount(&server).await;
    }
    let client = client_of(&server);
    let all = client.resources(Kind::Volume, "firedrill.dev/cluster=firedrill-a3f").await.unwrap();
    assert_eq!(all.iter().map(|volume| volume.id).collect::<Vec<_>>(), (1..=51).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_list_that_never_ends_is_an_error() {
    let server = MockServer::start().await;
    let same = json!({"volumes": [], "meta": {"pagination": {"next_page": 1}}});
    Mock::given(path("/v1/volumes")).respond_with(ResponseTemplate::new(200).set_body_json(same)).mount(&server).await;
    let error = client_of(&server).resources(Kind::Volume, "a").await.unwrap_err();
    assert!(error.to_string().contains("page 1 is followed by page 1"), "{error}");
    let server = MockServer::start().await;
    Mock::given(path("/v1/volumes"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({})))
        .mount(&server)
        .await;
    let error = client_of(&server).resources(Kind::Volume, "a").await.unwrap_err();
    assert!(error.to_string().contains("it has no list `volumes`"), "an empty list is not guessed: {error}");
}

#[tokio::test]
async fn new_fields_and_values_fail_nothing() {
    let server = MockServer::start().await;
    let ips = json!({"primary_ips": [
        {"id": 1, "name": "a", "type": "ipv4", "ip": "192.0.2.1", "labels": {}, "assignee_id": null, "new": {"x": []},
         "assignee_type": "unassigned", "auto_delete": false, "created": "2026-12-01T00:00:00Z", "location": {"name": "fsn1"}},
        {"id": 2, "name": "b", "type": "ipv8", "ip": "x", "labels": null, "assignee_id": 5, "assignee_type": "load_balancer",
         "created": "2026-12-01T00:00:00Z", "location": {"name": "fsn1"}, "protection": null},
    ], "meta": {"pagination": {"next_page": null}}});
    Mock::given(path("/v1/primary_ips"))
        .respond_with(ResponseTemplate::new(200).set_body_json(ips))
        .mount(&server)
        .await;
    let found: Vec<PrimaryIp> = client_of(&server).list("/primary_ips", "primary_ips", &[]).await.unwrap();
    assert_eq!(found.iter().map(|ip| (ip.id, ip.assignee_id)).collect::<Vec<_>>(), [(1, None), (2, Some(5))]);
    let strict: Result<hcloud::models::PrimaryIp, _> = serde_json::from_value(json!({
        "assignee_id": null, "assignee_type": "unassigned", "auto_delete": false, "blocked": false, "id": 1, "ip": "192.0.2.1",
        "created": "2026-12-01T00:00:00Z", "dns_ptr": [], "labels": {}, "name": "a", "protection": {"delete": false}, "type": "ipv4",
    }));
    assert!(strict.is_err(), "hcloud reads it now: its types of replies can be looked at again");

    let server = json!({"id": 1, "name": "s", "status": "hibernating", "created": "2026-12-01T00:00:00Z",
        "server_type": {"name": "cx23"}, "location": {"name": "fsn1"}, "public_net": {"ipv4": null, "ipv6": null}});
    let server: Server = serde_json::from_value(server).unwrap();
    assert_eq!((server.status, server.ipv4()), (ServerStatus::Unknown, None));
    let without_location = json!({"id": 1, "name": "s", "status": "off", "created": "2026-12-01T00:00:00Z",
        "server_type": {"name": "cx23"}, "public_net": {}});
    assert!(serde_json::from_value::<Server>(without_location).is_err(), "a server without a location is not one");
}

#[tokio::test]
async fn a_server_is_made_as_the_api_documents_it() {
    let server = MockServer::start().await;
    let expected = json!({
        "name": "firedrill-a3f-worker-1", "server_type": "cx23", "location": "fsn1", "image": "7", "placement_group": 4,
        "firewalls": [{"firewall": 3}], "labels": labels("run-1"), "start_after_create": true,
        "public_net": {"enable_ipv4": true, "enable_ipv6": false}, "user_data": new_server().user_data.reveal(),
    });
    let made = json!({"id": 42, "name": "firedrill-a3f-worker-1", "status": "initializing", "labels": labels("run-1"),
        "created": "2026-12-01T00:00:00Z", "server_type": {"name": "cx23"}, "location": {"name": "fsn1"}, "locked": true,
        "public_net": {"ipv4": {"id": 8, "ip": "192.0.2.7", "blocked": false}, "ipv6": null}});
    let reply = json!({"server": made, "action": action_json(1, "create_server", "running"),
        "next_actions": [action_json(2, "start_server", "running")], "root_password": "r00tPassw0rd"});
    let post = Mock::given(method("POST")).and(path("/v1/servers")).and(body_partial_json(expected));
    post.respond_with(ResponseTemplate::new(201).set_body_json(reply)).expect(1).mount(&server).await;
    let made = client_of(&server).create_server(&new_server()).await.unwrap();
    assert_eq!((made.resource.id, made.resource.ipv4(), made.resource.primary_ips()), (42, Some("192.0.2.7"), vec![8]));
    assert_eq!(made.actions.iter().map(|action| action.id).collect::<Vec<_>>(), [1, 2]);
    let shown = format!("{made:?} {:?}", new_server());
    assert!(!shown.contains("r00tPassw0rd") && !shown.contains("s3cretOfTheAuthority"), "{shown}");
    assert_eq!(UserData::new("x".repeat(32 * 1024 + 1)), Err(32 * 1024 + 1));
}

#[tokio::test]
async fn a_lost_answer_makes_nothing_twice() {
    let double = Double::default();
    let server = double.start().await;
    let client = client_of(&server);
    // The gateway's answer comes instead of the API's, which has made the server.
    let id = double.add("servers", "firedrill-a3f-worker-1", &labels("run-1"), json!({}));
    double.fail("POST /servers", 1, ResponseTemplate::new(502));
    let made = client.create_server(&new_server()).await.unwrap();
    assert_eq!((made.resource.id, double.names().len()), (id, 1));
}

#[tokio::test]
async fn a_strangers_thing_of_the_same_name_is_not_taken() {
    for strangers in [Labels::new(), labels("another-run"), Labels::from([("team".to_owned(), "web".to_owned())])] {
        let double = Double::default();
        let server = double.start().await;
        double.add("servers", "firedrill-a3f-worker-1", &strangers, json!({}));
        let error = client_of(&server).create_server(&new_server()).await.unwrap_err();
        assert_eq!(error.code(), Some(&Code::UniquenessError), "{strangers:?}");
    }
}

fn action(id: i64, status: &str) -> Action {
    serde_json::from_value(action_json(id, "attach_volume", status)).unwrap()
}

async fn with_actions(actions: Value) -> (MockServer, Client) {
    let server = MockServer::start().await;
    let reply = ResponseTemplate::new(200).set_body_json(json!({"actions": actions}));
    Mock::given(path("/v1/actions")).respond_with(reply).mount(&server).await;
    let client = client_of(&server);
    (server, client)
}

#[tokio::test]
async fn thirty_actions_are_waited_for_in_two_requests_a_look() {
    let double = Double::default();
    let server = double.start().await;
    let client = client_of(&server);
    let id = double.add("servers", "s", &Labels::new(), json!({}));
    let mut actions = Vec::new();
    for _ in 0..30 {
        actions.push(client.act(Kind::Server, id, "reboot", &json!({})).await.unwrap());
    }
    double.fail("GET /actions", 2, refusal(429, "rate_limit_exceeded", "too many"));
    client.wait_for_actions(actions, LIMIT).await.unwrap();
    let looks = double.requests().iter().filter(|request| *request == "GET /actions").count();
    assert_eq!(looks, 2 + 2, "two of them were refused");
}

#[tokio::test]
async fn an_action_that_fails_says_why() {
    let (_server, client) = with_actions(json!([action_json(1, "attach_volume", "error")])).await;
    let error = client.wait_for_actions(vec![action(1, "running")], LIMIT).await.unwrap_err();
    assert_eq!(error.to_string(), "Hetzner's action attach_volume (1) failed: Unknown error (unknown_error)");
    assert_eq!(error.code(), Some(&Code::Other("unknown_error".to_owned())));
    let now = client.wait_for_actions(vec![action(1, "error")], LIMIT).await.unwrap_err();
    assert_eq!(now.to_string(), error.to_string(), "one that failed at once needs no look");
}

#[tokio::test]
async fn an_action_that_never_ends_ends_the_wait() {
    let (_server, client) = with_actions(json!([action_json(1, "attach_volume", "running")])).await;
    // On a busy machine the time is up before the first look: what is said is the same.
    let error = client.wait_for_actions(vec![action(1, "running")], Duration::from_millis(100)).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "Hetzner's action attach_volume (1) has not finished after 0 s (progress 50 %)", "{text}");
}

#[tokio::test]
async fn an_action_that_vanishes_is_no_success() {
    let (_server, client) = with_actions(json!([])).await;
    let error = client.wait_for_actions(vec![action(1, "running")], LIMIT).await.unwrap_err();
    assert!(matches!(error, ApiError::ActionGone { id: 1, .. }), "{error}");
    let (_server, client) = with_actions(json!([action_json(1, "attach_volume", "paused")])).await;
    let error = client.wait_for_actions(vec![action(1, "running")], Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, ApiError::ActionTimeout { .. }), "an unknown status is not an end: {error}");
}
