//! Clusters that someone else made: named by kubeconfig and context, and marked for drills by their owner.

use super::volumes::FixtureDriver;
use super::{
    Capabilities, Capability, ClusterOptions, ExternalEndpoint, FoundCluster, MachineError, Machines, Provider,
    ProviderError, Support, Volumes,
};
use crate::cluster::{Cluster, ClusterError, MARKER};
use crate::process::Progress;
use async_trait::async_trait;
use firedrill_core::scenario::ServiceRef;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
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
            "it carries no mark that drills may break it; its owner sets one with \
             `kubectl --context {context} create configmap {MARKER} --namespace kube-system`"
        );
        Err(ProviderError::NotOurs { name: context.to_owned(), why })
    }

    async fn delete(&self, name: &str) -> Result<(), ProviderError> {
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
        services: &[ServiceRef],
    ) -> Result<Vec<ExternalEndpoint>, MachineError> {
        if services.is_empty() {
            return Ok(Vec::new());
        }
        Err(MachineError::NoEndpoint(format!("cluster {} has no port that leads into it from outside", cluster.name)))
    }

    fn volumes(&self) -> Option<&dyn Volumes> {
        Some(&FixtureDriver)
    }
}
