//! Whether the stack works, as clients and operators would find out.

use crate::cluster::{Cluster, ClusterError};
use firedrill_core::stack::{Ready, Release};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};

const HEALTHY: &str = "Cluster in healthy state";

/// What is missing until a release works.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// A line each; empty where it works.
    pub(super) missing: Vec<String>,
    /// Whether what its Deployments depend on serves: its stateful sets are complete, and each database has an instance.
    pub(super) has_dependencies: bool,
}

/// Looks at a release.
pub(super) async fn of_release(cluster: &Cluster, release: &Release) -> Result<Health, ClusterError> {
    let namespace = release.namespace.as_str();
    let all = ListParams::default();
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let found = cluster.ask("the stack's deployments", deployments.list(&all)).await?;
    let deployments: Vec<_> = found.iter().filter_map(of_deployment).collect();
    let sets: Api<StatefulSet> = Api::namespaced(cluster.client(), namespace);
    let sets = cluster.ask("the stack's stateful sets", sets.list(&all)).await?;
    let mut missing: Vec<_> = sets.iter().filter_map(of_set).collect();
    let mut has_dependencies = missing.is_empty();
    if release.has_cnpg() {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("postgresql.cnpg.io", "v1", "Cluster"));
        let clusters: Api<DynamicObject> = Api::namespaced_with(cluster.client(), namespace, &resource);
        let found = cluster.ask("the stack's database clusters", clusters.list(&all)).await?;
        if found.items.is_empty() {
            missing.push(format!("no database cluster in {namespace}"));
        }
        has_dependencies &= !found.items.is_empty() && found.iter().all(|database| instances(database) > 0);
        missing.extend(found.iter().filter_map(of_database));
    }
    missing.splice(0..0, deployments);
    // Before its workloads are complete nobody answers.
    let is_complete = missing.is_empty();
    for ready in release.ready.iter().filter(|_| is_complete) {
        if let Ready::Http { service, path } = ready {
            missing.extend(answers(cluster, namespace, service, path).await?);
        }
    }
    Ok(Health { missing, has_dependencies })
}

/// Asks a Service for a path, by way of the API server.
async fn answers(
    cluster: &Cluster,
    namespace: &str,
    service: &str,
    asked: &str,
) -> Result<Option<String>, ClusterError> {
    let services: Api<Service> = Api::namespaced(cluster.client(), namespace);
    let found = cluster.ask(format!("service {namespace}/{service}"), services.get(service)).await?;
    let port = found.spec.and_then(|spec| spec.ports).and_then(|ports| ports.first().map(|port| port.port));
    let Some(port) = port else { return Ok(Some(format!("service {service} has no port"))) };
    let path = format!("/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy{asked}");
    let request = http::Request::get(&path).body(Vec::new());
    let request = request.map_err(|error| ClusterError::Other(format!("{path}: {error}")))?;
    match cluster.ask(format!("{asked} of service {service}"), cluster.client().request_text(request)).await {
        Ok(_) => Ok(None),
        Err(error) if error.is_transient() && !error.is_unreachable() => {
            Ok(Some(format!("{service}'s {asked} refuses ({error})")))
        }
        Err(error) => Err(error),
    }
}

/// What is missing until a Deployment is complete.
pub(super) fn of_deployment(deployment: &Deployment) -> Option<String> {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let seen = status.observed_generation >= deployment.metadata.generation;
    let updated = status.updated_replicas.unwrap_or(0).min(status.available_replicas.unwrap_or(0));
    let left = status.replicas.unwrap_or(0) > wanted;
    (!seen || updated < wanted || left).then(|| line(deployment.metadata.name.as_deref(), updated, wanted))
}

fn of_set(set: &StatefulSet) -> Option<String> {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = set.status.clone().unwrap_or_default();
    let seen = status.observed_generation >= set.metadata.generation;
    let current = status.update_revision.is_none()
        || status.current_revision == status.update_revision
        || status.updated_replicas == Some(wanted);
    let ready = status.ready_replicas.unwrap_or(0);
    (!seen || !current || ready < wanted).then(|| line(set.metadata.name.as_deref(), ready, wanted))
}

