//! A volume that its driver refuses to detach, by the driver's own knob, which ends by itself.

use super::choose::Choice;
use super::kind::{FaultKind, Site, UndoKind, not_a_target};
use super::{FaultError, Injected, Proof, Tools, volumes};
use crate::provider::{Capability, MachineError, VolumeFault, VolumeSetting, Volumes};
use async_trait::async_trait;
use firedrill_core::event::{LetDetachUndo, Undo};
use firedrill_core::plan::Target;
use firedrill_core::scenario::HoldDetachFault;
use std::time::Duration;
use tokio::time::Instant;

#[async_trait]
impl FaultKind for HoldDetachFault {
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        volumes::targets(choice, &self.pods, self.count, (&self.container, &self.path)).await
    }

    fn preview(&self, target: &Target) -> String {
        format!(
            "have {target} not detached from its node for {} s, by a setting of its driver (create pods/exec in the driver's \
             namespace); the setting is cleared, and expires by itself",
            self.lasts.as_secs()
        )
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        target.volume().ok_or_else(|| not_a_target(target))?;
        Ok(Some(Undo::LetDetach(LetDetachUndo { target: target.clone(), volume_uid: None })))
    }

    fn needs(&self) -> &'static [Capability] {
        &[Capability::VolumeFault]
    }

    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        set(site.tools, site.target, VolumeFault::HoldDetach, self.lasts).await?;
        Ok(Injected::of(site.target))
    }

    /// A fresh look at the knobs that the driver reads at each request.
    async fn prove(&self, site: &mut Site<'_>, _: &Injected, _: Instant) -> Result<Vec<Proof>, FaultError> {
        let at = site.tools.clock.now();
        let driver = driver_of(site.tools)?.driver();
        let (held, evidence) = match in_force(site.tools, site.target).await? {
            Some(VolumeSetting { hold_detach: true, until_unix_s, .. }) => {
                (true, format!("{driver} detaches it no earlier than {until_unix_s} s after the epoch"))
            }
            _ => (false, format!("{driver} would detach it")),
        };
        Ok(vec![Proof { subject: site.target.to_string(), evidence, held, at }])
    }
}

#[async_trait]
impl UndoKind for LetDetachUndo {
    async fn identify(&self, tools: &Tools) -> Result<Option<Undo>, FaultError> {
        let volume_uid = Some(volumes::uid_of(tools, &self.target).await?);
        Ok(Some(Undo::LetDetach(Self { volume_uid, ..self.clone() })))
    }

    /// A detach that was refused goes on within 10 s.
    async fn undo(&self, tools: &Tools, _: Instant) -> Result<(), FaultError> {
        clear(tools, &self.target, self.volume_uid.as_deref()).await
    }

    async fn is_clean(&self, tools: &Tools, _: Instant) -> Result<bool, FaultError> {
        is_clear(tools, &self.target, self.volume_uid.as_deref()).await
    }
}

/// Puts a fault into the target's volume, for a while.
pub(super) async fn set(tools: &Tools, target: &Target, fault: VolumeFault, lasts: Duration) -> Result<(), FaultError> {
    let volumes = driver_of(tools)?;
    let driver = volumes.driver();
    let handle = handle(tools, target).await?;
    let handle = handle.ok_or_else(|| FaultError::Mismatch(format!("{target} was not made by {driver}")))?;
    Ok(volumes.inject(&tools.cluster, &handle, fault, lasts).await?)
}

/// The target's knob as the driver has it now, where it has not ended.
pub(super) async fn in_force(tools: &Tools, target: &Target) -> Result<Option<VolumeSetting>, FaultError> {
    let now = u64::try_from(tools.clock.unix_seconds(tools.clock.now())).unwrap_or_default();
    let handle = handle(tools, target).await?.unwrap_or_default();
    let mut settings = driver_of(tools)?.settings(&tools.cluster).await?;
    Ok(settings.remove(&handle).filter(|knob| knob.until_unix_s > now))
}

/// Clears the knob.
pub(super) async fn clear(tools: &Tools, target: &Target, volume_uid: Option<&str>) -> Result<(), FaultError> {
    if is_another(tools, target, volume_uid).await? {
        return Ok(());
    }
    match handle(tools, target).await? {
        Some(handle) => Ok(driver_of(tools)?.clear(&tools.cluster, &handle).await?),
        None => Ok(()),
    }
}

/// Whether the knob is not set, by a fresh look.
pub(super) async fn is_clear(tools: &Tools, target: &Target, volume_uid: Option<&str>) -> Result<bool, FaultError> {
    if is_another(tools, target, volume_uid).await? {
        return Ok(true);
    }
    let Some(handle) = handle(tools, target).await? else { return Ok(true) };
    Ok(!driver_of(tools)?.settings(&tools.cluster).await?.contains_key(&handle))
}

async fn is_another(tools: &Tools, target: &Target, volume_uid: Option<&str>) -> Result<bool, FaultError> {
    match target {
        Target::Volume { volume, .. } => volumes::is_another_volume(&tools.cluster, volume, volume_uid).await,
        _ => Ok(false),
    }
}

/// What the driver calls the target's volume; `None` where that is gone, or another driver's.
async fn handle(tools: &Tools, target: &Target) -> Result<Option<String>, FaultError> {
    let Target::Volume { volume, .. } = target else {
        return Err(FaultError::Mismatch(format!("{target} is not a volume")));
    };
    Ok(driver_of(tools)?.handle(&tools.cluster, volume).await?)
}

/// What puts faults into volumes of this cluster.
pub(super) fn driver_of(tools: &Tools) -> Result<&dyn Volumes, FaultError> {
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
        // To the provider this is the forced detach.
        clear(tools, target, None).await?;
        said.push_str(&format!("{target} may be detached\n"));
    }
    Ok(said)
}
