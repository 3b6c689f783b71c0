//! CNPG clusters: what the operator says of them, and what their instances say themselves.

use super::condition::NotHeld;
use super::kubernetes::pod_is_ready;
use crate::cluster::{Cluster, ClusterError};
use firedrill_core::event::{Fact, Observation, Source};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use serde::Deserialize;

/// The phase of a cluster that has nothing to do.
pub(super) const HEALTHY: &str = "Cluster in healthy state";
/// The port on which an instance's manager tells its status.
const STATUS_PORT: u16 = 8000;

/// What clusters are to the API server.
pub(super) fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("postgresql.cnpg.io", "v1", "Cluster"))
}

/// The parts of a cluster's object that say how it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClusterState {
    pub(super) phase: String,
    pub(super) primary: String,
    pub(super) target_primary: String,
    pub(super) instances: u64,
    pub(super) ready: u64,
}

impl ClusterState {
    pub(super) fn of(object: &DynamicObject) -> Self {
        let text = |name: &str| object.data["status"][name].as_str().unwrap_or_default().to_owned();
        Self {
            phase: text("phase"),
            primary: text("currentPrimary"),
            target_primary: text("targetPrimary"),
            instances: object.data["spec"]["instances"].as_u64().unwrap_or(0),
            ready: object.data["status"]["readyInstances"].as_u64().unwrap_or(0),
        }
    }

    /// The instance that is to be the primary, where another one is.
    fn moves_to(&self) -> Option<&str> {
        (self.primary != self.target_primary).then_some(self.target_primary.as_str())
    }

    fn is_healthy(&self) -> bool {
        self.phase == HEALTHY && self.instances > 0 && self.ready == self.instances && self.moves_to().is_none()
    }
}

impl std::fmt::Display for ClusterState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = if self.phase.is_empty() { "no phase" } else { &self.phase };
        write!(f, "{phase}, primary {}, {} of {} ready", self.primary, self.ready, self.instances)?;
        if let Some(to) = self.moves_to() {
            write!(f, ", moving to {to}")?;
        }
        Ok(())
    }
}

pub(super) fn state(object: &DynamicObject, name: &str) -> Option<Observation> {
    if object.name_any() != name {
        return None;
    }
    let state = ClusterState::of(object);
    Some(Observation {
        source: Source::Cnpg,
        object: name.to_owned(),
        state: state.to_string(),
        healthy: Some(state.is_healthy()),
        fact: state.moves_to().map(|to| Fact::PrimaryMoves { to: to.to_owned() }),
    })
}

/// A cluster's state; `None` where there is no such cluster.
///
/// # Errors
/// Where the API server does not answer or the name is not `namespace/name`.
pub(super) async fn read(cluster: &Cluster, name: &str) -> Result<Option<ClusterState>, ClusterError> {
    let (namespace, name) = split(name)?;
    let clusters: Api<DynamicObject> = Api::namespaced_with(cluster.client(), namespace, &resource());
    let object = clusters.get_opt(name).await.map_err(ClusterError::api("read a CNPG cluster"))?;
    Ok(object.as_ref().map(ClusterState::of))
}

/// The Secret in a cluster's namespace that holds the login of its application's user: the one that the cluster was made
/// with, else the operator's own.
///
/// # Errors
/// Where there is no such cluster, or the API server does not say.
pub async fn login_secret(cluster: &Cluster, namespace: &str, name: &str) -> Result<String, ClusterError> {
    let clusters: Api<DynamicObject> = Api::namespaced_with(cluster.client(), namespace, &resource());
    let object = cluster.ask(format!("database cluster {namespace}/{name}"), clusters.get(name)).await?;
    Ok(login_of(&object, name))
}

fn login_of(object: &DynamicObject, name: &str) -> String {
    let given = object.data["spec"]["bootstrap"]["initdb"]["secret"]["name"].as_str();
    given.map_or_else(|| format!("{name}-app"), str::to_owned)
}

fn split(name: &str) -> Result<(&str, &str), ClusterError> {
    name.split_once('/').ok_or_else(|| ClusterError::Other(format!("`{name}` is not namespace/name")))
}

/// What an instance's manager says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstanceStatus {
    #[serde(default)]
    is_primary: bool,
    #[serde(default)]
    replication_info: Vec<Standby>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Standby {
    #[serde(default)]
    application_name: String,
    #[serde(default)]
    state: String,
}

