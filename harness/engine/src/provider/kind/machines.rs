//! What acts on the machines of a kind cluster: its node containers, and the ports that the engine publishes.

use super::super::volumes::FixtureDriver;
use super::super::{Capabilities, ExternalEndpoint, ExternalNeed, MachineError, Machines, Support, Volumes, ports};
use super::nodes;
use super::power::Containers;
use crate::cluster::{Cluster, RunMark};
use async_trait::async_trait;
use firedrill_core::event::PageCache;
use std::collections::BTreeMap;

pub(super) struct KindMachines {
    containers: Containers,
    /// Ports of this machine's loopback address that lead to node ports of the cluster, by node port. No address of a node is kept: a
    /// node that was powered off may come back with another one, and the engine's published ports follow the container.
    outside_ports: BTreeMap<u16, u16>,
}

impl KindMachines {
    pub(super) fn new(cluster: &str, outside_ports: BTreeMap<u16, u16>) -> Self {
        Self { containers: Containers { cluster: cluster.to_owned() }, outside_ports }
    }
}

#[async_trait]
impl Machines for KindMachines {
    fn capabilities(&self) -> Capabilities {
        Capabilities { node_power: Support::Yes, new_node: Support::Yes, volume_fault: Support::Yes }
    }

    async fn power_off(&self, node: &str) -> Result<(), MachineError> {
        self.containers.off(node).await
    }

    async fn power_on(&self, node: &str) -> Result<(), MachineError> {
        self.containers.on(node).await
    }

    async fn is_on(&self, node: &str) -> Result<bool, MachineError> {
        self.containers.is_on(node).await
    }

    fn page_cache(&self) -> Option<PageCache> {
        Some(PageCache::Kept)
    }

    fn power_on_command(&self, node: &str) -> Option<String> {
        Some(format!("docker start {node}"))
    }

    async fn machine_id(&self, node: &str) -> Result<Option<String>, MachineError> {
        Ok(self.containers.find_machine(node).await?.map(|machine| machine.id))
    }

    async fn add_node(&self, cluster: &Cluster, mark: &RunMark, like: &str, name: &str) -> Result<(), MachineError> {
        nodes::add(&self.containers, cluster, mark, like, name).await
    }

    async fn remove_node(&self, cluster: &Cluster, run_id: &str, node: &str) -> Result<(), MachineError> {
        nodes::remove(&self.containers, cluster, run_id, node).await
    }

    async fn is_node_gone(&self, cluster: &Cluster, node: &str) -> Result<bool, MachineError> {
        nodes::is_gone(&self.containers, cluster, node).await
    }

    async fn external_endpoints(
        &self,
        cluster: &Cluster,
        needs: &[ExternalNeed],
    ) -> Result<Vec<ExternalEndpoint>, MachineError> {
        ports::endpoints(cluster, "127.0.0.1", &self.outside_ports, needs).await
    }

    async fn check_external(&self, cluster: &Cluster, needs: &[ExternalNeed]) -> Result<(), MachineError> {
        ports::check(&cluster.name, self.outside_ports.len(), needs.len())
    }

    fn volumes(&self) -> Option<&dyn Volumes> {
        Some(&FixtureDriver)
    }
}
