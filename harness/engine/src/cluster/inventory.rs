//! What is in a cluster, in terms that are equal before and after a drill exactly if nothing was left behind.
//!
//! Objects count by kind, namespace and name. Objects with generated names count by what they belong to: pods by their owner,
//! volumes by their claim, attachments of volumes by their driver. [`content`] says what is compared of each kind beside its
//! presence, and why the rest is not. Secrets are compared by a keyed digest, and Helm's releases by their status.

mod compare;
mod content;
mod counted;
mod readiness;
mod secrets;

pub use compare::{Differences, differences};
pub use secrets::DigestKey;

use super::discovery::Kind;
use super::{Cluster, ClusterError, ObjectKey};
use content::{Compared, compared, with_content, with_generation, with_state};
use counted::{count_attachments, count_pods, count_volumes};
use futures::StreamExt;
use kube::core::ObjectMeta;
use readiness::Readiness;
use secrets::{RELEASE_API_VERSION, releases};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

const PARALLEL: usize = 8;

/// What is in a cluster. It can be kept in a file, as a list of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(ObjectKey, Entry)>", into = "Vec<(ObjectKey, Entry)>")]
pub struct Inventory(BTreeMap<ObjectKey, Entry>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// Its state in words, without what is counted; empty where only its presence counts.
    state: String,
    /// How many of its pods are ready, where it has pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    readiness: Option<Readiness>,
    /// A digest of its wish, in `spec` or elsewhere; empty where that is not compared.
    spec: String,
    /// The storage that it asks for or has; empty where it has none.
    size: String,
    /// Whether it is being deleted.
    ending: bool,
}

/// Its state and what of it is ready, for people.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.state)?;
        let Some(readiness) = &self.readiness else { return Ok(()) };
        let comma = if self.state.is_empty() { "" } else { ", " };
        write!(f, "{comma}{readiness}")
    }
}

impl From<Vec<(ObjectKey, Entry)>> for Inventory {
    fn from(objects: Vec<(ObjectKey, Entry)>) -> Self {
        Self(objects.into_iter().collect())
    }
}

impl From<Inventory> for Vec<(ObjectKey, Entry)> {
    fn from(inventory: Inventory) -> Self {
        inventory.0.into_iter().collect()
    }
}

#[cfg(test)]
impl Inventory {
    /// A simulated cluster's: objects, each with its state.
    pub(crate) fn simulated(objects: impl IntoIterator<Item = (ObjectKey, String)>) -> Self {
        Self(objects.into_iter().map(|(key, state)| (key, Entry { state, ..Entry::default() })).collect())
    }
}

impl Inventory {
    /// How many objects it holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its objects.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.0.keys()
    }

    /// What is on its way to another state, a line each: a cluster with any of it is no "before" that can come again.
    /// Namespaces and claims that are being deleted, and releases that Helm is changing, or was when it died.
    pub fn changing(&self) -> Vec<String> {
        let line = |(key, entry): (&ObjectKey, &Entry)| match (key.api_version.as_str(), key.kind.as_str()) {
            ("v1", "Namespace" | "PersistentVolumeClaim") if entry.ending => Some(format!("{key} is being deleted")),
            (RELEASE_API_VERSION, _) if secrets::is_changing(&entry.state) => Some(format!("{key} is {}", entry.state)),
            _ => None,
        };
        self.0.iter().filter_map(line).collect()
    }

    /// Workloads of which pods are not ready, a line each: they may be starting, or never get ready.
    pub fn incomplete(&self) -> Vec<String> {
        compare::incomplete(self)
    }

    /// What is wrong with it and was so before the run, a line each: Helm releases that are not deployed.
    pub fn defects(&self) -> Vec<String> {
        let broken = self
            .0
            .iter()
            .filter(|(key, entry)| key.api_version == RELEASE_API_VERSION && !secrets::is_deployed(&entry.state));
        broken.map(|(key, entry)| format!("{key} is {}", entry.state)).collect()
    }
}

impl Cluster {
    /// Lists the cluster. The contents of Secrets are digested with this key, and kept nowhere.
    ///
    /// # Errors
    /// Where the API server does not say.
    pub async fn inventory(&self, key: &DigestKey) -> Result<Inventory, ClusterError> {
        let kinds = self.kinds().await?;
        let listing: Vec<_> = kinds.iter().map(|kind| self.entries(kind, key)).collect();
        let lists = futures::stream::iter(listing).buffer_unordered(PARALLEL).collect::<Vec<_>>().await;
        let mut all = BTreeMap::new();
        for list in lists {
            all.extend(list?);
        }
        Ok(Inventory(all))
    }

    async fn entries(&self, kind: &Kind, key: &DigestKey) -> Result<Vec<(ObjectKey, Entry)>, ClusterError> {
        let name = kind.resource.kind.as_str();
        match name {
            // Each change of a workload makes one more of these, and old ones are kept for a way back.
            "ReplicaSet" | "ControllerRevision" => return Ok(Vec::new()),
            "Pod" => return Ok(count_pods(kind, &self.list_whole(kind).await?)),
            "VolumeAttachment" => return Ok(count_attachments(kind, &self.list_whole(kind).await?)),
            "PersistentVolume" => return Ok(count_volumes(kind, &self.list_whole(kind).await?)),
            "Secret" if kind.resource.group.is_empty() => return self.secrets(kind, key).await,
            _ => {}
        }
        match compared(&kind.resource.group, name) {
            Compared::State | Compared::Spec => {
                let objects = self.list_whole(kind).await?;
                Ok(objects.iter().map(|object| with_state(kind, object)).collect())
            }
            Compared::Content => {
                let objects = self.list_whole(kind).await?;
                let mut entries: Vec<_> = objects
                    .iter()
                    .filter(|object| lasts(&object.metadata))
                    .map(|object| with_content(kind, object))
                    .collect();
                // Helm keeps its records in ConfigMaps where it was told to.
                entries.extend(releases(objects.iter().map(|object| &object.metadata)));
                Ok(entries)
            }
            Compared::Generation | Compared::Presence => {
                let objects = self.list_metadata(kind, "").await?;
                let lasting = objects.iter().filter(|object| lasts(&object.metadata));
                Ok(lasting.map(|object| with_generation(kind, &object.metadata)).collect())
            }
        }
    }
}

/// Whether it is there for longer than a pod or an upgrade.
fn lasts(metadata: &ObjectMeta) -> bool {
    !is_of_a_pod(metadata) && !secrets::is_helm_record(metadata)
}

fn is_of_a_pod(metadata: &ObjectMeta) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| owner.kind == "Pod")
}

#[cfg(test)]
mod tests;
