//! Are the file systems whole of the volumes that a fault reached? Asked of the driver of `fixtures/volumes`, which copies an
//! image while it stands still and has `xfs_repair` read the copy. Of other drivers' volumes nobody can ask that: it is said
//! that they were not looked into.

use crate::cluster::{Cluster, ClusterError};
use crate::provider::FileSystemFindings;
use firedrill_core::event::FileSystem;
use firedrill_core::plan::Target;
use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use std::collections::BTreeSet;

/// A volume of the driver whose file system a fault may harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtRisk {
    /// Its claim, `namespace/name`.
    pub claim: String,
    /// Its own name: another volume may take its place under the same claim.
    pub volume: String,
    /// What the driver calls it.
    pub handle: String,
}

/// The volumes of the pods that are to be hit or that are on a node to be hit: those that the driver made, and the claims of
/// the others.
///
/// # Errors
/// Where the API server does not answer.
pub async fn at_risk(cluster: &Cluster, targets: &[Target]) -> Result<(Vec<AtRisk>, Vec<String>), ClusterError> {
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
    Ok(sorted(&claims, &volumes.items, cluster.machines.volumes().map(|volumes| volumes.driver())))
}

/// Those of the driver, and the claims of the others.
fn sorted(claims: &BTreeSet<String>, volumes: &[PersistentVolume], driver: Option<&str>) -> (Vec<AtRisk>, Vec<String>) {
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for volume in volumes {
        let Some(claim) = claim_of(volume).filter(|claim| claims.contains(claim)) else { continue };
        let csi = volume.spec.as_ref().and_then(|spec| spec.csi.as_ref());
        match csi.filter(|csi| Some(csi.driver.as_str()) == driver) {
            Some(csi) => ours.push(AtRisk { claim, volume: volume.name_any(), handle: csi.volume_handle.clone() }),
            None => others.push(claim),
        }
    }
    ours.sort_by(|a, b| a.claim.cmp(&b.claim));
    others.sort();
    (ours, others)
}

fn claims_of(pod: &Pod) -> Vec<String> {
    let namespace = pod.namespace().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claims.map(|claim| format!("{namespace}/{}", claim.claim_name)).collect()
}

/// The claim of a volume, where it is bound to one.
fn claim_of(volume: &PersistentVolume) -> Option<String> {
    let bound = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
    bound.then(|| {
        format!("{}/{}", claim.namespace.as_deref().unwrap_or_default(), claim.name.as_deref().unwrap_or_default())
    })
}

/// Checks the file system of a volume, whatever its claim has by then.
pub async fn check(cluster: &Cluster, volume: &AtRisk) -> FileSystem {
    match look(cluster, volume).await {
        Ok(None) => FileSystem::Gone,
        Ok(Some(FileSystemFindings { clean: true, .. })) => FileSystem::Whole,
        Ok(Some(FileSystemFindings { clean: false, lines })) => FileSystem::Damaged { said: lines.join("; ") },
        Err(why) => FileSystem::Unknown { why },
    }
}

async fn look(cluster: &Cluster, AtRisk { volume, handle, .. }: &AtRisk) -> Result<Option<FileSystemFindings>, String> {
    let volumes: Api<PersistentVolume> = Api::all(cluster.client());
    let found = cluster.ask(format!("volume {volume}"), volumes.get_opt(volume)).await;
    if found.map_err(|error| error.to_string())?.is_none() {
        return Ok(None);
    }
    let volumes = cluster.machines.volumes().ok_or("this cluster's volumes have no driver that checks them")?;
    volumes.check_file_system(cluster, handle).await.map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DRIVER: &str = "our.driver";

    #[test]
    fn what_is_at_risk_is_the_volume_that_the_claim_has() {
        let volume = |name: &str, driver: &str, phase: &str| -> PersistentVolume {
            serde_json::from_value(json!({"metadata": {"name": name}, "status": {"phase": phase}, "spec": {
                "claimRef": {"namespace": "n", "name": "c"}, "csi": {"driver": driver, "volumeHandle": "v"}}}))
            .unwrap()
        };
        let claims = BTreeSet::from(["n/c".to_owned()]);
        let volumes = [volume("old", DRIVER, "Released"), volume("new", DRIVER, "Bound")];
        let at_risk = AtRisk { claim: "n/c".to_owned(), volume: "new".to_owned(), handle: "v".to_owned() };
        assert_eq!(sorted(&claims, &volumes, Some(DRIVER)), (vec![at_risk], Vec::new()));
        let others = sorted(&claims, &[volume("theirs", "other", "Bound")], Some(DRIVER));
        assert_eq!(others, (Vec::new(), vec!["n/c".to_owned()]), "said, and not passed over");
        assert_eq!(sorted(&BTreeSet::new(), &volumes, Some(DRIVER)), (Vec::new(), Vec::new()));
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [],
            "volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "b", "emptyDir": {}}]}}))
            .unwrap();
        assert_eq!(claims_of(&pod), ["n/c"]);
    }
}
