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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

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
}
