//! The namespace that exists only for a run, and the one of the undo records and of the lease, which outlives every run.

use super::{Cluster, ClusterError, LABEL_MANAGED_BY, LABEL_RUN, MANAGED_BY, RunMark, Waiting};
use crate::process::Progress;
use firedrill_core::event::SYSTEM_NAMESPACE;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolume, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the control plane may take to fill a new namespace.
const FILLED_TIMEOUT: Duration = Duration::from_secs(30);

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
        self.wait_for(&format!("the end of namespace {name}"), within, async || {
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
        self.wait_and_tell(&format!("the end of namespace {name}"), within, progress, || async {
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

    /// Makes sure that the namespace of the undo records and of the lease is there. It is made in a cluster of firedrill's own; in
    /// another one an administrator makes it. No run deletes it.
    ///
    /// # Errors
    /// Where it is not there and not to be made by firedrill, it is not firedrill's, or the API server does not answer.
    pub async fn ensure_system_namespace(&self) -> Result<(), ClusterError> {
        let api: Api<Namespace> = Api::all(self.client());
        let what = format!("namespace {SYSTEM_NAMESPACE}");
        let mut found = self.ask(what.as_str(), api.get_opt(SYSTEM_NAMESPACE)).await?;
        if found.is_none() && self.is_own() {
            let namespace = system_namespace();
            match self.ask(what.as_str(), api.create(&PostParams::default(), &namespace)).await {
                Ok(_) => return self.wait_for_namespace_objects(SYSTEM_NAMESPACE).await,
                // Another program of firedrill was first.
                Err(error) if error.code() == Some(409) => {
                    found = self.ask(what.as_str(), api.get_opt(SYSTEM_NAMESPACE)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        let Some(namespace) = found else {
            return Err(ClusterError::Other(format!(
                "{what} is missing: an administrator creates it from the output of `firedrill plan NAME --rbac`"
            )));
        };
        let labels = namespace.metadata.labels.as_ref();
        let ours = labels.and_then(|labels| labels.get(LABEL_MANAGED_BY)).is_some_and(|value| value == MANAGED_BY);
        match (ours, namespace.metadata.deletion_timestamp) {
            (true, None) => Ok(()),
            (true, Some(_)) => Err(ClusterError::Other(format!("{what} is being deleted"))),
            (false, _) => Err(ClusterError::Other(format!(
                "{what} does not carry the label {LABEL_MANAGED_BY}={MANAGED_BY}: somebody else made it"
            ))),
        }
    }

    /// Waits for what the control plane puts into each new namespace: it would count as a difference that a run has made.
    async fn wait_for_namespace_objects(&self, name: &str) -> Result<(), ClusterError> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), name);
        let maps: Api<ConfigMap> = Api::namespaced(self.client(), name);
        self.wait_for(&format!("the objects of namespace {name}"), FILLED_TIMEOUT, async || {
            let account = self.ask("a service account", accounts.get_metadata_opt("default")).await?;
            let map = self.ask("a config map", maps.get_metadata_opt("kube-root-ca.crt")).await?;
            Ok(match account.is_some() && map.is_some() {
                true => Waiting::Done(()),
                false => Waiting::Not("the control plane has not made them".to_owned()),
            })
        })
        .await
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

/// The labels of [`SYSTEM_NAMESPACE`]. No pod of a run is ever in it.
pub fn system_labels() -> BTreeMap<String, String> {
    let labels = [(LABEL_MANAGED_BY, MANAGED_BY), ("pod-security.kubernetes.io/enforce", "restricted")];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn system_namespace() -> Namespace {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(SYSTEM_NAMESPACE.to_owned());
    namespace.metadata.labels = Some(system_labels());
    namespace
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::FakeApi;
    use serde_json::json;

    const PATH: &str = "/api/v1/namespaces/firedrill-system";

    #[tokio::test]
    async fn the_system_namespace_is_made_in_own_clusters_alone() {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
        let mut cluster = Cluster::connect("c", &api.kubeconfig(folder.path()), "x").await.unwrap();
        cluster.ensure_system_namespace().await.unwrap();
        api.put(PATH, json!({}));
        let error = cluster.ensure_system_namespace().await.unwrap_err().to_string();
        assert!(error.ends_with("somebody else made it"), "{error}");
        api.remove(PATH);
        let error = cluster.ensure_system_namespace().await.unwrap_err().to_string();
        assert!(error.contains("firedrill plan NAME --rbac"), "{error}");
        assert!(api.get(PATH).is_none());
        // What the control plane puts into each.
        api.put(&format!("{PATH}/serviceaccounts/default"), json!({}));
        api.put(&format!("{PATH}/configmaps/kube-root-ca.crt"), json!({}));
        "kind".clone_into(&mut cluster.provider);
        cluster.ensure_system_namespace().await.unwrap();
        let labels = api.get(PATH).unwrap()["metadata"]["labels"].clone();
        assert_eq!(labels, json!(system_labels()));
    }
}
