//! The runner's side of the inside vantage.

use super::probe_line::Route;
use super::probe_pod::{self, NAME};
use super::probe_pump::{Pumped, pump};
use super::probe_wire::{Chore, Request};
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError, RunMark, Waiting};
use crate::probe::{Endpoint, ProbeSpec};
use firedrill_core::event::Undo;
use firedrill_core::judge::ledger::Found;
use firedrill_core::sample::Sample;
use firedrill_core::time::micros;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Comparisons of the two clocks; the one with the shortest round trip counts.
const PINGS: u32 = 24;
/// How often a pod that is to become ready is looked at, and an agent that does not answer is asked again.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What one request of the runner, which the agent answers at once, may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// What making or clearing one place for writes may take.
const CHORE_WITHIN: Duration = Duration::from_secs(20);

/// Why the inside vantage cannot be used.
#[derive(Clone, Debug, Error)]
pub enum AgentError {
    /// The API server refused, or did not answer.
    #[error("{0}")]
    Cluster(String),
    /// The pod cannot come up, or has ended.
    #[error("probe agent: {0}")]
    Pod(String),
    /// The agent could not be reached in time.
    #[error("probe agent not reached within {} s: {last}", within.as_secs())]
    Deadline {
        /// The limit.
        within: Duration,
        /// What went wrong last.
        last: String,
    },
    /// Another agent answered than the one that was started: what the first one saw is lost.
    #[error("probe agent was replaced by another one; its samples are lost")]
    Replaced,
    /// Samples are missing.
    #[error("probe agent: samples are missing: {0}")]
    Gap(String),
    /// The agent said that it cannot.
    #[error("probe agent: {0}")]
    Refused(String),
    /// The connection broke; nothing says that trying again does not help.
    #[error("connection to the probe agent: {0}")]
    Broken(String),
}

impl From<ClusterError> for AgentError {
    fn from(error: ClusterError) -> Self {
        AgentError::Cluster(error.to_string())
    }
}

/// The agent pod of a run.
pub struct Inside {
    route: Route,
    node: String,
    clock: Option<Clock>,
    offset_us: i64,
    uncertainty: Duration,
    pump: Option<JoinHandle<Pumped>>,
    /// Whether the probes were asked to end.
    stopping: Arc<AtomicBool>,
    may_write: bool,
    failure: Option<watch::Receiver<Option<AgentError>>>,
}

