//! Questions to kubectl that the API server answers directly: a process of kubectl takes a tenth of a second of a processor.
//!
//! Only a plain answer is taken from here, as kubectl would have printed it. For everything else kubectl is asked: a form that
//! is not known, a kind of which several exist, a refusal, and a command that fails.

use super::ask::Answer;
use crate::cluster::{Cluster, Container, EXEC_OUTPUT_MAX_BYTES};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, ObjectMeta};
use kube::core::ApiResource;
use kube::core::discovery::v2::{APIGroupDiscovery, APIResourceDiscovery};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Objects in one answer of the API server.
const PAGE: u32 = 500;
/// Prints the labels of each object, a line each.
pub(super) const LABELS: &str = "jsonpath={range .items[*]}{.metadata.labels}{\"\\n\"}{end}";
/// Which container kubectl takes where none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// A kind of object, with the names that kubectl knows it by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    resource: ApiResource,
    is_namespaced: bool,
    singular: String,
    short: Vec<String>,
}

/// A call of kubectl as it was judged: each flag in one word.
#[derive(Debug, Default, PartialEq, Eq)]
struct Call<'a> {
    verb: &'a str,
    flags: BTreeMap<&'a str, &'a str>,
    args: Vec<&'a str>,
    inner: Vec<&'a str>,
}

/// Where objects are listed, and which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    api_version: String,
    plural: String,
    namespace: Option<String>,
    selector: String,
}

/// What the API server has said.
pub(super) struct ApiAnswers {
    cluster: Cluster,
    kinds: Option<Vec<Kind>>,
    lists: BTreeMap<Question, Vec<ObjectMeta>>,
    pods: BTreeMap<(String, String), Pod>,
}

impl<'a> Call<'a> {
    /// `None` where a flag is given twice: which one counts, kubectl knows.
    fn read(argv: &'a [String]) -> Option<Self> {
        let mut call = Self::default();
        let mut words = argv.iter().map(String::as_str);
        call.verb = words.next()?;
        while let Some(word) = words.next() {
            if word == "--" {
                call.inner = words.collect();
                break;
            }
            match word.strip_prefix("--") {
                Some(flag) => {
                    let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
                    if call.flags.insert(name, value).is_some() {
                        return None;
                    }
                }
                None if word.starts_with('-') => return None,
                None => call.args.push(word),
            }
        }
        Some(call)
    }

    /// Whether it has no other flags than these.
    fn has_only(&self, names: &[&str]) -> bool {
        self.flags.keys().all(|name| names.contains(name))
    }
}

/// Whether a word can only be the name of one object.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphanumeric())
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
}

fn answer(stdout: String) -> Answer {
    Answer { code: Some(0), stdout, stderr: String::new() }
}

