//! What is asked of pods and other objects wherever they are looked at.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads an object by its type, from its text as the API server sends it. `serde_json::from_value` would do the same: but for
/// it, as for each other source that is read, the compiler makes another reader for each type of Kubernetes that an object
/// consists of.
pub(crate) fn typed<T: DeserializeOwned>(object: &impl Serialize) -> serde_json::Result<T> {
    serde_json::from_str(&serde_json::to_string(object)?)
}

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
