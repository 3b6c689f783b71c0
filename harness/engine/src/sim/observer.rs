//! What can be seen of the simulated cluster.

use super::Sim;
use crate::port::{AtRisk, Baseline, ClusterError, NotHeld, Observer, RunMark};
use async_trait::async_trait;
use firedrill_core::event::{FileSystem, Observation, Place};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{Condition, Detector, ExpectedAlert, Scenario, Symptom, Variant};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[async_trait]
impl Observer for Sim {
    async fn baseline(&self, _variant: &Variant) -> Result<Baseline, ClusterError> {
        self.ask("the baseline").await?;
        Ok(Baseline { nodes: 4, ..Baseline::default() })
    }

    async fn holds(&self, _condition: &Condition, _baseline: &Baseline) -> Result<String, NotHeld> {
        self.ask("a condition").await?;
        match self.world().is_redundant() {
            true => Ok("3 of 3 servers".to_owned()),
            false => Err(NotHeld::Missing("a server is missing".to_owned())),
        }
    }

    async fn detected(&self, _: &Detector, _: &[Target], _: &Baseline) -> Option<String> {
        self.ask("the detector").await.ok()?;
        self.world().is_detected().then(|| "no meta leader".to_owned())
    }

    async fn symptom_since(&self, _: &Symptom, _: &Baseline) -> Result<Option<String>, ClusterError> {
        self.ask("a symptom").await?;
        Ok(self.world().is_detected().then(|| "a symptom".to_owned()))
    }

    async fn backlog(&self, _scenario: &Scenario) -> Result<Option<u64>, ClusterError> {
        self.ask("the backlog").await?;
        Ok(Some(self.world().backlog()))
    }

    async fn not_quiet(&self, _expected: &[ExpectedAlert]) -> Vec<String> {
        Vec::new()
    }

    async fn at_risk(&self, _targets: &[Target]) -> Result<(Vec<AtRisk>, Vec<String>), ClusterError> {
        self.ask("volumes at risk").await.map(|()| (Vec::new(), Vec::new()))
    }

    async fn placement(&self, _targets: &[Target], _mark: &RunMark) -> Result<Vec<Place>, ClusterError> {
        self.ask("where pods are").await.map(|()| Vec::new())
    }

    async fn check_file_system(&self, _volume: &AtRisk) -> FileSystem {
        FileSystem::Whole
    }

    async fn bundle(&self, _folder: &Path, _scenario: &Scenario, _within: Duration) -> Vec<String> {
        Vec::new()
    }

    fn watch(&self, _: &Scenario, to: mpsc::Sender<Observation>, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(async move {
            stop.cancelled().await;
            drop(to);
        })
    }

    fn cpu_stalled(&self) -> Option<Duration> {
        None
    }
}
