//! A volume that its driver refuses to detach, by the driver's own knob, which ends by itself.

use super::identify::is_another_volume;
use super::{FaultError, Proof, Tools};
use crate::provider::{Capability, MachineError, VolumeFault, VolumeSetting, Volumes};
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use std::time::Duration;

pub(super) fn undo_of(target: &Target) -> Undo {
    Undo::LetDetach { target: target.clone(), volume_uid: None }
}

pub(super) fn preview(target: &Target, lasts: Duration) -> String {
    format!(
        "have {target} not detached from its node for {} s, by the knob of its driver (create pods/exec in the driver's \
         namespace); the knob is cleared, and ends by itself",
        lasts.as_secs()
    )
}

/// Turns the knob.
pub(super) async fn inject(tools: &Tools, target: &Target, lasts: Duration) -> Result<(), FaultError> {
    set(tools, target, VolumeFault::HoldDetach, lasts).await
}

/// Puts a fault into the target's volume.
pub(super) async fn set(tools: &Tools, target: &Target, fault: VolumeFault, lasts: Duration) -> Result<(), FaultError> {
    let volumes = volumes(tools)?;
    let driver = volumes.driver();
    let handle = handle(tools, target).await?;
    let handle = handle.ok_or_else(|| FaultError::Mismatch(format!("{target} was not made by {driver}")))?;
    Ok(volumes.inject(&tools.cluster, &handle, fault, lasts).await?)
}

/// A fresh look at the knobs that the driver reads at each request.
pub(super) async fn prove(tools: &Tools, target: &Target) -> Result<Vec<Proof>, FaultError> {
    let at = tools.clock.now();
    let driver = volumes(tools)?.driver();
    let (held, evidence) = match in_force(tools, target).await? {
        Some(VolumeSetting { hold_detach: true, until_unix_s, .. }) => {
            (true, format!("{driver} detaches it no earlier than {until_unix_s} s after the epoch"))
        }
        _ => (false, format!("{driver} would detach it")),
    };
    Ok(vec![Proof { subject: target.to_string(), evidence, held, at }])
}

/// The target's knob as the driver has it now, where it has not ended.
pub(super) async fn in_force(tools: &Tools, target: &Target) -> Result<Option<VolumeSetting>, FaultError> {
    let now = u64::try_from(tools.clock.unix_seconds(tools.clock.now())).unwrap_or_default();
    let handle = handle(tools, target).await?.unwrap_or_default();
    let mut settings = volumes(tools)?.settings(&tools.cluster).await?;
    Ok(settings.remove(&handle).filter(|knob| knob.until_unix_s > now))
}

/// Clears the knob; a detach that was refused goes on within 10 s. To the provider this is the forced detach.
pub(super) async fn undo(tools: &Tools, target: &Target, volume_uid: Option<&str>) -> Result<(), FaultError> {
    if is_another(tools, target, volume_uid).await? {
        return Ok(());
    }
    match handle(tools, target).await? {
        Some(handle) => Ok(volumes(tools)?.clear(&tools.cluster, &handle).await?),
        None => Ok(()),
    }
}

/// Whether the knob is not set, by a fresh look.
pub(super) async fn is_clean(tools: &Tools, target: &Target, volume_uid: Option<&str>) -> Result<bool, FaultError> {
    if is_another(tools, target, volume_uid).await? {
        return Ok(true);
    }
    let Some(handle) = handle(tools, target).await? else { return Ok(true) };
    Ok(!volumes(tools)?.settings(&tools.cluster).await?.contains_key(&handle))
}

async fn is_another(tools: &Tools, target: &Target, volume_uid: Option<&str>) -> Result<bool, FaultError> {
    match target {
        Target::Volume { volume, .. } => is_another_volume(&tools.cluster, volume, volume_uid).await,
        _ => Ok(false),
    }
}

/// What the driver calls the target's volume; `None` where that is gone, or another driver's.
pub(super) async fn handle(tools: &Tools, target: &Target) -> Result<Option<String>, FaultError> {
    let Target::Volume { volume, .. } = target else {
        return Err(FaultError::Mismatch(format!("{target} is no volume")));
    };
    Ok(volumes(tools)?.handle(&tools.cluster, volume).await?)
}

/// What puts faults into volumes of this cluster.
pub(super) fn volumes(tools: &Tools) -> Result<&dyn Volumes, FaultError> {
    let machines = &tools.cluster.machines;
    machines.capabilities().check(Capability::VolumeFault).map_err(MachineError::from)?;
    machines
        .volumes()
        .ok_or_else(|| FaultError::Mismatch("this cluster's volumes have no driver for faults".to_owned()))
}

/// Detaches the volumes among the targets by force, as their machines' provider would: their driver refuses no longer. What
/// was done, for people.
///
/// # Errors
/// Where there is none, or the driver does not do its part.
pub async fn detach_by_force(tools: &Tools, targets: &[Target]) -> Result<String, FaultError> {
    let volumes: Vec<&Target> = targets.iter().filter(|target| matches!(target, Target::Volume { .. })).collect();
    if volumes.is_empty() {
        return Err(FaultError::Mismatch("no volume was hit that could be detached".to_owned()));
    }
    let mut said = String::new();
    for target in volumes {
        undo(tools, target, None).await?;
        said.push_str(&format!("{target} may be detached\n"));
    }
    Ok(said)
}
