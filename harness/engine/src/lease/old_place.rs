//! Where older versions kept the lease. It is read, never written: a run of an older version that is alive keeps new ones away. An older
//! version that starts while a new one runs does not see it.

use super::{Decision, LeaseError, LeaseHolder, NAME, ProcessId, RENEW_EVERY, decide, process};
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError};
use firedrill_core::time::At;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::api::Api;
use tokio::time::MissedTickBehavior;

const NAMESPACE: &str = "kube-system";

pub(super) async fn read(cluster: &Cluster) -> Result<Option<LeaseObject>, ClusterError> {
    let api: Api<LeaseObject> = Api::namespaced(cluster.client(), NAMESPACE);
    cluster.ask("the lease of older versions", api.get_opt(NAME)).await
}

/// Returns once no run of an older version is alive.
///
/// # Errors
/// Where one is, or the API server does not answer.
pub(super) async fn wait_until_free(
    cluster: &Cluster,
    own: &ProcessId,
    clock: &Clock,
    progress: &mut (dyn FnMut(String) + Send),
) -> Result<(), LeaseError> {
    let mut watched: Option<(String, At)> = None;
    let mut ticks = tokio::time::interval(RENEW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let found = read(cluster).await?;
        let version = found.as_ref().and_then(|lease| lease.metadata.resource_version.clone()).unwrap_or_default();
        let unchanged = watched.as_ref().map(|(seen, since)| match *seen == version {
            true => clock.now().since(*since),
            false => std::time::Duration::ZERO,
        });
        let seen = found.as_ref().map(LeaseHolder::of);
        let holder = seen.as_ref().map(|seen| seen.holder.clone()).unwrap_or_default();
        match decide(seen.as_ref(), own, process::is_alive, unchanged) {
            Decision::Take => return Ok(()),
            Decision::Held => return Err(LeaseError::Held { holder }),
            Decision::Watch => {
                if watched.is_none() {
                    progress(format!("an older version used the cluster as {holder}: watching whether it is alive"));
                    watched = Some((version, clock.now()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lease;
    use super::*;
    use crate::fake_api::FakeApi;
    use serde_json::json;

    #[tokio::test]
    async fn a_run_of_an_older_version_keeps_new_ones_away() {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
        let cluster = Cluster::connect("c", &api.kubeconfig(folder.path()), "x").await.unwrap();
        let lease = |namespace: &str| format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/firedrill");
        let process = ProcessId::of_this_process().text();
        let old = json!({"metadata": {"annotations": {"firedrill.dev/process": process}},
            "spec": {"holderIdentity": "run old"}});
        api.put(&lease("kube-system"), old);
        let held = Lease::acquire(&cluster, "r1", &mut |_| ()).await;
        assert!(matches!(held, Err(LeaseError::Held { holder }) if holder == "run old"));
        assert_eq!(Lease::in_use_by(&cluster).await.unwrap().as_deref(), Some("run old"));
        api.remove(&lease("kube-system"));
        let taken = Lease::acquire(&cluster, "r1", &mut |_| ()).await.unwrap();
        assert!(api.get(&lease("firedrill-system")).is_some() && api.get(&lease("kube-system")).is_none());
        taken.release().await.unwrap();
        assert!(api.get(&lease("firedrill-system")).is_none());
    }
}
