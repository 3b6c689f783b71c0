//! A pod's volume filled with a file of real data: the next write of the workload finds no space.

use super::choose::Choice;
use super::kind::{FaultKind, Site, UndoKind};
use super::line::Line;
use super::node_agent::{ANSWER_LIMIT, NodeAgent};
use super::{FaultError, Injected, Proof, Tools, volumes};
use crate::agent::node::wire::{Filler, Guard, Request, Space};
use crate::cluster::{ClusterError, Waiting, exactly, is_ready};
use async_trait::async_trait;
use firedrill_core::event::{FILLER_FILE, RemoveFillerUndo, Undo};
use firedrill_core::plan::Target;
use firedrill_core::scenario::FillFault;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The file's name in the volume's root.
pub(super) const FILE: &str = FILLER_FILE;
/// What the agent writes for one answer: 32 MiB took up to 16 s on a busy machine, twice the limit of an answer.
const BYTES_PER_ANSWER: u64 = 8 << 20;
/// How long filling one volume may take: 16 GiB would take it at 110 MiB/s.
const FILL_LIMIT: Duration = Duration::from_secs(150);
/// By how much what is left free may differ from what was asked for: the workload goes on writing.
const LEFT_BYTES_OFF: u64 = 8 << 20;
pub(super) const MIB: u64 = 1 << 20;
/// How long a workload may take to go on by itself once it has space again.
const GOES_ON_WITHIN: Duration = Duration::from_secs(30);

#[async_trait]
impl FaultKind for FillFault {
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        volumes::targets(choice, &self.pods, self.count, (&self.container, &self.path)).await
    }

    fn preview(&self, target: &Target) -> String {
        let end = match self.leave_mib {
            0 => "until no write fits any more".to_owned(),
            leave_mib => format!("but for {leave_mib} MiB"),
        };
        format!(
            "fill {target} with real data, {end}, in its file {FILE}, by a privileged pod on that node (create pods and \
             pods/portforward in the run's namespace); the file is removed, also by that pod itself when it is deleted or expires, and \
             the pod that it was in is deleted where it is not ready {} s later (delete pods in its namespace)",
            GOES_ON_WITHIN.as_secs()
        )
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        filler(target, FILE)?;
        let (target, file) = (target.clone(), FILE.to_owned());
        Ok(Some(Undo::RemoveFiller(RemoveFillerUndo { target, file, volume_uid: None })))
    }

    fn uses_agent(&self) -> bool {
        true
    }

    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        let (_, target, line) = site.by_agent()?;
        fill(line, target, self.leave_mib).await?;
        Ok(Injected::of(target))
    }

    /// A fresh look: the kernel counts the space as taken, and refuses one more write of 4 KiB. A workload that stops may give
    /// some back, as a NATS server does that switches its JetStream off; that is taken too.
    async fn prove(&self, site: &mut Site<'_>, _: &Injected, _: Instant) -> Result<Vec<Proof>, FaultError> {
        let (tools, target, line) = site.by_agent()?;
        let request = Request::Space { filler: filler(target, FILE)?, try_write: self.leave_mib == 0 };
        let at = tools.clock.now();
        let mut space = line.space(&request, ANSWER_LIMIT).await?;
        if self.leave_mib == 0 && space.filler_bytes.is_some() && space.refused.is_none() {
            fill(line, target, self.leave_mib).await?;
            space = line.space(&request, ANSWER_LIMIT).await?;
        }
        let (held, evidence) = proven(&space, u64::from(self.leave_mib) * MIB);
        Ok(vec![Proof { subject: target.to_string(), evidence, held, at }])
    }
}

#[async_trait]
impl UndoKind for RemoveFillerUndo {
    async fn identify(&self, tools: &Tools) -> Result<Option<Undo>, FaultError> {
        let volume_uid = Some(volumes::uid_of(tools, &self.target).await?);
        Ok(Some(Undo::RemoveFiller(Self { volume_uid, ..self.clone() })))
    }

