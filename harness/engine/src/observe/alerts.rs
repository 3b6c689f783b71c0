//! What Prometheus says of the alerts, asked through the API server.

use crate::cluster::Cluster;
use firedrill_core::alert::{self, AlertState};
use firedrill_core::event::Observation;
use firedrill_core::scenario::ExpectedAlert;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval};

/// Where `firedrill up` puts it (`fixtures/monitoring`).
const NAMESPACE: &str = "monitoring";
const SERVICE: &str = "services/prometheus:9090";
/// One page tells of every rule, of its alerts, and whether it can be evaluated at all.
const RULES: &str = "api/v1/rules?type=alert";
/// Time between two looks, so that no more than this lies between an alert and its record.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Prometheus evaluates its rules so often: an alert that fires does so for this long at least, and a shorter silence hides none.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// The longest detail of an alert that is told, in characters.
const DETAIL_MAX: usize = 200;
/// Labels that say nothing of where an alert is from.
const LABELS_OF_RULES: [&str; 3] = ["alertname", "job", "severity"];

/// `/api/v1/rules`.
#[derive(Debug, Deserialize)]
struct Page {
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: String,
    /// `ok`, `err`, or `unknown` before it was evaluated once.
    health: String,
    #[serde(default)]
    last_error: String,
    #[serde(default)]
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: BTreeMap<String, String>,
    /// `pending` or `firing`; what is neither is not listed.
    state: String,
    /// Since when the condition holds.
    active_at: String,
}

/// Every alert by name, with what Prometheus says of it.
type Alerts = BTreeMap<String, (AlertState, String)>;

async fn look(cluster: &Cluster) -> Result<Alerts, String> {
    let (status, body) = cluster.page(NAMESPACE, SERVICE, RULES).await?;
    match status {
        200 => alerts(&body),
        404 => Err(format!("this cluster has no {SERVICE} in namespace {NAMESPACE}")),
        status => Err(format!("status {status}")),
    }
}

fn alerts(body: &[u8]) -> Result<Alerts, String> {
    let page: Page = serde_json::from_slice(body).map_err(|error| format!("its answer is not readable: {error}"))?;
    let mut all = Alerts::new();
    for rule in page.data.groups.iter().flat_map(|group| &group.rules) {
        let told = told(rule);
        let rank = |state: &AlertState| match state {
            AlertState::Inactive => 0,
            AlertState::Pending => 1,
            AlertState::Unknown { .. } => 2,
            AlertState::Firing => 3,
        };
        // Several rules may raise one alert.
        match all.get(&rule.name) {
            Some((known, _)) if rank(known) >= rank(&told.0) => {}
            _ => {
                all.insert(rule.name.clone(), told);
            }
        }
    }
    Ok(all)
}

/// The state of a rule's alerts together: that of the worst.
fn told(rule: &Rule) -> (AlertState, String) {
    let why = match rule.health.as_str() {
        "ok" => None,
        "err" => Some(format!("its rule cannot be evaluated: {}", rule.last_error)),
        _ => Some("its rule was not evaluated yet".to_owned()),
    };
    if let Some(why) = why {
        return (AlertState::Unknown { why }, String::new());
    }
    for (name, state) in [("firing", AlertState::Firing), ("pending", AlertState::Pending)] {
        let mut of_state: Vec<_> = rule.alerts.iter().filter(|alert| alert.state == name).collect();
        of_state.sort_by(|a, b| a.active_at.cmp(&b.active_at).then_with(|| a.labels.cmp(&b.labels)));
        let Some(first) = of_state.first() else { continue };
        let of: Vec<String> = of_state.iter().map(|alert| origin(&alert.labels)).filter(|of| !of.is_empty()).collect();
        let of = if of.is_empty() { String::new() } else { format!(": {}", of.join("; ")) };
        let detail = format!("active since {}{of}", first.active_at);
        return (state, detail.chars().take(DETAIL_MAX).collect());
    }
    (AlertState::Inactive, String::new())
}

