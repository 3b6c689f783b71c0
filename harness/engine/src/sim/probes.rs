//! Probes of the simulated service.

use super::Sim;
use super::cluster::key;
use crate::clock::Clock;
use crate::clock::simulated;
use crate::port::{Agent, AgentError, Probes, Refusal, Resolved, RunMark, Stopped, Vantages};
use async_trait::async_trait;
use firedrill_core::event::Undo;
use firedrill_core::judge::ledger::Found;
use firedrill_core::plan::Series;
use firedrill_core::sample::{Cause, Outcome, Sample};
use firedrill_core::scenario::{ProbeKind, ServiceRef};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the control is called; it fails only where the prober itself is cut off.
const CONTROL: &str = "alive";

#[async_trait]
impl Probes for Sim {
    async fn check(&self, _series: &[Series]) -> Result<(), Refusal> {
        Ok(())
    }

    fn undos(&self, _series: &[Series]) -> Vec<Undo> {
        Vec::new()
    }

    async fn deploy(
        &self,
        mark: &RunMark,
        series: &[Series],
        _victims: &[String],
        _within: Duration,
    ) -> Result<Box<dyn Vantages>, AgentError> {
        self.ask("the probe agent").await?;
        let pod = key("v1", "Pod", Some(&mark.namespace()), "probe-agent");
        self.world().objects.insert(pod, mark.run_id.clone());
        self.ask("the probe agent, ready").await?;
        Ok(Box::new(SimVantages {
            agent: SimAgent(self.clone()),
            clock: self.clock,
            mark: mark.clone(),
            series: series.to_vec(),
            probing: Vec::new(),
            stop: CancellationToken::new(),
            failure: None,
            may_write: false,
        }))
    }

    async fn replace(&self, _mark: &RunMark, _within: Duration) -> Result<Box<dyn Agent>, AgentError> {
        self.ask("another probe agent").await?;
        Ok(Box::new(SimAgent(self.clone())))
    }
}

struct SimAgent(Sim);

#[async_trait]
impl Agent for SimAgent {
    async fn answers(&self) -> Result<(), AgentError> {
        Ok(self.0.ask("the probe agent").await?)
    }

    async fn take_away(&self, undo: &Undo) -> Result<(), String> {
        self.0.ask("what a probe wrote").await.map_err(|error| error.to_string())?;
        let mut world = self.0.world();
        // The service holds the data.
        if world.is_down() {
            return Err("the service does not answer (simulated)".to_owned());
        }
        if let Undo::PurgeSubject { subject, .. } = undo {
            world.data.remove(subject);
        }
        Ok(())
    }
}

struct SimVantages {
    agent: SimAgent,
    clock: Clock,
    mark: RunMark,
    series: Vec<Series>,
    probing: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    failure: Option<watch::Receiver<Option<AgentError>>>,
    may_write: bool,
}

impl Drop for SimVantages {
    fn drop(&mut self) {
        self.probing.iter().for_each(JoinHandle::abort);
    }
}

impl SimVantages {
    fn subject(&self) -> String {
        format!("drill.{}", self.mark.run_id)
    }

    fn door(&self) -> String {
        format!("firedrill-{}-0", self.mark.run_id)
    }
}

#[async_trait]
impl Vantages for SimVantages {
    fn agent(&self) -> &dyn Agent {
        &self.agent
    }

    fn may_write(&self) -> bool {
        self.may_write
    }

    fn node(&self) -> &str {
        "control-plane"
    }

    fn outside(&self) -> usize {
        1
    }

    async fn resolve(&mut self) -> Result<Resolved, String> {
        self.agent.0.ask("the endpoints").await.map_err(|error| error.to_string())?;
        let text = str::to_owned;
        let service = ServiceRef { namespace: text("ironflow"), name: text("nats"), port: 4222 };
        let door = Undo::DeleteObject {
            api_version: text("v1"),
            kind: text("Service"),
            namespace: Some(text("ironflow")),
            name: self.door(),
        };
        let subject = Undo::PurgeSubject { service, stream: text("EVENTS"), subject: self.subject() };
        Ok(Resolved { undos: vec![door, subject], notes: Vec::new() })
    }

