//! What each kind of fault does, and how its undo is carried out. Core's list of faults says which type is whose.

use super::choose::Choice;
use super::line::Line;
use super::{FaultError, Injected, Proof, Tools};
use crate::agent::node::wire::Guard;
use crate::provider::Capability;
use async_trait::async_trait;
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use firedrill_core::scenario::Fault;
use std::path::Path;
use tokio::time::Instant;

/// What a kind of fault does. Each acts on one target.
#[async_trait]
pub(super) trait FaultKind: Send + Sync {
    /// What it would act on now.
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError>;

    /// What it would do to a target, and by which rights, for people.
    fn preview(&self, target: &Target) -> String;

    /// How it is undone; `None` where only [`FaultKind::look_up_undo`] can tell.
    ///
    /// # Errors
    /// Where the target is not of this kind of fault.
    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError>;

    /// How it is undone, by a look at the target before anything is broken.
    async fn look_up_undo(&self, site: &mut Site<'_>) -> Result<Undo, FaultError> {
        Err(not_a_target(site.target))
    }

    /// What the cluster's provider must be able to do for it.
    fn needs(&self) -> &'static [Capability] {
        &[]
    }

    /// Whether an agent on the target's node does it.
    fn uses_agent(&self) -> bool {
        false
    }

    /// Injects it. How to undo it is in the journal by now.
    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError>;

    /// Where its targets are not hit one by one: what hits them all.
    fn together(&self) -> Option<&dyn HitsTogether> {
        None
    }

    /// Looks for its effect on the target, by other means than the injection used.
    async fn prove(
        &self,
        site: &mut Site<'_>,
        injected: &Injected,
        deadline: Instant,
    ) -> Result<Vec<Proof>, FaultError>;
}

/// A fault that hits all of its targets with one injection.
#[async_trait]
pub(super) trait HitsTogether: Send + Sync {
    /// Injects it into all of them.
    async fn inject(&self, tools: &Tools, targets: &mut [(&Target, &mut Line)]) -> Result<(), FaultError>;
}

/// How the undo of a kind of fault is carried out, from the record alone.
#[async_trait]
pub(super) trait UndoKind: Send + Sync {
    /// The undo with what tells the object that it acts on from a later one of the same name; `None` where it has that already.
    async fn identify(&self, _tools: &Tools) -> Result<Option<Undo>, FaultError> {
        Ok(None)
    }

    /// Undoes it. Repeating it is harmless, and so is undoing what was never done.
    async fn undo(&self, tools: &Tools, deadline: Instant) -> Result<(), FaultError>;

    /// Whether nothing is left of the fault, by a fresh look.
    async fn is_clean(&self, tools: &Tools, deadline: Instant) -> Result<bool, FaultError>;

    /// The command that a person runs before the sweep, where the sweep alone is not enough.
    fn finish_first(&self, _tools: &Tools) -> Option<String> {
        None
    }

    /// What a node agent undoes by itself when it ends.
    fn guard(&self) -> Option<Guard> {
        None
    }
}

/// One target, with what reaches it.
pub(super) struct Site<'a> {
    pub(super) tools: &'a Tools,
    /// What Helm releases are made from.
    pub(super) chart: &'a Path,
    pub(super) target: &'a Target,
    pub(super) line: Option<&'a mut Line>,
}

impl<'a> Site<'a> {
    /// The line to the agent on the target's node, with tools and target.
    ///
    /// # Errors
    /// Where no agent was armed.
    pub(super) fn by_agent(&mut self) -> Result<(&'a Tools, &'a Target, &mut Line), FaultError> {
        let (tools, target) = (self.tools, self.target);
        let none = || FaultError::Mismatch(format!("no node agent was armed for {target}"));
        Ok((tools, target, self.line.as_deref_mut().ok_or_else(none)?))
    }
}

macro_rules! kinds {
    ($($name:literal => $module:ident::$fault:ident($kind:ident) $(, undo $undo_name:literal => $undo:ident($undo_kind:ident))?;)+) => {
        /// What a fault does.
        pub(super) fn kind_of(fault: &Fault) -> &dyn FaultKind {
            match fault {
                $(Fault::$fault(kind) => kind,)+
                Fault::Noop => &Noop,
            }
        }

        /// How the undo of a fault is carried out; `None` where it is not one that only a fault has.
        pub(super) fn undo_kind_of(undo: &Undo) -> Option<&dyn UndoKind> {
            match undo {
                $($(Undo::$undo(kind) => Some(kind),)?)+
                Undo::DeleteObject { .. }
                | Undo::RemoveNode { .. }
                | Undo::RollBackUnfinished { .. }
                | Undo::PurgeSubject { .. }
                | Undo::DropTable { .. }
                | Undo::HealsItself { .. } => None,
            }
        }
    };
}

firedrill_core::with_faults!(kinds);

pub(super) fn not_a_target(target: &Target) -> FaultError {
    FaultError::Mismatch(format!("{target} is not a target of this fault"))
}

struct Noop;

#[async_trait]
impl FaultKind for Noop {
    async fn targets(&self, _: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        Ok(Vec::new())
    }

    fn preview(&self, _: &Target) -> String {
        "nothing is done".to_owned()
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        Err(not_a_target(target))
    }

    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        Ok(Injected::of(site.target))
    }

    /// What was never injected is never proven.
    async fn prove(&self, _: &mut Site<'_>, _: &Injected, _: Instant) -> Result<Vec<Proof>, FaultError> {
        Ok(Vec::new())
    }
}