    /// Removes the file on the node where the volume is now, looks that it is gone, and has the pod go on.
    async fn undo(&self, tools: &Tools, deadline: Instant) -> Result<(), FaultError> {
        let Some((mut line, filler, node)) = reach(tools, self, deadline).await? else { return Ok(()) };
        line.emptied(&Request::Empty { filler: filler.clone() }, ANSWER_LIMIT).await?;
        match line.space(&Request::Space { filler, try_write: false }, ANSWER_LIMIT).await?.filler_bytes {
            None => have_go_on(tools, &self.target).await,
            Some(_) => Err(FaultError::Agent { node, reason: format!("{} is still there", self.file) }),
        }
    }

    /// Whether the file is gone.
    async fn is_clean(&self, tools: &Tools, deadline: Instant) -> Result<bool, FaultError> {
        let Some((mut line, filler, _)) = reach(tools, self, deadline).await? else { return Ok(true) };
        let space = line.space(&Request::Space { filler, try_write: false }, ANSWER_LIMIT).await?;
        Ok(space.filler_bytes.is_none())
    }

    fn guard(&self) -> Option<Guard> {
        filler(&self.target, &self.file).map(Guard::Filler).ok()
    }
}

/// The file of a volume, by the pod that has it mounted.
pub(super) fn filler(target: &Target, file: &str) -> Result<Filler, FaultError> {
    match target {
        Target::Volume { uid, volume, .. } => {
            Ok(Filler { pod_uid: uid.clone(), volume: volume.clone(), file: file.to_owned() })
        }
        _ => Err(FaultError::Mismatch(format!("{target} is not a volume"))),
    }
}

/// Fills it.
async fn fill(line: &mut Line, target: &Target, leave_mib: u32) -> Result<(), FaultError> {
    let (filler, leave_bytes) = (filler(target, FILE)?, u64::from(leave_mib) * MIB);
    let request = Request::Fill { filler, leave_bytes, bytes_max: BYTES_PER_ANSWER };
    let filled = async {
        while !line.space(&request, ANSWER_LIMIT).await?.full {}
        Ok(())
    };
    let late = || FaultError::Mismatch(format!("{target} was not full after {} s", FILL_LIMIT.as_secs()));
    timeout(FILL_LIMIT, filled).await.map_err(|_| late())?
}

fn proven(space: &Space, leave_bytes: u64) -> (bool, String) {
    let Some(filler) = space.filler_bytes else { return (false, "the file that fills it is not there".to_owned()) };
    let full = match (&space.refused, leave_bytes) {
        (Some(_), 0) => true,
        (None, 0) => false,
        (_, leave) => space.bytes_free <= leave + LEFT_BYTES_OFF,
    };
    let tried = match (&space.refused, leave_bytes) {
        (Some(refused), _) => format!("; one more write: {refused}"),
        (None, 0) => "; one more write was taken".to_owned(),
        (None, _) => String::new(),
    };
    let (free, all, filler) = (space.bytes_free, space.bytes / MIB, filler / MIB);
    (full, format!("{free} bytes free of {all} MiB, {filler} MiB of them in {FILE}{tried}"))
}

/// Waits for the pod to be ready, and deletes it where it does not get so: a NATS server that was started on a full volume
/// keeps its JetStream off, and its startup probe gives it 15 minutes.
async fn have_go_on(tools: &Tools, target: &Target) -> Result<(), FaultError> {
    let Target::Volume { namespace, claim, .. } = target else { return Ok(()) };
    let pods: Api<Pod> = Api::namespaced(tools.cluster.client(), namespace);
    let with_it = async || {
        let listed = pods.list(&ListParams::default()).await.map_err(ClusterError::api("list pods"))?;
        let with_it = listed.items.into_iter().filter(|pod| mounts(pod, claim).is_some());
        Ok::<_, ClusterError>(with_it.collect::<Vec<_>>())
    };
    let ready = tools.cluster.wait_for("the pod to go on", GOES_ON_WITHIN, async || {
        Ok(if with_it().await?.iter().any(is_ready) {
            Waiting::Done(())
        } else {
            Waiting::Not(format!("no pod with claim {claim} is ready"))
        })
    });
    if ready.await.is_ok() {
        return Ok(());
    }
    for pod in with_it().await?.iter().filter(|pod| !is_ready(pod)) {
        match pods.delete(&pod.name_any(), &exactly(pod.metadata.uid.clone())).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(ClusterError::api("delete a pod that is not ready")(error).into()),
        }
    }
    Ok(())
}

