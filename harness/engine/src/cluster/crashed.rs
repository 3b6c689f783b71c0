//! Pods that wait before their containers are started again.

use super::{Cluster, ClusterError, exactly};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

impl Cluster {
    /// Deletes the pods of a namespace that wait in `CrashLoopBackOff` and that their controllers make again: otherwise the
    /// next start comes up to five minutes later. Each pod's name, and whether it was deleted.
    ///
    /// # Errors
    /// Where the pods cannot be listed.
    pub(crate) async fn delete_crashed(
        &self,
        namespace: &str,
    ) -> Result<Vec<(String, Result<(), ClusterError>)>, ClusterError> {
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        let listed = self.ask(format!("the pods of {namespace}"), pods.list(&ListParams::default())).await?;
        let mut deleted = Vec::new();
        for pod in listed.iter().filter(|pod| waits_after_a_crash(pod)) {
            let (name, params) = (pod.name_any(), exactly(pod.uid()));
            let result = self.ask(format!("the end of pod {name}"), pods.delete(&name, &params)).await;
            deleted.push((name, result.map(drop)));
        }
        Ok(deleted)
    }
}

/// Whether a container waits to be started again, in a pod that a controller makes again.
fn waits_after_a_crash(pod: &Pod) -> bool {
    let made_again = pod.owner_references().iter().any(|owner| owner.controller == Some(true));
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let waits = statuses.into_iter().flatten().any(|container| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.and_then(|waiting| waiting.reason.as_deref()) == Some("CrashLoopBackOff")
    });
    made_again && waits && pod.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::FakeApi;
    use serde_json::json;

    fn pod(controller: bool, state: &serde_json::Value) -> Pod {
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": controller});
        serde_json::from_value(json!({"metadata": {"name": "p", "ownerReferences": [owner]},
            "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 9,
                "state": state}]}}))
        .unwrap()
    }

    #[tokio::test]
    async fn only_crashed_pods_are_deleted() {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        for (name, controller, state) in
            [("crashed", true, &waits), ("alone", false, &waits), ("fine", true, &json!({"running": {}}))]
        {
            let pod = serde_json::to_value(pod(controller, state)).unwrap();
            let metadata = json!({"ownerReferences": pod["metadata"]["ownerReferences"]});
            let pod = json!({"metadata": metadata, "status": pod["status"]});
            api.put(&format!("/api/v1/namespaces/shop/pods/{name}"), pod);
        }
        let cluster = Cluster::connect("test", &api.kubeconfig(folder.path()), "x").await.unwrap();
        let deleted = cluster.delete_crashed("shop").await.unwrap();
        assert!(matches!(deleted.as_slice(), [(name, Ok(()))] if name == "crashed"), "{deleted:?}");
        assert_eq!(api.paths("/api/v1/namespaces/shop/pods/").len(), 2);
    }

    #[test]
    fn only_what_waits_after_a_crash_and_is_made_again() {
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert!(waits_after_a_crash(&pod(true, &waits)));
        assert!(!waits_after_a_crash(&pod(false, &waits)));
        assert!(!waits_after_a_crash(&pod(true, &json!({"running": {}}))));
        assert!(!waits_after_a_crash(&pod(true, &json!({"waiting": {"reason": "ContainerCreating"}}))));
    }
}
