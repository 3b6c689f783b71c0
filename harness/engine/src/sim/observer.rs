//! What can be seen of the simulated cluster.

use super::{Sim, World};
use crate::observe::{KnownObjects, ReportOptions};
use crate::port::{AtRisk, Baseline, ClusterError, NotHeld, Observer, RunMark};
use async_trait::async_trait;
use firedrill_core::alert::{self, AlertState};
use firedrill_core::event::{FileSystem, Observation, Place, Source};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{Condition, Detector, ExpectedAlert, Scenario, Symptom, Variant};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The alert that the simulated scenario expects.
pub(super) const ALERT: &str = "NATSDown";
/// How often the watches of a process get what changed.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After so many of these the API server ends a watch, and everything is listed again.
const LOOKS_OF_A_WATCH: u32 = 60;

/// The watches of one process: that of the pods, which a real run follows by the same [`KnownObjects`], and that of the alerts.
struct Watch {
    pods: KnownObjects,
    /// What the pods' watch has delivered, by pod; what changed beyond it is an event of the watch.
    delivered: BTreeMap<String, bool>,
    /// How many looks the pods' watch lasts still. At 0 it has ended.
    looks_left: u32,
    alert: AlertState,
    prometheus: Option<bool>,
}

impl Watch {
    fn new() -> Self {
        Self {
            pods: KnownObjects::new(ReportOptions { unhealthy_at_start: true, gone: true }),
            delivered: BTreeMap::new(),
            looks_left: 0,
            alert: AlertState::Inactive,
            prometheus: None,
        }
    }

    fn look(&mut self, world: &World) -> Vec<Observation> {
        let answers = !world.watch_is_lost();
        let mut observed = Vec::new();
        if self.prometheus != Some(answers) {
            self.prometheus = Some(answers);
            observed.push(alert::prometheus(answers, if answers { "answers" } else { "did not answer" }));
        }
        if !answers {
            self.looks_left = 0;
            return observed;
        }
        let alert = world.alert();
        if alert != self.alert {
            observed.push(alert::changed(ALERT, &alert, ""));
            self.alert = alert;
        }
        let now: BTreeMap<String, bool> = world.victims().map(|(name, broken)| (name.clone(), broken)).collect();
        if self.looks_left == 0 {
            self.looks_left = LOOKS_OF_A_WATCH;
            observed.extend(self.pods.list_begins());
            for (name, broken) in &now {
                observed.extend(self.pods.listed(name.clone(), Some(pod(name, *broken))));
            }
            observed.extend(self.pods.list_ends());
        } else {
            self.looks_left -= 1;
            for (name, broken) in now.iter().filter(|(name, broken)| self.delivered.get(*name) != Some(*broken)) {
                observed.extend(self.pods.seen(name.clone(), Some(pod(name, *broken))));
            }
        }
        self.delivered = now;
        observed
    }
}

fn pod(name: &str, broken: bool) -> Observation {
    let state = if broken { "not ready" } else { "ready" };
    Observation {
        source: Source::Pods,
        object: name.to_owned(),
        state: state.to_owned(),
        healthy: Some(!broken),
        fact: None,
    }
}

fn unanswered() -> AlertState {
    AlertState::Unknown { why: "Prometheus did not answer".to_owned() }
}

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

    async fn not_quiet(&self, expected: &[ExpectedAlert]) -> Vec<String> {
        let world = self.world();
        let alert = if world.watch_is_lost() { unanswered() } else { world.alert() };
        let active = expected.iter().filter(|_| alert != AlertState::Inactive);
        active.map(|expected| format!("alert {} is {alert}", expected.fires)).collect()
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
        let sim = self.clone();
        tokio::spawn(async move {
            let mut watch = Watch::new();
            loop {
                let observed = watch.look(&sim.world());
                for observation in observed {
                    if to.send(observation).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        })
    }

    fn cpu_stalled(&self) -> Option<Duration> {
        None
    }
}
