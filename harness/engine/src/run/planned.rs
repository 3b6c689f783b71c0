//! What a run will do, before anything is made: its targets, its phases, its commands; or why there is none.

use crate::clock::Clock;
use crate::port::{ClusterError, MARKER, PlannedStep, Ports, Refusal, plan_steps};
use firedrill_core::plan::{self, Plan, PlannedFault, Target};
use firedrill_core::scenario::{Fault, ProviderStep, Recovery, Scenario, TargetNames};
use firedrill_core::stack::Stack;
use firedrill_core::time::At;
use std::sync::Arc;
use thiserror::Error;

/// What to drill.
#[derive(Clone, Debug)]
pub struct Drill {
    /// The scenario.
    pub scenario: Scenario,
    /// The stack that it is for.
    pub stack: Arc<Stack>,
    /// One of its variants.
    pub variant: String,
    /// What random choices are drawn from; from the clock where it is not given.
    pub seed: Option<u64>,
    /// Whether nothing is broken (`--fault noop`).
    pub noop: bool,
    /// The image that holds this program.
    pub agent_image: String,
}

impl Drill {
    /// The faults that are put in, in order; none for the control.
    pub(super) fn faults(&self) -> Vec<Fault> {
        match self.scenario.variants.get(&self.variant) {
            Some(variant) if !self.noop => variant.faults().filter(|fault| **fault != Fault::Noop).cloned().collect(),
            _ => Vec::new(),
        }
    }
}

/// Why there is no run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The environment is not as it must be. Nothing was broken.
    #[error("{message}")]
    Environment {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// Whether something is left behind.
        dirty: bool,
    },
}

impl From<ClusterError> for RunError {
    fn from(error: ClusterError) -> Self {
        environment(error.to_string())
    }
}

impl From<Refusal> for RunError {
    fn from(Refusal { message, hint }: Refusal) -> Self {
        RunError::Environment { message, hint: Some(hint), dirty: false }
    }
}

pub(super) fn environment(message: impl Into<String>) -> RunError {
    RunError::Environment { message: message.into(), hint: None, dirty: false }
}

/// What a run would do. Reads only.
///
/// # Errors
/// Where the cluster does not answer, is not marked for drills, or lacks the targets.
pub async fn plan(drill: &Drill, ports: &Ports) -> Result<Plan, RunError> {
    let (clock, cluster) = (ports.clock, &ports.cluster);
    let seed = drill.seed.unwrap_or_else(|| clock.seed());
    if !cluster.is_allowed().await? {
        return Err(RunError::Environment {
            message: format!("cluster {} is not marked for drills", cluster.name()),
            hint: Some(format!(
                "if it is one: kubectl --context {} create configmap {} -n kube-system",
                cluster.context(),
                MARKER
            )),
            dirty: false,
        });
    }
    // Before a fault that only kubectl or helm can be used to recover from.
    cluster.check_credential_plugin().await?;
    if !cluster.is_own() {
        // Of its own it is made by the run.
        cluster.ensure_system_namespace().await.map_err(|error| RunError::Environment {
            message: error.to_string(),
            hint: Some(format!(
                "firedrill plan {}/{} --rbac | kubectl --context {} apply -f -",
                drill.scenario.name,
                drill.variant,
                cluster.context()
            )),
            dirty: false,
        })?;
    }
    let name = format!("{}/{}", drill.scenario.name, drill.variant);
    ports.faults.check(&name, &drill.faults(), &provider_steps(drill))?;
    in_its_layout(drill, ports).await?;
    let series = plan::series(&drill.scenario);
    ports.probes.check(&series).await?;
    let mut faults = Vec::new();
    for fault in drill.faults() {
        let targets = ports.faults.choose_targets(&fault, seed).await;
        let targets = targets.map_err(|error| environment(error.to_string()))?;
        ports.faults.check_targets(&fault, &targets).await?;
        faults.push(PlannedFault { targets, fault });
    }
    let phases = plan::phases(&drill.scenario, &drill.variant)
        .ok_or_else(|| environment(format!("{} has no variant {}", drill.scenario.name, drill.variant)))?;
    Ok(Plan {
        run_id: run_id(&clock, &drill.variant),
        scenario: drill.scenario.name.clone(),
        variant: drill.variant.clone(),
        seed,
        faults,
        series,
        expires_after: plan::expires_after(&phases),
        phases,
    })
}

/// The steps of the runbook that the provider does, by number. None without a fault: the run ends before its recovery.
fn provider_steps(drill: &Drill) -> Vec<(u32, ProviderStep)> {
    let steps = if drill.faults().is_empty() { Vec::new() } else { planned_steps(drill, &[]) };
    let of_provider = |planned: PlannedStep| Some((planned.number, planned.correction?.provider?));
    steps.into_iter().filter_map(of_provider).collect()
}

/// A stack that firedrill installed says in which layout it is; of another one its targets would just not be found.
async fn in_its_layout(drill: &Drill, ports: &Ports) -> Result<(), RunError> {
    let installed = ports.deployer.layout().await.map_err(environment)?;
    let (name, wanted) = (&drill.scenario.name, &drill.scenario.needs.layout);
    match installed {
        Some(installed) if installed != *wanted => Err(RunError::Environment {
            message: format!(
                "{name}/{} needs the {wanted} layout, but the {installed} layout is installed",
                drill.variant
            ),
            hint: Some(format!(
                "firedrill run {name}/{} --up replaces the installed layout and deletes its volumes",
                drill.variant
            )),
            dirty: false,
        }),
        _ => Ok(()),
    }
}

/// Month, day, hour, minute, variant, and what tells runs of the same minute apart: at most 40 letters, as names want it.
fn run_id(clock: &Clock, variant: &str) -> String {
    let wall = clock.wall(At(0));
    let digits: String = wall.chars().filter(char::is_ascii_digit).skip(4).take(8).collect();
    let variant: String = variant.chars().take(20).collect();
    format!("{digits}-{variant}-{:04x}", clock.seed() & 0xffff)
}

/// The runbook's commands as they would run against these targets.
pub fn planned_steps(drill: &Drill, targets: &[Target]) -> Vec<PlannedStep> {
    let Some(variant) = drill.scenario.variants.get(&drill.variant) else { return Vec::new() };
    let Recovery::Runbook { file, .. } = &variant.recovery else { return Vec::new() };
    let Some(runbook) = drill.scenario.runbooks.get(file) else { return Vec::new() };
    let pods = targets.iter().filter_map(|target| match target {
        Target::Container { pod, .. } | Target::Pod { pod, .. } | Target::Volume { pod, .. } => Some(pod.as_str()),
        Target::Node { because_of, .. } => Some(because_of.as_str()),
        Target::Release { .. } | Target::Object { .. } => None,
    });
    let (pods, mut nodes): (Vec<&str>, Vec<&str>) = (pods.collect(), targets.iter().filter_map(Target::node).collect());
    nodes.dedup();
    let volumes: Vec<&str> = targets.iter().filter_map(Target::volume).collect();
    let targets = TargetNames { pods: &pods, nodes: &nodes, volumes: &volumes };
    plan_steps(runbook, &drill.scenario.corrections, &drill.variant, &variant.layout, targets)
}
