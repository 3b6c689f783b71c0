//! What a run makes before it breaks anything: its namespace, its agents, its ports from outside, the fault's helper pods.

use super::alerts::Alerts;
use super::context::{Context, Stop};
use crate::port::{ArmedFaults, AtRisk, Vantages};
use firedrill_core::event::{Event, Observation, Undo};
use firedrill_core::plan::{PlannedFault, Target};
use firedrill_core::sample::Sample;
use firedrill_core::scenario::Recovery;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a pod of the run may take to be ready.
pub(super) const POD_WITHIN: Duration = Duration::from_secs(90);
/// Observations that may wait to be recorded.
const OBSERVATIONS_MAX: usize = 4_096;
/// How long attempts in flight may take to end after the probes were told to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to stop all probes, and to compare the clocks then.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(45);

/// What is there while a run measures.
pub(super) struct Instruments {
    /// The places that it measures from.
    pub(super) vantages: Box<dyn Vantages>,
    /// The faults, ready to be injected.
    pub(super) faults: Box<dyn ArmedFaults>,
    /// What is known of alerts.
    pub(super) alerts: watch::Receiver<Alerts>,
    /// The volumes whose file systems the fault may harm.
    pub(super) at_risk: Vec<AtRisk>,
    watchers_stop: CancellationToken,
    _watchers_end: DropGuard,
    watchers: Vec<JoinHandle<()>>,
}

/// Makes all of it. How to undo each part is on disk and on the cluster before it is made.
///
/// # Errors
/// Where a part cannot be had.
pub(super) async fn arm(context: &Context, sink: mpsc::Sender<Sample>) -> Result<(Instruments, String), Stop> {
    let (ports, mark) = (&context.ports, &context.mark);
    let namespace = Undo::DeleteObject {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        namespace: None,
        name: mark.namespace(),
    };
    context.undo.record(namespace).await?;
    context.doing("making the run's namespace");
    ports.cluster.create_namespace(mark).await.map_err(Stop::failed)?;

    make_nodes(context).await?;
    context.doing("starting the probe agent and the fault's helper pods");
    let targets = context.plan.targets();
    let victims: Vec<String> = targets.iter().filter_map(|target| target.node().map(str::to_owned)).collect();
    let series = &context.plan.series;
    for undo in ports.probes.undos(series) {
        context.undo.record(undo).await?;
    }
    let (vantages, faults) = tokio::join!(
        ports.probes.deploy(mark, series, &victims, POD_WITHIN),
        ports.faults.prepare(mark, &context.plan.faults, POD_WITHIN),
    );
    let (mut vantages, faults) = (vantages.map_err(Stop::failed)?, faults.map_err(Stop::failed)?);

    context.doing("finding out where to measure");
    let resolved = vantages.resolve().await.map_err(Stop::Failed)?;
    for text in resolved.notes {
        context.recorder.record(Event::Note { text });
    }
    for undo in resolved.undos.into_iter().chain(unfinished_upgrades(context).await?) {
        context.undo.record(undo).await?;
    }
    context.doing("creating the outside ports and the tables of the probes");
    vantages.make().await.map_err(Stop::Failed)?;

    let (at_risk, of_other_drivers) = ports.observer.at_risk(&targets).await.map_err(Stop::failed)?;
    let places = ports.observer.placement(&targets, mark).await.map_err(Stop::failed)?;
    let on_victim = places.iter().filter(|place| place.on_victim).count();
    let text = format!(
        "agent on {}, {} series, {} outside ports, {on_victim} of {} other pods on a victim's node",
        vantages.node(),
        series.len(),
        vantages.outside(),
        places.len()
    );
    context.recorder.record(Event::Placement { places });
    let claims = at_risk.iter().map(|volume| volume.claim.clone()).collect();
    context.recorder.record(Event::VolumesAtRisk { claims, of_other_drivers });

    let (watchers_stop, watchers, alerts) = start_watchers(context);
    let watchers_end = watchers_stop.clone().drop_guard();
    vantages.start(sink).await.map_err(Stop::Failed)?;
    watch_samples(context, &*vantages);
    record_clocks(context, vantages.clocks());
    let armed = Instruments { vantages, faults, alerts, at_risk, watchers_stop, _watchers_end: watchers_end, watchers };
    Ok((armed, text))
}

