//! Faults made ready, so that injecting them takes one round trip and several targets are hit together.

use super::fill_stream::Flood;
use super::line::Line;
use super::node_agent::NodeAgent;
use super::{
    FaultError, Proof, Tools, corrupt, delete_pods, end_connections, fill, fill_stream, freeze, helm_values,
    hold_detach, new_node, node_off, patch, signal, slow_attach, undo_of,
};
use crate::agent::node::wire::Process;
use crate::cluster::ClusterError;
use firedrill_core::event::Undo;
use firedrill_core::plan::{PlannedFault, Target};
use firedrill_core::scenario::Fault;
use futures::future::try_join_all;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Mutex;

/// A run's faults made ready for their targets.
pub struct Armed {
    tools: Tools,
    chart: PathBuf,
    agents: BTreeMap<String, NodeAgent>,
    lines: BTreeMap<Target, Mutex<Option<Line>>>,
    /// How streams are undone, by fault and target: with the configuration that they had when all was well.
    streams: Vec<(Fault, Target, Undo)>,
}

/// What an injection acted on, which its proof looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    target: Target,
    processes: Vec<Process>,
    /// Tracked connections that were ended.
    connections: usize,
}

#[cfg(test)]
impl Injected {
    /// One that a simulated cluster reports.
    pub(crate) fn simulated(target: &Target) -> Self {
        Self { target: target.clone(), processes: Vec::new(), connections: 0 }
    }

    /// What was hit.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

impl Armed {
    /// Makes faults ready: a node agent comes up on every node where processes are acted on. Nothing is broken yet.
    /// `chart` is what Helm releases are made from.
    ///
    /// # Errors
    /// Where an agent does not come up in time, or a target is not of the fault's kind.
    pub async fn prepare(
        tools: &Tools,
        chart: &Path,
        faults: &[PlannedFault],
        within: Duration,
    ) -> Result<Self, FaultError> {
        let deadline = tools.clock.deadline(tools.clock.now().plus(within));
        let mut undos: BTreeMap<String, Vec<_>> = BTreeMap::new();
        let mut lines = BTreeMap::new();
        for PlannedFault { fault, targets } in faults {
            for target in targets {
                let by_agent = matches!(
                    fault,
                    Fault::Signal { .. }
                        | Fault::Freeze { .. }
                        | Fault::Fill { .. }
                        | Fault::FillStream { .. }
                        | Fault::Corrupt { .. }
                        | Fault::EndConnections { .. }
                );
                // What the agent keeps to itself: of a stream it cannot tell yet, and its end leaves that as it is.
                let kept = if Flood::of(fault).is_some() { None } else { Some(undo_of(fault, target)?) };
                if let (true, Some(node)) = (by_agent, target.node()) {
                    undos.entry(node.to_owned()).or_default().extend(kept);
                }
                lines.insert(target.clone(), Mutex::new(None));
            }
        }
        let ready = undos.into_iter().map(|(node, undos)| async move {
            let agent = NodeAgent::ensure(tools, &node, &undos, deadline).await?;
            Ok::<_, FaultError>((node, agent))
        });
        let agents: BTreeMap<_, _> = try_join_all(ready).await?.into_iter().collect();
        let streams = Vec::new();
        let mut armed = Self { tools: tools.clone(), chart: chart.to_owned(), agents, lines, streams };
        for PlannedFault { fault, targets } in faults {
            let Some(flood) = Flood::of(fault) else { continue };
            for target in targets {
                let mut slot = None;
                if let Some(line) = armed.line(target, &mut slot).await? {
                    let undo = fill_stream::undo_of(tools, line, target, flood).await?;
                    armed.streams.push((fault.clone(), target.clone(), undo));
                }
            }
        }
        Ok(armed)
    }

    /// How what a fault does to a target is undone.
    ///
    /// # Errors
    /// Where the target is not of the fault's kind, or was not armed.
    pub fn undo_of(&self, fault: &Fault, target: &Target) -> Result<Undo, FaultError> {
        let of_stream = || self.streams.iter().find(|(of, at, _)| of == fault && at == target);
        match fault {
            Fault::FillStream { .. } => of_stream()
                .map(|(.., undo)| undo.clone())
                .ok_or_else(|| FaultError::Mismatch(format!("{target} was not armed"))),
            _ => undo_of(fault, target),
        }
    }

