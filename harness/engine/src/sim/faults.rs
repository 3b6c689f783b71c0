//! Faults in the simulated cluster.

use super::Sim;
use super::cluster::key;
use super::script::UndoTrouble;
use crate::cluster::ObjectKey;
use crate::fault::undo_of;
use crate::port::{
    ArmedFaults, ClusterError, Deployer, FaultError, Faults, Injected, Proof, Refusal, RunMark, is_recorded,
};
use async_trait::async_trait;
use firedrill_core::event::{PowerOnUndo, RestoreUndo, ThawUndo, Undo};
use firedrill_core::plan::{PlannedFault, Target};
use firedrill_core::scenario::{Fault, Layout, PatchFault, PodSelector, ProviderStep};
use std::time::Duration;

/// What the fault of that variant acts on.
fn targets(fault: &Fault) -> Vec<Target> {
    let text = str::to_owned;
    let container = |index: u32| Target::Container {
        namespace: text("ironflow"),
        pod: format!("nats-{index}"),
        uid: format!("uid-{index}"),
        container: text("nats"),
        container_id: format!("id-{index}"),
        node: format!("worker-{index}"),
    };
    let node = |index: u32| Target::Node {
        node: format!("worker-{index}"),
        uid: format!("uid-{index}"),
        because_of: format!("nats-{index}"),
    };
    match fault {
        Fault::NodeOff(_) => vec![node(0), node(1)],
        Fault::Patch(PatchFault { object, .. }) => {
            vec![Target::Object { object: object.clone(), uid: text("uid-web"), restore: text("{}") }]
        }
        _ => vec![container(0), container(1)],
    }
}

/// The victim that an undo is about, as the world names it.
fn victim(undo: &Undo) -> Option<String> {
    match undo {
        Undo::Thaw(ThawUndo { target }) => Some(target.to_string()),
        Undo::PowerOn(PowerOnUndo { node, .. }) => {
            let index = node.trim_start_matches("worker-");
            Some(format!("node {node} (holds nats-{index})"))
        }
        Undo::Restore(RestoreUndo { object, .. }) => Some(object.to_string()),
        _ => None,
    }
}

#[async_trait]
impl Faults for Sim {
    fn check(&self, _drill: &str, _faults: &[Fault], _steps: &[(u32, ProviderStep)]) -> Result<(), Refusal> {
        Ok(())
    }

    async fn check_targets(&self, _fault: &Fault, _targets: &[Target]) -> Result<(), Refusal> {
        Ok(())
    }

    async fn choose_targets(&self, fault: &Fault, _seed: u64) -> Result<Vec<Target>, FaultError> {
        self.ask("the targets").await?;
        Ok(targets(fault))
    }

    async fn prepare(
        &self,
        mark: &RunMark,
        _faults: &[PlannedFault],
        _within: Duration,
    ) -> Result<Box<dyn ArmedFaults>, FaultError> {
        self.ask("the node agents").await?;
        let pod = key("v1", "Pod", Some(&mark.namespace()), "node-agent");
        self.world().objects.insert(pod, mark.run_id.clone());
        Ok(Box::new(self.clone()))
    }

    async fn identify(&self, _mark: &RunMark, undo: Undo) -> Result<Undo, FaultError> {
        self.ask("what the fault acts on").await?;
        Ok(undo)
    }

    async fn undo(&self, _mark: &RunMark, undo: &Undo, _within: Duration) -> Result<(), FaultError> {
        match undo.is_of_a_fault() {
            true => self.update("the undo").await?,
            false => self.ask("the undo").await?,
        }
        {
            let mut world = self.world();
            if world.undo_is_refused(undo) {
                return Err(ClusterError::Other(format!("{undo}: refused (simulated)")).into());
            }
            world.undone.insert(undo.to_string());
            let ineffective = world.script.undo_trouble == UndoTrouble::Ineffective;
            if let Some(name) = victim(undo).filter(|_| !ineffective) {
                world.mend(&name);
            }
            if let Undo::DeleteObject { api_version, kind, namespace, name } = undo {
                let object = key(api_version, kind, namespace.as_deref(), name);
                let stays = world.script.object_stays && kind == "Service";
                if !stays {
                    world.objects.remove(&object);
                }
                if kind == "Namespace" {
                    world.objects.retain(|inside: &ObjectKey, _| inside.namespace.as_ref() != Some(name));
                }
            }
        }
        self.ask("the undo, done").await?;
        Ok(())
    }

