//! What tells of something that a dead run left, and which of it is obeyed.
//!
//! A journal on this machine is trusted. An undo record on the cluster is trusted where nobody but the runner and administrators can
//! write one. Annotations and labels of other objects are not: whoever can write such an object can forge them.

use super::dirty::DirtyEnds;
use super::journals::Journals;
use super::sweep::{SweepOptions, Swept};
use crate::port::{
    ANNOTATION_UNDO, Annotated, Cluster, ClusterError, Found, FoundRecords, UndoRecord, Writers, is_run_id, shown,
};
use firedrill_core::event::{SYSTEM_NAMESPACE, Undo};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is to be done for one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// What is to be undone.
    pub(super) undos: Vec<Undo>,
    /// What its journal says is undone, of which a record is there still.
    pub(super) undone: Vec<Undo>,
    /// Its records, by number.
    pub(super) records: Vec<(u32, Undo)>,
}

impl Work {
    fn add(&mut self, undo: &Undo) {
        if !self.undos.contains(undo) {
            self.undos.push(undo.clone());
        }
    }
}

/// What was found, before it is judged.
pub(super) struct Leftovers {
    /// What journals say, and the records that say the same.
    known: BTreeMap<String, Work>,
    /// Records of which no journal at hand tells.
    records: Vec<UndoRecord>,
    /// Records that must not be obeyed.
    refused: Vec<Found>,
    annotated: Vec<Annotated>,
    /// Runs whose label is on an object.
    labelled: BTreeSet<String>,
    /// How runs ended that left the cluster changed.
    pub(super) dirty: DirtyEnds,
}

/// Whether what may be forged is obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trust(bool);

impl Trust {
    pub(super) fn of(options: &SweepOptions<'_>) -> Self {
        Self(options.trust_annotations)
    }
}

/// Looks for what dead runs left, or one of them. Reads only.
///
/// # Errors
/// Where the cluster does not answer.
pub(super) async fn look(
    cluster: &dyn Cluster,
    cluster_uid: &str,
    journals: &Journals,
    only: Option<&str>,
) -> Result<Leftovers, ClusterError> {
    let asked = |run: &str| only.is_none_or(|only| only == run);
    let mut known: BTreeMap<String, Work> = BTreeMap::new();
    for saved in journals.runs.iter().filter(|saved| !saved.open.is_empty() && asked(&saved.run_id)) {
        let work = known.entry(saved.run_id.clone()).or_default();
        saved.open.iter().for_each(|undo| work.add(undo));
    }
    let (mut records, mut refused) = (Vec::new(), Vec::new());
    let FoundRecords { undos, dirty_ends } = cluster.records(cluster_uid).await?;
    for found in undos {
        match found.record {
            Err(_) => refused.push(found),
            Ok(record) if !asked(&record.run) => {}
            Ok(record) => {
                let saved = journals.of(&record.run);
                let is_open = saved.is_some_and(|saved| saved.open.contains(&record.undo));
                // What its journal says is undone must not be undone again, over what was done since.
                let is_done = saved.is_some_and(|saved| saved.done.contains(&record.undo));
                if !is_open && !is_done {
                    records.push(record);
                    continue;
                }
                let work = known.entry(record.run.clone()).or_default();
                if !is_open {
                    work.undone.push(record.undo.clone());
                }
                work.records.push((record.id, record.undo));
            }
        }
    }
    // The last first, as in a journal.
    records.sort_by_key(|record| std::cmp::Reverse(record.id));
    let in_journal = |annotated: &Annotated| {
        let saved = journals.of(&annotated.run_id);
        let knows = |undo: &Undo| saved.is_some_and(|saved| saved.open.contains(undo) || saved.done.contains(undo));
        annotated.undos.as_ref().is_ok_and(|undos| undos.iter().all(knows))
    };
    let annotated = cluster.annotations().await?;
    let annotated = annotated.into_iter().filter(|one| asked(&one.run_id) && !in_journal(one)).collect();
    let labelled = unrecorded(cluster).await?.into_iter().map(|(run, _)| run).filter(|run| asked(run)).collect();
    let mut dirty = DirtyEnds::sort(dirty_ends, journals);
    dirty.elsewhere.retain(|end| asked(&end.run));
    dirty.settled.retain(|run| asked(run));
    Ok(Leftovers { known, records, refused, annotated, labelled, dirty })
}

impl Leftovers {
    pub(super) fn is_nothing(&self) -> bool {
        self.known.is_empty()
            && self.records.is_empty()
            && self.refused.is_empty()
            && self.annotated.is_empty()
            && self.labelled.is_empty()
            && self.dirty.is_nothing()
    }

    /// The runs that something tells of.
    pub(super) fn runs(&self) -> BTreeSet<String> {
        let records = self.records.iter().map(|record| &record.run);
        let annotated = self.annotated.iter().map(|annotated| &annotated.run_id);
        self.known.keys().chain(records).chain(annotated).chain(&self.labelled).cloned().collect()
    }

