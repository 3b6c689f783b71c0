//! What has to be undone: on disk and on the cluster before the act, carried out in reverse.

use super::context::Stop;
use super::recorder::Recorder;
use crate::planted::{self, Bug};
use crate::port::{Cluster, ClusterError, RunMark, is_recorded};
use firedrill_core::event::{Event, Undo};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The undos of a run. Cheap to clone.
#[derive(Clone)]
pub(super) struct UndoLog {
    recorder: Recorder,
    records: RunRecords,
    entries: Arc<Mutex<Entries>>,
}

/// The undo records of one run on the cluster.
#[derive(Clone)]
pub(super) struct RunRecords {
    /// The cluster.
    pub(super) cluster: Arc<dyn Cluster>,
    /// Its UID.
    pub(super) uid: String,
    /// The run.
    pub(super) mark: RunMark,
}

impl RunRecords {
    /// Writes one.
    ///
    /// # Errors
    /// Where it is not there afterwards; then the act must not follow.
    pub(super) async fn write(&self, id: u32, undo: &Undo) -> Result<(), ClusterError> {
        self.cluster.write_record(&self.uid, &self.mark, id, undo).await
    }

    /// Deletes one; it may be gone already.
    ///
    /// # Errors
    /// Where the API server does not do it.
    pub(super) async fn delete(&self, id: u32) -> Result<(), ClusterError> {
        self.cluster.delete_record(&self.mark, id).await
    }
}

#[derive(Default)]
struct Entries {
    next: u32,
    open: Vec<(u32, Undo)>,
    failed: BTreeSet<u32>,
    all: Vec<Undo>,
    /// Those of which a record is, or may be, on the cluster.
    on_cluster: Vec<(u32, Undo)>,
}

/// Why an undo was not recorded; then the act must not follow.
#[derive(Debug)]
pub(super) enum NotRecorded {
    /// The journal cannot be written.
    Journal(String),
    /// The cluster did not take the record.
    Cluster(ClusterError),
}

impl From<NotRecorded> for Stop {
    fn from(error: NotRecorded) -> Self {
        match error {
            NotRecorded::Journal(reason) => Stop::Broken(reason),
            NotRecorded::Cluster(error) => Stop::failed(error),
        }
    }
}

impl UndoLog {
    /// An empty one.
    pub(super) fn new(recorder: Recorder, records: RunRecords) -> Self {
        Self { recorder, records, entries: Arc::default() }
    }

    /// Records how to undo what is about to be done: first on disk, then on the cluster. Both have it when this returns.
    ///
    /// # Errors
    /// Where either could not be written; then the act must not follow.
    pub(super) async fn record(&self, undo: Undo) -> Result<u32, NotRecorded> {
        let id = self.journal(&undo).map_err(NotRecorded::Journal)?;
        if is_recorded(&undo) && !planted::has(Bug::RecordNotWritten) {
            // Before the answer, which may be lost.
            self.lock().on_cluster.push((id, undo.clone()));
            match self.records.write(id, &undo).await {
                Err(error) if planted::has(Bug::RecordConflictIgnored) && error.to_string().contains("conflict") => {}
                written => written.map_err(NotRecorded::Cluster)?,
            }
        }
        Ok(id)
    }

