//! What has to be undone: on disk before the act, carried out in reverse.

use super::recorder::Recorder;
use firedrill_core::event::{Event, Undo};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The undos of a run. Cheap to clone.
#[derive(Clone)]
pub(super) struct UndoLog {
    recorder: Recorder,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Default)]
struct Entries {
    next: u32,
    open: Vec<(u32, Undo)>,
    failed: BTreeSet<u32>,
    all: Vec<Undo>,
}

impl UndoLog {
    /// An empty one.
    pub(super) fn new(recorder: Recorder) -> Self {
        Self { recorder, entries: Arc::default() }
    }

    /// Records how to undo what is about to be done; it is on disk when this returns.
    ///
    /// # Errors
    /// Where it could not be written; then the act must not follow.
    pub(super) fn before(&self, undo: Undo) -> Result<u32, String> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let id = entries.next;
        self.recorder.record_durably(Event::UndoRecorded { id, undo: undo.clone() })?;
        entries.next += 1;
        entries.open.push((id, undo.clone()));
        entries.all.push(undo);
        Ok(id)
    }

    /// What is not undone yet, latest first.
    pub(super) fn open(&self) -> Vec<(u32, Undo)> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.open.iter().rev().cloned().collect()
    }

    /// What nobody has tried to undo yet: of the rest it is recorded how it went.
    pub(super) fn untried(&self) -> Vec<(u32, Undo)> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.open.iter().rev().filter(|(id, _)| !entries.failed.contains(id)).cloned().collect()
    }

    /// What is not undone yet and nothing else on the cluster tells of, in the order in which it was recorded.
    pub(super) fn to_note(&self) -> Vec<Undo> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.open.iter().filter(|(_, undo)| leaves_no_trace(undo)).map(|(_, undo)| undo.clone()).collect()
    }

    /// All that was recorded, done or not.
    pub(super) fn recorded(&self) -> Vec<Undo> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    /// Records that an undo was carried out, or how it failed; one that failed stays open.
    pub(super) fn done(&self, id: u32, error: Option<String>, finish_with: Option<String>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if error.is_none() {
            entries.open.retain(|(open, _)| *open != id);
        } else {
            entries.failed.insert(id);
        }
        drop(entries);
        self.recorder.record(Event::Undone { id, error, finish_with });
    }
}

/// Whether nothing that lasts, on the cluster or its machines, tells a sweep that it is there and how it is undone.
pub(super) fn leaves_no_trace(undo: &Undo) -> bool {
    match undo {
        // A node's mark goes with its object, which a runbook may delete.
        Undo::RollBack { .. }
        | Undo::RollBackUnfinished { .. }
        | Undo::Restore { .. }
        | Undo::EmptyStream { .. }
        | Undo::LetDetach { .. }
        | Undo::LetAttach { .. }
        | Undo::PowerOn { .. }
        | Undo::RemoveNode { .. }
        | Undo::PurgeSubject { .. }
        | Undo::DropTable { .. } => true,
        Undo::Thaw { .. }
        | Undo::MendFiles { .. }
        | Undo::RemoveFiller { .. }
        | Undo::HealsItself { .. }
        | Undo::DeleteObject { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use firedrill_core::plan::Target;

    #[test]
    fn an_undo_that_failed_stays_open_with_its_own_reason() {
        let folder = tempfile::tempdir().unwrap();
        let (progress, _seen) = tokio::sync::mpsc::channel(8);
        let recorder = Recorder::create(&folder.path().join("events.jsonl"), Clock::start(), progress).unwrap();
        let undo = UndoLog::new(recorder);
        let power_on = |node: &str| Undo::PowerOn { node: node.to_owned() };
        let ids: Vec<_> = ["a", "b", "c"].map(|node| undo.before(power_on(node)).unwrap()).into();
        undo.done(ids[0], None, None);
        undo.done(ids[1], Some("no answer".to_owned()), None);
        assert_eq!(undo.open(), [(ids[2], power_on("c")), (ids[1], power_on("b"))]);
        assert_eq!(undo.untried(), [(ids[2], power_on("c"))]);
    }

    #[test]
    fn what_is_noted_on_the_cluster_is_what_nothing_else_there_tells_of_while_it_is_in() {
        let folder = tempfile::tempdir().unwrap();
        let (progress, _seen) = tokio::sync::mpsc::channel(8);
        let recorder = Recorder::create(&folder.path().join("events.jsonl"), Clock::start(), progress).unwrap();
        let log = UndoLog::new(recorder);
        let of = |text: &str| text.to_owned();
        let target = Target::Volume {
            namespace: of("n"),
            pod: of("p-0"),
            uid: of("u"),
            claim: of("data-p-0"),
            volume: of("pv"),
            node: of("w"),
        };
        let held = Undo::LetDetach { target: target.clone() };
        let off = Undo::PowerOn { node: of("w") };
        log.before(Undo::Thaw { target }).unwrap();
        let id = log.before(held.clone()).unwrap();
        log.before(off.clone()).unwrap();
        assert_eq!(log.to_note(), [held, off.clone()]);
        log.done(id, None, None);
        assert_eq!(log.to_note(), [off], "a sweep that comes later does not undo it again");
    }
}