impl ApiAnswers {
    pub(super) fn of(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone(), kinds: None, lists: BTreeMap::new(), pods: BTreeMap::new() }
    }

    /// What kubectl prints for these arguments, where that is certain.
    pub(super) async fn answer(&mut self, argv: &[String], limit: Duration) -> Option<Answer> {
        let call = Call::read(argv)?;
        match call.verb {
            "get" => self.get(&call).await,
            "logs" => self.container(&call).await,
            "exec" => self.exec(&call, limit).await,
            _ => None,
        }
    }

    /// `get KIND [NAME] -o name`, and the labels of all objects of a kind.
    async fn get(&mut self, call: &Call<'_>) -> Option<Answer> {
        if !call.inner.is_empty()
            || !call.has_only(&["namespace", "output", "selector", "ignore-not-found", "all-namespaces"])
        {
            return None;
        }
        let everywhere = match call.flags.get("all-namespaces") {
            None => false,
            Some(&"") => true,
            Some(_) => return None,
        };
        if call.flags.get("ignore-not-found").is_some_and(|value| !value.is_empty()) {
            return None;
        }
        let (kind, name) = match call.args.as_slice() {
            [kind] => (*kind, None),
            [kind, name] if is_name(name) && !everywhere && !call.flags.contains_key("selector") => {
                (*kind, Some(*name))
            }
            _ => return None,
        };
        let kind = self.kind(kind).await?;
        let namespace = call.flags.get("namespace").copied();
        let namespace = match kind.is_namespaced && !everywhere {
            true => Some(namespace.map_or_else(|| self.cluster.client().default_namespace().to_owned(), str::to_owned)),
            false => None,
        };
        let selector = call.flags.get("selector").copied().unwrap_or_default();
        let listed = self.list(&kind, namespace, selector).await?;
        match (*call.flags.get("output")?, name) {
            ("name", None) => Some(answer(listed.iter().map(|object| kind.printed(object)).collect())),
            ("name", Some(name)) => {
                let object = listed.iter().find(|object| object.name.as_deref() == Some(name))?;
                Some(answer(kind.printed(object)))
            }
            (LABELS, None) => {
                let labels = listed.iter().map(|object| match &object.labels {
                    Some(labels) => serde_json::to_string(labels).unwrap_or_default() + "\n",
                    None => "\n".to_owned(),
                });
                Some(answer(labels.collect()))
            }
            _ => None,
        }
    }

    /// `logs POD -c CONTAINER --tail=1`, which asks whether the pod has the container.
    async fn container(&mut self, call: &Call<'_>) -> Option<Answer> {
        let ([pod], Some(container)) = (call.args.as_slice(), call.flags.get("container")) else { return None };
        if !call.has_only(&["namespace", "container", "tail"]) || call.flags.get("tail") != Some(&"1") {
            return None;
        }
        let pod = self.pod(call, pod).await?;
        let spec = pod.spec.as_ref()?;
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        all.any(|known| known.name == *container).then(|| answer(String::new()))
    }

    /// Runs a command in a container, where it ends well.
    async fn exec(&mut self, call: &Call<'_>, limit: Duration) -> Option<Answer> {
        let [pod] = call.args.as_slice() else { return None };
        if call.inner.is_empty() || !call.has_only(&["namespace", "container"]) {
            return None;
        }
        let pod = self.pod(call, pod).await?;
        let (metadata, spec) = (&pod.metadata, pod.spec.as_ref()?);
        let named = call.flags.get("container").copied();
        let default = metadata.annotations.as_ref().and_then(|notes| notes.get(DEFAULT_CONTAINER)).map(String::as_str);
        let container = named.or(default).or_else(|| spec.containers.first().map(|first| first.name.as_str()))?;
        let place = Container { namespace: metadata.namespace.as_deref()?, pod: metadata.name.as_deref()?, container };
        let ended = Box::pin(self.cluster.exec(place, &call.inner, limit)).await.ok()?;
        let is_whole = ended.stdout.len().max(ended.stderr.len()) < EXEC_OUTPUT_MAX_BYTES;
        (ended.ok && is_whole).then_some(Answer { code: Some(0), stdout: ended.stdout, stderr: ended.stderr })
    }

    /// `NAME` or `pod/NAME`.
    async fn pod(&mut self, call: &Call<'_>, word: &str) -> Option<Pod> {
        let name = word.strip_prefix("pod/").or(word.strip_prefix("pods/")).unwrap_or(word);
        let namespace = call
            .flags
            .get("namespace")
            .map_or_else(|| self.cluster.client().default_namespace().to_owned(), |&namespace| namespace.to_owned());
        if !is_name(name) || !is_name(&namespace) {
            return None;
        }
        let key = (namespace, name.to_owned());
        if let Some(pod) = self.pods.get(&key) {
            return Some(pod.clone());
        }
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), &key.0);
        let pod = self.cluster.ask(format!("pod {name}"), api.get_opt(name)).await.ok()??;
        Some(self.pods.entry(key).or_insert(pod).clone())
    }

    async fn list(&mut self, kind: &Kind, namespace: Option<String>, selector: &str) -> Option<&[ObjectMeta]> {
        if namespace.as_deref().is_some_and(|namespace| !is_name(namespace)) {
            return None;
        }
        let question = Question {
            api_version: kind.resource.api_version.clone(),
            plural: kind.resource.plural.clone(),
            namespace,
            selector: selector.to_owned(),
        };
        if !self.lists.contains_key(&question) {
            let api: Api<DynamicObject> = match &question.namespace {
                Some(namespace) => Api::namespaced_with(self.cluster.client(), namespace, &kind.resource),
                None => Api::all_with(self.cluster.client(), &kind.resource),
            };
            let mut params = ListParams::default().limit(PAGE);
            if !selector.is_empty() {
                params = params.labels(selector);
            }
            let mut all = Vec::new();
            loop {
                let page = self.cluster.ask(question.plural.as_str(), api.list_metadata(&params)).await.ok()?;
                all.extend(page.items.into_iter().map(|object| object.metadata));
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => params = params.continue_token(&token),
                    None => break,
                }
            }
            self.lists.insert(question.clone(), all);
        }
        self.lists.get(&question).map(Vec::as_slice)
    }

    /// The one kind that kubectl means by a word.
    async fn kind(&mut self, word: &str) -> Option<Kind> {
        if self.kinds.is_none() {
            let client = self.cluster.client();
            let core = self.cluster.ask("kinds", client.list_core_api_versions_aggregated()).await.ok()?;
            let groups = self.cluster.ask("kinds", client.list_api_groups_aggregated()).await.ok()?;
            let mut versions = core.items.iter().chain(&groups.items).flat_map(|group| &group.versions);
            if versions.any(|version| version.freshness.as_deref() == Some("Stale")) {
                return None;
            }
            self.kinds = Some(core.items.iter().chain(&groups.items).flat_map(kinds_of).collect());
        }
        one_kind(self.kinds.as_deref()?, word).cloned()
    }
}

