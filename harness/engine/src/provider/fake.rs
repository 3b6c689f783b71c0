//! For tests: machines that can do what a test has them do.

use super::{
    Capabilities, ExternalEndpoint, ExternalNeed, FileSystemFindings, MachineError, Machines, Route, Support,
    VolumeFault, VolumeSetting, Volumes,
};
use crate::cluster::Cluster;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;

/// Machines that are never touched.
pub(crate) struct FakeMachines {
    pub(crate) capabilities: Capabilities,
    /// How many Services they can be reached by from outside.
    pub(crate) ports: usize,
    /// The PersistentVolumes that are of their driver.
    pub(crate) volumes: Option<FakeVolumes>,
}

impl FakeMachines {
    /// Machines that can do anything, with that many ports from outside.
    pub(crate) fn with_ports(ports: usize) -> Self {
        let capabilities =
            Capabilities { node_power: Support::Yes, new_node: Support::Yes, volume_fault: Support::Yes };
        Self { capabilities, ports, volumes: None }
    }
}

#[async_trait]
impl Machines for FakeMachines {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    async fn remove_node(&self, _: &Cluster, _: &str, _: &str) -> Result<(), MachineError> {
        Ok(())
    }

    async fn is_node_gone(&self, _: &Cluster, _: &str) -> Result<bool, MachineError> {
        Ok(true)
    }

    async fn external_endpoints(
        &self,
        _: &Cluster,
        needs: &[ExternalNeed],
    ) -> Result<Vec<ExternalEndpoint>, MachineError> {
        if self.ports < needs.len() {
            return Err(MachineError::NoEndpoint(format!("{} of {} ports", self.ports, needs.len())));
        }
        let endpoint = |(need, port): (&ExternalNeed, u16)| ExternalEndpoint {
            service: need.service.clone(),
            host: "127.0.0.1".to_owned(),
            port,
            route: Route::New { node_port: port },
        };
        Ok(needs.iter().zip(1..).map(endpoint).collect())
    }

    fn volumes(&self) -> Option<&dyn Volumes> {
        self.volumes.as_ref().map(|volumes| volumes as &dyn Volumes)
    }
}

/// A driver with these PersistentVolumes.
pub(crate) struct FakeVolumes(pub(crate) Vec<String>);

#[async_trait]
impl Volumes for FakeVolumes {
    fn driver(&self) -> &'static str {
        "fake.driver"
    }

    async fn handle(&self, _: &Cluster, volume: &str) -> Result<Option<String>, MachineError> {
        Ok(self.0.iter().find(|known| *known == volume).cloned())
    }

    async fn inject(&self, _: &Cluster, _: &str, _: VolumeFault, _: Duration) -> Result<(), MachineError> {
        Ok(())
    }

    async fn clear(&self, _: &Cluster, _: &str) -> Result<(), MachineError> {
        Ok(())
    }

    async fn settings(&self, _: &Cluster) -> Result<BTreeMap<String, VolumeSetting>, MachineError> {
        Ok(BTreeMap::new())
    }

    async fn check_file_system(&self, _: &Cluster, _: &str) -> Result<FileSystemFindings, MachineError> {
        Ok(FileSystemFindings { clean: true, lines: Vec::new() })
    }
}
