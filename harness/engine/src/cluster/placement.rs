//! Where what every pod depends on runs.

use super::{Cluster, ClusterError, LABEL_CONTROL_PLANE, MANAGED_BY, Waiting};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::time::Duration;

impl Cluster {
    /// Has a Deployment run on the control plane's nodes, and waits until it does and is available there.
    ///
    /// # Errors
    /// Where it is not there, or not available there within the limit.
    pub async fn prefer_control_plane(
        &self,
        namespace: &str,
        name: &str,
        within: Duration,
    ) -> Result<(), ClusterError> {
        let api: Api<Deployment> = Api::namespaced(self.client(), namespace);
        let what = format!("deployment {namespace}/{name}");
        let before = self.ask(what.as_str(), api.get(name)).await?;
        let spec = before.spec.and_then(|spec| spec.template.spec).unwrap_or_default();
        let selected = spec.node_selector.is_some_and(|selector| selector.contains_key(LABEL_CONTROL_PLANE));
        if !selected {
            let toleration = json!({"key": LABEL_CONTROL_PLANE, "operator": "Exists", "effect": "NoSchedule"});
            let mut tolerations = serde_json::to_value(spec.tolerations.unwrap_or_default()).unwrap_or_default();
            if let Some(list) = tolerations.as_array_mut()
                && !list.iter().any(|known| known["key"] == LABEL_CONTROL_PLANE)
            {
                list.push(toleration);
            }
            let patch = json!({"spec": {"template": {"spec": {
                "nodeSelector": {LABEL_CONTROL_PLANE: ""}, "tolerations": tolerations}}}});
            let params = PatchParams { field_manager: Some(MANAGED_BY.to_owned()), ..Default::default() };
            self.ask(what.as_str(), api.patch(name, &params, &Patch::Strategic(patch))).await?;
        }
        self.wait_for(&format!("{what} on the control plane"), within, || async {
            let deployment = self.ask(what.as_str(), api.get(name)).await?;
            Ok(match unfinished(&deployment) {
                None => Waiting::Done(()),
                Some(missing) => Waiting::Not(missing),
            })
        })
        .await
    }
}

/// What is missing until a Deployment's rollout is done.
fn unfinished(deployment: &Deployment) -> Option<String> {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        return Some("its change is not seen yet".to_owned());
    }
    let (updated, available) = (status.updated_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
    let all = status.replicas.unwrap_or(0);
    (updated < wanted || available < wanted || all > wanted)
        .then(|| format!("{updated} of {wanted} updated, {available} available, {all} in all"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_done_when_old_pods_are_gone() {
        let deployment = |json| serde_json::from_value::<Deployment>(json).unwrap();
        let spec = json!({"replicas": 2, "selector": {}, "template": {}});
        let done = deployment(json!({"metadata": {"generation": 2}, "spec": spec, "status":
            {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}}));
        assert_eq!(unfinished(&done), None);
        let unseen = deployment(json!({"metadata": {"generation": 3}, "spec": spec, "status":
            {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}}));
        assert_eq!(unfinished(&unseen).unwrap(), "its change is not seen yet");
        let rolling = deployment(json!({"metadata": {"generation": 2}, "spec": spec, "status":
            {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}}));
        assert_eq!(unfinished(&rolling).unwrap(), "2 of 2 updated, 2 available, 3 in all");
    }
}
