//! Tests of removal, beside strangers' resources and with failures.

use super::*;
use crate::provider::hetzner::client::{Double, client_of, refusal};
use crate::provider::hetzner::labels::{Labels, Mark};
use wiremock::ResponseTemplate;

const LIMIT: Duration = Duration::from_secs(30);
const NOW: i64 = 1_800_000_000;

fn labels(cluster: &str, expires_unix_s: i64) -> Labels {
    let mark = Mark { cluster: cluster.to_owned(), run: "run-1".to_owned(), owner: "ann".to_owned(), expires_unix_s };
    mark.labels().unwrap()
}

/// Adds a cluster with every kind of resource.
fn project(double: &Double, cluster: &str, expires_unix_s: i64) {
    let own = labels(cluster, expires_unix_s);
    let server = double.add("servers", &format!("{cluster}-worker-1"), &own, json!({}));
    double.add("volumes", "pvc-1", &own, json!({"server": server}));
    double.add("volumes", "pvc-2", &own, json!({"server": null}));
    double.add("primary_ips", "address", &own, json!({"assignee_id": server, "auto_delete": false}));
    for kind in ["firewalls", "networks", "placement_groups", "ssh_keys"] {
        double.add(kind, cluster, &own, json!({}));
    }
}

fn strangers(double: &Double) -> Vec<String> {
    let web = Labels::from([("team".to_owned(), "web".to_owned())]);
    let alike = Labels::from([("firedrill.dev/cluster".to_owned(), "production".to_owned())]);
    let server = double.add("servers", "web-1", &web, json!({}));
    double.add("volumes", "pvc-of-web", &Labels::new(), json!({"server": server}));
    double.add("servers", "firedrill-a3f-looks-alike", &alike, json!({}));
    for kind in ["primary_ips", "firewalls", "networks", "placement_groups", "ssh_keys"] {
        double.add(kind, "web", &web, json!({"assignee_id": server}));
    }
    double.names()
}

async fn run(double: &Double, scope: Scope, limit: Duration) -> (Result<RemovalReport, RemoveError>, Vec<String>) {
    let server = double.start().await;
    let client = client_of(&server);
    let mut lines = Vec::new();
    let outcome = remove(&client, &scope, limit, &mut |line| lines.push(line)).await;
    (outcome, lines)
}

fn one(cluster: &str) -> Scope {
    Scope::Cluster(cluster.to_owned())
}

#[tokio::test]
async fn everything_of_a_cluster_goes_in_order_and_nothing_else() {
    let double = Double::default();
    let others = strangers(&double);
    project(&double, "firedrill-a3f", NOW);
    let (outcome, lines) = run(&double, one("firedrill-a3f"), LIMIT).await;
    let removed = outcome.unwrap();
    assert_eq!(double.names(), others);
    assert_eq!((removed.deleted.len(), removed.kept.len(), lines.len()), (8, 0, 8), "{lines:?}");
    let changes = double.changes();
    let at = |text: &str| changes.iter().position(|change| change.contains(text)).unwrap();
    let order = ["/servers/", "/volumes/", "/primary_ips/", "/firewalls/", "/networks/", "/placement_groups/"];
    assert!(order.is_sorted_by_key(|text| at(text)), "{changes:?}");
}

#[tokio::test]
async fn a_second_time_is_harmless() {
    let double = Double::default();
    let (outcome, lines) = run(&double, one("firedrill-a3f"), LIMIT).await;
    assert_eq!((outcome.unwrap(), lines), (RemovalReport::default(), Vec::new()));
    assert!(double.changes().is_empty());
}

#[tokio::test]
async fn a_sweep_takes_only_what_expired() {
    let double = Double::default();
    let others = strangers(&double);
    double.add("servers", "fresh", &labels("firedrill-bbb", NOW + 1), json!({}));
    let mut changed = labels("firedrill-ccc", NOW - 1);
    changed.insert("firedrill.dev/expires".to_owned(), "never".to_owned());
    double.add("servers", "changed", &changed, json!({}));
    let before = double.names();
    project(&double, "firedrill-a3f", NOW);
    let (outcome, _) = run(&double, Scope::Expired { now_unix_s: NOW }, LIMIT).await;
    assert_eq!(outcome.unwrap().deleted.len(), 8);
    assert_eq!(double.names(), before);
    assert!(others.iter().all(|other| before.contains(other)));
    // By its name, the one with the changed label goes as well.
    let (outcome, _) = run(&double, one("firedrill-ccc"), LIMIT).await;
    assert_eq!(outcome.unwrap().deleted.len(), 1);
}

