//! An in-memory Hetzner project for unit tests: resources, actions and injected failures. It implements only what these tests need
//! and is no replacement for the API double.

use super::super::endpoint::Endpoint;
use super::super::labels::Labels;
use super::super::token::Token;
use super::{Client, Limits};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// The token of every test.
pub(crate) const TOKEN: &str = "t0kenOfTheTestsThatNothingMayShow";

/// A client of a mock server, with waits of milliseconds.
pub(crate) fn client_of(server: &MockServer) -> Client {
    client_at(&server.uri())
}

/// A client of any address.
pub(crate) fn client_at(address: &str) -> Client {
    client_through(address, None)
}

/// A client of any address, with the value of `HTTPS_PROXY`.
pub(crate) fn client_through(address: &str, proxy: Option<&str>) -> Client {
    let limits = Limits {
        request_timeout: Duration::from_secs(5),
        retry_timeout: Duration::from_secs(10),
        retry_wait: Duration::from_millis(5),
        retry_wait_max: Duration::from_millis(20),
        poll_wait: Duration::from_millis(5),
    };
    let endpoint = Endpoint::of_test(&format!("{address}/v1"), proxy);
    Client::new(&endpoint, &Token::parse(TOKEN, "test").unwrap(), limits).unwrap()
}

/// An error reply.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> ResponseTemplate {
    let body = json!({"error": {"code": code, "message": message, "details": null}});
    ResponseTemplate::new(status).set_body_json(body)
}

/// The JSON of an action.
pub(crate) fn action_json(id: i64, command: &str, status: &str) -> Value {
    let error = (status == "error").then(|| json!({"code": "unknown_error", "message": "Unknown error"}));
    let progress = if status == "running" { 50 } else { 100 };
    let (started, resources) = ("2026-12-01T00:00:00Z", json!([{"id": 1, "type": "server"}]));
    json!({"id": id, "command": command, "status": status, "progress": progress, "started": started, "finished": null,
           "resources": resources, "error": error})
}

/// The project, shared with its mock server.
#[derive(Clone, Default)]
pub(crate) struct Double(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    things: BTreeMap<(String, i64), Value>,
    actions: BTreeMap<i64, Value>,
    requests: Vec<String>,
    failures: Vec<Failure>,
    /// Whether actions run forever.
    is_held: bool,
    next_id: i64,
}

struct Failure {
    request: String,
    times: u32,
    answer: ResponseTemplate,
}

impl Double {
    /// Starts its mock server.
    pub(crate) async fn start(&self) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(self.clone()).mount(&server).await;
        server
    }

    /// Adds a resource. Returns its id.
    pub(crate) fn add(&self, kind: &str, name: &str, labels: &Labels, more: Value) -> i64 {
        let mut state = self.0.lock().unwrap();
        state.add(kind, name, json!(labels), more)
    }

    /// Answers the next requests with this prefix (`DELETE /servers/1`) with a given reply.
    pub(crate) fn fail(&self, request: &str, times: u32, answer: ResponseTemplate) {
        self.0.lock().unwrap().failures.push(Failure { request: request.to_owned(), times, answer });
    }

    /// Makes actions run forever.
    pub(crate) fn hold_actions(&self) {
        self.0.lock().unwrap().is_held = true;
    }

    /// All resources: `servers/web`.
    pub(crate) fn names(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let name = |((kind, _), thing): (&(String, i64), &Value)| format!("{kind}/{}", thing["name"].as_str().unwrap());
        state.things.iter().map(name).collect()
    }

    /// All requests but GET: `DELETE /servers/1`.
    pub(crate) fn changes(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        state.requests.iter().filter(|request| !request.starts_with("GET")).cloned().collect()
    }

    /// All requests.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.clone()
    }

    /// The JSON of a resource.
    pub(crate) fn thing(&self, kind: &str, id: i64) -> Option<Value> {
        self.0.lock().unwrap().things.get(&(kind.to_owned(), id)).cloned()
    }
}

impl Respond for Double {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let path = request.url.path().strip_prefix("/v1").unwrap_or_default().to_owned();
        let shown = format!("{} {path}", request.method);
        let mut state = self.0.lock().unwrap();
        state.requests.push(shown.clone());
        if request.headers.get("authorization").is_none_or(|value| value != &format!("Bearer {TOKEN}")) {
            return refusal(401, "unauthorized", "the token you have provided is invalid");
        }
        let due = |failure: &&mut Failure| failure.times > 0 && shown.starts_with(&failure.request);
        if let Some(failure) = state.failures.iter_mut().find(due) {
            failure.times -= 1;
            return failure.answer.clone();
        }
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let id = parts.get(1).and_then(|id| id.parse::<i64>().ok()).unwrap_or_default();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["actions"]) => state.look_at_actions(request),
            ("GET", [_, _, "actions"]) => page("actions", Vec::new()),
            ("GET", [kind]) => state.list(kind, request),
            ("POST", [kind]) => state.make(kind, request),
            ("POST", [kind, _, "actions", action]) => state.act(kind, id, action, request),
            (method, [kind, _]) => match (state.things.get(&((*kind).to_owned(), id)).cloned(), method) {
                (Some(thing), "GET") => ResponseTemplate::new(200).set_body_json(json!({singular(kind): thing})),
                (Some(_), "DELETE") => state.delete(kind, id),
                _ => refusal(404, "not_found", "resource not found"),
            },
            _ => refusal(404, "not_found", "api route not found"),
        }
    }
}