/// A line to the node where the volume is now; `None` where the volume is gone, or another one has its name, and with it all that was in it.
async fn reach(
    tools: &Tools,
    undo: &RemoveFillerUndo,
    deadline: Instant,
) -> Result<Option<(Line, Filler, String)>, FaultError> {
    let RemoveFillerUndo { target, file, volume_uid } = undo;
    let Target::Volume { namespace, claim, volume, .. } = target else {
        return Err(FaultError::Mismatch(format!("{target} is not a volume")));
    };
    if volumes::volume_of(&tools.cluster, namespace, claim).await?.as_ref() != Some(volume)
        || volumes::is_another_volume(&tools.cluster, volume, volume_uid.as_deref()).await?
    {
        return Ok(None);
    }
    let pods: Api<Pod> = Api::namespaced(tools.cluster.client(), namespace);
    let pods = pods.list(&ListParams::default()).await.map_err(ClusterError::api("list pods"))?.items;
    let (uid, node) = pods.iter().find_map(|pod| mounts(pod, claim)).ok_or_else(|| {
        FaultError::Mismatch(format!(
            "no pod has claim {namespace}/{claim} mounted now, through which {file} is reached"
        ))
    })?;
    let agent = NodeAgent::ensure(tools, &node, &[Undo::RemoveFiller(undo.clone())], deadline).await?;
    let filler = Filler { pod_uid: uid, volume: volume.clone(), file: file.clone() };
    Ok(Some((agent.line().await?, filler, node)))
}

/// The UID and node of a pod that lives and has a claim mounted.
fn mounts(pod: &Pod, claim: &str) -> Option<(String, String)> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let of_claim = |volume: &k8s_openapi::api::core::v1::Volume| {
        volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == claim)
    };
    let has = spec.volumes.iter().flatten().any(of_claim) && !ended && pod.metadata.deletion_timestamp.is_none();
    has.then(|| Some((pod.metadata.uid.clone()?, spec.node_name.clone()?)))?
}

#[cfg(test)]
mod tests {
    use super::super::volumes::tests::pod;
    use super::*;

    #[test]
    fn a_pod_that_goes_or_has_ended_does_not_lead_to_the_volume() {
        assert_eq!(mounts(&pod(), "js-nats-0"), Some(("u".into(), "w1".into())));
        assert_eq!(mounts(&pod(), "js-nats-1"), None);
        let mut ended = pod();
        ended.status.as_mut().unwrap().phase = Some("Failed".to_owned());
        assert_eq!(mounts(&ended, "js-nats-0"), None);
    }

    #[test]
    fn full_is_what_refuses_a_write_and_nothing_less() {
        let space = |free: u64, filler: Option<u64>, refused: Option<&str>| Space {
            bytes: 400 * MIB,
            bytes_free: free,
            filler_bytes: filler,
            full: false,
            refused: refused.map(str::to_owned),
        };
        let (held, evidence) = proven(&space(0, Some(300 * MIB), Some("No space left on device")), 0);
        assert!(held);
        let said =
            "0 bytes free of 400 MiB, 300 MiB of them in firedrill-filler; one more write: No space left on device";
        assert_eq!(evidence, said);
        assert!(!proven(&space(0, Some(1), None), 0).0, "nothing free and still a write was taken");
        assert!(!proven(&space(0, None, Some("full")), 0).0, "full of something else");
        assert!(proven(&space(21 * MIB, Some(1), None), 20 * MIB).0);
        assert!(!proven(&space(40 * MIB, Some(1), None), 20 * MIB).0);
    }
}
