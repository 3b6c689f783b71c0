//! The doctor before the API double, and before APIs that are down, slow or of another time.

use super::*;
use hetzner_double::MemoryBackend;
use hetzner_double::config::{Config, Token as DoubleToken};
use serde_json::json;
use std::sync::Arc;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

const TOKEN: &str = "doctorsTokenThatNothingMayShow";
const READ_ONLY: &str = "doctorsReadOnlyTokenOfTheTests";
const OTHER: &str = "doctorsTokenOfAnotherProject";

async fn double(requests_per_hour: u32) -> hetzner_double::Double {
    let mut config = Config::new(TOKEN);
    let token = |secret: &str, project: &str, read_only| DoubleToken {
        secret: secret.to_owned(),
        project: project.to_owned(),
        read_only,
    };
    config.tokens.extend([token(READ_ONLY, "default", true), token(OTHER, "other", false)]);
    config.limits.requests_per_hour = requests_per_hour;
    hetzner_double::Double::start(config, Arc::new(MemoryBackend::default())).await.unwrap()
}

fn patience() -> Patience {
    let wait = Duration::from_millis(5);
    let limits = Limits {
        request_timeout: Duration::from_secs(5),
        retry_timeout: Duration::from_secs(5),
        retry_wait: wait,
        retry_wait_max: wait,
        poll_wait: wait,
    };
    Patience { limits, slow_after: Duration::from_secs(5) }
}

async fn examined(address: &str, token: &str, patience: Patience) -> Vec<Check> {
    let endpoint = Endpoint::of_test(&format!("{address}/v1"), None);
    let checks = examine_api(&endpoint, &Token::parse(token, "test").unwrap(), patience).await;
    for check in &checks {
        assert_eq!(check.remedy.is_none(), check.state == State::Ok, "{check:?}");
        for secret in [TOKEN, READ_ONLY, OTHER] {
            assert!(!format!("{check:?}").contains(secret), "{check:?}");
        }
    }
    checks
}

async fn by_double(token: &str) -> Vec<Check> {
    let double = double(3600).await;
    let address = format!("http://{}", double.api);
    let endpoint = Endpoint::of_test(&format!("{address}/v1"), None);
    let client = Client::new(&endpoint, &Token::parse(TOKEN, "test").unwrap(), patience().limits).unwrap();
    for (name, labels) in [("web", json!({})), ("worker", json!({"firedrill.dev/cluster": "firedrill-a3f"}))] {
        let body = json!({"name": name, "server_type": "cx23", "image": "debian-13", "labels": labels});
        let _: Value = client.post("/servers", &body).await.unwrap();
    }
    let checks = examined(&address, token, patience()).await;
    let groups: Value = client.get("/placement_groups", &[]).await.unwrap();
    assert_eq!(groups["placement_groups"], json!([]), "the doctor creates nothing");
    checks
}

#[track_caller]
fn check<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}: {checks:#?}"))
}

fn names(checks: &[Check], state: State) -> Vec<&str> {
    checks.iter().filter(|check| check.state == state).map(|check| check.name.as_str()).collect()
}

#[tokio::test]
async fn with_a_good_token_all_but_the_quota_is_known() {
    let checks = by_double(TOKEN).await;
    assert_eq!(names(&checks, State::Failed), Vec::<&str>::new());
    assert_eq!(names(&checks, State::Warning), ["quota"]);
    let found = |name: &str| check(&checks, name).found.as_str();
    assert!(found("API").starts_with("answered in "), "{}", found("API"));
    assert_eq!((found("token"), found("permission")), ("valid", "Read & Write"));
    let project = found("project");
    assert!(project.starts_with("the token's project has 2 servers (1 of firedrill), 0 volumes, "), "{project}");
    assert!(found("clock").contains("the API's"), "{}", found("clock"));
    assert!(found("server types").contains("fsn1: cx23"), "{}", found("server types"));
    assert!(found("image").starts_with("debian-13 (x86) is image "), "{}", found("image"));
    let prices = found("prices");
    assert!(prices.contains("EUR each begun hour for 4 x cx23 with IPv4 in "), "{prices}");
    assert!(found("rate limit").ends_with(" of 3600 requests left"), "{}", found("rate limit"));
}

