//! Clusters that someone else made: named by kubeconfig and context, and marked for drills by their owner.

mod endpoints;

use super::volumes::FixtureDriver;
use super::{
    Capabilities, Capability, ClusterOptions, ExternalEndpoint, ExternalNeed, FoundCluster, MachineError, Machines,
    Provider, ProviderError, Support, Volumes,
};
use crate::cluster::{Cluster, ClusterError, MARKER};
use crate::process::Progress;
use async_trait::async_trait;
use endpoints::Objects;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

pub(super) const NAME: &str = "existing";

/// The provider of clusters that someone else made.
pub(super) struct Existing;

#[async_trait]
impl Provider for Existing {
    fn name(&self) -> &'static str {
        NAME
    }

    fn makes_clusters(&self) -> bool {
        false
    }

    async fn create(&self, _options: &ClusterOptions, _progress: Progress<'_>) -> Result<Cluster, ProviderError> {
        Err(ProviderError::MakesNone { provider: NAME })
    }

    async fn ensure_ready(&self, options: &ClusterOptions, _progress: Progress<'_>) -> Result<Cluster, ProviderError> {
        Err(ProviderError::NotFound { name: options.name.clone() })
    }

    async fn find(&self) -> Result<Vec<FoundCluster>, ProviderError> {
        Ok(Vec::new())
    }

    async fn find_named(&self, name: &str) -> Result<FoundCluster, ProviderError> {
        Err(ProviderError::NotFound { name: name.to_owned() })
    }

    async fn open(&self, context: &str, kubeconfig: Option<&Path>) -> Result<Cluster, ProviderError> {
        let kubeconfig = kubeconfig.ok_or_else(|| ProviderError::NotFound { name: context.to_owned() })?;
        let cluster = Cluster::connect(context, kubeconfig, context).await?;
        if cluster.is_allowed().await? {
            return Ok(cluster);
        }
        let why = format!(
            "it is not marked for drills; its owner marks it with \
             `kubectl --context {context} create configmap {MARKER} --namespace kube-system`"
        );
        Err(ProviderError::NotOurs { name: context.to_owned(), why })
    }

    async fn delete(&self, name: &str, _progress: Progress<'_>) -> Result<(), ProviderError> {
        Err(ProviderError::NotFound { name: name.to_owned() })
    }
}

/// The machines of a cluster that someone else made.
pub(super) struct OthersMachines;

#[async_trait]
impl Machines for OthersMachines {
    fn capabilities(&self) -> Capabilities {
        let no = || Support::No { why: "firedrill did not make this cluster's nodes".to_owned() };
        Capabilities { node_power: no(), new_node: no(), volume_fault: Support::Yes }
    }

    async fn remove_node(&self, cluster: &Cluster, _run_id: &str, node: &str) -> Result<(), MachineError> {
        // Where no node can be added, none was.
        if self.is_node_gone(cluster, node).await? {
            return Ok(());
        }
        Ok(self.capabilities().check(Capability::NewNode)?)
    }

    async fn is_node_gone(&self, cluster: &Cluster, node: &str) -> Result<bool, MachineError> {
        let nodes: Api<Node> = Api::all(cluster.client());
        Ok(nodes.get_opt(node).await.map_err(ClusterError::api("read a node"))?.is_none())
    }

    async fn external_endpoints(
        &self,
        cluster: &Cluster,
        needs: &[ExternalNeed],
    ) -> Result<Vec<ExternalEndpoint>, MachineError> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        let mut known: BTreeMap<&str, Objects> = BTreeMap::new();
        for need in needs {
            let namespace = need.service.namespace.as_str();
            let objects = match known.entry(namespace) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(Objects::list(cluster, namespace).await?),
            };
            match endpoints::find(need, objects).await {
                Ok(endpoint) => found.push(endpoint),
                Err(why) => missing.push(why),
            }
        }
        if missing.is_empty() { Ok(found) } else { Err(MachineError::NoEndpoint(missing.join("; "))) }
    }

    fn volumes(&self) -> Option<&dyn Volumes> {
        Some(&FixtureDriver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::FakeApi;
    use firedrill_core::scenario::ServiceRef;
    use serde_json::json;
    use tempfile::TempDir;
    use tokio::net::TcpListener;

    async fn world() -> (FakeApi, Cluster, TempDir) {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
        let cluster = open_in(&api, &folder).await.unwrap();
        (api, cluster, folder)
    }

    async fn open_in(api: &FakeApi, folder: &TempDir) -> Result<Cluster, ProviderError> {
        Existing.open("x", Some(&api.kubeconfig(folder.path()))).await
    }

    fn need(name: &str) -> ExternalNeed {
        ExternalNeed { service: ServiceRef { namespace: "n".into(), name: name.into(), port: 80 }, http: true }
    }

    #[tokio::test]
    async fn a_cluster_without_the_mark_is_refused() {
        let (api, cluster, folder) = world().await;
        assert_eq!((cluster.provider.as_str(), cluster.is_own()), (NAME, false));
        api.remove("/api/v1/namespaces/kube-system/configmaps/firedrill-allowed");
        let error = open_in(&api, &folder).await.err().unwrap().to_string();
        assert!(error.contains("kubectl --context x create configmap firedrill-allowed"), "{error}");
    }

    #[tokio::test]
    async fn nodes_are_neither_powered_nor_added_nor_removed() {
        let (api, cluster, _folder) = world().await;
        let machines = &cluster.machines;
        let why = "not available: firedrill did not make this cluster's nodes";
        let error = machines.power_off("w").await.unwrap_err().to_string();
        assert_eq!(error, format!("node power is {why}"));
        assert_eq!(machines.power_on_command("w"), None);
        assert!(machines.remove_node(&cluster, "r1", "w").await.is_ok(), "it was never added");
        api.put("/api/v1/nodes/w", json!({}));
        let error = machines.remove_node(&cluster, "r1", "w").await.unwrap_err().to_string();
        assert_eq!(error, format!("adding nodes is {why}"));
        assert!(api.writes().is_empty() && api.get("/api/v1/nodes/w").is_some());
    }

    #[tokio::test]
    async fn a_service_is_reached_by_what_its_owner_made() {
        let (api, cluster, _folder) = world().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let of_type = |kind: &str, ports| json!({"spec": {"type": kind, "selector": {"app": kind}, "ports": [ports]}});
        api.put("/api/v1/namespaces/n/services/web", of_type("NodePort", json!({"port": 80, "nodePort": port})));
        api.put("/api/v1/namespaces/n/services/db", of_type("ClusterIP", json!({"port": 80})));
        let status = json!({"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}]});
        api.put("/api/v1/nodes/a", json!({"status": status}));
        let found = cluster.machines.external_endpoints(&cluster, &[need("web")]).await.unwrap();
        let shown: Vec<_> = found.iter().map(|found| (found.host.as_str(), found.port)).collect();
        assert_eq!(shown, [("127.0.0.1", port)]);
        let needs = [need("web"), need("db"), need("gone")];
        let error = cluster.machines.check_external(&cluster, &needs).await.unwrap_err().to_string();
        let expected = "service n/db port 80 is of type ClusterIP, and no NodePort, LoadBalancer or Ingress leads to it; service \
                        n/gone port 80 is not there";
        assert_eq!(error, expected);
        assert!(api.writes().is_empty(), "nothing is made");
    }
}