    fn journal(&self, undo: &Undo) -> Result<u32, String> {
        let mut entries = self.lock();
        let id = entries.next;
        self.recorder.record_durably(Event::UndoRecorded { id, undo: undo.clone() })?;
        entries.next += 1;
        entries.open.push((id, undo.clone()));
        entries.all.push(undo.clone());
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an undo in the journal alone, where a test has no cluster that takes records.
    #[cfg(test)]
    pub(super) fn record_in_journal(&self, undo: Undo) -> u32 {
        self.journal(&undo).unwrap()
    }

    /// What is not undone yet, latest first.
    pub(super) fn open(&self) -> Vec<(u32, Undo)> {
        self.lock().open.iter().rev().cloned().collect()
    }

    /// What nobody has tried to undo yet: of the rest it is recorded how it went.
    pub(super) fn untried(&self) -> Vec<(u32, Undo)> {
        let entries = self.lock();
        entries.open.iter().rev().filter(|(id, _)| !entries.failed.contains(id)).cloned().collect()
    }

    /// All that was recorded, done or not.
    pub(super) fn recorded(&self) -> Vec<Undo> {
        self.lock().all.clone()
    }

    /// Records that an undo was carried out, or how it failed; one that failed stays open.
    pub(super) fn done(&self, id: u32, error: Option<String>, finish_with: Option<String>) {
        let mut entries = self.lock();
        if error.is_none() {
            entries.open.retain(|(open, _)| *open != id);
        } else {
            entries.failed.insert(id);
        }
        drop(entries);
        self.recorder.record(Event::Undone { id, error, finish_with });
    }

    /// Deletes the cluster's records of what was undone and is not among the faults that were seen to be in still. To be called once
    /// that was looked at; where it fails it can be called again. A record that stays is harmless: its undo is idempotent.
    ///
    /// # Errors
    /// Where a record could not be deleted.
    pub(super) async fn delete_records(&self, still_faulty: &[String]) -> Result<(), ClusterError> {
        let is_still_in = |undo: &Undo| {
            // A line is the undo in words, with the reason after a colon.
            let text = undo.to_string();
            let is_about =
                |line: &String| line.strip_prefix(&text).is_some_and(|rest| rest.is_empty() || rest.starts_with(": "));
            undo.is_of_a_fault() && still_faulty.iter().any(is_about)
        };
        let finished: Vec<u32> = {
            let entries = self.lock();
            let is_open = |id: u32| entries.open.iter().any(|(open, _)| *open == id);
            let finished = entries.on_cluster.iter().filter(|(id, undo)| !is_open(*id) && !is_still_in(undo));
            finished.map(|(id, _)| *id).collect()
        };
        for id in finished {
            self.records.delete(id).await?;
            self.lock().on_cluster.retain(|(on_cluster, _)| *on_cluster != id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use crate::fake_api::FakeApi;
    use crate::world;
    use firedrill_core::event::PowerOnUndo;
    use tempfile::TempDir;

    const RECORDS: &str = "/apis/apps/v1/namespaces/firedrill-system/controllerrevisions";

    async fn log(api: &FakeApi) -> (UndoLog, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (progress, _seen) = tokio::sync::mpsc::channel(8);
        let cluster = Cluster::connect("c", &api.kubeconfig(folder.path()), "x").await.unwrap();
        let ports = world::ports(&cluster, None, None, "");
        let journal = folder.path().join("events.jsonl");
        let recorder = Recorder::create(&*ports.store, &journal, ports.clock, progress).unwrap();
        let mark = RunMark { run_id: "r1".to_owned(), expires_unix: 9 };
        let records = RunRecords { cluster: ports.cluster, uid: "here".to_owned(), mark };
        (UndoLog::new(recorder, records), folder)
    }

    fn power_on(node: &str) -> Undo {
        Undo::PowerOn(PowerOnUndo { node: node.to_owned(), container: Some(format!("id-{node}")) })
    }

    #[tokio::test]
    async fn an_undo_that_failed_stays_open_with_its_own_reason() {
        let api = FakeApi::start().await;
        let (undo, _folder) = log(&api).await;
        let mut ids = Vec::new();
        for node in ["a", "b", "c"] {
            ids.push(undo.record(power_on(node)).await.unwrap());
        }
        undo.done(ids[0], None, None);
        undo.done(ids[1], Some("no answer".to_owned()), None);
        assert_eq!(undo.open(), [(ids[2], power_on("c")), (ids[1], power_on("b"))]);
        assert_eq!(undo.untried(), [(ids[2], power_on("c"))]);
    }

    #[tokio::test]
    async fn a_record_is_there_from_before_the_act_until_its_undo_was_seen() {
        let api = FakeApi::start().await;
        let (undo, _folder) = log(&api).await;
        let first = undo.record(power_on("w1")).await.unwrap();
        let second = undo.record(power_on("w10")).await.unwrap();
        let paths = || api.paths(RECORDS);
        assert_eq!(paths(), [format!("{RECORDS}/undo-r1-0"), format!("{RECORDS}/undo-r1-1")]);
        undo.delete_records(&[]).await.unwrap();
        assert_eq!(paths().len(), 2, "what is not undone keeps its record");
        undo.done(first, None, None);
        undo.done(second, None, None);
        undo.delete_records(&["power on node w10: no answer".to_owned()]).await.unwrap();
        assert_eq!(paths(), [format!("{RECORDS}/undo-r1-1")], "a fault that is in still keeps its record");
        api.refuse("DELETE", RECORDS);
        assert!(undo.delete_records(&[]).await.is_err());
        api.accept_all();
        undo.delete_records(&[]).await.unwrap();
        assert!(paths().is_empty(), "deleting it is tried again");
    }

    #[tokio::test]
    async fn without_a_record_on_the_cluster_the_act_must_not_follow() {
        let api = FakeApi::start().await;
        let (undo, folder) = log(&api).await;
        api.refuse("POST", RECORDS);
        assert!(matches!(undo.record(power_on("w1")).await, Err(NotRecorded::Cluster(_))));
        let journal = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
        assert!(journal.contains("power_on"), "the journal has it first: {journal}");
        assert_eq!(undo.open().len(), 1, "undoing what was not done is harmless");
        let heals = Undo::HealsItself { what: "it".to_owned() };
        assert!(undo.record(heals).await.is_ok(), "there is nothing to undo, so there is no record");
    }
}
