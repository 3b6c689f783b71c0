//! What acts on the machines of an opened cluster: its servers, by Hetzner's API.

use super::super::volumes::FixtureDriver;
use super::super::{
    Capabilities, ExternalEndpoint, ExternalNeed, MachineError, Machines, StepEnvironment, Support, Volumes, ports,
};
use super::account::Account;
use super::client::{Limits, Server};
use super::firewall::NODE_PORTS;
use super::power::{self, PowerError, ServerRef};
use super::record::Record;
use super::remove::Scope;
use super::{cost, create, nodes, step_proxy};
use crate::clock::Clock;
use crate::cluster::{Cluster, RunMark};
use async_trait::async_trait;
use firedrill_core::event::PageCache;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The servers of one cluster.
pub(crate) struct HetznerMachines {
    pub(super) account: Arc<Account>,
    pub(super) record: Record,
    /// The address of a control plane, by which node ports are reached.
    pub(super) address: String,
}

impl HetznerMachines {
    fn cluster(&self) -> &str {
        &self.record.settings.name
    }

    /// The cluster's server of a node. One of another cluster, or of somebody else, is never taken for it.
    pub(super) async fn find(&self, node: &str) -> Result<Option<Server>, MachineError> {
        let servers = create::servers_of(&self.account.client, self.cluster()).await;
        let servers = servers.map_err(|error| refused(node, error))?;
        Ok(servers.into_iter().find(|server| server.name == node))
    }

    async fn server(&self, node: &str) -> Result<ServerRef, MachineError> {
        let found = self.find(node).await?.ok_or_else(|| MachineError::NoMachine { node: node.to_owned() })?;
        Ok(ServerRef::Id(found.id))
    }

    fn outside_ports() -> BTreeMap<u16, u16> {
        NODE_PORTS.map(|port| (port, port)).collect()
    }
}

/// What the API said about a node.
pub(super) fn refused(node: &str, error: impl std::fmt::Display) -> MachineError {
    MachineError::Refused { node: node.to_owned(), why: error.to_string() }
}

#[async_trait]
impl Machines for HetznerMachines {
    fn capabilities(&self) -> Capabilities {
        let volume_fault = match self.account.endpoint.is_hetzner() {
            true => Support::No {
                why: "Hetzner's API cannot delay an attach or hold a detach on purpose; a double of the API can"
                    .to_owned(),
            },
            false => Support::Yes,
        };
        Capabilities { node_power: Support::Yes, new_node: Support::Yes, volume_fault }
    }

    async fn power_off(&self, node: &str) -> Result<(), MachineError> {
        let server = self.server(node).await?;
        power::power_off(&self.account.client, &server).await.map_err(|error| of_power(node, "on", error))
    }

    async fn power_on(&self, node: &str) -> Result<(), MachineError> {
        let server = self.server(node).await?;
        power::power_on(&self.account.client, &server).await.map_err(|error| of_power(node, "off", error))
    }

    async fn is_on(&self, node: &str) -> Result<bool, MachineError> {
        let server = self.server(node).await?;
        power::is_on(&self.account.client, &server).await.map_err(|error| refused(node, error))
    }

    async fn cost_note(&self) -> Result<Option<String>, MachineError> {
        let (clock, scope) = (Clock::start(), Scope::Cluster(self.cluster().to_owned()));
        let now = clock.unix_seconds(clock.now());
        let bill = cost::bill(&self.account.client, &scope, now).await;
        let bill = bill.map_err(|error| MachineError::Unreadable(format!("the cluster's cost: {error}")))?;
        let expires = jiff::Timestamp::from_second(self.record.expires_unix_s).map(|time| time.to_string());
        let expires = expires.unwrap_or_default();
        Ok(Some(format!(
            "{bill}; if this program dies, only `firedrill down` or, after {expires}, `firedrill sweep --expired` ends the cost of {} {} \
             per hour",
            bill.per_hour, bill.currency
        )))
    }

    fn page_cache(&self) -> Option<PageCache> {
        Some(PageCache::Lost)
    }

    fn power_on_command(&self, node: &str) -> Option<String> {
        Some(format!("hcloud server poweron {node}"))
    }

    async fn machine_id(&self, node: &str) -> Result<Option<String>, MachineError> {
        Ok(self.find(node).await?.map(|server| server.id.to_string()))
    }

    async fn add_node(&self, cluster: &Cluster, mark: &RunMark, like: &str, name: &str) -> Result<(), MachineError> {
        nodes::add(self, cluster, mark, like, name).await
    }

    async fn remove_node(&self, cluster: &Cluster, run_id: &str, node: &str) -> Result<(), MachineError> {
        nodes::remove(self, cluster, run_id, node).await
    }

    async fn is_node_gone(&self, cluster: &Cluster, node: &str) -> Result<bool, MachineError> {
        nodes::is_gone(self, cluster, node).await
    }

    async fn external_endpoints(
        &self,
        cluster: &Cluster,
        needs: &[ExternalNeed],
    ) -> Result<Vec<ExternalEndpoint>, MachineError> {
        ports::endpoints(cluster, &self.address, &Self::outside_ports(), needs).await
    }

    async fn check_external(&self, cluster: &Cluster, needs: &[ExternalNeed]) -> Result<(), MachineError> {
        ports::check(&cluster.name, NODE_PORTS.count(), needs.len())
    }

    async fn step_environment(&self) -> Result<StepEnvironment, MachineError> {
        let Account { endpoint, token, .. } = &*self.account;
        let mark = self.record.mark_of_run(&self.record.run);
        let started = step_proxy::start(endpoint, token, &mark, Limits::default()).await;
        started.map_err(|error| MachineError::StepEnvironment(error.to_string()))
    }

    fn volumes(&self) -> Option<&dyn Volumes> {
        if self.account.endpoint.is_hetzner() { None } else { Some(&FixtureDriver) }
    }
}

/// `state` is the node's where the action had no effect.
fn of_power(node: &str, state: &'static str, error: PowerError) -> MachineError {
    match error {
        PowerError::NoEffect { .. } => MachineError::NoEffect { node: node.to_owned(), state },
        error => refused(node, error),
    }
}
