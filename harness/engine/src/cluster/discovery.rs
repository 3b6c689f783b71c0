//! Every kind of object that the cluster knows, and what runs have left among them.

use super::{ANNOTATION_EXPIRES, Cluster, ClusterError, LABEL_MANAGED_BY, LABEL_RUN, MANAGED_BY, Waiting};
use firedrill_core::event::SYSTEM_NAMESPACE;
use futures::StreamExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PartialObjectMeta};
use kube::core::ApiResource;
use kube::discovery::{ApiCapabilities, Discovery, verbs};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Requests under way at once.
const PARALLEL: usize = 8;
/// Objects in one answer.
const PAGE: u32 = 500;

/// Kinds that say nothing about what is in the cluster: records of the moment, and what controllers derive from other
/// objects, labels included, and take away with them.
pub(super) const PASSING: [&str; 10] = [
    "Event",
    "Lease",
    "Endpoints",
    "EndpointSlice",
    "IPAddress",
    "ComponentStatus",
    "NodeMetrics",
    "PodMetrics",
    "CertificateSigningRequest",
    "CSIStorageCapacity",
];

/// An object of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Its API version, as `group/version`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, where it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// An object that a run made and that is still there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    /// The run.
    pub run_id: String,
    /// When it counts as abandoned, in seconds since the epoch, where it says so.
    pub expires_unix: Option<i64>,
    /// The object.
    pub object: ObjectKey,
}

/// A kind that can be listed.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) resource: ApiResource,
    pub(super) deletable: bool,
}

impl Cluster {
    /// Everything that runs have made and left, found by labels alone. What they have only marked does not count.
    ///
    /// # Errors
    /// Where the API server does not say.
    pub async fn objects_of_runs(&self) -> Result<Vec<Leftover>, ClusterError> {
        let kinds = self.kinds().await?;
        self.labelled_among(&kinds, &made_by(None)).await
    }

    /// Deletes everything that carries the label of a run, but no undo record, and waits until it is gone; what was found.
    ///
    /// # Errors
    /// Where something is not gone within the limit: what, and why where the API server says.
    pub async fn delete_by_label(&self, run_id: &str, within: Duration) -> Result<Vec<ObjectKey>, ClusterError> {
        let selector = made_by(Some(run_id));
        let kinds = self.kinds().await?;
        let is_record = |left: &Leftover| left.object.namespace.as_deref() == Some(SYSTEM_NAMESPACE);
        let found = self.labelled_among(&kinds, &selector).await?.into_iter().filter(|left| !is_record(left));
        let found: Vec<_> = found.map(|left| left.object).collect();
        let (kinds, selector) = (&kinds, selector.as_str());
        self.wait_for(&format!("the end of everything that run {run_id} made"), within, || async move {
            let mut remaining = self.labelled_among(kinds, selector).await?;
            remaining.retain(|left| !is_record(left));
            if remaining.is_empty() {
                return Ok(Waiting::Done(()));
            }
            for leftover in &remaining {
                self.delete_object(kinds, &leftover.object).await?;
            }
            let names: Vec<_> = remaining.iter().map(|leftover| leftover.object.to_string()).collect();
            Ok(Waiting::Not(names.join(", ")))
        })
        .await?;
        Ok(found)
    }

    async fn delete_object(&self, kinds: &[Kind], key: &ObjectKey) -> Result<(), ClusterError> {
        let kind = kinds.iter().find(|kind| kind.is_of(key));
        let kind = kind.ok_or_else(|| ClusterError::Other(format!("{key} is of no known kind")))?;
        if !kind.deletable {
            return Err(ClusterError::Other(format!("{key} cannot be deleted")));
        }
        let api: Api<DynamicObject> = match &key.namespace {
            Some(namespace) => Api::namespaced_with(self.client(), namespace, &kind.resource),
            None => Api::all_with(self.client(), &kind.resource),
        };
        match self.ask(format!("deleting {key}"), api.delete(&key.name, &DeleteParams::background())).await {
            Err(ClusterError::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.is_not_found()) => {
                Ok(())
            }
            other => other.map(|_| ()),
        }
    }

