//! A volume that its driver attaches only after a while, by the driver's own knob, which ends by itself.

use super::hold_detach::{Knob, ask, handle, in_force};
use super::{FaultError, Proof, Tools};
use crate::volumes_driver::DRIVER;
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
    let handle = handle(tools, target).await?;
    let handle = handle.ok_or_else(|| FaultError::Mismatch(format!("{target} was not made by {DRIVER}")))?;
    let (takes, lasts) = (takes.as_secs().to_string(), lasts.as_secs().to_string());
    ask(tools, &["knob", "set", "--volume", &handle, "--slow-attach", &takes, "--for", &lasts]).await.map(drop)
}

/// A fresh look at the knobs that the driver reads at each request.
pub(super) async fn prove(tools: &Tools, target: &Target, takes: Duration) -> Result<Vec<Proof>, FaultError> {
    let at = tools.clock.now();
    let (held, evidence) = match in_force(tools, target).await? {
        Some(Knob { slow_attach_s, .. }) if slow_attach_s >= takes.as_secs() => {
            (true, format!("{DRIVER} attaches it after {slow_attach_s} s"))
        }
        _ => (false, format!("{DRIVER} would attach it at once")),
    };
    Ok(vec![Proof { subject: target.to_string(), evidence, held, at }])
}