fn singular(kind: &str) -> &str {
    kind.trim_end_matches('s')
}

fn page(key: &str, entries: Vec<Value>) -> ResponseTemplate {
    let meta = json!({"pagination": {"page": 1, "next_page": null}});
    ResponseTemplate::new(200).set_body_json(json!({key: entries, "meta": meta}))
}

impl State {
    fn add(&mut self, kind: &str, name: &str, labels: Value, more: Value) -> i64 {
        self.next_id += 1;
        let mut thing = json!({"id": self.next_id, "name": name, "labels": labels, "created": "2026-12-01T00:00:00Z"});
        if kind == "servers" {
            let server = json!({"status": "running", "server_type": {"name": "cx23"}, "location": {"name": "fsn1"},
                "public_net": {"ipv4": {"id": 900 + self.next_id, "ip": "192.0.2.7"}, "ipv6": null}, "volumes": []});
            merge(&mut thing, server);
        }
        merge(&mut thing, more);
        self.things.insert((kind.to_owned(), self.next_id), thing);
        self.next_id
    }

    fn begin(&mut self, command: &str) -> Value {
        self.next_id += 1;
        let action = action_json(self.next_id, command, "running");
        self.actions.insert(self.next_id, action.clone());
        action
    }

    fn look_at_actions(&mut self, request: &Request) -> ResponseTemplate {
        let ids = request.url.query_pairs().filter(|(key, _)| key == "id").filter_map(|(_, id)| id.parse().ok());
        let is_done = !self.is_held;
        let found = ids.filter_map(|id: i64| {
            let action = self.actions.get_mut(&id)?;
            if is_done && action["status"] == "running" {
                action["status"] = json!("success");
            }
            Some(action.clone())
        });
        page("actions", found.collect())
    }

    fn list(&self, kind: &str, request: &Request) -> ResponseTemplate {
        let query: BTreeMap<_, _> = request.url.query_pairs().into_owned().collect();
        let carries = |thing: &Value| {
            let selector = query.get("label_selector").map_or("", String::as_str);
            let label = |key: &str| thing["labels"].get(key).and_then(Value::as_str).map(str::to_owned);
            match selector.split_once('=') {
                Some((key, value)) => label(key).as_deref() == Some(value),
                None => selector.is_empty() || label(selector).is_some(),
            }
        };
        let named = |thing: &Value| query.get("name").is_none_or(|name| thing["name"] == name.as_str());
        let of_kind = self.things.iter().filter(|((of, _), _)| of == kind).map(|(_, thing)| thing);
        page(kind, of_kind.filter(|thing| carries(thing) && named(thing)).cloned().collect())
    }

    fn make(&mut self, kind: &str, request: &Request) -> ResponseTemplate {
        let body: Value = request.body_json().unwrap();
        let name = body["name"].as_str().unwrap().to_owned();
        if self.things.iter().any(|((of, _), thing)| of == kind && thing["name"] == name.as_str()) {
            return refusal(409, "uniqueness_error", "name is already used");
        }
        let more = if kind == "volumes" { json!({"size": body["size"], "server": null}) } else { json!({}) };
        let id = self.add(kind, &name, body["labels"].clone(), more);
        let thing = self.things[&(kind.to_owned(), id)].clone();
        let action = self.begin(&format!("create_{}", singular(kind)));
        let reply =
            json!({singular(kind): thing, "action": action, "next_actions": [], "root_password": "r00tPassw0rd"});
        ResponseTemplate::new(201).set_body_json(reply)
    }

    fn act(&mut self, kind: &str, id: i64, action: &str, request: &Request) -> ResponseTemplate {
        let body: Value = request.body_json().unwrap_or_default();
        let Some(thing) = self.things.get_mut(&(kind.to_owned(), id)) else {
            return refusal(404, "not_found", "resource not found");
        };
        match action {
            "poweroff" => thing["status"] = json!("off"),
            "poweron" | "reset" => thing["status"] = json!("running"),
            "attach" => thing["server"] = body["server"].clone(),
            "detach" => thing["server"] = Value::Null,
            "unassign" => thing["assignee_id"] = Value::Null,
            _ => {}
        }
        let action = self.begin(&format!("{action}_{}", singular(kind)));
        ResponseTemplate::new(201).set_body_json(json!({"action": action}))
    }

    fn delete(&mut self, kind: &str, id: i64) -> ResponseTemplate {
        let thing = self.things[&(kind.to_owned(), id)].clone();
        if kind == "volumes" && !thing["server"].is_null() {
            return refusal(423, "resource_in_use", "volume is still attached");
        }
        if thing["protection"]["delete"] == true {
            return refusal(423, "protected", "it is protected from deletion");
        }
        self.things.remove(&(kind.to_owned(), id));
        if kind != "servers" {
            return ResponseTemplate::new(204);
        }
        for ((of, _), thing) in &mut self.things {
            if of == "volumes" && thing["server"] == id {
                thing["server"] = Value::Null;
            }
        }
        let gone = |_: &(String, i64), thing: &mut Value| !(thing["assignee_id"] == id && thing["auto_delete"] == true);
        self.things.retain(gone);
        let action = self.begin("delete_server");
        ResponseTemplate::new(200).set_body_json(json!({"action": action}))
    }
}

fn merge(into: &mut Value, more: Value) {
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        into[key] = value;
    }
}
