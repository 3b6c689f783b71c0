//! What tells the object that an undo acts on from another one that has its name later.

use super::{FaultError, Tools, corrupt};
use crate::cluster::{Cluster, ClusterError};
use crate::provider::MachineError;
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::Api;

/// The undo with the UID of what it acts on, as that is now: before the act, and before it is recorded.
///
/// # Errors
/// Where what it acts on is not there; then the act must not follow.
pub async fn identify(tools: &Tools, undo: Undo) -> Result<Undo, FaultError> {
    Ok(match undo {
        Undo::MendFiles { target, directory, .. } => {
            let uid = corrupt::volume_uid(tools, &target, &directory).await?;
            let none = || FaultError::Mismatch(format!("{directory} of {target} is on no volume"));
            Undo::MendFiles { volume_uid: Some(uid.ok_or_else(none)?), target, directory }
        }
        Undo::RemoveFiller { target, file, .. } => {
            Undo::RemoveFiller { volume_uid: Some(of_volume(tools, &target).await?), target, file }
        }
        Undo::LetDetach { target, .. } => {
            Undo::LetDetach { volume_uid: Some(of_volume(tools, &target).await?), target }
        }
        Undo::LetAttach { target, .. } => {
            Undo::LetAttach { volume_uid: Some(of_volume(tools, &target).await?), target }
        }
        Undo::PowerOn { node, .. } => {
            let id = tools.cluster.machines.machine_id(&node).await?;
            Undo::PowerOn { container: Some(id.ok_or_else(|| MachineError::NoMachine { node: node.clone() })?), node }
        }
        // These carry what tells them apart, or act on what only this run makes.
        other @ (Undo::DeleteObject { .. }
        | Undo::Thaw { .. }
        | Undo::EmptyStream { .. }
        | Undo::RemoveNode { .. }
        | Undo::RollBack { .. }
        | Undo::RollBackUnfinished { .. }
        | Undo::Restore { .. }
        | Undo::PurgeSubject { .. }
        | Undo::DropTable { .. }
        | Undo::HealsItself { .. }) => other,
    })
}

async fn of_volume(tools: &Tools, target: &Target) -> Result<String, FaultError> {
    let missing = || FaultError::Mismatch(format!("the volume of {target} is not there"));
    let volume = target.volume().ok_or_else(missing)?;
    uid_of_volume(&tools.cluster, volume).await?.ok_or_else(missing)
}

async fn uid_of_volume(cluster: &Cluster, volume: &str) -> Result<Option<String>, FaultError> {
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
    Ok(uid_of_volume(cluster, volume).await?.as_deref() != Some(recorded))
}
