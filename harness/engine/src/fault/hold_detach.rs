//! A volume that its driver refuses to detach, by the driver's own knob, which ends by itself.

use super::identify::is_another_volume;
use super::{FaultError, Proof, Tools};
use crate::cluster::ClusterError;
use crate::volumes_driver::{self, DRIVER};
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::Api;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The limit of one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// A knob, as the driver lists it.
#[derive(Debug, Deserialize)]
pub(super) struct Knob {
    pub(super) slow_attach_s: u64,
    hold_detach: bool,
    until_unix_s: u64,
}

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
    let handle = handle(tools, target).await?;
    let handle = handle.ok_or_else(|| FaultError::Mismatch(format!("{target} was not made by {DRIVER}")))?;
    let seconds = lasts.as_secs().to_string();
    ask(tools, &["knob", "set", "--volume", &handle, "--hold-detach", "--for", &seconds]).await.map(drop)
}

/// A fresh look at the knobs that the driver reads at each request.
pub(super) async fn prove(tools: &Tools, target: &Target) -> Result<Vec<Proof>, FaultError> {
    let at = tools.clock.now();
    let (held, evidence) = match in_force(tools, target).await? {
        Some(Knob { hold_detach: true, until_unix_s, .. }) => {
            (true, format!("{DRIVER} detaches it no earlier than {until_unix_s} s after the epoch"))
        }
        _ => (false, format!("{DRIVER} would detach it")),
    };
    Ok(vec![Proof { subject: target.to_string(), evidence, held, at }])
}

/// The target's knob as the driver has it now, where it has not ended.
pub(super) async fn in_force(tools: &Tools, target: &Target) -> Result<Option<Knob>, FaultError> {
    let now = u64::try_from(tools.clock.unix_seconds(tools.clock.now())).unwrap_or_default();
    let handle = handle(tools, target).await?.unwrap_or_default();
    Ok(knobs(tools).await?.remove(&handle).filter(|knob| knob.until_unix_s > now))
}

/// Clears the knob; a detach that was refused goes on within 10 s. To the provider this is the forced detach.
pub(super) async fn undo(tools: &Tools, target: &Target, volume_uid: Option<&str>) -> Result<(), FaultError> {
    if is_another(tools, target, volume_uid).await? {
        return Ok(());
    }
    match handle(tools, target).await? {
        Some(handle) => ask(tools, &["knob", "clear", "--volume", &handle]).await.map(drop),
        None => Ok(()),
    }
}

/// Whether the knob is not set, by a fresh look.
pub(super) async fn is_clean(tools: &Tools, target: &Target, volume_uid: Option<&str>) -> Result<bool, FaultError> {
    if is_another(tools, target, volume_uid).await? {
        return Ok(true);
    }
    let Some(handle) = handle(tools, target).await? else { return Ok(true) };
    Ok(!knobs(tools).await?.contains_key(&handle))
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
    let volumes: Api<PersistentVolume> = Api::all(tools.cluster.client());
    let found = volumes.get_opt(volume).await.map_err(ClusterError::api("read a volume"))?;
    let csi = found.and_then(|volume| volume.spec).and_then(|spec| spec.csi);
    Ok(csi.filter(|csi| csi.driver == DRIVER).map(|csi| csi.volume_handle))
}

async fn knobs(tools: &Tools) -> Result<BTreeMap<String, Knob>, FaultError> {
    let said = ask(tools, &["knob", "list"]).await?;
    serde_json::from_str(&said).map_err(|error| FaultError::Mismatch(format!("the volume driver's knobs: {error}")))
}

pub(super) async fn ask(tools: &Tools, args: &[&str]) -> Result<String, FaultError> {
    let ended = volumes_driver::ask(&tools.cluster, args, ANSWER_LIMIT).await.map_err(FaultError::Mismatch)?;
    match ended.ok {
        true => Ok(ended.stdout),
        false => Err(FaultError::Mismatch(format!("the volumes' driver: {}", volumes_driver::failure(&ended)))),
    }
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