#[tokio::test]
async fn an_api_that_ignores_the_selector_deletes_nothing_of_others() {
    let double = Double::default();
    let id = double.add("servers", "web-1", &Labels::new(), json!({}));
    let all = json!({"servers": [double.thing("servers", id).unwrap()], "meta": {"pagination": {"next_page": null}}});
    double.fail("GET /servers", 9, ResponseTemplate::new(200).set_body_json(all));
    let (outcome, _) = run(&double, one("firedrill-a3f"), LIMIT).await;
    assert_eq!(outcome.unwrap(), RemovalReport::default());
    assert!(double.changes().is_empty());
}

#[tokio::test]
async fn what_is_refused_at_first_is_tried_again() {
    let double = Double::default();
    project(&double, "firedrill-a3f", NOW);
    double.fail("DELETE /volumes", 1, refusal(500, "unknown_error", "Unknown error"));
    double.fail("DELETE /firewalls", 1, refusal(409, "resource_in_use", "firewall is still in use"));
    let (outcome, lines) = run(&double, one("firedrill-a3f"), LIMIT).await;
    assert_eq!(outcome.unwrap().deleted.len(), 8);
    assert!(double.names().is_empty());
    assert!(lines.iter().any(|line| line.starts_with("still there: ") && line.contains("firewall")), "{lines:?}");
}

#[tokio::test]
async fn what_is_left_is_named_with_the_reason() {
    let double = Double::default();
    let own = labels("firedrill-a3f", NOW);
    double.add("volumes", "pvc-1", &own, json!({"protection": {"delete": true}, "server": null}));
    let (outcome, _) = run(&double, one("firedrill-a3f"), Duration::from_millis(500)).await;
    let text = outcome.unwrap_err().to_string();
    assert!(text.starts_with("still there: volume pvc-1 (1); Hetzner refused DELETE /volumes/1"), "{text}");
    assert!(text.contains("disable-protection"), "{text}");
}

#[tokio::test]
async fn a_detach_that_never_ends_ends_at_the_limit() {
    let double = Double::default();
    let stranger = double.add("servers", "not-ours", &Labels::new(), json!({}));
    double.add("volumes", "pvc-1", &labels("firedrill-a3f", NOW), json!({"server": stranger}));
    double.hold_actions();
    let (outcome, _) = run(&double, one("firedrill-a3f"), Duration::from_millis(500)).await;
    let text = outcome.unwrap_err().to_string();
    assert!(text.starts_with("still there: volume pvc-1 (2)"), "{text}");
}

#[tokio::test]
async fn a_token_that_may_not_fails_at_once_and_proves_nothing() {
    let double = Double::default();
    project(&double, "firedrill-a3f", NOW);
    double.fail("DELETE", 99, refusal(403, "forbidden", "token is only allowed to perform GET requests"));
    let (outcome, _) = run(&double, one("firedrill-a3f"), LIMIT).await;
    let text = outcome.unwrap_err().to_string();
    assert!(
        text.starts_with("still there: server firedrill-a3f-worker-1 (1), ") && text.contains("Read & Write"),
        "{text}"
    );
    assert_eq!(double.changes().len(), 1, "no further one is tried");
    let double = Double::default();
    double.fail("GET /volumes", 99, refusal(401, "unauthorized", "invalid"));
    let (outcome, _) = run(&double, one("firedrill-a3f"), LIMIT).await;
    assert!(matches!(outcome, Err(RemoveError::Unknown(_))), "a list that fails is not an empty one");
}

#[tokio::test]
async fn what_a_server_had_without_our_label_is_said() {
    let double = Double::default();
    let other = double.add("volumes", "data-of-somebody", &Labels::new(), json!({}));
    let own = labels("firedrill-a3f", NOW);
    let net = json!({"ipv4": {"id": 77, "ip": "192.0.2.7"}, "ipv6": null});
    double.add("servers", "firedrill-a3f-worker-1", &own, json!({"volumes": [other], "public_net": net}));
    let (outcome, _) = run(&double, one("firedrill-a3f"), LIMIT).await;
    let kept = outcome.unwrap().kept;
    assert_eq!(kept, [ListedResource { kind: Kind::Volume, id: other, name: "data-of-somebody".to_owned() }]);
    assert!(double.thing("volumes", other).is_some());
}
