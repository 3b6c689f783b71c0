//! A volume that its driver attaches only after a while, by the driver's own knob, which ends by itself.

use super::hold_detach::{in_force, set, volumes};
use super::{FaultError, Proof, Tools};
use crate::provider::{VolumeFault, VolumeSetting};
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use std::time::Duration;

pub(super) fn undo_of(target: &Target) -> Undo {
    Undo::LetAttach { target: target.clone(), volume_uid: None }
}

pub(super) fn preview(target: &Target, takes: Duration, lasts: Duration) -> String {
    format!(
        "for {} s have each attach of {target} take {} s, by the knob of its driver (create pods/exec in the driver's \
         namespace); the knob is cleared, and ends by itself",
        lasts.as_secs(),
        takes.as_secs()
    )
}

/// Turns the knob.
pub(super) async fn inject(tools: &Tools, target: &Target, takes: Duration, lasts: Duration) -> Result<(), FaultError> {
    set(tools, target, VolumeFault::SlowAttach(takes), lasts).await
}

/// A fresh look at the knobs that the driver reads at each request.
pub(super) async fn prove(tools: &Tools, target: &Target, takes: Duration) -> Result<Vec<Proof>, FaultError> {
    let at = tools.clock.now();
    let driver = volumes(tools)?.driver();
    let (held, evidence) = match in_force(tools, target).await? {
        Some(VolumeSetting { slow_attach_s, .. }) if slow_attach_s >= takes.as_secs() => {
            (true, format!("{driver} attaches it after {slow_attach_s} s"))
        }
        _ => (false, format!("{driver} would attach it at once")),
    };
    Ok(vec![Proof { subject: target.to_string(), evidence, held, at }])
}
