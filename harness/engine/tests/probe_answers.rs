//! What probes make of servers that answer otherwise than hoped: logins, redirects, answers without an end, missing rights,
//! poolers, and several hosts.

mod probe_support;

use firedrill_core::judge::outage::SeriesSummary;
use firedrill_core::sample::{Cause, Connection, Outcome, Sample};
use firedrill_engine::probe::{
    Endpoint, HttpEndpoint, NatsEndpoint, PostgresEndpoint, PostgresReadEndpoint, ProbeSpec, Watched, watch,
};
use probe_support::fakes::{Fake, silent};
use probe_support::{MS, Probing, spec};
use std::time::Duration;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const TIMEOUT: Duration = Duration::from_millis(600);

/// What a few attempts saw. Those that a busy machine never sent say nothing of the server.
async fn probed(endpoint: Endpoint, connection: Connection) -> Vec<Sample> {
    let probing = Probing::start(vec![spec(endpoint, connection, 50 * MS, TIMEOUT)]);
    probing.wait(320 * MS).await;
    let mut samples = probing.end().await;
    samples.retain(|sample| sample.outcome != Outcome::Stalled);
    assert!(!samples.is_empty());
    samples
}

async fn watched(endpoint: Endpoint) -> (SeriesSummary, Watched) {
    let specs = vec![spec(endpoint, Connection::New, 50 * MS, TIMEOUT)];
    let watched = watch(specs, 100 * MS, 300 * MS, std::future::pending()).await.unwrap();
    (watched.series[0].clone(), watched)
}

fn all(samples: &[Sample], wanted: Outcome) {
    assert!(samples.iter().all(|sample| sample.outcome == wanted), "{wanted:?} is wanted: {samples:?}");
}

const fn failed(cause: Cause, code: u16, maybe_applied: bool) -> Outcome {
    Outcome::Failed { cause, code, maybe_applied }
}

