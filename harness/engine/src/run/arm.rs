//! What a run makes before it breaks anything: its namespace, its agent, its doors, the fault's helper pods.

use super::alerts::Alerts;
use super::context::{Context, Stop};
use super::endpoints::{self, Endpoints};
use crate::agent::Inside;
use crate::fault;
use crate::observe::{self, AtRisk};
use crate::probe;
use crate::stack;
use firedrill_core::event::{Event, Observation, Undo};
use firedrill_core::plan::{PlannedFault, Target};
use firedrill_core::sample::Sample;
use firedrill_core::scenario::{Fault, Recovery};
use futures::future::join_all;
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
pub(super) struct Armed {
    /// The inside vantage, in the run's own namespace.
    pub(super) inside: Inside,
    /// Agents in namespaces of others.
    elsewhere: Vec<Inside>,
    /// The fault, ready to be put in.
    pub(super) fault: fault::Armed,
    /// Where everything is measured.
    pub(super) endpoints: Endpoints,
    /// What is known of alerts.
    pub(super) alerts: watch::Receiver<Alerts>,
    /// The volumes whose file systems the fault may harm.
    pub(super) at_risk: Vec<AtRisk>,
    probes_stop: CancellationToken,
    /// However the run leaves, its probes end with this: their samples' queue would stay open else.
    _probes_end: DropGuard,
    outside: Option<JoinHandle<()>>,
    watchers_stop: CancellationToken,
    _watchers_end: DropGuard,
    watchers: Vec<JoinHandle<()>>,
}

/// Makes all of it. How to undo each part is on disk and on the cluster before it is made.
///
/// # Errors
/// Where a part cannot be had.
pub(super) async fn arm(context: &Context, sink: mpsc::Sender<Sample>) -> Result<(Armed, String), Stop> {
    let mark = &context.mark;
    let cluster = &context.cluster;
    let namespace = Undo::DeleteObject {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        namespace: None,
        name: mark.namespace(),
    };
    context.undo.record(namespace).await?;
    context.doing("making the run's namespace");
    cluster.create_namespace(mark).await.map_err(Stop::failed)?;

    make_nodes(context).await?;
    context.doing("starting the probe agent and the fault's helper pods");
    let targets = context.plan.targets();
    let victims: Vec<String> = targets.iter().filter_map(|target| target.node().map(str::to_owned)).collect();
    let image = &context.drill.agent_image;
    let tools = context.tools();
    let namespaces = endpoints::agent_namespaces(&context.plan.series);
    for namespace in &namespaces {
        context.undo.record(Inside::undo(namespace)).await?;
    }
    let elsewhere =
        namespaces.iter().map(|namespace| Inside::deploy(cluster, mark, image, Some(namespace), &victims, POD_WITHIN));
    let (inside, elsewhere, fault) = tokio::join!(
        Inside::deploy(cluster, mark, image, None, &victims, POD_WITHIN),
        futures::future::try_join_all(elsewhere),
        fault::Armed::prepare(&tools, &context.chart, &context.plan.faults, POD_WITHIN),
    );
    let (mut inside, fault) = (inside.map_err(Stop::failed)?, fault.map_err(Stop::failed)?);
    let mut elsewhere = elsewhere.map_err(Stop::failed)?;

    context.doing("making the outside ports");
    let endpoints = endpoints::resolve(context).await?;
    context.doing("making the probes' tables");
    let subjects = endpoints.subjects.iter().cloned();
    let data: Vec<Undo> = subjects.chain(endpoints.tables.iter().map(|table| table.undo.clone())).collect();
    for undo in data.into_iter().chain(unfinished_upgrades(context).await?) {
        context.undo.record(undo).await?;
    }
    for table in &endpoints.tables {
        inside.create_table(&table.url, &table.table).await.map_err(Stop::failed)?;
    }

    let (at_risk, of_other_drivers) = observe::at_risk(cluster, &targets).await.map_err(Stop::failed)?;
    let places = observe::placement(cluster, &targets, mark).await.map_err(Stop::failed)?;
    let on_victim = places.iter().filter(|place| place.on_victim).count();
    let text = format!(
        "agent on {}, {} series, {} outside ports, {on_victim} of {} other pods on a victim's node",
        inside.node(),
        context.plan.series.len(),
        endpoints.outside.len(),
        places.len()
    );
    context.recorder.record(Event::Placement { places });
    let claims = at_risk.iter().map(|volume| volume.claim.clone()).collect();
    context.recorder.record(Event::VolumesAtRisk { claims, of_other_drivers });

    let (watchers_stop, watchers, alerts) = start_watchers(context);
    let probes_stop = CancellationToken::new();
    let (probes_end, watchers_end) = (probes_stop.clone().drop_guard(), watchers_stop.clone().drop_guard());
    let clock = context.clock();
    let outside = probe::start(endpoints.outside.clone(), clock, sink.clone(), probes_stop.clone());
    let of = |namespace: Option<&String>| endpoints.inside.get(&namespace.cloned()).cloned().unwrap_or_default();
    for (agent, namespace) in elsewhere.iter_mut().zip(&namespaces) {
        agent.start(of(Some(namespace)), clock, sink.clone()).await.map_err(Stop::failed)?;
    }
    inside.start(of(None), clock, sink).await.map_err(Stop::failed)?;
    for agent in elsewhere.iter().chain([&inside]) {
        watch_inside(context, agent);
        record_clock(context, agent);
    }
    let armed = Armed {
        inside,
        elsewhere,
        fault,
        endpoints,
        alerts,
        at_risk,
        probes_stop,
        _probes_end: probes_end,
        outside: Some(outside),
        watchers_stop,
        _watchers_end: watchers_end,
        watchers,
    };
    Ok((armed, text))
}

