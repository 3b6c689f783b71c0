//! A volume that its driver attaches only after a while, by the driver's own knob, which ends by itself.

use super::choose::Choice;
use super::hold_detach::{clear, driver_of, in_force, is_clear, set};
use super::kind::{FaultKind, Site, UndoKind, not_a_target};
use super::{FaultError, Injected, Proof, Tools, volumes};
use crate::provider::{Capability, VolumeFault, VolumeSetting};
use async_trait::async_trait;
use firedrill_core::event::{LetAttachUndo, Undo};
use firedrill_core::plan::Target;
use firedrill_core::scenario::SlowAttachFault;
use tokio::time::Instant;

#[async_trait]
impl FaultKind for SlowAttachFault {
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        volumes::targets(choice, &self.pods, self.count, (&self.container, &self.path)).await
    }

    fn preview(&self, target: &Target) -> String {
        format!(
            "for {} s have each attach of {target} take {} s, by a setting of its driver (create pods/exec in the driver's \
             namespace); the setting is cleared, and expires by itself",
            self.lasts.as_secs(),
            self.takes.as_secs()
        )
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        target.volume().ok_or_else(|| not_a_target(target))?;
        Ok(Some(Undo::LetAttach(LetAttachUndo { target: target.clone(), volume_uid: None })))
    }

    fn needs(&self) -> &'static [Capability] {
        &[Capability::VolumeFault]
    }

    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        set(site.tools, site.target, VolumeFault::SlowAttach(self.takes), self.lasts).await?;
        Ok(Injected::of(site.target))
    }

    /// A fresh look at the knobs that the driver reads at each request.
    async fn prove(&self, site: &mut Site<'_>, _: &Injected, _: Instant) -> Result<Vec<Proof>, FaultError> {
        let at = site.tools.clock.now();
        let driver = driver_of(site.tools)?.driver();
        let (held, evidence) = match in_force(site.tools, site.target).await? {
            Some(VolumeSetting { slow_attach_s, .. }) if slow_attach_s >= self.takes.as_secs() => {
                (true, format!("{driver} attaches it after {slow_attach_s} s"))
            }
            _ => (false, format!("{driver} would attach it at once")),
        };
        Ok(vec![Proof { subject: site.target.to_string(), evidence, held, at }])
    }
}

#[async_trait]
impl UndoKind for LetAttachUndo {
    async fn identify(&self, tools: &Tools) -> Result<Option<Undo>, FaultError> {
        let volume_uid = Some(volumes::uid_of(tools, &self.target).await?);
        Ok(Some(Undo::LetAttach(Self { volume_uid, ..self.clone() })))
    }

    async fn undo(&self, tools: &Tools, _: Instant) -> Result<(), FaultError> {
        clear(tools, &self.target, self.volume_uid.as_deref()).await
    }

    async fn is_clean(&self, tools: &Tools, _: Instant) -> Result<bool, FaultError> {
        is_clear(tools, &self.target, self.volume_uid.as_deref()).await
    }
}
