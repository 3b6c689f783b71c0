//! A small API server on the loopback address, with its objects in memory: it creates, lists, patches and deletes, checks UIDs and
//! resource versions as the real one does, and tells what was asked of it.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it, as a module of its own")]

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// Kinds that it lists: group, plural, kind, whether they have a namespace.
const KINDS: [(&str, &str, &str, bool); 8] = [
    ("", "namespaces", "Namespace", false),
    ("", "nodes", "Node", false),
    ("", "pods", "Pod", true),
    ("", "services", "Service", true),
    ("", "configmaps", "ConfigMap", true),
    ("", "persistentvolumes", "PersistentVolume", false),
    ("apps", "controllerrevisions", "ControllerRevision", true),
    ("apps", "deployments", "Deployment", true),
];

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    made: u64,
    calls: Vec<String>,
    refused: Vec<(String, String)>,
}

/// The server.
pub struct FakeApi {
    server: MockServer,
    state: Arc<Mutex<State>>,
}

impl FakeApi {
    /// A cluster with the UID `here`, marked for drills, with the namespace of the undo records.
    pub async fn start() -> Self {
        let server = MockServer::start().await;
        let state = Arc::new(Mutex::new(State::default()));
        Mock::given(any()).respond_with(Answer(state.clone())).mount(&server).await;
        let api = Self { server, state };
        api.put("/api/v1/namespaces/kube-system", json!({"metadata": {"uid": "here"}}));
        api.put("/api/v1/namespaces/kube-system/configmaps/firedrill-allowed", json!({}));
        let labels = json!({"app.kubernetes.io/managed-by": "firedrill"});
        api.put("/api/v1/namespaces/firedrill-system", json!({"metadata": {"labels": labels}}));
        api
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// A kubeconfig with the context `x`.
    pub fn kubeconfig(&self, folder: &Path) -> PathBuf {
        let file = folder.join("kubeconfig");
        let text = json!({"apiVersion": "v1", "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.server.uri()}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}]});
        std::fs::write(&file, text.to_string()).unwrap();
        file
    }

    /// Puts an object there, as somebody else would.
    pub fn put(&self, path: &str, object: Value) {
        let mut state = self.lock();
        let object = state.completed(path, object);
        state.objects.insert(path.to_owned(), object);
    }

    /// Takes one away, as somebody else would.
    pub fn remove(&self, path: &str) {
        self.lock().objects.remove(path);
    }

    /// An object.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
    }

    /// The paths of all objects that begin so.
    pub fn paths(&self, prefix: &str) -> Vec<String> {
        self.lock().objects.keys().filter(|path| path.starts_with(prefix)).cloned().collect()
    }

    /// What was asked since the last look, as `METHOD /path`, without reads and leases.
    pub fn writes(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.lock().calls);
        let is_write =
            |call: &String| !call.starts_with("GET ") && !call.contains("/leases") && !call.contains("reviews");
        calls.into_iter().filter(is_write).collect()
    }

    /// Refuses requests of that method below that path, from now on.
    pub fn refuse(&self, method: &str, prefix: &str) {
        self.lock().refused.push((method.to_owned(), prefix.to_owned()));
    }

    /// Refuses nothing any more.
    pub fn accept_all(&self) {
        self.lock().refused.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn next(&mut self) -> String {
        self.made += 1;
        self.made.to_string()
    }

    /// The object with what the API server adds.
    fn completed(&mut self, path: &str, mut object: Value) -> Value {
        let version = self.next();
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        let at = parts.iter().position(|part| *part == "namespaces");
        let metadata = object.as_object_mut().unwrap().entry("metadata").or_insert_with(|| json!({}));
        let metadata = metadata.as_object_mut().unwrap();
        metadata.entry("name").or_insert(json!(name));
        if let Some(at) = at.filter(|at| parts.len() > at + 2) {
            metadata.insert("namespace".to_owned(), json!(parts[at + 1]));
        }
        metadata.entry("uid").or_insert(json!(format!("uid-{version}")));
        metadata.insert("resourceVersion".to_owned(), json!(version));
        object
    }
}

struct Answer(Arc<Mutex<State>>);

impl Respond for Answer {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        let (method, path) = (request.method.as_str().to_owned(), request.url.path().to_owned());
        state.calls.push(format!("{method} {path}"));
        if state.refused.iter().any(|(refused, prefix)| *refused == method && path.starts_with(prefix)) {
            return status(403, "refused by the test");
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let selector = query.get("labelSelector").cloned().unwrap_or_default();
        match (method.as_str(), is_collection(&path)) {
            ("GET", _) if path == "/api" || path == "/apis" => ok(&discovery(&path)),
            ("GET", true) => {
                let items: Vec<Value> =
                    listed(&state, &path, &selector).into_iter().map(|(_, object)| object).collect();
                ok(&json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
            }
            ("DELETE", true) => {
                for (path, _) in listed(&state, &path, &selector) {
                    state.objects.remove(&path);
                }
                success()
            }
            ("POST", _) => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
                if state.objects.contains_key(&path) {
                    return status(409, "AlreadyExists");
                }
                let object = state.completed(&path, body);
                state.objects.insert(path, object.clone());
                ok(&object)
            }
            (_, _) => one(&mut state, &method, &path, &body),
        }
    }
}

fn one(state: &mut State, method: &str, path: &str, body: &Value) -> ResponseTemplate {
    let Some(there) = state.objects.get(path).cloned() else { return status(404, "NotFound") };
    let wanted = match method {
        "DELETE" => body["preconditions"].clone(),
        _ => body["metadata"].clone(),
    };
    for key in ["uid", "resourceVersion"] {
        if wanted[key].is_string() && wanted[key] != there["metadata"][key] {
            return status(409, "Conflict");
        }
    }
    match method {
        "GET" => ok(&there),
        "DELETE" => {
            state.objects.remove(path);
            // What is in a namespace goes with it.
            let inside = format!("/{}/", path.trim_start_matches("/api/v1/"));
            if path.starts_with("/api/v1/namespaces/") && path.matches('/').count() == 4 {
                state.objects.retain(|other, _| !other.contains(&inside));
            }
            success()
        }
        "PUT" => {
            let object = state.completed(path, body.clone());
            state.objects.insert(path.to_owned(), object.clone());
            ok(&object)
        }
        "PATCH" => {
            let mut object = there;
            merge(&mut object, body);
            let object = state.completed(path, object);
            state.objects.insert(path.to_owned(), object.clone());
            ok(&object)
        }
        _ => status(405, "MethodNotAllowed"),
    }
}

/// Whether a path is of all objects of a kind.
fn is_collection(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let rest = if parts[0] == "api" { parts.get(2..) } else { parts.get(3..) }.unwrap_or_default();
    matches!(rest.len(), 1) || (rest.len() == 3 && rest[0] == "namespaces")
}

fn listed(state: &State, path: &str, selector: &str) -> Vec<(String, Value)> {
    let plural = path.rsplit('/').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let root = if parts[1] == "api" { parts[..3].join("/") } else { parts[..4].join("/") };
    let namespaced = path.contains("/namespaces/");
    let of_kind = |other: &str| {
        let mut reversed = other.rsplit('/');
        let (_, kind) = (reversed.next(), reversed.next());
        let below =
            if namespaced { other.starts_with(&format!("{path}/")) } else { other.starts_with(&format!("{root}/")) };
        kind == Some(plural) && below
    };
    let selected = |object: &Value| {
        selector.split(',').filter(|part| !part.is_empty()).all(|part| {
            let labels = &object["metadata"]["labels"];
            match part.split_once('=') {
                Some((key, value)) => labels[key] == json!(value),
                None => labels[part].is_string(),
            }
        })
    };
    let found = state.objects.iter().filter(|(path, object)| of_kind(path) && selected(object));
    found.map(|(path, object)| (path.clone(), object.clone())).collect()
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return *object = patch.clone() };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(object) = object.as_object_mut() else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(object.remove(key)),
            value => merge(object.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

fn discovery(path: &str) -> Value {
    let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
    let of = |group: &str| {
        let resources: Vec<Value> = KINDS
            .iter()
            .filter(|(of, ..)| *of == group)
            .map(|(_, plural, kind, namespaced)| {
                json!({"resource": plural, "singularResource": kind.to_lowercase(), "verbs": verbs,
                    "responseKind": {"group": group, "version": "v1", "kind": kind},
                    "scope": if *namespaced { "Namespaced" } else { "Cluster" }})
            })
            .collect();
        json!({"metadata": {"name": group}, "versions": [{"version": "v1", "freshness": "Current", "resources": resources}]})
    };
    let items = if path == "/api" { vec![of("")] } else { vec![of("apps")] };
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn ok(value: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(value)
}

fn success() -> ResponseTemplate {
    ok(&json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
}

fn status(code: u16, reason: &str) -> ResponseTemplate {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason,
        "reason": reason, "code": code});
    ResponseTemplate::new(code).set_body_json(status)
}