/// How to undo what the runbook may leave of the stack's releases: an upgrade that fails half-way, or that the end of the run
/// interrupts. Asked here, where everything works, and recorded long before the runbook's first step. None where no runbook
/// runs.
async fn unfinished_upgrades(context: &Context) -> Result<Vec<Undo>, Stop> {
    if !matches!(context.variant.recovery, Recovery::Runbook { .. }) {
        return Ok(Vec::new());
    }
    let layout = &context.drill.scenario.needs.layout;
    context.ports.deployer.unfinished_upgrades(layout).await.map_err(Stop::failed)
}

/// Makes the nodes that the faults act on, where they are not there yet.
async fn make_nodes(context: &Context) -> Result<(), Stop> {
    for PlannedFault { fault, targets } in &context.plan.faults {
        let Some(pods) = fault.pods_of_new_nodes() else { continue };
        for target in targets {
            let Target::Node { node, because_of, .. } = target else { continue };
            context.undo.record(Undo::RemoveNode { node: node.clone() }).await?;
            context.doing(format!("creating node {node} and waiting for a pod of {} there", pods.labels));
            let made = context.ports.faults.make_node(&context.mark, node, pods, because_of).await;
            made.map_err(Stop::failed)?;
        }
    }
    Ok(())
}

/// Has the run stop once samples can no longer come. The tasks end with the streams.
fn watch_samples(context: &Context, vantages: &dyn Vantages) {
    for mut failure in vantages.failures() {
        let board = context.board.clone();
        tokio::spawn(async move {
            let failed = failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
            if let Some(error) = failed {
                board.lose(format!("samples from inside the cluster are lost: {error}"));
            }
        });
    }
}

fn record_clocks(context: &Context, clocks: Vec<(String, Duration)>) {
    for (vantage, uncertainty) in clocks {
        let uncertainty_us = firedrill_core::time::micros(uncertainty);
        context.recorder.record(Event::ClockCompared { vantage, uncertainty_us });
    }
}

fn start_watchers(context: &Context) -> (CancellationToken, Vec<JoinHandle<()>>, watch::Receiver<Alerts>) {
    let stop = CancellationToken::new();
    let (alerts, seen) = watch::channel(Alerts::default());
    let (sender, mut receiver) = mpsc::channel::<Observation>(OBSERVATIONS_MAX);
    let recorder = context.recorder.clone();
    let record = tokio::spawn(async move {
        while let Some(observation) = receiver.recv().await {
            Alerts::take(&alerts, &observation, recorder.clock().now());
            recorder.record(Event::Observed(observation));
        }
    });
    let watch = context.ports.observer.watch(&context.drill.scenario, sender, stop.clone());
    (stop, vec![watch, record], seen)
}

impl Instruments {
    /// Stops all probes and waits for what is in flight, so that the samples are whole; within [`STOP_WITHIN`]. Where that was broken
    /// off, it can be asked again. Where samples were lost, the board says so; those of the other vantages are whole all the same.
    pub(super) async fn stop_probes(&mut self, context: &Context) {
        context.doing("stopping the probes");
        let stopped = self.vantages.stop(DRAIN_WITHIN).await;
        record_clocks(context, stopped.clocks);
        for missing in stopped.missing {
            context.board.lose(format!("samples are missing: {missing}"));
        }
    }

    /// Stops to watch the cluster.
    pub(super) async fn stop_watchers(&mut self) {
        self.watchers_stop.cancel();
        for watcher in self.watchers.drain(..) {
            if tokio::time::timeout(Duration::from_secs(5), watcher).await.is_err() {
                tracing::warn!("a watcher did not end in time");
            }
        }
    }
}
