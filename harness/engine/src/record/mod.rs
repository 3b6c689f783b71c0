//! Undo records: how to undo what a run does, on the cluster, where no tenant can write.
//!
//! A record is a ControllerRevision in [`SYSTEM_NAMESPACE`]: the API server keeps its data immutable, no custom resource is needed, and
//! neither the built-in roles `edit` and `admin` nor common operators may write one. It is written after the journal and before the
//! act, and deleted once the undo was carried out and its effect was seen. A sweep that has not the run's files obeys these alone.

pub mod annotations;
pub mod dirty_end;
pub mod writers;

use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError, LABEL_RUN, RunMark};
use dirty_end::FoundDirtyEnd;
use firedrill_core::event::{SYSTEM_NAMESPACE, Undo};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde::{Deserialize, Serialize};

/// The version of a record's data.
const FORMAT: u32 = 1;
/// Bytes of a stranger's text that a message shows.
const SHOWN_MAX: usize = 300;
/// The longest id of a run.
const RUN_ID_MAX: usize = 50;

/// The data of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoRecord {
    /// The version of this format.
    format: u32,
    /// The run.
    pub run: String,
    /// The number of the undo in its run's journal.
    pub id: u32,
    /// The UID of the cluster: of its namespace `kube-system`.
    cluster_uid: String,
    /// Who made the cluster's nodes.
    provider: String,
    /// The cluster's name at that provider.
    cluster: String,
    /// When it was written (RFC 3339).
    created: String,
    /// How to undo it, with the UID of what it acts on.
    pub undo: Undo,
}

#[cfg(test)]
impl UndoRecord {
    /// One of a simulated cluster.
    pub(crate) fn simulated(run: &str, id: u32, undo: &Undo) -> Self {
        let text = str::to_owned;
        let (cluster_uid, provider, cluster) = (text("simulated"), text("kind"), text("simulated"));
        Self {
            format: FORMAT,
            run: text(run),
            id,
            cluster_uid,
            provider,
            cluster,
            created: String::new(),
            undo: undo.clone(),
        }
    }
}

/// A record as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The object's name.
    pub name: String,
    /// What it holds, or why it must not be obeyed.
    pub record: Result<UndoRecord, String>,
}

/// What runs have written on a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundRecords {
    /// The undo records, by name.
    pub undos: Vec<Found>,
    /// The dirty ends, by name.
    pub dirty_ends: Vec<FoundDirtyEnd>,
}

/// The records of one run.
#[derive(Clone)]
pub struct Records {
    cluster: Cluster,
    cluster_uid: String,
    mark: RunMark,
    clock: Clock,
}

impl Records {
    /// Those of a run on the cluster with this UID.
    pub fn new(cluster: &Cluster, cluster_uid: &str, mark: &RunMark, clock: Clock) -> Self {
        Self { cluster: cluster.clone(), cluster_uid: cluster_uid.to_owned(), mark: mark.clone(), clock }
    }

    /// Writes a record. One that is there with the same undo is as good: an earlier answer was lost.
    ///
    /// # Errors
    /// Where it is not there afterwards; then the act must not follow.
    pub async fn write(&self, id: u32, undo: &Undo) -> Result<(), ClusterError> {
        let record = UndoRecord {
            format: FORMAT,
            run: self.mark.run_id.clone(),
            id,
            cluster_uid: self.cluster_uid.clone(),
            provider: self.cluster.provider.clone(),
            cluster: self.cluster.name.clone(),
            created: self.clock.wall(self.clock.now()),
            undo: undo.clone(),
        };
        let name = name_of(&record.run, id);
        let data = serde_json::to_value(&record).map_err(|error| ClusterError::Other(error.to_string()))?;
        let object = ControllerRevision {
            metadata: self.mark.metadata(&name),
            data: Some(RawExtension(data)),
            revision: i64::from(id) + 1,
        };
        let api = api(&self.cluster);
        let what = format!("undo record {name}");
        match self.cluster.ask(what.as_str(), api.create(&PostParams::default(), &object)).await {
            Err(error) if error.code() == Some(409) => {
                let there = self.cluster.ask(what.as_str(), api.get(&name)).await?;
                match read(&there, &self.cluster, &self.cluster_uid) {
                    Ok(there) if there.undo == *undo => Ok(()),
                    _ => Err(ClusterError::Other(format!("{what}: an object of that name with other content exists"))),
                }
            }
            other => other.map(drop),
        }
    }