/// Whether the operator calls the cluster healthy, every instance's pod is Ready, and the primary itself streams to all
/// the others: the operator's word alone lags by seconds.
///
/// # Errors
/// The first thing that is not so, or cannot be seen.
pub(super) async fn is_healthy(cluster: &Cluster, name: &str) -> Result<String, NotHeld> {
    let state = read(cluster, name).await?;
    let state = state.ok_or_else(|| NotHeld::Missing(format!("there is no cluster {name}")))?;
    if !state.is_healthy() {
        return Err(NotHeld::Missing(state.to_string()));
    }
    let (namespace, short) = split(name)?;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let labels = format!("cnpg.io/cluster={short},cnpg.io/podRole=instance");
    let listed = pods.list(&ListParams::default().labels(&labels)).await;
    let pods = listed.map_err(ClusterError::api("list instances"))?.items;
    let ready = pods.iter().filter(|pod| pod_is_ready(pod)).count() as u64;
    if ready != state.instances || pods.len() as u64 != state.instances {
        let pods = pods.len();
        let why = format!("{ready} of {} instances have a ready pod, {pods} pods", state.instances);
        return Err(NotHeld::Missing(why));
    }
    let primary = pods.iter().find(|pod| pod.name_any() == state.primary);
    let primary = primary.ok_or_else(|| NotHeld::Missing(format!("primary {} has no pod", state.primary)))?;
    let status = instance_status(cluster, namespace, primary).await.map_err(NotHeld::Unseen)?;
    streaming(&state, &status).map_err(NotHeld::Missing)
}

fn streaming(state: &ClusterState, status: &InstanceStatus) -> Result<String, String> {
    if !status.is_primary {
        return Err(format!("{} does not call itself primary", state.primary));
    }
    let streaming = status.replication_info.iter().filter(|standby| standby.state == "streaming");
    let names: std::collections::BTreeSet<_> = streaming.map(|standby| standby.application_name.as_str()).collect();
    let wanted = state.instances - 1;
    if (names.len() as u64) < wanted {
        return Err(format!("{} streams to {} of {wanted} others", state.primary, names.len()));
    }
    Ok(format!("{state}, {wanted} standbys streaming"))
}

/// The instance's manager says on its command line whether its port speaks TLS.
fn status_scheme(pod: &Pod) -> &'static str {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut words = containers.flat_map(|container| container.command.iter().flatten());
    if words.any(|word| word.starts_with("--status-port-tls")) { "https:" } else { "" }
}

async fn instance_status(cluster: &Cluster, namespace: &str, pod: &Pod) -> Result<InstanceStatus, String> {
    let at = format!("pods/{}{}:{STATUS_PORT}", status_scheme(pod), pod.name_any());
    let (status, body) = cluster.page(namespace, &at, "pg/status").await?;
    if status != 200 {
        return Err(format!("{}'s status answered {status}", pod.name_any()));
    }
    serde_json::from_slice(&body).map_err(|error| format!("{}'s status is not readable: {error}", pod.name_any()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(phase: &str, ready: u64, target: &str) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
            "metadata": {"name": "db"}, "spec": {"instances": 2},
            "status": {"phase": phase, "readyInstances": ready, "currentPrimary": "db-1", "targetPrimary": target}}))
        .unwrap()
    }

    #[test]
    fn healthy_is_the_phase_and_all_instances() {
        assert!(ClusterState::of(&object(HEALTHY, 2, "db-1")).is_healthy());
        assert!(!ClusterState::of(&object(HEALTHY, 1, "db-1")).is_healthy());
        assert!(!ClusterState::of(&object("Failing over", 2, "db-1")).is_healthy());
        assert!(!ClusterState::of(&object(HEALTHY, 2, "db-2")).is_healthy());
        let empty: DynamicObject = serde_json::from_value(json!({"metadata": {"name": "db"}})).unwrap();
        assert!(!ClusterState::of(&empty).is_healthy(), "no status is not healthy");
        let told = state(&object("Failing over", 1, "db-2"), "db").unwrap();
        assert_eq!(told.state, "Failing over, primary db-1, 1 of 2 ready, moving to db-2");
        assert_eq!(told.fact, Some(Fact::PrimaryMoves { to: "db-2".to_owned() }));
        assert_eq!(state(&object(HEALTHY, 2, "db-1"), "db").unwrap().fact, None);
        assert_eq!(state(&object(HEALTHY, 2, "db-1"), "other"), None);
    }

    #[test]
    fn the_login_is_where_the_cluster_says() {
        let mut object = object(HEALTHY, 2, "db-1");
        assert_eq!(login_of(&object, "db"), "db-app");
        object.data["spec"]["bootstrap"] = json!({"initdb": {"secret": {"name": "db-auth"}}});
        assert_eq!(login_of(&object, "db"), "db-auth");
    }

    #[test]
    fn redundancy_is_what_the_primary_streams() {
        let state = ClusterState::of(&object(HEALTHY, 2, "db-1"));
        let status = |json: serde_json::Value| serde_json::from_value::<InstanceStatus>(json).unwrap();
        let standby =
            |state: &str| json!({"isPrimary": true, "replicationInfo": [{"applicationName": "db-2", "state": state}]});
        assert!(streaming(&state, &status(standby("streaming"))).is_ok());
        assert_eq!(streaming(&state, &status(standby("catchup"))).unwrap_err(), "db-1 streams to 0 of 1 others");
        assert_eq!(
            streaming(&state, &status(json!({"isPrimary": true}))).unwrap_err(),
            "db-1 streams to 0 of 1 others"
        );
        assert!(streaming(&state, &status(json!({}))).is_err());
    }
}
