//! Faults made ready, so that injecting them takes one round trip and several targets are hit together.

use super::line::Line;
use super::node_agent::NodeAgent;
use super::{FaultError, Proof, Tools, delete_pods, freeze, node_off, signal, undo_of};
use crate::agent::node::wire::Process;
use crate::cluster::ClusterError;
use firedrill_core::plan::Target;
use firedrill_core::scenario::Fault;
use futures::future::try_join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::Mutex;

/// A fault made ready for its targets.
pub struct Armed {
    tools: Tools,
    fault: Fault,
    agents: BTreeMap<String, NodeAgent>,
    lines: BTreeMap<Target, Mutex<Option<Line>>>,
}

/// What an injection acted on, which its proof looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    target: Target,
    processes: Vec<Process>,
}

impl Armed {
    /// Makes a fault ready: a node agent comes up on every node where processes are acted on. Nothing is broken yet.
    ///
    /// # Errors
    /// Where an agent does not come up in time, or a target is not of the fault's kind.
    pub async fn prepare(
        tools: &Tools,
        fault: &Fault,
        targets: &[Target],
        within: Duration,
    ) -> Result<Self, FaultError> {
        let deadline = tools.clock.deadline(tools.clock.now().plus(within));
        let mut undos: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for target in targets {
            let undo = undo_of(fault, target)?;
            if matches!(fault, Fault::Signal { .. } | Fault::Freeze { .. }) {
                undos.entry(target.node().to_owned()).or_default().push(undo);
            }
        }
        let ready = undos.into_iter().map(|(node, undos)| async move {
            let agent = NodeAgent::ensure(tools, &node, &undos, deadline).await?;
            Ok::<_, FaultError>((node, agent))
        });
        let agents: BTreeMap<_, _> = try_join_all(ready).await?.into_iter().collect();
        let lines = targets.iter().map(|target| (target.clone(), Mutex::new(None))).collect();
        Ok(Self { tools: tools.clone(), fault: fault.clone(), agents, lines })
    }

    /// Opens the lines to the node agents, or to the API server for faults that need no agent, so that no handshake delays
    /// an injection. To be called just before the injections: an idle line breaks after a while.
    ///
    /// # Errors
    /// Where an agent does not answer; nothing is broken then.
    pub async fn connect(&self) -> Result<(), FaultError> {
        let opened = self.lines.iter().map(|(target, slot)| async move {
            let mut slot = slot.lock().await;
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
    pub async fn inject(&self, target: &Target) -> Result<Injected, FaultError> {
        let mut slot = self.slot(target)?.lock().await;
        let result = match (&self.fault, target) {
            (Fault::Signal { signal, .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => signal::inject(line, target, *signal).await,
                None => Ok(Vec::new()),
            },
            (Fault::Freeze { .. }, _) => match self.line(target, &mut slot).await? {
                Some(line) => freeze::inject(line, target).await,
                None => Ok(Vec::new()),
            },
            (Fault::DeletePods { .. }, _) => delete_pods::inject(&self.tools, target).await.map(|()| Vec::new()),
            (Fault::NodeOff { .. }, _) => node_off::inject(&self.tools, target.node()).await.map(|()| Vec::new()),
            (Fault::Noop, _) => Ok(Vec::new()),
        };
        if result.is_err() {
            *slot = None;
        }
        Ok(Injected { target: target.clone(), processes: result? })
    }

    /// Looks for the effect of an injection on the target itself, by other means than the injection used. The earliest
    /// proof comes first.
    ///
    /// # Errors
    /// Where it could not be looked; that nothing was found is a [`Proof`] that did not hold.
    pub async fn prove(&self, injected: &Injected, within: Duration) -> Result<Vec<Proof>, FaultError> {
        let tools = &self.tools;
        let deadline = tools.clock.deadline(tools.clock.now().plus(within));
        let target = &injected.target;
        let mut slot = self.slot(target)?.lock().await;
        let result = match &self.fault {
            Fault::Signal { .. } => match self.line(target, &mut slot).await? {
                Some(line) => signal::prove(tools, line, target, &injected.processes, deadline).await,
                None => Ok(Vec::new()),
            },
            Fault::Freeze { .. } => match self.line(target, &mut slot).await? {
                Some(line) => freeze::prove(tools, line, target, &injected.processes).await,
                None => Ok(Vec::new()),
            },
            Fault::DeletePods { .. } => delete_pods::prove(tools, target, deadline).await,
            Fault::NodeOff { .. } => node_off::prove(tools, target.node()).await,
            Fault::Noop => Ok(Vec::new()),
        };
        if result.is_err() {
            *slot = None;
        }
        result
    }

    /// Deletes the node agents, each of which lets go whatever it holds.
    ///
    /// # Errors
    /// Where the API server refuses.
    pub async fn release(self) -> Result<(), FaultError> {
        try_join_all(self.agents.values().map(NodeAgent::delete)).await.map(|_| ())
    }

    /// The nodes that hold an agent.
    pub fn agent_nodes(&self) -> BTreeSet<&str> {
        self.agents.keys().map(String::as_str).collect()
    }

    fn slot(&self, target: &Target) -> Result<&Mutex<Option<Line>>, FaultError> {
        self.lines.get(target).ok_or_else(|| FaultError::Mismatch(format!("{target} was not armed")))
    }

    /// The open line of a target, opened where it is not; `None` where the fault needs none.
    async fn line<'a>(&self, target: &Target, slot: &'a mut Option<Line>) -> Result<Option<&'a mut Line>, FaultError> {
        let Some(agent) = self.agents.get(target.node()) else { return Ok(None) };
        if slot.is_none() {
            *slot = Some(agent.line().await?);
        }
        Ok(slot.as_mut())
    }
}