fn http(place: impl std::fmt::Display, body: Option<&str>) -> Endpoint {
    Endpoint::Http(HttpEndpoint { url: format!("http://{place}/"), status: 200, body: body.map(str::to_owned) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_in_a_url_is_sent() {
    let server = MockServer::start().await;
    // user:p@ss%
    let authorized = Mock::given(method("GET")).and(header("authorization", "Basic dXNlcjpwQHNzJQ=="));
    authorized.respond_with(ResponseTemplate::new(200)).with_priority(1).mount(&server).await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    for connection in [Connection::New, Connection::Reused] {
        let address = server.address();
        all(&probed(http(format!("user:p%40ss%25@{address}"), None), connection).await, Outcome::Ok);
        all(&probed(http(address, None), connection).await, failed(Cause::Status, 401, false));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed_and_named() {
    let server = MockServer::start().await;
    let away = ResponseTemplate::new(302).insert_header("location", "https://user:secret@elsewhere/login?token=secret");
    Mock::given(path("/")).respond_with(away).mount(&server).await;
    let (seen, watched) = watched(http(server.address(), None)).await;
    assert_eq!(seen.causes.keys().collect::<Vec<_>>(), [&Cause::Status]);
    assert_eq!((seen.failures[0].code, seen.details[0].code), (302, 302));
    let remark = watched.remarks.on(0, Cause::Status, 302).unwrap();
    assert_eq!(remark, "redirect 302 to https://***@elsewhere/login?*** (not followed)");
    assert!(server.received_requests().await.unwrap().iter().all(|request| request.url.path() == "/"));
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_an_end_is_decided_early() {
    // The text is never in one piece.
    let server = Fake::endless(EVENTS, b"lo\n\ndata: hel").await;
    for connection in [Connection::New, Connection::Reused] {
        for body in [None, Some("hello"), Some("hello\n\ndata: hello")] {
            all(&probed(http(server.address, body), connection).await, Outcome::Ok);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_an_end_is_not_searched_without_one() {
    static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
    let server = Fake::endless(EVENTS, &PIECE).await;
    let samples = probed(http(server.address, Some("hello")), Connection::New).await;
    let decided = |sample: &Sample| sample.outcome == failed(Cause::Body, 200, false);
    assert!(samples.iter().any(decided), "at the limit, and not at the timeout: {samples:?}");
    // A chunked body that ends without the text, and one that breaks off in the middle of it.
    let broken = Fake::endless("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\nzz\r\n", b"").await;
    all(&probed(http(broken.address, None), Connection::New).await, Outcome::Ok);
    let samples = probed(http(broken.address, Some("hello")), Connection::New).await;
    assert!(samples.iter().all(|sample| !sample.is_ok()), "{samples:?}");
}

fn nats(login: &str, server: &Fake, inbox_prefix: Option<&str>) -> Endpoint {
    Endpoint::Nats(NatsEndpoint {
        url: format!("nats://{login}{}", server.address),
        inbox_prefix: inbox_prefix.map(str::to_owned),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_login_is_decoded() {
    let server = Fake::nats(Some(("user", "p#@:%")), "").await;
    all(&probed(nats("user:p%23%40%3A%25@", &server, None), Connection::Reused).await, Outcome::Ok);
    let (seen, watched) = watched(nats("user:wrong@", &server, None)).await;
    assert_eq!(seen.causes.keys().collect::<Vec<_>>(), [&Cause::Protocol]);
    assert_eq!(watched.remarks.on(0, Cause::Protocol, 0).as_deref(), Some("login refused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_user_without_rights_on_inboxes_is_told_so() {
    let server = Fake::nats(None, "_INBOX.").await;
    let (seen, watched) = watched(nats("", &server, None)).await;
    assert_eq!(seen.causes.keys().collect::<Vec<_>>(), [&Cause::Denied], "{seen:?}");
    let remark = watched.remarks.on(0, Cause::Denied, 0);
    assert_eq!(remark.as_deref(), Some("permission denied for subscription to _INBOX.>"));
    all(&probed(nats("", &server, Some("mine.answers")), Connection::New).await, Outcome::Ok);
    assert!(server.heard.lock().unwrap().iter().any(|heard| heard.starts_with("mine.answers.")));
    let mut wrong = spec(nats("", &server, Some("mine.>")), Connection::New, 50 * MS, TIMEOUT);
    assert!(wrong.check().is_err());
    wrong.endpoint = nats("", &server, None);
    assert_eq!(wrong.check(), Ok(()));
}

fn postgres(hosts: &str, parameters: &str, table: Option<&str>) -> Endpoint {
    let url = format!("postgres://app:p%40ss@{hosts}/db{parameters}");
    match table {
        Some(table) => Endpoint::Postgres(PostgresEndpoint { url, table: table.to_owned() }),
        None => Endpoint::PostgresRead(PostgresReadEndpoint { url }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_transaction_mode_is_no_outage() {
    let server = Fake::pooler(false).await;
    let place = server.address.to_string();
    for connection in [Connection::New, Connection::Reused] {
        all(&probed(postgres(&place, "", None), connection).await, Outcome::Ok);
        all(&probed(postgres(&place, "", Some("drill_1")), connection).await, Outcome::Ok);
    }
    let heard = server.heard.lock().unwrap();
    assert!(heard.iter().any(|text| text == "INSERT INTO drill_1 (series, seq) VALUES (0, 0)"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_that_is_wanted_is_found_among_several() {
    let (standby, primary) = (Fake::pooler(true).await, Fake::pooler(false).await);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let hosts = format!("{closed},{},{}", standby.address, primary.address);
    let insert = |wanted: &str| postgres(&hosts, &format!("?target_session_attrs={wanted}"), Some("t"));
    for wanted in ["read-write", "primary"] {
        all(&probed(insert(wanted), Connection::New).await, Outcome::Ok);
    }
    for wanted in ["any", "read-only", "standby"] {
        all(&probed(insert(wanted), Connection::New).await, failed(Cause::Unavailable, 25, false));
    }
    let only_standby = postgres(&standby.address.to_string(), "?target_session_attrs=read-write", None);
    let (seen, watched) = watched(only_standby).await;
    assert_eq!(seen.causes.keys().collect::<Vec<_>>(), [&Cause::Unavailable]);
    assert_eq!(watched.remarks.on(0, Cause::Unavailable, 25).as_deref(), Some("no host is read-write"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_host_does_not_hide_the_next() {
    let (silent, _listener, _filling) = silent().await;
    let primary = Fake::pooler(false).await;
    let hosts = format!("{silent},{}", primary.address);
    all(&probed(postgres(&hosts, "?target_session_attrs=read-write", None), Connection::New).await, Outcome::Ok);
}

#[tokio::test]
async fn parameters_that_are_not_supported_are_refused() {
    let check = |parameters: &str| {
        let endpoint = postgres("h", parameters, None);
        let checked: Result<(), _> = ProbeSpec::check(&spec(endpoint, Connection::New, 50 * MS, TIMEOUT));
        checked.map_err(|error| error.to_string())
    };
    let error = check("?gssencmode=disable").unwrap_err();
    assert!(error.contains("`gssencmode`") && !error.contains("p%40ss"), "{error}");
    assert_eq!(check("?sslmode=disable&application_name=x"), Ok(()));
}
