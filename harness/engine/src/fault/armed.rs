//! Faults made ready, so that injecting them takes one round trip and several targets are hit together.

use super::kind::{FaultKind, HitsTogether, Site, kind_of};
use super::line::Line;
use super::node_agent::NodeAgent;
use super::{FaultError, Proof, Tools};
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
    faults: Vec<PlannedFault>,
    agents: BTreeMap<String, NodeAgent>,
    lines: BTreeMap<Target, Mutex<Option<Line>>>,
    /// The undos that were looked up when all was well, by fault and target.
    undos: Vec<(Fault, Target, Undo)>,
}

/// What an injection acted on, which its proof looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    pub(super) target: Target,
    pub(super) processes: Vec<Process>,
    /// Tracked connections that were ended.
    pub(super) connections: usize,
}

impl Injected {
    /// Into a target, where nothing more is known of it.
    pub(super) fn of(target: &Target) -> Self {
        Self { target: target.clone(), processes: Vec::new(), connections: 0 }
    }

    /// What was hit.
    pub fn target(&self) -> &Target {
        &self.target
    }
}

#[cfg(test)]
impl Injected {
    /// One that a simulated cluster reports.
    pub(crate) fn simulated(target: &Target) -> Self {
        Self { target: target.clone(), processes: Vec::new(), connections: 0 }
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
        let mut kept: BTreeMap<String, Vec<_>> = BTreeMap::new();
        let mut lines = BTreeMap::new();
        for PlannedFault { fault, targets } in faults {
            let kind = kind_of(fault);
            for target in targets {
                // What is looked up later the agent cannot keep to itself: its end leaves that as it is.
                let undo = kind.undo_of(target)?;
                if let (true, Some(node)) = (kind.uses_agent(), target.node()) {
                    kept.entry(node.to_owned()).or_default().extend(undo);
                }
                lines.insert(target.clone(), Mutex::new(None));
            }
        }
        let ready = kept.into_iter().map(|(node, undos)| async move {
            let agent = NodeAgent::ensure(tools, &node, &undos, deadline).await?;
            Ok::<_, FaultError>((node, agent))
        });
        let agents: BTreeMap<_, _> = try_join_all(ready).await?.into_iter().collect();
        let (tools, chart, faults) = (tools.clone(), chart.to_owned(), faults.to_vec());
        let mut armed = Self { tools, chart, faults, agents, lines, undos: Vec::new() };
        armed.undos = armed.look_up_undos().await?;
        Ok(armed)
    }

    async fn look_up_undos(&self) -> Result<Vec<(Fault, Target, Undo)>, FaultError> {
        let mut undos = Vec::new();
        for PlannedFault { fault, targets } in &self.faults {
            for target in targets {
                let kind = kind_of(fault);
                if kind.undo_of(target)?.is_none() {
                    let undo = kind.look_up_undo(&mut self.site(kind, target, &mut None).await?).await?;
                    undos.push((fault.clone(), target.clone(), undo));
                }
            }
        }
        Ok(undos)
    }

    /// How what a fault does to a target is undone.
    ///
    /// # Errors
    /// Where the target is not of the fault's kind, or was not armed.
    pub fn undo_of(&self, fault: &Fault, target: &Target) -> Result<Undo, FaultError> {
        if let Some(undo) = kind_of(fault).undo_of(target)? {
            return Ok(undo);
        }
        let looked_up = self.undos.iter().find(|(of, at, _)| of == fault && at == target);
        looked_up.map(|(.., undo)| undo.clone()).ok_or_else(|| not_armed(target))
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
        let kind = kind_of(fault);
        if let Some(together) = kind.together() {
            self.inject_together(fault, target, together).await?;
            return Ok(Injected::of(target));
        }
        let mut slot = self.slot(target)?.lock().await;
        let result = kind.inject(&mut self.site(kind, target, &mut slot).await?).await;
        if result.is_err() {
            *slot = None;
        }
        result
    }

    /// Looks for the effect of an injection on the target itself, by other means than the injection used. The earliest
    /// proof comes first.
    ///
    /// # Errors
    /// Where it could not be looked; that nothing was found is a [`Proof`] that did not hold.
    pub async fn prove(&self, fault: &Fault, injected: &Injected, within: Duration) -> Result<Vec<Proof>, FaultError> {
        let deadline = self.tools.clock.deadline(self.tools.clock.now().plus(within));
        let (kind, target) = (kind_of(fault), &injected.target);
        let mut slot = self.slot(target)?.lock().await;
        let result = kind.prove(&mut self.site(kind, target, &mut slot).await?, injected, deadline).await;
        if result.is_err() {
            *slot = None;
        }
        result
    }

    fn slot(&self, target: &Target) -> Result<&Mutex<Option<Line>>, FaultError> {
        self.lines.get(target).ok_or_else(|| not_armed(target))
    }

    async fn site<'a>(
        &'a self,
        kind: &dyn FaultKind,
        target: &'a Target,
        slot: &'a mut Option<Line>,
    ) -> Result<Site<'a>, FaultError> {
        let line = if kind.uses_agent() { self.line(target, slot).await? } else { None };
        Ok(Site { tools: &self.tools, chart: &self.chart, target, line })
    }

    /// Hits all targets of a fault with the call for its first one.
    async fn inject_together(
        &self,
        fault: &Fault,
        target: &Target,
        together: &dyn HitsTogether,
    ) -> Result<(), FaultError> {
        let of_fault = self.faults.iter().filter(|planned| planned.fault == *fault);
        let targets: Vec<&Target> = of_fault.flat_map(|planned| &planned.targets).collect();
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
        let injected = together.inject(&self.tools, &mut open.collect::<Vec<_>>()).await;
        if injected.is_err() {
            slots.iter_mut().for_each(|(_, slot)| **slot = None);
        }
        injected
    }

    /// The open line of a target, opened where it is not; `None` where no agent is on its node.
    async fn line<'a>(&self, target: &Target, slot: &'a mut Option<Line>) -> Result<Option<&'a mut Line>, FaultError> {
        let Some(agent) = target.node().and_then(|node| self.agents.get(node)) else { return Ok(None) };
        if slot.is_none() {
            *slot = Some(agent.line().await?);
        }
        Ok(slot.as_mut())
    }
}

fn not_armed(target: &Target) -> FaultError {
    FaultError::Mismatch(format!("{target} was not armed"))
}