impl Inside {
    /// Makes the pod `probe-agent` in a namespace that exists, the run's own where none is named, and waits until the agent
    /// answers.
    ///
    /// It goes to a node that is not in `avoid_nodes`, a control-plane one where that can be.
    ///
    /// # Errors
    /// Where the pod cannot be made or does not answer within `within`; the pod is then left for the run's cleanup.
    pub async fn deploy(
        cluster: &Cluster,
        mark: &RunMark,
        image: &str,
        namespace: Option<&str>,
        avoid_nodes: &[String],
        within: Duration,
    ) -> Result<Inside, AgentError> {
        let clock = cluster.clock();
        let left_s = mark.expires_unix.saturating_sub(clock.unix_seconds(clock.now())).clamp(60, 86_400);
        let pod = probe_pod::manifest(mark, image, avoid_nodes, namespace.is_some(), left_s)
            .map_err(|error| AgentError::Pod(format!("its manifest: {error}")))?;
        let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace.unwrap_or(&mark.namespace()));
        pods.create(&PostParams::default(), &pod).await.map_err(ClusterError::api("making the probe agent's pod"))?;
        let until = clock.deadline(clock.now().plus(within));
        let mut last = "the pod has not started".to_owned();
        let ready = async {
            let node = await_running(&pods, &mut last).await?;
            let route = Route::pod(pods.clone(), NAME);
            let mut looks = tokio::time::interval(LOOK_EVERY);
            loop {
                looks.tick().await;
                match route.ask(&Request::Ping, ANSWER_MAX).await {
                    Ok((head, _)) => return Ok((node, route.of_instance(head.instance))),
                    Err(AgentError::Broken(error)) => last = error,
                    Err(error) => return Err(error),
                }
            }
        };
        let ready = tokio::time::timeout_at(until, ready).await;
        let (node, route) = ready.map_err(|_| AgentError::Deadline { within, last })??;
        let (_, uncertainty) = compare(&route, &clock).await?;
        Ok(Self::over(route, node, uncertainty))
    }

    /// [`Inside::deploy`] after the end of the agent that was there, which may have lost its probes or its runner: what it
    /// still held goes with it.
    ///
    /// # Errors
    /// As [`Inside::deploy`].
    pub async fn replace(
        cluster: &Cluster,
        mark: &RunMark,
        image: &str,
        within: Duration,
    ) -> Result<Inside, AgentError> {
        let pods: Api<Pod> = Api::namespaced(cluster.client(), &mark.namespace());
        cluster.wait_for("the end of the old probe agent", within, || async {
            match cluster.ask("deleting the old probe agent", pods.delete(NAME, &DeleteParams::default())).await {
                Err(ClusterError::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.is_not_found()) => {
                    Ok(Waiting::Done(()))
                }
                other => other.map(|_| Waiting::Not("it is going away".to_owned())),
            }
        })
        .await?;
        Self::deploy(cluster, mark, image, None, &[], within).await
    }

    pub(super) fn over(route: Route, node: String, uncertainty: Duration) -> Self {
        Self {
            route,
            node,
            clock: None,
            offset_us: 0,
            uncertainty,
            pump: None,
            stopping: Arc::default(),
            may_write: false,
            failure: None,
        }
    }

    /// How to take the agent's pod in a namespace away that is not the run's own, with which it would go.
    pub fn undo(namespace: &str) -> Undo {
        let (kind, namespace) = ("Pod".to_owned(), Some(namespace.to_owned()));
        Undo::DeleteObject { api_version: "v1".to_owned(), kind, namespace, name: NAME.to_owned() }
    }

    /// The node it runs on.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// How far the times of its samples can be off: half the shortest round trip. [`Inside::stop_and_drain`] adds what the
    /// clocks drifted meanwhile.
    pub fn uncertainty(&self) -> Duration {
        self.uncertainty
    }

    /// Becomes `Some` when the stream of samples has ended before its time: what follows cannot come any more. `None` before
    /// the probes were started.
    pub fn failure(&self) -> Option<watch::Receiver<Option<AgentError>>> {
        self.failure.clone()
    }

    /// Whether the agent that was started answers.
    ///
    /// # Errors
    /// Why not.
    pub async fn answers(&self) -> Result<(), AgentError> {
        self.route.ask(&Request::Ping, ANSWER_MAX).await.map(|_| ())
    }

    /// Compares the clocks, starts the probes and streams their samples, in the time of `clock`, into `sink`.
    ///
    /// While the API server is away the samples wait in the agent. [`Inside::failure`] says when they can no longer come.
    ///
    /// # Errors
    /// Where the agent cannot be reached, refuses, or was started before.
    pub async fn start(
        &mut self,
        specs: Vec<ProbeSpec>,
        clock: Clock,
        sink: mpsc::Sender<Sample>,
    ) -> Result<(), AgentError> {
        if self.pump.is_some() {
            return Err(AgentError::Refused("the probes were started before".to_owned()));
        }
        let (offset_us, uncertainty) = compare(&self.route, &clock).await?;
        self.may_write = true;
        self.route.ask(&Request::Start { specs }, ANSWER_MAX).await?;
        (self.clock, self.offset_us, self.uncertainty) = (Some(clock), offset_us, uncertainty);
        let (failed, failure) = watch::channel(None);
        self.failure = Some(failure);
        let (route, stopping) = (self.route.clone(), self.stopping.clone());
        self.pump = Some(tokio::spawn(async move {
            let end = pump(&route, offset_us, &sink, &stopping).await;
            if let Err(error) = &end {
                failed.send_replace(Some(error.clone()));
            }
            end
        }));
        Ok(())
    }

    /// Ends the probes and waits for the samples of what was in flight. Where that was broken off, it can be asked again.
    ///
    /// # Errors
    /// Where not every sample has arrived within `within`.
    pub async fn stop_and_drain(&mut self, within: Duration) -> Result<(), AgentError> {
        let (Some(task), Some(clock)) = (self.pump.as_mut(), self.clock) else { return Ok(()) };
        let until = clock.deadline(clock.now().plus(within));
        self.stopping.store(true, Ordering::Relaxed);
        let mut last = "the probes have not ended".to_owned();
        let drained = async {
            let mut tries = tokio::time::interval(LOOK_EVERY);
            loop {
                tries.tick().await;
                match self.route.ask(&Request::Stop, ANSWER_MAX).await {
                    Ok(_) => {
                        self.may_write = false;
                        break;
                    }
                    Err(AgentError::Broken(error)) if !task.is_finished() => last = error,
                    Err(AgentError::Broken(_)) => break,
                    Err(error) => return Err(error),
                }
            }
            (&mut *task).await.map_err(|error| AgentError::Broken(error.to_string()))?
        };
        let ended = tokio::time::timeout_at(until, drained).await;
        if ended.is_err() {
            task.abort();
        }
        self.pump = None;
        ended.map_err(|_| AgentError::Deadline { within, last })??;
        let (offset_us, uncertainty) = compare(&self.route, &clock).await?;
        let drift = Duration::from_micros(offset_us.abs_diff(self.offset_us));
        self.uncertainty = self.uncertainty.max(uncertainty) + drift;
        Ok(())
    }

    /// Whether its probes were started, and not stopped and waited for.
    pub fn is_measuring(&self) -> bool {
        self.pump.is_some()
    }

    /// Whether its probes were started and it has not said that they stop: they may write still.
    pub fn may_write(&self) -> bool {
        self.may_write
    }

    /// Reads a store from inside the cluster.
    ///
    /// # Errors
    /// Where it cannot be read to its end within `within`, or the agent cannot be reached.
    pub async fn read_back(&self, store: &Endpoint, within: Duration) -> Result<Found, AgentError> {
        let request = Request::ReadBack { store: store.clone(), within };
        let (_, payload) = self.route.ask(&request, within + ANSWER_MAX).await?;
        Found::decode(&payload).ok_or_else(|| AgentError::Broken("what was found could not be read".to_owned()))
    }

    /// Makes the table that a PostgreSQL probe writes into.
    ///
    /// # Errors
    /// Where it cannot be made, or the agent cannot be reached.
    pub async fn create_table(&self, url: &str, table: &str) -> Result<(), AgentError> {
        self.perform(Chore::CreateTable { url: url.to_owned(), table: table.to_owned() }).await
    }

    /// Drops that table; one that is not there is no error.
    ///
    /// # Errors
    /// Where it cannot be dropped, or the agent cannot be reached.
    pub async fn drop_table(&self, url: &str, table: &str) -> Result<(), AgentError> {
        self.perform(Chore::DropTable { url: url.to_owned(), table: table.to_owned() }).await
    }

    /// Takes the messages of a subject out of a stream.
    ///
    /// # Errors
    /// Where that is not possible, or the agent cannot be reached.
    pub async fn purge(&self, url: &str, stream: &str, subject: &str) -> Result<(), AgentError> {
        let (url, stream, subject) = (url.to_owned(), stream.to_owned(), subject.to_owned());
        self.perform(Chore::Purge { url, stream, subject }).await
    }

    async fn perform(&self, chore: Chore) -> Result<(), AgentError> {
        let request = Request::Do { chore, within: CHORE_WITHIN };
        self.route.ask(&request, CHORE_WITHIN + ANSWER_MAX).await.map(|_| ())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(pump) = &self.pump {
            pump.abort();
        }
    }
}

