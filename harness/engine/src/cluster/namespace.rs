//! The namespace that exists only for a run.

use super::{ANNOTATION_UNDO, Cluster, ClusterError, LABEL_RUN, RunMark, Waiting, wait_and_tell, wait_for};
use crate::process::Progress;
use firedrill_core::event::Undo;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use std::time::Duration;

impl Cluster {
    /// Makes the run's namespace, in which privileged pods are admitted; its name. One that the run made before is as good.
    ///
    /// # Errors
    /// Where the API server refuses, or a namespace of that name is not this run's.
    pub async fn create_namespace(&self, mark: &RunMark) -> Result<String, ClusterError> {
        let name = mark.namespace();
        let mut namespace = Namespace { metadata: mark.metadata(&name), ..Default::default() };
        for mode in ["enforce", "audit", "warn"] {
            let label = format!("pod-security.kubernetes.io/{mode}");
            namespace.metadata.labels.get_or_insert_default().insert(label, "privileged".to_owned());
        }
        let api: Api<Namespace> = Api::all(self.client());
        let what = format!("namespace {name}");
        match self.ask(what.as_str(), api.create(&PostParams::default(), &namespace)).await {
            Ok(_) => Ok(name),
            Err(ClusterError::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.is_already_exists()) => {
                self.own_namespace(mark).await.map(|_| name)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until a namespace that is ending has ended: nothing can be made in it any more.
    ///
    /// # Errors
    /// Where it has not within the limit.
    pub async fn wait_out_namespace(&self, name: &str, within: Duration) -> Result<(), ClusterError> {
        let api: Api<Namespace> = Api::all(self.client());
        wait_for(&format!("the end of namespace {name}"), within, async || {
            let there = api.get_metadata_opt(name).await.map_err(ClusterError::api("read a namespace"))?;
            let ends = there.is_some_and(|there| there.metadata.deletion_timestamp.is_some());
            Ok(if ends { Waiting::Not("it is still ending".to_owned()) } else { Waiting::Done(()) })
        })
        .await
    }

    /// Asks for the end of a namespace, and of all that is in it. It may be gone already.
    ///
    /// # Errors
    /// Where the API server refuses.
    pub async fn begin_to_delete_namespace(&self, name: &str) -> Result<(), ClusterError> {
        let api: Api<Namespace> = Api::all(self.client());
        let deleted = self.ask(format!("namespace {name}"), api.delete(name, &DeleteParams::background())).await;
        match deleted {
            Err(ClusterError::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.is_not_found()) => {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Waits until a namespace is gone, and every volume of its claims that goes with them; tells what is still there.
    ///
    /// # Errors
    /// Where it is not gone within the limit.
    pub async fn wait_for_end_of_namespace(
        &self,
        name: &str,
        within: Duration,
        progress: Progress<'_>,
    ) -> Result<(), ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let volumes: Api<PersistentVolume> = Api::all(self.client());
        wait_and_tell(&format!("the end of namespace {name}"), within, progress, || async {
            let found = self.ask(format!("namespace {name}"), namespaces.get_opt(name)).await?;
            if let Some(namespace) = found {
                return Ok(Waiting::Not(remaining(&namespace)));
            }
            let listed = self.ask("the volumes", volumes.list(&ListParams::default())).await?;
            let left = listed.iter().filter(|volume| goes_with(volume, name)).count();
            Ok(if left == 0 { Waiting::Done(()) } else { Waiting::Not(format!("{left} volumes are still there")) })
        })
        .await
    }

    /// Writes on the run's namespace how to undo what nothing else on the cluster tells of, for whoever finds it without the
    /// run's files.
    ///
    /// # Errors
    /// Where the API server refuses.
    pub async fn note_undos(&self, mark: &RunMark, undos: &[Undo]) -> Result<(), ClusterError> {
        let name = mark.namespace();
        let text = serde_json::to_string(undos).map_err(|error| ClusterError::Other(error.to_string()))?;
        let patch = serde_json::json!({"metadata": {"annotations": {ANNOTATION_UNDO: text}}});
        let api: Api<Namespace> = Api::all(self.client());
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        self.ask(format!("noting undos on namespace {name}"), api.patch_metadata(&name, &params, &patch)).await?;
        Ok(())
    }

    /// What the namespaces of runs tell of that, by run.
    ///
    /// # Errors
    /// Where the API server does not say, or a note cannot be read: to pass over it would leave something behind.
    pub async fn noted_undos(&self) -> Result<Vec<(String, Vec<Undo>)>, ClusterError> {
        let api: Api<Namespace> = Api::all(self.client());
        let found = self.ask("namespaces of runs", api.list(&ListParams::default().labels(LABEL_RUN))).await?;
        let mut noted = Vec::new();
        for namespace in found {
            let (labels, annotations) = (namespace.metadata.labels, namespace.metadata.annotations);
            let run = labels.and_then(|mut labels| labels.remove(LABEL_RUN));
            let note = annotations.and_then(|mut annotations| annotations.remove(ANNOTATION_UNDO));
            if let (Some(run), Some(note)) = (run, note) {
                let undos = serde_json::from_str(&note).map_err(|error| {
                    ClusterError::Other(format!("the namespace of run {run} has an unreadable note: {error}"))
                })?;
                noted.push((run, undos));
            }
        }
        Ok(noted)
    }

    async fn own_namespace(&self, mark: &RunMark) -> Result<Option<Namespace>, ClusterError> {
        let name = mark.namespace();
        let api: Api<Namespace> = Api::all(self.client());
        let Some(namespace) = self.ask(format!("namespace {name}"), api.get_opt(&name)).await? else {
            return Ok(None);
        };
        let run = namespace.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_RUN));
        if run != Some(&mark.run_id) {
            return Err(ClusterError::Other(format!("namespace {name} is not of run {}", mark.run_id)));
        }
        Ok(Some(namespace))
    }
}

/// Whether a volume is of a claim in that namespace, and deleted with it.
fn goes_with(volume: &PersistentVolume, namespace: &str) -> bool {
    let Some(spec) = &volume.spec else { return false };
    let claim = spec.claim_ref.as_ref().and_then(|claim| claim.namespace.as_deref());
    claim == Some(namespace) && spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete")
}

/// What keeps a namespace from going, in the words of its conditions.
fn remaining(namespace: &Namespace) -> String {
    let conditions = namespace.status.as_ref().and_then(|status| status.conditions.as_ref());
    let reasons: Vec<_> = conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition.status == "True")
        .filter_map(|condition| condition.message.clone())
        .collect();
    if reasons.is_empty() { "it is terminating".to_owned() } else { reasons.join("; ") }
}
