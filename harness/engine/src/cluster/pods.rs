//! What is asked of pods wherever they are looked at.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};

/// Whether its Ready condition holds, by the last word of its kubelet: a pod that is being deleted may be ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Deletes the object with this UID, and none that took its name since.
pub(crate) fn exactly(uid: Option<String>) -> DeleteParams {
    let preconditions = Some(Preconditions { uid, ..Preconditions::default() });
    DeleteParams { preconditions, ..DeleteParams::default() }
}