    async fn labelled_among(&self, kinds: &[Kind], selector: &str) -> Result<Vec<Leftover>, ClusterError> {
        let list = |kind: &Kind| {
            let kind = kind.clone();
            async move {
                let objects = self.list_metadata(&kind, selector).await?;
                Ok(objects.into_iter().filter_map(|object| kind.leftover(&object)).collect::<Vec<_>>())
            }
        };
        let listing: Vec<_> = kinds.iter().map(list).collect();
        let lists = futures::stream::iter(listing)
            .buffer_unordered(PARALLEL)
            .collect::<Vec<Result<Vec<Leftover>, ClusterError>>>()
            .await;
        let mut all = lists.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        all.sort();
        Ok(all)
    }

    /// Every kind that can be listed, less those that say nothing.
    pub(super) async fn kinds(&self) -> Result<Vec<Kind>, ClusterError> {
        let discovery = self.ask("the cluster's kinds", Discovery::new(self.client()).run_aggregated()).await?;
        let all = discovery.groups().flat_map(|group| group.recommended_resources());
        Ok(all.filter_map(|(resource, abilities)| Kind::of(resource, &abilities)).collect())
    }

    /// The metadata of all objects of a kind, page by page.
    pub(super) async fn list_metadata(
        &self,
        kind: &Kind,
        selector: &str,
    ) -> Result<Vec<PartialObjectMeta<DynamicObject>>, ClusterError> {
        let api: Api<DynamicObject> = Api::all_with(self.client(), &kind.resource);
        let mut params = ListParams::default().labels(selector).limit(PAGE);
        let mut all = Vec::new();
        loop {
            let list = self.ask(kind.resource.plural.as_str(), api.list_metadata(&params)).await?;
            all.extend(list.items);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    /// All objects of a kind, page by page.
    pub(super) async fn list_whole(&self, kind: &Kind) -> Result<Vec<DynamicObject>, ClusterError> {
        let api: Api<DynamicObject> = Api::all_with(self.client(), &kind.resource);
        let mut params = ListParams::default().limit(PAGE);
        let mut all = Vec::new();
        loop {
            let list = self.ask(kind.resource.plural.as_str(), api.list(&params)).await?;
            all.extend(list.items);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
    }
}

/// Selects what a run, or any run, has made. Objects that runs have only marked, such as nodes, lack the second label:
/// they are never taken for something to be deleted.
fn made_by(run_id: Option<&str>) -> String {
    let run = run_id.map(|run_id| format!("={run_id}")).unwrap_or_default();
    format!("{LABEL_RUN}{run},{LABEL_MANAGED_BY}={MANAGED_BY}")
}

impl Kind {
    fn of(resource: ApiResource, abilities: &ApiCapabilities) -> Option<Self> {
        let listed = abilities.supports_operation(verbs::LIST) && !PASSING.contains(&resource.kind.as_str());
        listed.then(|| Self { deletable: abilities.supports_operation(verbs::DELETE), resource })
    }

    fn is_of(&self, key: &ObjectKey) -> bool {
        self.resource.kind == key.kind && self.resource.api_version == key.api_version
    }

    pub(super) fn key(&self, metadata: &kube::core::ObjectMeta) -> ObjectKey {
        ObjectKey {
            api_version: self.resource.api_version.clone(),
            kind: self.resource.kind.clone(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }

    fn leftover(&self, object: &PartialObjectMeta<DynamicObject>) -> Option<Leftover> {
        let metadata = &object.metadata;
        let run_id = metadata.labels.as_ref()?.get(LABEL_RUN)?.clone();
        let expires = metadata.annotations.as_ref().and_then(|notes| notes.get(ANNOTATION_EXPIRES));
        let expires_unix = expires.and_then(|text| text.parse().ok());
        Some(Leftover { run_id, expires_unix, object: self.key(metadata) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_has_only_marked_is_not_selected() {
        assert_eq!(made_by(Some("r1")), "firedrill.dev/run=r1,app.kubernetes.io/managed-by=firedrill");
        assert_eq!(made_by(None), "firedrill.dev/run,app.kubernetes.io/managed-by=firedrill");
        let made = super::super::RunMark { run_id: "r1".into(), expires_unix: 7 }.metadata("x");
        let labels = made.labels.unwrap();
        assert_eq!((labels[LABEL_RUN].as_str(), labels[LABEL_MANAGED_BY].as_str()), ("r1", MANAGED_BY));
    }
}
