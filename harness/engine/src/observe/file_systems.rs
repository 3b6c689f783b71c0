//! Are the file systems whole of the volumes that a fault reached? Asked of the driver of `fixtures/volumes`, which copies an
//! image while it stands still and has `xfs_repair` read the copy. Of other drivers' volumes nobody can ask that.

use crate::cluster::{Cluster, ClusterError};
use crate::volumes_driver::{self, DRIVER};
use firedrill_core::event::FileSystem;
use firedrill_core::plan::Target;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// The limit of one check: the driver's own limits of a copy (60 s) and of reading one are beyond what a drill's volume takes.
const CHECK_LIMIT: Duration = Duration::from_secs(90);

/// What the driver says of a volume.
#[derive(Debug, Deserialize)]
struct Findings {
    clean: bool,
    lines: Vec<String>,
}

/// The claims, `namespace/name`, of the pods that are to be hit or that are on a node to be hit, as far as the driver made
/// their volumes.
///
/// # Errors
/// Where the API server does not answer.
pub async fn claims_at_risk(cluster: &Cluster, targets: &[Target]) -> Result<Vec<String>, ClusterError> {
    let mut claims = BTreeSet::new();
    for target in targets {
        match target {
            Target::Container { namespace, pod, .. } | Target::Pod { namespace, pod, .. } => {
                let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
                let pod = pods.get_opt(pod).await.map_err(ClusterError::api("get a pod"))?;
                claims.extend(pod.iter().flat_map(claims_of));
            }
            Target::Node { node, .. } => {
                let pods: Api<Pod> = Api::all(cluster.client());
                let there = ListParams::default().fields(&format!("spec.nodeName={node}"));
                let pods = pods.list(&there).await.map_err(ClusterError::api("list pods"))?;
                claims.extend(pods.iter().flat_map(claims_of));
            }
            Target::Volume { namespace, claim, .. } => {
                claims.insert(format!("{namespace}/{claim}"));
            }
            Target::Release { .. } | Target::Object { .. } => {}
        }
    }
    let volumes: Api<PersistentVolume> = Api::all(cluster.client());
    let volumes = volumes.list(&ListParams::default()).await.map_err(ClusterError::api("list volumes"))?;
    let made: BTreeSet<String> = volumes.iter().filter_map(claim_of).collect();
    Ok(claims.intersection(&made).cloned().collect())
}

fn claims_of(pod: &Pod) -> Vec<String> {
    let namespace = pod.namespace().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claims.map(|claim| format!("{namespace}/{}", claim.claim_name)).collect()
}

/// The claim of a volume of the driver.
fn claim_of(volume: &PersistentVolume) -> Option<String> {
    let spec = volume.spec.as_ref()?;
    let claim = spec.claim_ref.as_ref()?;
    let ours = spec.csi.as_ref().is_some_and(|csi| csi.driver == DRIVER);
    ours.then(|| {
        format!("{}/{}", claim.namespace.as_deref().unwrap_or_default(), claim.name.as_deref().unwrap_or_default())
    })
}

/// Checks the file system of a claim's volume.
pub async fn check(cluster: &Cluster, claim: &str) -> FileSystem {
    match look(cluster, claim).await {
        Ok(None) => FileSystem::Gone,
        Ok(Some(Findings { clean: true, .. })) => FileSystem::Whole,
        Ok(Some(Findings { clean: false, lines })) => FileSystem::Damaged { said: lines.join("; ") },
        Err(why) => FileSystem::Unknown { why },
    }
}

async fn look(cluster: &Cluster, claim: &str) -> Result<Option<Findings>, String> {
    let (namespace, name) = claim.split_once('/').ok_or_else(|| format!("{claim} is no claim"))?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client(), namespace);
    let found = claims.get_opt(name).await.map_err(|error| format!("get claim {claim}: {error}"))?;
    if found.is_none() {
        return Ok(None);
    }
    let ended = volumes_driver::ask(cluster, &["check", claim], CHECK_LIMIT).await?;
    // One that is damaged is said on standard output too, with another exit code.
    serde_json::from_str(&ended.stdout)
        .map(Some)
        .map_err(|_| format!("the volumes' driver could not check it: {}", volumes_driver::failure(&ended)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_claims_of_the_drivers_volumes_are_at_risk() {
        let volume = |driver: &str| -> PersistentVolume {
            serde_json::from_value(
                json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "n", "name": "c"},
                "csi": {"driver": driver, "volumeHandle": "v"}}}),
            )
            .unwrap()
        };
        assert_eq!(claim_of(&volume(DRIVER)), Some("n/c".to_owned()));
        assert_eq!(claim_of(&volume("other")), None);
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [],
            "volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "b", "emptyDir": {}}]}}))
            .unwrap();
        assert_eq!(claims_of(&pod), ["n/c"]);
    }
}