impl Kind {
    /// What `-o name` prints of an object.
    fn printed(&self, object: &ObjectMeta) -> String {
        let kind = self.resource.kind.to_ascii_lowercase();
        let group = if self.resource.group.is_empty() { String::new() } else { format!(".{}", self.resource.group) };
        format!("{kind}{group}/{}\n", object.name.as_deref().unwrap_or_default())
    }
}

/// The kinds of an API group that can be listed, each in the version that the server prefers.
fn kinds_of(group: &APIGroupDiscovery) -> Vec<Kind> {
    let name = group.metadata.as_ref().and_then(|metadata| metadata.name.clone()).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for version in &group.versions {
        let Some(number) = &version.version else { continue };
        for found in &version.resources {
            if seen.insert(found.resource.clone()) {
                all.extend(kind_of(&name, number, found));
            }
        }
    }
    all
}

fn kind_of(group: &str, version: &str, found: &APIResourceDiscovery) -> Option<Kind> {
    let plural = found.resource.clone()?;
    let kind = found.response_kind.as_ref()?.kind.clone()?;
    let is_listed = found.verbs.iter().any(|verb| verb == "list");
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    is_listed.then(|| Kind {
        resource: ApiResource { group: group.to_owned(), version: version.to_owned(), api_version, kind, plural },
        is_namespaced: found.scope.as_deref() == Some("Namespaced"),
        singular: found.singular_resource.clone().unwrap_or_default(),
        short: found.short_names.clone(),
    })
}

/// The kind of that name. Among several the one of the core group is meant, unless the word is a short name of another.
fn one_kind<'k>(kinds: &'k [Kind], word: &str) -> Option<&'k Kind> {
    let is_named = |kind: &&Kind| kind.resource.plural == word || kind.singular == word;
    let is_short = |kind: &&Kind| kind.short.iter().any(|short| short == word);
    let all: Vec<&Kind> = kinds.iter().filter(|kind| is_named(kind) || is_short(kind)).collect();
    match all.as_slice() {
        [one] => Some(one),
        several if !several.iter().any(is_short) => several.iter().find(|kind| kind.resource.group.is_empty()).copied(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
