//! For tests: machines that can do what a test has them do.

use super::{Capabilities, ExternalEndpoint, MachineError, Machines, Route, Support};
use crate::cluster::Cluster;
use async_trait::async_trait;
use firedrill_core::scenario::ServiceRef;

/// Machines that are never touched.
pub(crate) struct FakeMachines {
    capabilities: Capabilities,
    /// How many Services they can be reached by from outside.
    ports: usize,
}

impl FakeMachines {
    /// Machines that can do anything, with that many ports from outside.
    pub(crate) fn with_ports(ports: usize) -> Self {
        let capabilities =
            Capabilities { node_power: Support::Yes, new_node: Support::Yes, volume_fault: Support::Yes };
        Self { capabilities, ports }
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
        services: &[ServiceRef],
    ) -> Result<Vec<ExternalEndpoint>, MachineError> {
        if self.ports < services.len() {
            return Err(MachineError::NoEndpoint(format!("{} of {} ports", self.ports, services.len())));
        }
        let endpoint = |(service, port): (&ServiceRef, u16)| ExternalEndpoint {
            service: service.clone(),
            host: "127.0.0.1".to_owned(),
            port,
            route: Route::New { node_port: port },
        };
        Ok(services.iter().zip(1..).map(endpoint).collect())
    }
}