    /// Opens the lines to the node agents, or to the API server for faults that need no agent, so that no handshake delays
    /// an injection. To be called just before the injections: an idle line breaks after a while.
    ///
    /// # Errors
    /// Where an agent does not answer; nothing is broken then.
    pub async fn connect(&self, targets: &[Target]) -> Result<(), FaultError> {
        let opened = targets.iter().map(|target| async move {
            let mut slot = self.slot(target)?.lock().await;
            *slot = None;
            if self.line(target, &mut slot).await?.is_none() {
                let request = http::Request::get("/readyz").body(Vec::new());
                let request = request.map_err(|error| FaultError::Mismatch(error.to_string()))?;
                let answer = self.tools.cluster.client().request_text(request).await;
                answer.map_err(ClusterError::api("ask the API server whether it is ready"))?;
            }
            Ok(())
        });
        try_join_all(opened).await.map(|_| ())
    }

    /// Injects into one target. Its undo is in the journal by now. Several targets are hit together by awaiting
    /// several of these at once.
    ///
    /// # Errors
    /// Where it was refused or not answered; it may have worked all the same, which only a proof and the undo settle.
    pub async fn inject(&self, fault: &Fault, target: &Target) -> Result<Injected, FaultError> {
        if let Some(flood) = Flood::of(fault) {
            self.flood(fault, target, flood).await?;
            return Ok(Injected { target: target.clone(), processes: Vec::new(), connections: 0 });
        }
        let mut slot = self.slot(target)?.lock().await;
        let mut connections = 0;
        let result = match (fault, target) {
            (Fault::Signal { signal, .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => signal::inject(line, target, *signal).await,
                None => Ok(Vec::new()),
            },
            (Fault::Freeze { lasts, .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => freeze::inject(line, target, *lasts).await,
                None => Ok(Vec::new()),
            },
            (Fault::Corrupt { directory, .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => corrupt::inject(&self.tools, line, target, directory).await,
                None => Ok(Vec::new()),
            },
            (Fault::Fill { leave_mib, .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => fill::inject(line, target, *leave_mib).await.map(|()| Vec::new()),
                None => Ok(Vec::new()),
            },
            (Fault::HoldDetach { lasts, .. }, _) => {
                hold_detach::inject(&self.tools, target, *lasts).await.map(|()| Vec::new())
            }
            (Fault::SlowAttach { takes, lasts, .. }, _) => {
                slow_attach::inject(&self.tools, target, *takes, *lasts).await.map(|()| Vec::new())
            }
            (Fault::DeletePods { .. }, _) => delete_pods::inject(&self.tools, target).await.map(|()| Vec::new()),
            (Fault::NodeOff { with, .. }, Target::Node { node, .. }) => {
                node_off::inject(&self.tools, node, with.as_ref()).await.map(|()| Vec::new())
            }
            (Fault::HelmValues { set, set_json, .. }, Target::Release { namespace, release, .. }) => {
                let injected = helm_values::inject(&self.tools, &self.chart, namespace, release, set, set_json).await;
                injected.map(|()| Vec::new())
            }
            (Fault::Patch { merge, .. }, Target::Object { object, uid, .. }) => {
                patch::inject(&self.tools, object, uid, merge).await.map(|()| Vec::new())
            }
            (Fault::EndConnections { peers, .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => {
                    let ended = end_connections::inject(&self.tools, line, target, peers).await;
                    ended.map(|ended| connections = ended).map(|()| Vec::new())
                }
                None => Ok(Vec::new()),
            },
            (Fault::Noop, _) => Ok(Vec::new()),
            (Fault::NodeOff { .. } | Fault::HelmValues { .. } | Fault::Patch { .. } | Fault::FillStream { .. }, _) => {
                Err(FaultError::Mismatch(format!("{target} is no target of this fault")))
            }
        };
        if result.is_err() {
            *slot = None;
        }
        Ok(Injected { target: target.clone(), processes: result?, connections })
    }

    /// Looks for the effect of an injection on the target itself, by other means than the injection used. The earliest
    /// proof comes first.
    ///
    /// # Errors
    /// Where it could not be looked; that nothing was found is a [`Proof`] that did not hold.
    pub async fn prove(&self, fault: &Fault, injected: &Injected, within: Duration) -> Result<Vec<Proof>, FaultError> {
        let tools = &self.tools;
        let deadline = tools.clock.deadline(tools.clock.now().plus(within));
        let target = &injected.target;
        let mut slot = self.slot(target)?.lock().await;
        let result = match (fault, target) {
            (Fault::Signal { .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => signal::prove(tools, line, target, &injected.processes, deadline).await,
                None => Ok(Vec::new()),
            },
            (Fault::Freeze { .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => freeze::prove(tools, line, target, &injected.processes).await,
                None => Ok(Vec::new()),
            },
            (Fault::Corrupt { directory, .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => corrupt::prove(tools, line, target, directory, &injected.processes, deadline).await,
                None => Ok(Vec::new()),
            },
            (Fault::EndConnections { peers, .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => end_connections::prove(tools, line, target, peers, injected.connections).await,
                None => Ok(Vec::new()),
            },
            (Fault::Fill { leave_mib, .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => fill::prove(tools, line, target, *leave_mib).await,
                None => Ok(Vec::new()),
            },
            (Fault::FillStream { .. }, _) => match (self.line(target, &mut slot).await?, Flood::of(fault)) {
                (Some(line), Some(flood)) => fill_stream::prove(tools, line, target, flood).await,
                _ => Ok(Vec::new()),
            },
            (Fault::HoldDetach { .. }, _) => hold_detach::prove(tools, target).await,
            (Fault::SlowAttach { takes, .. }, _) => slow_attach::prove(tools, target, *takes).await,
            (Fault::DeletePods { .. }, _) => delete_pods::prove(tools, target, deadline).await,
            (Fault::NodeOff { pods, new, with, .. }, Target::Node { node, .. }) => {
                let mut proofs = node_off::prove(tools, node, with.as_ref()).await?;
                if *new {
                    proofs.extend(new_node::prove(tools, node, pods).await?);
                }
                Ok(proofs)
            }
            (Fault::HelmValues { .. }, Target::Release { namespace, release, revision, .. }) => {
                helm_values::prove(tools, namespace, release, *revision).await
            }
            (Fault::Patch { merge, .. }, Target::Object { object, .. }) => patch::prove(tools, object, merge).await,
            // What was never injected is never proven.
            (Fault::NodeOff { .. } | Fault::HelmValues { .. } | Fault::Patch { .. } | Fault::Noop, _) => Ok(Vec::new()),
        };
        if result.is_err() {
            *slot = None;
        }
        result
    }

    fn slot(&self, target: &Target) -> Result<&Mutex<Option<Line>>, FaultError> {
        self.lines.get(target).ok_or_else(|| FaultError::Mismatch(format!("{target} was not armed")))
    }

    /// Fills a stream, with the call of its first target for all of them: they fill together.
    async fn flood(&self, fault: &Fault, target: &Target, flood: Flood<'_>) -> Result<(), FaultError> {
        let of_fault = self.streams.iter().filter(|(of, ..)| of == fault);
        let targets: Vec<&Target> = of_fault.map(|(_, target, _)| target).collect();
        if targets.first() != Some(&target) {
            return Ok(());
        }
        let mut slots = Vec::new();
        for target in targets {
            let mut slot = self.slot(target)?.lock().await;
            self.line(target, &mut slot).await?;
            slots.push((target, slot));
        }
        let open = slots.iter_mut().filter_map(|(target, slot)| Some((*target, slot.as_mut()?)));
        let filled = fill_stream::inject(&self.tools, &mut open.collect::<Vec<_>>(), flood).await;
        if filled.is_err() {
            slots.iter_mut().for_each(|(_, slot)| **slot = None);
        }
        filled
    }

    /// The open line of a target, opened where it is not; `None` where the fault needs none.
    async fn line<'a>(&self, target: &Target, slot: &'a mut Option<Line>) -> Result<Option<&'a mut Line>, FaultError> {
        let Some(agent) = target.node().and_then(|node| self.agents.get(node)) else { return Ok(None) };
        if slot.is_none() {
            *slot = Some(agent.line().await?);
        }
        Ok(slot.as_mut())
    }
}
