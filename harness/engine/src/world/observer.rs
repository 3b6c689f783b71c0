//! What can be seen of a real cluster and of this machine.

use crate::cluster::Cluster;
use crate::observe;
use crate::port::{AtRisk, Baseline, ClusterError, NotHeld, Observer, RunMark};
use crate::pressure;
use async_trait::async_trait;
use firedrill_core::event::{FileSystem, Observation, Place};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{Condition, Detector, ExpectedAlert, Scenario, Symptom, Variant};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(super) struct RealObserver(pub(super) Cluster);

#[async_trait]
impl Observer for RealObserver {
    async fn baseline(&self, variant: &Variant) -> Result<Baseline, ClusterError> {
        Baseline::take(&self.0, variant).await
    }

    async fn holds(&self, condition: &Condition, baseline: &Baseline) -> Result<String, NotHeld> {
        observe::holds(&self.0, condition, baseline).await
    }

    async fn detected(&self, detector: &Detector, targets: &[Target], baseline: &Baseline) -> Option<String> {
        observe::detected(&self.0, detector, targets, baseline).await
    }

    async fn symptom_since(&self, symptom: &Symptom, baseline: &Baseline) -> Result<Option<String>, ClusterError> {
        observe::symptom_since(&self.0, symptom, &baseline.symptoms).await
    }

    async fn backlog(&self, scenario: &Scenario) -> Result<Option<u64>, ClusterError> {
        observe::backlog(&self.0, scenario).await
    }

    async fn not_quiet(&self, expected: &[ExpectedAlert]) -> Vec<String> {
        observe::not_quiet(&self.0, expected).await
    }

    async fn at_risk(&self, targets: &[Target]) -> Result<(Vec<AtRisk>, Vec<String>), ClusterError> {
        observe::at_risk(&self.0, targets).await
    }

    async fn placement(&self, targets: &[Target], mark: &RunMark) -> Result<Vec<Place>, ClusterError> {
        observe::placement(&self.0, targets, mark).await
    }

    async fn check_file_system(&self, volume: &AtRisk) -> FileSystem {
        observe::check(&self.0, volume).await
    }

    async fn bundle(&self, folder: &Path, scenario: &Scenario, within: Duration) -> Vec<String> {
        observe::bundle(&self.0, folder, scenario, within).await
    }

    fn watch(&self, scenario: &Scenario, to: mpsc::Sender<Observation>, stop: CancellationToken) -> JoinHandle<()> {
        observe::watch(self.0.clone(), scenario, to, stop)
    }

    fn cpu_stalled(&self) -> Option<Duration> {
        pressure::cpu_stalled()
    }
}