fn origin(labels: &BTreeMap<String, String>) -> String {
    let told = labels.iter().filter(|(name, _)| !LABELS_OF_RULES.contains(&name.as_str()));
    told.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// What Prometheus says of an alert that is pending or fires; `None` where its condition does not hold.
///
/// # Errors
/// Where Prometheus does not answer, has no such rule or cannot evaluate it, for people.
pub(super) async fn active(cluster: &Cluster, name: &str) -> Result<Option<String>, String> {
    match look(cluster).await?.remove(name) {
        Some((AlertState::Inactive, _)) => Ok(None),
        Some((state @ (AlertState::Pending | AlertState::Firing), detail)) => {
            Ok(Some(format!("alert {name} is {state}, {detail}")))
        }
        Some((AlertState::Unknown { why }, _)) => Err(why),
        None => Err(format!("Prometheus has no rule {name}")),
    }
}

/// What keeps these alerts from being waited for: Prometheus does not answer, has no such rule, or one is active already.
pub async fn not_quiet(cluster: &Cluster, expected: &[ExpectedAlert]) -> Vec<String> {
    let all = match look(cluster).await {
        Ok(all) => all,
        Err(why) => return vec![format!("Prometheus does not answer: {why}")],
    };
    let of = |alert: &ExpectedAlert| match all.get(&alert.fires).map(|(state, _)| state) {
        Some(AlertState::Inactive) => None,
        Some(state) => Some(format!("alert {} is {state}", alert.fires)),
        None => Some(format!("Prometheus has no rule {}", alert.fires)),
    };
    expected.iter().filter_map(of).collect()
}

/// Tells whether Prometheus answers, and each change of each alert, until the receiver closes. Where none of the alerts is
/// expected and Prometheus never answers, nothing is told: then nobody needs it.
pub(super) async fn watch(cluster: Cluster, expected: BTreeSet<String>, to: Sender<Observation>) {
    let mut told = LastReport { expected, answers: None, states: BTreeMap::new() };
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answered_at = tick.tick().await;
    loop {
        let asked_at = tick.tick().await;
        let looked = look(&cluster).await;
        let silent = asked_at.duration_since(answered_at);
        if looked.is_ok() {
            answered_at = asked_at;
        }
        for observation in told.news(looked, silent) {
            if to.send(observation).await.is_err() {
                return;
            }
        }
    }
}

/// What was told last.
struct LastReport {
    expected: BTreeSet<String>,
    /// `None` before anything was told of it.
    answers: Option<bool>,
    states: BTreeMap<String, Observation>,
}

impl LastReport {
    /// What is new; `silent` is the time since the last answer.
    fn news(&mut self, looked: Result<Alerts, String>, silent: Duration) -> Vec<Observation> {
        let alerts = match looked {
            Ok(alerts) => alerts,
            Err(why) => {
                let nobody_needs_it = self.answers.is_none() && self.expected.is_empty();
                if silent < SILENT_AFTER || self.answers == Some(false) || nobody_needs_it {
                    return Vec::new();
                }
                self.answers = Some(false);
                return vec![alert::prometheus(false, format!("does not answer: {why}"))];
            }
        };
        let mut news = Vec::new();
        let mut states: BTreeMap<String, Observation> =
            alerts.iter().map(|(name, (state, detail))| (name.clone(), alert::changed(name, state, detail))).collect();
        for name in self.expected.iter().filter(|name| !alerts.contains_key(*name)) {
            let missing = AlertState::Unknown { why: "Prometheus has no rule of this name".to_owned() };
            states.insert(name.clone(), alert::changed(name, &missing, ""));
        }
        // A rule that is there no more, and that nobody expects, is as one that never was.
        for name in self.states.keys().filter(|name| !states.contains_key(*name)) {
            let gone = AlertState::Unknown { why: "its rule is gone".to_owned() };
            news.push(alert::changed(name, &gone, ""));
        }
        for (name, state) in &states {
            let known = self.states.get(name);
            let starts_inactive = known.is_none() && state.healthy == Some(true);
            if !starts_inactive && known != Some(state) {
                news.push(state.clone());
            }
        }
        self.states = states;
        if self.answers != Some(true) {
            self.answers = Some(true);
            // Last, so that all that changed in a silence is told as changed within it.
            news.push(alert::prometheus(true, format!("answers, {} alerts", alerts.len())));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn body(name: &str, health: &str, alerts: Value) -> Vec<u8> {
        let rule = json!({"name": name, "type": "alerting", "health": health, "lastError": "no such function",
            "state": "inactive", "query": "up", "duration": 120, "labels": {}, "annotations": {}, "alerts": alerts,
            "evaluationTime": 0.1, "lastEvaluation": "2026-11-22T10:00:00Z"});
        json!({"status": "success", "data": {"groups": [{"name": "g", "rules": [rule]}]}}).to_string().into_bytes()
    }

    fn raised(state: &str, instance: &str) -> Value {
        json!({"labels": {"alertname": "NATSDown", "instance": instance, "job": "probe"}, "annotations": {},
            "state": state, "activeAt": "2026-11-22T10:00:00.5Z", "value": "0e+00"})
    }

    fn states(told: &[Observation]) -> Vec<String> {
        told.iter().map(|seen| format!("{} {}", seen.object, seen.state)).collect()
    }

    #[test]
    fn the_worst_of_an_alerts_instances_counts() {
        let alerts_of = |body: &[u8]| alerts(body).unwrap().remove("NATSDown").unwrap();
        let page = |raised| alerts_of(&body("NATSDown", "ok", raised));
        assert_eq!(page(json!([])), (AlertState::Inactive, String::new()));
        let (state, detail) = page(json!([raised("pending", "nats-0"), raised("firing", "nats-2")]));
        assert_eq!(state, AlertState::Firing);
        assert_eq!(detail, "active since 2026-11-22T10:00:00.5Z: instance=nats-2");
        let failing = alerts_of(&body("NATSDown", "err", json!([raised("firing", "nats-0")]))).0;
        let why = "its rule cannot be evaluated: no such function".to_owned();
        assert_eq!(failing, AlertState::Unknown { why });
        assert!(alerts(b"<html>").is_err());
    }

    #[test]
    fn changes_and_silences_are_told_once() {
        let mut told = LastReport { expected: BTreeSet::new(), answers: None, states: BTreeMap::new() };
        told.expected.insert("NATSDown".to_owned());
        let second = Duration::from_secs(1);
        let mut see = |looked: Result<Vec<u8>, &str>, silent: Duration| {
            let looked = looked.map_err(str::to_owned).and_then(|body| alerts(&body));
            states(&told.news(looked, silent))
        };
        let quiet = || Ok(body("NATSDown", "ok", json!([])));
        let pending = || Ok(body("NATSDown", "ok", json!([raised("pending", "nats-0")])));
        let firing = || Ok(body("NATSDown", "ok", json!([raised("firing", "nats-0")])));
        assert_eq!(see(quiet(), second), ["Prometheus answers, 1 alerts"]);
        assert_eq!(see(pending(), second), ["NATSDown pending, active since 2026-11-22T10:00:00.5Z: instance=nats-0"]);
        assert!(see(Err("refused"), second).is_empty(), "too short to hide an alert");
        assert!(see(pending(), second).is_empty());
        assert_eq!(see(Err("refused"), SILENT_AFTER), ["Prometheus does not answer: refused"]);
        assert!(see(Err("refused"), SILENT_AFTER * 2).is_empty());
        let back = see(firing(), SILENT_AFTER * 3);
        assert_eq!(back[1..], ["Prometheus answers, 1 alerts"]);
        assert!(back[0].starts_with("NATSDown firing, active since"), "{back:?}");
        assert_eq!(see(quiet(), second), ["NATSDown inactive"]);
        let other = Ok(body("Other", "ok", json!([])));
        assert_eq!(see(other, second), ["NATSDown unknown: Prometheus has no rule of this name"]);
    }

    #[test]
    fn a_cluster_without_prometheus_is_no_news_where_nobody_expects_an_alert() {
        let mut told = LastReport { expected: BTreeSet::new(), answers: None, states: BTreeMap::new() };
        assert!(told.news(Err("404".to_owned()), SILENT_AFTER * 9).is_empty());
        told.expected.insert("NATSDown".to_owned());
        assert_eq!(told.news(Err("404".to_owned()), SILENT_AFTER * 9).len(), 1);
    }

    #[test]
    fn the_names_are_those_of_the_manifest() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/monitoring");
        let manifest = std::fs::read_to_string(folder.join("prometheus.yaml")).unwrap();
        assert!(manifest.contains(&format!("kind: Namespace\nmetadata: {{name: {NAMESPACE}}}")));
        assert!(manifest.contains(&format!("kind: Service\nmetadata: {{name: prometheus, namespace: {NAMESPACE}}}")));
        assert!(manifest.contains("port: 9090"));
        let config = std::fs::read_to_string(folder.join("prometheus.yml")).unwrap();
        assert!(config.contains(&format!("evaluation_interval: {}s", SILENT_AFTER.as_secs())));
    }
}