/// How to undo what the runbook may leave of the stack's releases: an upgrade that fails half-way, or that the end of the run
/// interrupts. Asked here, where everything works, and recorded long before the runbook's first step. None where no runbook
/// runs.
async fn unfinished_upgrades(context: &Context) -> Result<Vec<Undo>, Stop> {
    if !matches!(context.variant.recovery, Recovery::Runbook { .. }) {
        return Ok(Vec::new());
    }
    let mut undos = Vec::new();
    let drill = &context.drill;
    for (namespace, release) in stack::helm_releases(&drill.stack, &drill.scenario.needs.layout) {
        let undo = fault::undo_of_unfinished(&context.cluster, namespace, release).await.map_err(Stop::failed)?;
        undos.extend(undo);
    }
    Ok(undos)
}

/// Makes the nodes that the faults act on, where they are not there yet.
async fn make_nodes(context: &Context) -> Result<(), Stop> {
    for PlannedFault { fault, targets } in &context.plan.faults {
        let Fault::NodeOff { pods, new: true, .. } = fault else { continue };
        for target in targets {
            let Target::Node { node, because_of, .. } = target else { continue };
            context.undo.record(Undo::RemoveNode { node: node.clone() }).await?;
            context.doing(format!("making node {node}, and having one of {} start there", pods.labels));
            fault::make_node(&context.tools(), node, pods, because_of).await.map_err(Stop::failed)?;
        }
    }
    Ok(())
}

/// Has the run stop once samples of the inside vantage can no longer come. The task ends with the stream.
fn watch_inside(context: &Context, inside: &Inside) {
    let Some(mut failure) = inside.failure() else { return };
    let board = context.board.clone();
    tokio::spawn(async move {
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
        if let Some(error) = failed {
            board.lose(format!("samples from inside the cluster are lost: {error}"));
        }
    });
}

fn record_clock(context: &Context, inside: &Inside) {
    context.recorder.record(Event::ClockCompared {
        vantage: format!("probe agent on {}", inside.node()),
        uncertainty_us: firedrill_core::time::micros(inside.uncertainty()),
    });
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
    let watch = observe::watch(context.cluster.clone(), &context.drill.scenario, sender, stop.clone());
    (stop, vec![watch, record], seen)
}

impl Armed {
    /// Stops all probes and waits for what is in flight, so that the samples are whole; within [`STOP_WITHIN`]. Where that was broken
    /// off, it can be asked again. Where samples were lost, the board says so; those of the other vantages are whole all the same.
    pub(super) async fn stop_probes(&mut self, context: &Context) {
        context.doing("stopping the probes");
        self.probes_stop.cancel();
        let agents = std::iter::once(&mut self.inside).chain(&mut self.elsewhere).filter(|agent| agent.is_measuring());
        let inside = join_all(agents.map(|agent| async move {
            let drained = agent.stop_and_drain(DRAIN_WITHIN).await;
            drained.map(|()| record_clock(context, agent)).map_err(|error| error.to_string())
        }));
        let outside = async {
            let Some(task) = &mut self.outside else { return Ok(()) };
            let ended = tokio::time::timeout(DRAIN_WITHIN, &mut *task).await;
            task.abort();
            self.outside = None;
            ended.map(drop).map_err(|_| "attempts from outside did not end".to_owned())
        };
        let (inside, outside) = tokio::join!(inside, outside);
        for error in inside.into_iter().chain([outside]).filter_map(Result::err) {
            context.board.lose(format!("samples are missing: {error}"));
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
