//! Faults in a real cluster, and what knows its releases.

use super::capabilities;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::fault::{self, Armed, Tools};
use crate::port::{ArmedFaults, Deployer, FaultError, Faults, Injected, Proof, Refusal, RunMark};
use crate::provider::replacement_of;
use crate::stack;
use async_trait::async_trait;
use firedrill_core::event::Undo;
use firedrill_core::plan::{PlannedFault, Target};
use firedrill_core::scenario::{Fault, Layout, PodSelector, ProviderStep};
use firedrill_core::stack::Stack;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct RealFaults {
    pub(super) cluster: Cluster,
    pub(super) clock: Clock,
    pub(super) image: String,
    pub(super) chart: PathBuf,
}

impl RealFaults {
    fn tools(&self, mark: &RunMark) -> Tools {
        Tools { cluster: self.cluster.clone(), clock: self.clock, mark: mark.clone(), image: self.image.clone() }
    }
}

#[async_trait]
impl Faults for RealFaults {
    fn check(&self, drill: &str, faults: &[Fault], steps: &[(u32, ProviderStep)]) -> Result<(), Refusal> {
        capabilities::check(&self.cluster, drill, faults, steps)
    }

    async fn check_targets(&self, fault: &Fault, targets: &[Target]) -> Result<(), Refusal> {
        capabilities::check_volumes(&self.cluster, fault, targets).await
    }

    async fn choose_targets(&self, fault: &Fault, seed: u64) -> Result<Vec<Target>, FaultError> {
        fault::choose_targets(&self.cluster, fault, seed, &[]).await
    }

    async fn prepare(
        &self,
        mark: &RunMark,
        faults: &[PlannedFault],
        within: Duration,
    ) -> Result<Box<dyn ArmedFaults>, FaultError> {
        Ok(Box::new(Armed::prepare(&self.tools(mark), &self.chart, faults, within).await?))
    }

    async fn identify(&self, mark: &RunMark, undo: Undo) -> Result<Undo, FaultError> {
        fault::identify(&self.tools(mark), undo).await
    }

    async fn undo(&self, mark: &RunMark, undo: &Undo, within: Duration) -> Result<(), FaultError> {
        fault::undo(&self.tools(mark), undo, within).await
    }

    async fn is_clean(&self, mark: &RunMark, undo: &Undo, within: Duration) -> Result<bool, FaultError> {
        fault::is_clean(&self.tools(mark), undo, within).await
    }

    fn finish_with(&self, mark: &RunMark, undo: &Undo) -> Option<String> {
        fault::finish_with(&self.tools(mark), undo)
    }

    async fn make_node(
        &self,
        mark: &RunMark,
        node: &str,
        pods: &PodSelector,
        because_of: &str,
    ) -> Result<(), FaultError> {
        fault::make_node(&self.tools(mark), node, pods, because_of).await
    }

    fn replacement_of(&self, lost: &str) -> String {
        replacement_of(lost)
    }

    async fn replace_node(&self, mark: &RunMark, lost: &str, node: &str) -> Result<(), FaultError> {
        Ok(self.cluster.machines.add_node(&self.cluster, mark, lost, node).await?)
    }

    async fn detach_by_force(&self, mark: &RunMark, targets: &[Target]) -> Result<String, FaultError> {
        fault::detach_by_force(&self.tools(mark), targets).await
    }
}

#[async_trait]
impl ArmedFaults for Armed {
    async fn connect(&self, targets: &[Target]) -> Result<(), FaultError> {
        Armed::connect(self, targets).await
    }

    fn undo_of(&self, fault: &Fault, target: &Target) -> Result<Undo, FaultError> {
        Armed::undo_of(self, fault, target)
    }

    async fn inject(&self, fault: &Fault, target: &Target) -> Result<Injected, FaultError> {
        Armed::inject(self, fault, target).await
    }

    async fn prove(&self, fault: &Fault, injected: &Injected, within: Duration) -> Result<Vec<Proof>, FaultError> {
        Armed::prove(self, fault, injected, within).await
    }
}

/// The Helm releases of a stack.
pub(super) struct Releases {
    pub(super) cluster: Cluster,
    pub(super) stack: Option<Arc<Stack>>,
}

#[async_trait]
impl Deployer for Releases {
    async fn layout(&self) -> Result<Option<Layout>, String> {
        let Some(stack) = &self.stack else { return Ok(None) };
        let installed = stack::installed(&self.cluster, stack).await.map_err(|error| error.to_string())?;
        Ok(installed.map(|installed| installed.layout))
    }

    async fn unfinished_upgrades(&self, layout: &Layout) -> Result<Vec<Undo>, FaultError> {
        let mut undos = Vec::new();
        let Some(stack) = &self.stack else { return Ok(undos) };
        for (namespace, release) in stack::helm_releases(stack, layout) {
            undos.extend(fault::undo_of_unfinished(&self.cluster, namespace, release).await?);
        }
        Ok(undos)
    }
}
