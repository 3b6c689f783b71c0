//! What is kept of a run that did not pass, before anything of it is cleaned.

use super::cnpg;
use super::nats_view::get;
use super::subjects::Subjects;
use crate::cluster::{Cluster, LABEL_RUN, said};
use crate::files;
use firedrill_core::scenario::{PodSelector, Scenario};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Namespace, Node, PersistentVolumeClaim, Pod};
use kube::api::{Api, DynamicObject, ListParams, LogParams};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;

/// The limit of one item.
const ITEM_LIMIT: Duration = Duration::from_secs(10);
/// The most of one log that is kept, in bytes.
const LOG_BYTES_MAX: i64 = 4 * 1024 * 1024;
/// The most lines of one log that are kept, the latest.
const LOG_LINES_MAX: i64 = 20_000;
/// Where the CNPG operator's own manifest puts it.
const OPERATOR_NAMESPACE: &str = "cnpg-system";
/// Monitor pages that are kept of each NATS server, with their files' names.
const NATS_PAGES: [(&str, &str); 4] = [
    ("healthz", "healthz.json"),
    ("routez", "routez.json"),
    ("jsz?streams=true&consumers=true&config=1&raft=1", "jsz.json"),
    ("varz", "varz.json"),
];

/// Keeps logs, events and states in a folder, which is made. Returns what could not be had, with the reason.
///
/// Each item has 10 s and the whole has `within`; what comes after that is missing.
pub async fn bundle(cluster: &Cluster, dir: &Path, scenario: &Scenario, within: Duration) -> Vec<String> {
    let mut bundle = Bundle { cluster, dir: dir.to_owned(), missing: Vec::new() };
    if timeout(within, bundle.keep(&Subjects::of(scenario))).await.is_err() {
        bundle.missing.push(format!("everything after {} s, which was the limit", within.as_secs()));
    }
    bundle.missing
}

struct Bundle<'a> {
    cluster: &'a Cluster,
    dir: PathBuf,
    missing: Vec<String>,
}

