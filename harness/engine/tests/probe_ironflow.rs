//! The Ironflow probe and its ledger against the documented API, answered by a double.

mod probe_support;

use firedrill_core::sample::{Cause, Connection, Outcome, Sample};
use firedrill_engine::ledger::{LedgerError, read_back};
use firedrill_engine::probe::{Endpoint, IronflowEndpoint};
use probe_support::{MS, Probing, spec};
use serde_json::{Value, json};
use std::time::Duration;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const SERVICE: &str = "/ironflow.v1.IronflowService";
const TIMEOUT: Duration = Duration::from_millis(600);

async fn answers(server: &MockServer, call: &str, status: u16, body: Value) {
    Mock::given(method("POST"))
        .and(path(format!("{SERVICE}/{call}")))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(server)
        .await;
}

async fn probed(server: &MockServer) -> Vec<Sample> {
    probed_with(server, 0).await
}

async fn probed_with(server: &MockServer, payload_kib: u32) -> Vec<Sample> {
    let (event, key_prefix) = ("drill.tick".to_owned(), "r1".to_owned());
    let endpoint = Endpoint::Ironflow(IronflowEndpoint { base_url: server.uri(), event, key_prefix, payload_kib });
    let probing = Probing::start(vec![spec(endpoint, Connection::Reused, 50 * MS, TIMEOUT)]);
    probing.wait(220 * MS).await;
    let mut samples = probing.end().await;
    // What a busy machine never sent says nothing of the server.
    samples.retain(|sample| sample.outcome != Outcome::Stalled);
    assert!(!samples.is_empty());
    samples
}

fn all(samples: &[Sample], wanted: Outcome) {
    assert!(samples.iter().all(|sample| sample.outcome == wanted), "{samples:?}");
}

fn failed(cause: Cause, code: u16, maybe_applied: bool) -> Outcome {
    Outcome::Failed { cause, code, maybe_applied }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_counts_once_it_has_completed() {
    let server = MockServer::start().await;
    answers(&server, "Trigger", 200, json!({"runIds": ["run-1"], "eventId": "e"})).await;
    answers(&server, "GetRun", 200, json!({"id": "run-1", "status": "completed"})).await;
    let samples = probed(&server).await;
    all(&samples, Outcome::Ok);
    let requests = server.received_requests().await.unwrap();
    let triggers: Vec<Value> =
        requests.iter().filter(|r| r.url.path().ends_with("Trigger")).map(|r| r.body_json().unwrap()).collect();
    assert_eq!(triggers.len(), samples.len());
    let first = triggers.iter().find(|trigger| trigger["data"]["seq"] == 0).unwrap();
    assert_eq!(
        *first,
        json!({"event": "drill.tick", "idempotencyKey": "r1-0-0", "data": {"drill": "r1", "series": 0, "seq": 0}})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_is_as_large_as_it_says() {
    let server = MockServer::start().await;
    answers(&server, "Trigger", 200, json!({"runIds": ["run-1"], "eventId": "e"})).await;
    answers(&server, "GetRun", 200, json!({"id": "run-1", "status": "completed"})).await;
    all(&probed_with(&server, 3).await, Outcome::Ok);
    let requests = server.received_requests().await.unwrap();
    let trigger: Value = requests.iter().find(|r| r.url.path().ends_with("Trigger")).unwrap().body_json().unwrap();
    assert_eq!(trigger["data"]["filler"].as_str().unwrap().len(), 3 * 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_does_not_complete_may_be_there_all_the_same() {
    let server = MockServer::start().await;
    answers(&server, "Trigger", 200, json!({"runIds": ["run-1"], "eventId": "e"})).await;
    answers(&server, "GetRun", 200, json!({"id": "run-1", "status": "running"})).await;
    let samples = probed(&server).await;
    all(&samples, failed(Cause::Timeout, 0, true));
    assert!(samples.iter().all(|sample| sample.ended.since(sample.started) >= TIMEOUT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_from_a_doubt() {
    for (status, wanted) in [(503, failed(Cause::Status, 503, true)), (400, failed(Cause::Status, 400, false))] {
        let server = MockServer::start().await;
        answers(&server, "Trigger", status, json!({"code": "x", "message": "y"})).await;
        all(&probed(&server).await, wanted);
    }
    let server = MockServer::start().await;
    answers(&server, "Trigger", 200, json!({"runIds": ["run-1"], "eventId": "e"})).await;
    answers(&server, "GetRun", 200, json!({"id": "run-1", "status": "failed"})).await;
    all(&probed(&server).await, failed(Cause::Unavailable, 0, true));
}

/// Three pages of two runs, newest first; the total is what the server says it is.
async fn pages(total: u64) -> MockServer {
    let server = MockServer::start().await;
    let run = |seq: u64, drill: &str, status: &str| json!({"id": format!("run-{seq}"), "status": status, "input": {"drill": drill, "series": 2, "seq": seq}});
    let all = [
        run(9, "r1", "running"),
        run(8, "r1", "completed"),
        run(8, "r1", "completed"),
        run(7, "another", "completed"),
        json!({"id": "x", "status": "completed", "input": {"hello": 1}}),
        run(3, "r1", "completed"),
    ];
    let respond = move |request: &Request| {
        let from = request.body_json::<Value>().unwrap()["cursor"].as_str().map_or(0, |c| c.parse::<usize>().unwrap());
        let next = (from + 2 < all.len()).then(|| (from + 2).to_string());
        let body = json!({"runs": all[from..from + 2], "nextCursor": next, "totalCount": total});
        ResponseTemplate::new(200).set_body_json(body)
    };
    Mock::given(path(format!("{SERVICE}/ListRuns"))).respond_with(respond).mount(&server).await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_listed_to_the_end_and_only_completed_ones_are_found() {
    let read = async |total: u64| {
        let server = pages(total).await;
        let store = Endpoint::Ironflow(IronflowEndpoint {
            base_url: server.uri(),
            event: "e".to_owned(),
            key_prefix: "r1".to_owned(),
            payload_kib: 0,
        });
        read_back(&store, Duration::from_secs(5)).await
    };
    let found = read(6).await.unwrap();
    let writes: Vec<_> = found.writes().iter().map(|write| (write.series, write.seq, write.count)).collect();
    assert_eq!(writes, [(2, 3, 1), (2, 8, 2)]);
    assert_eq!(found.unfinished(), [(2, 9)]);
    let short = read(7).await;
    assert!(matches!(short, Err(LedgerError::Incomplete { read: 6, there: 7 })), "{short:?}");
}