/// Waits for the pod to run; returns its node. The caller limits it.
async fn await_running(pods: &Api<Pod>, last: &mut String) -> Result<String, AgentError> {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let pod = match pods.get(NAME).await {
            Ok(pod) => pod,
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Err(AgentError::Pod("its pod was deleted".to_owned()));
            }
            Err(error) => {
                *last = error.to_string();
                continue;
            }
        };
        let status = pod.status.unwrap_or_default();
        let containers = status.container_statuses.unwrap_or_default();
        let waiting = containers.iter().find_map(|container| container.state.as_ref()?.waiting.as_ref());
        let why = |reason: &str, message: Option<&str>| format!("{reason}: {}", message.unwrap_or("no message"));
        if let Some(waiting) = waiting {
            let reason = waiting.reason.as_deref().unwrap_or("waiting");
            *last = why(reason, waiting.message.as_deref());
            if matches!(reason, "ErrImageNeverPull" | "InvalidImageName" | "CreateContainerConfigError") {
                return Err(AgentError::Pod(last.clone()));
            }
        }
        match status.phase.as_deref() {
            Some("Running") => return Ok(pod.spec.and_then(|spec| spec.node_name).unwrap_or_default()),
            Some("Failed" | "Succeeded") => {
                let ended = containers.iter().find_map(|container| container.state.as_ref()?.terminated.as_ref());
                let reason = ended.and_then(|ended| ended.reason.as_deref()).or(status.reason.as_deref());
                let message = ended.and_then(|ended| ended.message.as_deref()).or(status.message.as_deref());
                return Err(AgentError::Pod(why(reason.unwrap_or("it ended"), message)));
            }
            _ => {
                let unscheduled = status.conditions.iter().flatten().find(|condition| condition.status == "False");
                if let Some(condition) = unscheduled.filter(|condition| condition.type_ == "PodScheduled") {
                    *last = why(condition.reason.as_deref().unwrap_or("not scheduled"), condition.message.as_deref());
                }
            }
        }
    }
}

/// How far the agent's clock is behind this one, in microseconds, and how far that can be off.
async fn compare(route: &Route, clock: &Clock) -> Result<(i64, Duration), AgentError> {
    let comparing = async {
        let mut line = route.open().await?;
        let mut best: Option<(u64, i64)> = None;
        for _ in 0..PINGS {
            let before = clock.now();
            let (head, _) = line.ask(&Request::Ping).await?;
            let after = clock.now();
            let rtt_us = micros(after.since(before));
            let middle = before.0 + rtt_us / 2;
            let offset_us = middle as i64 - head.now.0 as i64;
            if best.is_none_or(|(rtt, _)| rtt_us < rtt) {
                best = Some((rtt_us, offset_us));
            }
        }
        best.ok_or_else(|| AgentError::Broken("clocks were not compared".to_owned()))
    };
    let compared = tokio::time::timeout(2 * ANSWER_MAX, comparing).await;
    let (rtt_us, offset_us) =
        compared.map_err(|_| AgentError::Broken("no answer while the clocks were compared".to_owned()))??;
    Ok((offset_us, Duration::from_micros(rtt_us.div_ceil(2))))
}