fn of_database(database: &DynamicObject) -> Option<String> {
    let name = database.metadata.name.as_deref();
    let wanted = database.data["spec"]["instances"].as_i64().unwrap_or(1);
    let ready = instances(database);
    let phase = database.data["status"]["phase"].as_str().unwrap_or("no phase yet");
    if phase != HEALTHY {
        return Some(format!("{}: {phase}", name.unwrap_or_default()));
    }
    (ready < wanted).then(|| line(name, ready, wanted))
}

/// How many instances of a database are ready.
fn instances(database: &DynamicObject) -> i64 {
    database.data["status"]["readyInstances"].as_i64().unwrap_or(0)
}

fn line(name: Option<&str>, ready: impl Into<i64>, wanted: impl Into<i64>) -> String {
    format!("{} {} of {}", name.unwrap_or_default(), ready.into(), wanted.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::FakeApi;
    use serde_json::json;

    #[test]
    fn a_database_is_healthy_by_phase_and_by_count() {
        let database = |phase: &str, ready: i64| -> DynamicObject {
            let json = json!({"metadata": {"name": "pg"}, "spec": {"instances": 2},
                "status": {"phase": phase, "readyInstances": ready}});
            serde_json::from_value(json).unwrap()
        };
        assert_eq!(of_database(&database(HEALTHY, 2)), None);
        assert_eq!(of_database(&database(HEALTHY, 1)).unwrap(), "pg 1 of 2");
        assert_eq!(of_database(&database("Failing over", 2)).unwrap(), "pg: Failing over");
    }

    #[test]
    fn a_set_is_complete_when_its_update_is() {
        let set = |ready: i64, current: &str, updated: i64| -> StatefulSet {
            let json = json!({"metadata": {"name": "nats", "generation": 2},
                "spec": {"replicas": 3, "selector": {}, "serviceName": "nats", "template": {}},
                "status": {"replicas": 3, "observedGeneration": 2, "readyReplicas": ready, "currentRevision": current,
                    "updateRevision": "b", "updatedReplicas": updated}});
            serde_json::from_value(json).unwrap()
        };
        assert_eq!(of_set(&set(3, "b", 3)), None);
        assert_eq!(of_set(&set(2, "b", 3)).unwrap(), "nats 2 of 3");
        assert_eq!(of_set(&set(3, "a", 1)).unwrap(), "nats 3 of 3");
        assert_eq!(of_set(&set(3, "a", 3)), None);
    }

    #[tokio::test]
    async fn servers_can_start_once_their_database_has_an_instance() {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
        let stack = include_str!("../../../../fixtures/stack/ironflow/stack.toml");
        let stack = firedrill_core::stack::parse("ironflow", ("stack.toml", stack)).unwrap();
        let release = &stack.releases(&stack.default_layout())[0];
        let cluster = Cluster::connect("test", &api.kubeconfig(folder.path()), "x").await.unwrap();
        let put = |path: &str, spec: serde_json::Value, status: serde_json::Value| {
            let path = format!("/apis/{path}").replace("NAMESPACE", &release.namespace);
            api.put(&path, json!({"metadata": {"generation": 1}, "spec": spec, "status": status}));
        };
        let workload = json!({"replicas": 1, "selector": {}, "serviceName": "x", "template": {}});
        put("apps/v1/namespaces/NAMESPACE/deployments/server", workload.clone(), json!({"observedGeneration": 1}));
        for (sets_ready, instances, expected) in [(0, 1, false), (1, 0, false), (1, 1, true)] {
            let status = json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": sets_ready});
            put("apps/v1/namespaces/NAMESPACE/statefulsets/nats", workload.clone(), status);
            let status = json!({"phase": "Creating a new replica", "readyInstances": instances});
            put("postgresql.cnpg.io/v1/namespaces/NAMESPACE/clusters/pg", json!({"instances": 2}), status);
            let health = of_release(&cluster, release).await.unwrap();
            assert_eq!(health.has_dependencies, expected, "{sets_ready} {instances}: {health:?}");
            assert!(health.missing.contains(&"server 0 of 1".to_owned()), "{health:?}");
        }
    }
}