    async fn make(&mut self) -> Result<(), String> {
        let sim = &self.agent.0;
        sim.ask("the port from outside").await.map_err(|error| error.to_string())?;
        let service = key("v1", "Service", Some("ironflow"), &self.door());
        sim.world().objects.insert(service, self.mark.run_id.clone());
        sim.ask("the port from outside, made").await.map_err(|error| error.to_string())
    }

    async fn start(&mut self, sink: mpsc::Sender<Sample>) -> Result<(), String> {
        let sim = self.agent.0.clone();
        sim.ask("the start of the probes").await.map_err(|error| error.to_string())?;
        self.may_write = true;
        sim.world().data.insert(self.subject());
        for series in &self.series {
            let probing = probe(sim.clone(), self.clock, series.clone(), sink.clone(), self.stop.clone());
            self.probing.push(tokio::spawn(probing));
        }
        let (tell, failure) = watch::channel(None);
        let at = sim.world().script.samples_lost_at;
        let stop = self.stop.clone();
        self.probing.push(tokio::spawn(async move {
            let Some(at) = at else { return stop.cancelled().await };
            tokio::time::sleep(at.saturating_sub(simulated::elapsed())).await;
            if !stop.is_cancelled() {
                tell.send_replace(Some(AgentError::Gap("the connection was cut (simulated)".to_owned())));
            }
            stop.cancelled().await;
        }));
        self.failure = Some(failure);
        Ok(())
    }

    fn failures(&self) -> Vec<watch::Receiver<Option<AgentError>>> {
        self.failure.iter().cloned().collect()
    }

    fn clocks(&self) -> Vec<(String, Duration)> {
        vec![("probe agent on control-plane".to_owned(), Duration::ZERO)]
    }

    async fn stop(&mut self, within: Duration) -> Stopped {
        if self.probing.is_empty() {
            return Stopped::default();
        }
        let asked = tokio::time::timeout(within, self.agent.0.ask("the end of the probes")).await;
        self.stop.cancel();
        for probing in self.probing.drain(..) {
            let _ = probing.await;
        }
        match asked {
            Ok(Ok(())) => {
                self.may_write = false;
                Stopped { clocks: self.clocks(), missing: Vec::new() }
            }
            _ => Stopped { clocks: Vec::new(), missing: vec!["the probe agent did not answer (simulated)".to_owned()] },
        }
    }

    fn stores(&self) -> Vec<(String, &'static str)> {
        vec![("publish".to_owned(), "nats")]
    }

    async fn read_back(&self, _probe: &str, _within: Duration) -> Result<Found, AgentError> {
        self.agent.0.ask("what was written").await?;
        let mut world = self.agent.0.world();
        if world.is_down() {
            return Err(AgentError::Refused("the service does not answer (simulated)".to_owned()));
        }
        let losses = world.script.lost_writes;
        let mut found: Vec<(u16, u32)> = Vec::new();
        for (series, written) in &world.acknowledged {
            let lost = usize::try_from(losses).unwrap_or(0).min(written.len() / 2);
            found.extend(written.iter().skip(lost).map(|seq| (*series, *seq)));
        }
        world.lost = world.acknowledged.values().map(|written| losses.min(written.len() as u64 / 2)).sum();
        Ok(Found::new(found))
    }
}

/// One series: an attempt at each turn, which is over at once or after its latency.
async fn probe(sim: Sim, clock: Clock, series: Series, sink: mpsc::Sender<Sample>, stop: CancellationToken) {
    let first = clock.now();
    for seq in 0u32.. {
        let intended = first.plus(series.every * seq);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(clock.deadline(intended)) => {}
        }
        let started = clock.now();
        let (fails, latency) = {
            let mut world = sim.world();
            let is_control = series.probe == CONTROL;
            let fails = world.is_down() && (!is_control || world.script.control_fails);
            (fails, Duration::from_micros(world.within(200..3_000)))
        };
        tokio::time::sleep(latency).await;
        let refused = Outcome::Failed { cause: Cause::Refused, code: 0, maybe_applied: false };
        let outcome = if fails { refused } else { Outcome::Ok };
        if !fails && matches!(series.kind, ProbeKind::Jetstream(_)) {
            sim.world().acknowledged.entry(series.id).or_default().push(seq);
        }
        let sample = Sample { series: series.id, seq, intended, started, ended: clock.now(), outcome };
        if sink.send(sample).await.is_err() {
            return;
        }
    }
}