impl Bundle<'_> {
    async fn keep(&mut self, subjects: &Subjects) {
        if let Err(why) = limited(self.cluster.client().apiserver_version()).await {
            self.missing.push(format!("everything: {why}"));
            return;
        }
        // What goes away first comes first.
        for servers in &subjects.nats {
            self.nats(servers).await;
        }
        for name in &subjects.cnpg {
            let Some((namespace, short)) = name.split_once('/') else { continue };
            let clusters: Api<DynamicObject> =
                Api::namespaced_with(self.cluster.client(), namespace, &cnpg::resource());
            let object = limited(clusters.get(short)).await;
            self.json(&format!("cnpg/{namespace}-{short}.json"), object).await;
        }
        self.listed("nodes.json", Api::<Node>::all(self.cluster.client())).await;
        let mut namespaces = subjects.namespaces.clone();
        namespaces.insert(OPERATOR_NAMESPACE.to_owned());
        namespaces.extend(self.of_runs().await);
        for namespace in &namespaces {
            let client = || self.cluster.client();
            let events: Api<Event> = Api::namespaced(client(), namespace);
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(client(), namespace);
            let pods: Api<Pod> = Api::namespaced(client(), namespace);
            self.listed(&format!("{namespace}/events.json"), events).await;
            self.listed(&format!("{namespace}/claims.json"), claims).await;
            let listed = self.listed(&format!("{namespace}/pods.json"), pods.clone()).await;
            for pod in listed {
                self.logs(&pods, namespace, &pod).await;
            }
        }
    }

    /// The namespaces of runs: the logs of their agents tell of a fault that did not work.
    async fn of_runs(&mut self) -> Vec<String> {
        let namespaces: Api<Namespace> = Api::all(self.cluster.client());
        match limited(namespaces.list_metadata(&ListParams::default().labels(LABEL_RUN))).await {
            Ok(listed) => listed.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect(),
            Err(why) => {
                self.missing.push(format!("the run's namespace: {why}"));
                Vec::new()
            }
        }
    }

    async fn nats(&mut self, servers: &PodSelector) {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client(), &servers.namespace);
        let params = ListParams::default().labels(&servers.labels);
        let names = match limited(pods.list_metadata(&params)).await {
            Ok(listed) => listed.items.into_iter().filter_map(|pod| pod.metadata.name).collect(),
            Err(why) => {
                self.missing.push(format!("NATS servers: {why}"));
                Vec::new()
            }
        };
        for pod in names {
            for (page, file) in NATS_PAGES {
                let answer = get(self.cluster, &servers.namespace, &pod, page).await;
                self.write(&format!("nats/{pod}-{file}"), answer.map(|(_, body)| body)).await;
            }
        }
    }

    async fn logs(&mut self, pods: &Api<Pod>, namespace: &str, pod: &Pod) {
        let name = pod.name_any();
        let status = pod.status.as_ref();
        let main = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let init = status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
        for container in init.chain(main) {
            for previous in [false, true] {
                if previous && !has_previous(container) {
                    continue;
                }
                let params = LogParams {
                    container: Some(container.name.clone()),
                    previous,
                    timestamps: true,
                    limit_bytes: Some(LOG_BYTES_MAX),
                    tail_lines: Some(LOG_LINES_MAX),
                    ..LogParams::default()
                };
                let which = if previous { "-previous" } else { "" };
                let file = format!("{namespace}/{name}-{}{which}.log", container.name);
                let log = limited(pods.logs(&name, &params)).await;
                self.write(&file, log.map(String::into_bytes)).await;
            }
        }
    }

    async fn listed<K>(&mut self, file: &str, api: Api<K>) -> Vec<K>
    where
        K: Resource + Clone + Serialize + DeserializeOwned + Debug,
    {
        match limited(api.list(&ListParams::default())).await {
            Ok(list) => {
                self.json(file, Ok(&list.items)).await;
                list.items
            }
            Err(why) => {
                self.missing.push(format!("{file}: {why}"));
                Vec::new()
            }
        }
    }

    async fn json<T: Serialize>(&mut self, file: &str, object: Result<T, String>) {
        let bytes = object.and_then(|object| serde_json::to_vec_pretty(&object).map_err(|error| error.to_string()));
        self.write(file, bytes).await;
    }

    async fn write(&mut self, file: &str, bytes: Result<impl AsRef<[u8]>, String>) {
        let written = match bytes {
            Ok(bytes) => {
                let clean = self.cluster.redactor().text(&String::from_utf8_lossy(bytes.as_ref()));
                write(&self.dir.join(file), clean.as_bytes()).await.map_err(|error| error.to_string())
            }
            Err(why) => Err(why),
        };
        if let Err(why) = written {
            self.missing.push(format!("{file}: {why}"));
        }
    }
}

/// Whether the node still has the log of the container's run before: a restart that it no longer knows the end of has none.
fn has_previous(container: &ContainerStatus) -> bool {
    let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    container.restart_count > 0
        && ended.and_then(|ended| ended.container_id.as_deref()).is_some_and(|id| !id.is_empty())
}

async fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let (path, bytes) = (path.to_owned(), bytes.to_owned());
    let written = tokio::task::spawn_blocking(move || {
        files::create_dir_all(path.parent().unwrap_or(&path))?;
        files::write(&path, &bytes)
    });
    written.await.map_err(std::io::Error::other)?
}

async fn limited<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match timeout(ITEM_LIMIT, answer).await {
        Ok(result) => result.map_err(|error| said(&error)),
        Err(_) => Err(format!("no answer within {} s", ITEM_LIMIT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_log_is_asked_for_where_the_node_has_one() {
        let status = |restarts: i32, last: serde_json::Value| -> ContainerStatus {
            let (image, state) = ("", json!({"running": {}}));
            serde_json::from_value(json!({"name": "c", "ready": true, "restartCount": restarts, "image": image,
                "imageID": image, "state": state, "lastState": last}))
            .unwrap()
        };
        let ended = json!({"terminated": {"exitCode": 1, "containerID": "containerd://1"}});
        assert!(has_previous(&status(1, ended.clone())));
        assert!(!has_previous(&status(0, ended)));
        assert!(!has_previous(&status(1, json!({}))));
        assert!(!has_previous(&status(1, json!({"terminated": {"exitCode": 1}}))));
    }
}