    /// What is obeyed, by run; the rest is told.
    pub(super) async fn judge(self, cluster: &dyn Cluster, trust: Trust, swept: &mut Swept) -> BTreeMap<String, Work> {
        let mut work = self.known;
        for Found { name, record } in &self.refused {
            let why = record.as_ref().err().map(|why| shown(why)).unwrap_or_default();
            swept.not_obeyed.push(format!("undo record {} in {SYSTEM_NAMESPACE}: {why}", shown(name)));
        }
        let trusted = trust.0 || self.records.is_empty() || are_trusted(cluster, swept).await;
        for record in self.records {
            match trusted {
                true => {
                    let work = work.entry(record.run).or_default();
                    work.add(&record.undo);
                    work.records.push((record.id, record.undo));
                }
                false => swept.not_obeyed.push(format!(
                    "undo record of run {}: {}: others can write such records",
                    record.run,
                    shown(&record.undo.to_string())
                )),
            }
        }
        for Annotated { run_id, object, undos } in self.annotated {
            match undos {
                Ok(undos) if trust.0 => {
                    let work = work.entry(run_id).or_default();
                    undos.iter().for_each(|undo| work.add(undo));
                }
                undos => swept.not_obeyed.push(not_obeyed(&run_id, &object, &undos)),
            }
        }
        work
    }
}

fn not_obeyed(run_id: &str, object: &str, undos: &Result<Vec<Undo>, String>) -> String {
    let what = match undos {
        Ok(undos) => undos.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        Err(why) => why.clone(),
    };
    let (run_id, object, what) = (shown(run_id), shown(object), shown(&what));
    format!(
        "annotation {ANNOTATION_UNDO} of {object}, run {run_id}: {what}: anyone who can write this object can forge it"
    )
}

/// Whether nobody can have forged a record; says who could have.
async fn are_trusted(cluster: &dyn Cluster, swept: &mut Swept) -> bool {
    match cluster.record_writers().await {
        Writers::Trusted => true,
        Writers::Others(others) => {
            let others = others.iter().map(|other| shown(other)).collect::<Vec<_>>().join(", ");
            swept.warnings.push(format!("these can write undo records in {SYSTEM_NAMESPACE}: {others}"));
            false
        }
        Writers::Unknown(why) => {
            swept
                .warnings
                .push(format!("the users who can write undo records in {SYSTEM_NAMESPACE} cannot be listed: {why}"));
            false
        }
    }
}

/// What would be done, with what each may touch.
pub(super) fn planned(work: &BTreeMap<String, Work>) -> Vec<String> {
    let lines = work.iter().rev().flat_map(|(run, work)| {
        work.undos.iter().map(move |undo| format!("run {run}: {undo}; may touch: {}", undo.may_touch()))
    });
    lines.map(|line| shown(&line)).collect()
}

/// Objects with the label of a run, by run, without the undo records.
async fn unrecorded(cluster: &dyn Cluster) -> Result<Vec<(String, String)>, ClusterError> {
    let objects = cluster.objects_of_runs().await?;
    let others = objects.into_iter().filter(|left| left.object.namespace.as_deref() != Some(SYSTEM_NAMESPACE));
    Ok(others.map(|left| (left.run_id, left.object.to_string())).collect())
}

/// What carries the label of a run once everything is done that a journal or a record tells of: it is told, and deleted only where the
/// user says so.
///
/// # Errors
/// Where the cluster does not answer.
pub(super) async fn labelled(
    cluster: &dyn Cluster,
    options: &SweepOptions<'_>,
    within: Duration,
    swept: &mut Swept,
) -> Result<(), ClusterError> {
    let asked = |run: &str| options.only.is_none_or(|only| only == run);
    // An object whose undo did not work is named with it.
    let is_named = |run: &str, object: &str, swept: &Swept| {
        let mut of_run = swept.left.iter().filter(|line| line.starts_with(&format!("run {run}: ")));
        of_run.any(|line| line.contains(&shown(object)))
    };
    let mut by_run: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (run, object) in unrecorded(cluster).await? {
        if asked(&run) && !is_named(&run, &object, swept) {
            by_run.entry(run).or_default().push(object);
        }
    }
    for (run, objects) in by_run {
        if !options.trust_annotations || !is_run_id(&run) {
            swept.not_obeyed.push(format!(
                "the label of run {} on {}: no undo record mentions it, and anyone who can write an object can set the label",
                shown(&run),
                shown(&objects.join(", "))
            ));
            continue;
        }
        match cluster.delete_by_label(&run, within).await {
            Ok(gone) => swept.done.extend(gone.iter().map(|object| format!("run {run}: delete {object}"))),
            Err(error) => swept.left.push(format!("run {run}: {error}")),
        }
    }
    Ok(())
}

/// The runs of which an undo record is on a cluster: something of theirs may still be in. What others can forge without being able to
/// write records, such as a label, keeps no run away.
pub(super) fn left_behind(undos: Vec<Found>) -> BTreeSet<String> {
    let named = undos.into_iter().map(|found| match found.record {
        Ok(record) => format!("run {}", record.run),
        Err(_) => format!("undo record {}", shown(&found.name)),
    });
    named.collect()
}