    async fn is_clean(&self, _mark: &RunMark, undo: &Undo, _within: Duration) -> Result<bool, FaultError> {
        self.ask("whether it is undone").await?;
        let world = self.world();
        Ok(match undo {
            Undo::DeleteObject { api_version, kind, namespace, name } => {
                !world.objects.contains_key(&key(api_version, kind, namespace.as_deref(), name))
            }
            undo => !victim(undo).is_some_and(|name| world.is_broken(&name)),
        })
    }

    fn finish_with(&self, mark: &RunMark, undo: &Undo) -> Option<String> {
        (!matches!(undo, Undo::HealsItself { .. })).then(|| format!("firedrill sweep --run {}", mark.run_id))
    }

    async fn make_node(&self, _: &RunMark, _: &str, _: &PodSelector, _: &str) -> Result<(), FaultError> {
        Err(FaultError::Mismatch("no variant makes a node".to_owned()))
    }

    fn replacement_of(&self, lost: &str) -> String {
        format!("{lost}-replacement")
    }

    async fn replace_node(&self, _: &RunMark, _: &str, _: &str) -> Result<(), FaultError> {
        Err(FaultError::Mismatch("no variant replaces a node".to_owned()))
    }

    async fn detach_by_force(&self, _: &RunMark, _: &[Target]) -> Result<String, FaultError> {
        Err(FaultError::Mismatch("no variant detaches a volume".to_owned()))
    }
}

#[async_trait]
impl ArmedFaults for Sim {
    async fn connect(&self, _targets: &[Target]) -> Result<(), FaultError> {
        Ok(self.ask("the node agents' connections").await?)
    }

    fn undo_of(&self, fault: &Fault, target: &Target) -> Result<Undo, FaultError> {
        undo_of(fault, target)
    }

    async fn inject(&self, fault: &Fault, target: &Target) -> Result<Injected, FaultError> {
        self.ask("the injection").await?;
        let failed = {
            let mut world = self.world();
            let undo = undo_of(fault, target)?;
            if is_recorded(&undo) && !world.records.values().any(|recorded| *recorded == undo) {
                world.unrecorded.push(target.to_string());
            }
            if !world.script.injection_ineffective {
                world.harm(target);
            }
            world.script.injection_error
        };
        // The answer may be lost though it worked.
        self.ask("the injection, done").await?;
        match failed {
            true => Err(ClusterError::Other("the injection was not answered (simulated)".to_owned()).into()),
            false => Ok(Injected::simulated(target)),
        }
    }

    async fn prove(&self, _fault: &Fault, injected: &Injected, _within: Duration) -> Result<Vec<Proof>, FaultError> {
        self.ask("the proof").await?;
        let world = self.world();
        let subject = injected.target().to_string();
        let held = world.injected.contains(&subject) && !world.script.proof_missing;
        let evidence = if held { "it is broken" } else { "it works" }.to_owned();
        Ok(vec![Proof { subject, evidence, held, at: self.clock.now() }])
    }
}

#[async_trait]
impl Deployer for Sim {
    async fn layout(&self) -> Result<Option<Layout>, String> {
        self.ask("the layout").await.map(|()| Some(Layout::default())).map_err(|error| error.to_string())
    }

    async fn unfinished_upgrades(&self, _layout: &Layout) -> Result<Vec<Undo>, FaultError> {
        self.ask("the releases").await?;
        Ok(Vec::new())
    }
}