#[tokio::test]
async fn a_wrong_token_is_told_from_a_read_only_one_and_from_another_projects() {
    let wrong = by_double("wrongTokenThatNobodyKnows").await;
    assert_eq!(names(&wrong, State::Failed), ["token"]);
    assert_eq!(check(&wrong, "token").found, "the token you have provided is invalid");
    assert_eq!(check(&wrong, "API").state, State::Ok, "it was reached");
    let read_only = by_double(READ_ONLY).await;
    assert_eq!(names(&read_only, State::Failed), ["permission"]);
    assert_eq!(check(&read_only, "permission").found, "the token is read-only");
    assert_eq!(check(&read_only, "token").found, "valid");
    let other = by_double(OTHER).await;
    assert_eq!(names(&other, State::Failed), Vec::<&str>::new());
    let found = "the token's project has 0 servers (0 of firedrill), 0 volumes, 0 Primary IPs";
    assert_eq!(check(&other, "project").found, found);
}

#[tokio::test]
async fn an_api_that_is_down_is_one_line() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let hangs = Limits { request_timeout: Duration::from_millis(200), ..patience().limits };
    let checks = examined(&address, TOKEN, Patience { limits: hangs, ..patience() }).await;
    assert_eq!((checks.len(), checks[0].name.as_str(), checks[0].state), (1, "API", State::Failed), "{checks:#?}");
    drop(listener);
    let checks = examined(&address, TOKEN, patience()).await;
    assert_eq!((checks.len(), checks[0].state), (1, State::Failed), "{checks:#?}");
    assert!(checks[0].found.contains("does not answer GET /locations"), "{}", checks[0].found);
    let api = MockServer::start().await;
    Mock::given(matchers::any()).respond_with(ResponseTemplate::new(502)).mount(&api).await;
    let checks = examined(&api.uri(), TOKEN, patience()).await;
    assert_eq!((checks.len(), checks[0].state), (1, State::Failed), "{checks:#?}");
    assert!(checks[0].found.contains("HTTP 502"), "{}", checks[0].found);
}

#[tokio::test]
async fn a_slow_api_and_a_clock_that_is_off_are_warnings() {
    let api = MockServer::start().await;
    let locations = ResponseTemplate::new(200).set_body_json(json!({"locations": []}));
    let locations =
        locations.set_delay(Duration::from_millis(60)).insert_header("date", "Tue, 01 Dec 2020 00:00:00 GMT");
    let place = matchers::path("/v1/locations");
    Mock::given(place).respond_with(locations).mount(&api).await;
    let checks = examined(&api.uri(), TOKEN, Patience { slow_after: Duration::from_millis(50), ..patience() }).await;
    assert_eq!(check(&checks, "API").state, State::Warning);
    let clock = check(&checks, "clock");
    assert!(clock.state == State::Warning && clock.found.ends_with(" s ahead of the API's"), "{clock:?}");
    // Everything else of this API is missing: nothing of it is taken for good.
    assert_eq!(names(&checks, State::Ok), ["token"]);
    assert!(check(&checks, "permission").found.starts_with("unknown: "), "{checks:#?}");
}

#[tokio::test]
async fn requests_that_others_used_up_are_a_warning() {
    let double = double(60).await;
    let checks = examined(&format!("http://{}", double.api), TOKEN, patience()).await;
    let rate = check(&checks, "rate limit");
    assert!(rate.state == State::Warning && rate.found.ends_with(" of 60 requests left"), "{rate:?}");
}

#[test]
fn clocks_are_compared_in_whole_seconds() {
    let at = |date: &str| {
        let headers: HeaderMap = [(header::DATE, date.parse().unwrap())].into_iter().collect();
        clock_check(&headers, "2026-12-01T12:00:00.9Z".parse().unwrap(), Duration::from_millis(300))
    };
    assert_eq!(at("Tue, 01 Dec 2026 12:00:00 GMT").found, "as the API's, within 1 s");
    assert_eq!(at("Tue, 01 Dec 2026 12:00:01 GMT").found, "as the API's, within 1 s");
    assert_eq!(at("Tue, 01 Dec 2026 12:00:20 GMT").found, "20 s behind the API's");
    assert_eq!(at("Tue, 01 Dec 2026 11:59:00 GMT").state, State::Warning);
    assert_eq!(at("yesterday").state, State::Warning);
}