    /// Deletes a record; it may be gone already.
    ///
    /// # Errors
    /// Where the API server does not do it.
    pub async fn delete(&self, id: u32) -> Result<(), ClusterError> {
        let name = name_of(&self.mark.run_id, id);
        let deleted = api(&self.cluster).delete(&name, &DeleteParams::default()).await;
        match deleted {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(ClusterError::api(format!("delete undo record {name}"))),
        }
    }
}

/// Whether an undo is recorded on the cluster: all are, but what heals by itself.
pub fn is_recorded(undo: &Undo) -> bool {
    !matches!(undo, Undo::HealsItself { .. })
}

/// Every record on a cluster by one request, those that must not be obeyed included. Who may write records is for [`writers`] to say.
///
/// # Errors
/// Where the cluster does not answer.
pub async fn find(cluster: &Cluster, cluster_uid: &str) -> Result<FoundRecords, ClusterError> {
    let listed = cluster.ask("the undo records", api(cluster).list(&ListParams::default())).await?;
    let mut found = FoundRecords::default();
    for object in &listed.items {
        let name = object.metadata.name.clone().unwrap_or_default();
        match dirty_end::is_name(&name) {
            true => {
                let end = dirty_end::read(&name, object, cluster_uid);
                found.dirty_ends.push(FoundDirtyEnd { name, end });
            }
            false => found.undos.push(Found { name, record: read(object, cluster, cluster_uid) }),
        }
    }
    found.undos.sort_by(|a, b| a.name.cmp(&b.name));
    found.dirty_ends.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// What a record holds, where it may be obeyed on this cluster.
fn read(object: &ControllerRevision, cluster: &Cluster, cluster_uid: &str) -> Result<UndoRecord, String> {
    let data = object.data.as_ref().map(|data| data.0.clone()).unwrap_or_default();
    let record: UndoRecord = serde_json::from_value(data).map_err(|error| format!("it cannot be read: {error}"))?;
    let label = object.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_RUN));
    if record.format != FORMAT {
        return Err(format!("its format {} is unknown to this version", record.format));
    }
    if !is_run_id(&record.run) || label != Some(&record.run) {
        return Err("its label names another run than its data".to_owned());
    }
    if object.metadata.name.as_deref() != Some(&name_of(&record.run, record.id)) {
        return Err("its name is not that of its run and number".to_owned());
    }
    if record.cluster_uid != cluster_uid {
        return Err("it is of another cluster".to_owned());
    }
    if record.undo.acts_on_machine() && (&record.provider, &record.cluster) != (&cluster.provider, &cluster.name) {
        return Err(format!("its node is of the {} cluster {}: name that one", record.provider, record.cluster));
    }
    match record.undo.refusal(&record.run) {
        Some(why) => Err(format!("{}: {why}", record.undo)),
        None => Ok(record),
    }
}

fn api(cluster: &Cluster) -> Api<ControllerRevision> {
    Api::namespaced(cluster.client(), SYSTEM_NAMESPACE)
}

fn name_of(run_id: &str, id: u32) -> String {
    format!("undo-{run_id}-{id}")
}

/// Whether a text has the form of a run's id. It becomes a part of names and selectors.
pub fn is_run_id(text: &str) -> bool {
    let letters = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    letters && !text.starts_with('-') && (1..=RUN_ID_MAX).contains(&text.len())
}

/// A stranger's text in a message: one line without control characters.
pub fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if shown.len() >= SHOWN_MAX {
            shown.push('…');
            break;
        }
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}
