//! Volumes as targets: what a pod has mounted, and what tells a volume from a later one of the same name.

use super::choose::Choice;
use super::{FaultError, Tools};
use crate::cluster::{Cluster, ClusterError};
use firedrill_core::plan::Target;
use firedrill_core::scenario::PodSelector;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::Api;

/// The volumes that pods have mounted at a path of a container.
pub(super) async fn targets(
    choice: &Choice<'_>,
    pods: &PodSelector,
    count: u32,
    (container, path): (&str, &str),
) -> Result<Vec<Target>, FaultError> {
    let chosen = choice.of_pods(pods, Some(count), |pod| target(pod.pod, &pod.uid()?, container, path)).await?;
    with_volumes(choice.cluster, chosen).await
}

/// What a pod has mounted at a path of a container; the volume behind its claim is not known yet.
fn target(pod: &Pod, uid: &str, container: &str, path: &str) -> Result<Target, String> {
    let spec = pod.spec.as_ref().ok_or_else(|| "has no spec".to_owned())?;
    let container_spec = spec.containers.iter().find(|one| one.name == container);
    let mounts =
        container_spec.ok_or_else(|| format!("has no container `{container}`"))?.volume_mounts.iter().flatten();
    let mount = mounts.into_iter().find(|mount| mount.mount_path.trim_end_matches('/') == path.trim_end_matches('/'));
    let mount = mount.ok_or_else(|| format!("container `{container}` has nothing mounted at {path}"))?;
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
    let claim = volume.and_then(|volume| volume.persistent_volume_claim.as_ref());
    Ok(Target::Volume {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        pod: pod.metadata.name.clone().unwrap_or_default(),
        uid: uid.to_owned(),
        claim: claim
            .ok_or_else(|| format!("what is mounted at {path} is not the volume of a claim"))?
            .claim_name
            .clone(),
        volume: String::new(),
        node: spec.node_name.clone().unwrap_or_default(),
    })
}

/// The targets with the volumes behind their claims.
async fn with_volumes(cluster: &Cluster, mut targets: Vec<Target>) -> Result<Vec<Target>, FaultError> {
    for target in &mut targets {
        let Target::Volume { namespace, claim, volume, .. } = target else { continue };
        let bound = volume_of(cluster, namespace, claim).await?;
        *volume = bound.ok_or_else(|| FaultError::Mismatch(format!("claim {namespace}/{claim} has no volume")))?;
    }
    Ok(targets)
}

pub(super) async fn volume_of(cluster: &Cluster, namespace: &str, claim: &str) -> Result<Option<String>, FaultError> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client(), namespace);
    let found = claims.get_opt(claim).await.map_err(ClusterError::api("read a claim"))?;
    Ok(found.and_then(|claim| claim.spec).and_then(|spec| spec.volume_name))
}

/// The UID of the volume that is a target.
///
/// # Errors
/// Where it is not there; then what needs it must not follow.
pub(super) async fn uid_of(tools: &Tools, target: &Target) -> Result<String, FaultError> {
    let missing = || FaultError::Mismatch(format!("the volume of {target} is not there"));
    let volume = target.volume().ok_or_else(missing)?;
    find_uid(&tools.cluster, volume).await?.ok_or_else(missing)
}

async fn find_uid(cluster: &Cluster, volume: &str) -> Result<Option<String>, FaultError> {
    let volumes: Api<PersistentVolume> = Api::all(cluster.client());
    let found = volumes.get_metadata_opt(volume).await.map_err(ClusterError::api("read a volume"))?;
    Ok(found.and_then(|volume| volume.metadata.uid))
}

/// Whether the PersistentVolume of that name is gone or has another UID than the recorded one. Where none was recorded it is taken for
/// the same.
pub(super) async fn is_another_volume(
    cluster: &Cluster,
    volume: &str,
    recorded: Option<&str>,
) -> Result<bool, FaultError> {
    let Some(recorded) = recorded else { return Ok(false) };
    Ok(find_uid(cluster, volume).await?.as_deref() != Some(recorded))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A pod with one claim mounted, at `/data`.
    pub(in crate::fault) fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "nats-0", "namespace": "n", "uid": "u"},
            "spec": {"nodeName": "w1",
                "containers": [{"name": "nats", "volumeMounts": [
                    {"name": "js", "mountPath": "/data"}, {"name": "config", "mountPath": "/etc/nats"}]}],
                "volumes": [{"name": "js", "persistentVolumeClaim": {"claimName": "js-nats-0"}},
                    {"name": "config", "configMap": {"name": "c"}}]},
            "status": {"phase": "Running"}}))
        .unwrap()
    }

    #[test]
    fn only_a_claims_volume_is_a_target() {
        let of = |container: &str, path: &str| target(&pod(), "u", container, path);
        assert!(matches!(of("nats", "/data/").unwrap(), Target::Volume { claim, .. } if claim == "js-nats-0"));
        assert_eq!(of("nats", "/etc/nats").unwrap_err(), "what is mounted at /etc/nats is not the volume of a claim");
        assert_eq!(of("nats", "/var").unwrap_err(), "container `nats` has nothing mounted at /var");
        assert_eq!(of("other", "/data").unwrap_err(), "has no container `other`");
    }
}
