//! A pod's volume filled with a file of real data: the next write of the workload finds no space.

use super::identify::is_another_volume;
use super::line::Line;
use super::node_agent::{ANSWER_LIMIT, NodeAgent};
use super::{FaultError, Proof, Tools};
use crate::agent::node::wire::{Filler, Request, Space};
use crate::cluster::{Cluster, ClusterError, Waiting, exactly, is_ready, wait_for};
use firedrill_core::event::{FILLER_FILE, Undo};
use firedrill_core::plan::Target;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
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

/// What a pod has mounted at a path of a container; the volume behind its claim is not known yet.
pub(super) fn target(pod: &Pod, uid: &str, container: &str, path: &str) -> Result<Target, String> {
    let spec = pod.spec.as_ref().ok_or_else(|| "has no spec".to_owned())?;
    let container_spec = spec.containers.iter().find(|one| one.name == container);
    let mounts =
        container_spec.ok_or_else(|| format!("has no container `{container}`"))?.volume_mounts.iter().flatten();
    let mount = mounts.into_iter().find(|mount| mount.mount_path.trim_end_matches('/') == path.trim_end_matches('/'));
    let mount = mount.ok_or_else(|| format!("container `{container}` has nothing mounted at {path}"))?;
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
    let claim = volume.and_then(|volume| volume.persistent_volume_claim.as_ref());
    Ok(Target::Volume {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        pod: pod.metadata.name.clone().unwrap_or_default(),
        uid: uid.to_owned(),
        claim: claim.ok_or_else(|| format!("what is mounted at {path} is no claim's volume"))?.claim_name.clone(),
        volume: String::new(),
        node: spec.node_name.clone().unwrap_or_default(),
    })
}

/// The targets with the volumes behind their claims.
pub(super) async fn with_volumes(cluster: &Cluster, mut targets: Vec<Target>) -> Result<Vec<Target>, FaultError> {
    for target in &mut targets {
        let Target::Volume { namespace, claim, volume, .. } = target else { continue };
        let bound = volume_of(cluster, namespace, claim).await?;
        *volume = bound.ok_or_else(|| FaultError::Mismatch(format!("claim {namespace}/{claim} has no volume")))?;
    }
    Ok(targets)
}

async fn volume_of(cluster: &Cluster, namespace: &str, claim: &str) -> Result<Option<String>, FaultError> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client(), namespace);
    let found = claims.get_opt(claim).await.map_err(ClusterError::api("read a claim"))?;
    Ok(found.and_then(|claim| claim.spec).and_then(|spec| spec.volume_name))
}

pub(super) fn undo_of(target: &Target) -> Undo {
    Undo::RemoveFiller { target: target.clone(), file: FILE.to_owned(), volume_uid: None }
}

pub(super) fn preview(target: &Target, leave_mib: u32) -> String {
    let end =
        if leave_mib == 0 { "until no write fits any more".to_owned() } else { format!("but for {leave_mib} MiB") };
    format!(
        "fill {target} with real data, {end}, in its file {FILE}, by a privileged pod on that node (create pods and \
         pods/portforward in the run's namespace); the file is removed, also by that pod itself when it is deleted or expires, and \
         the pod that it was in is deleted where it is not ready {} s later (delete pods in its namespace)",
        GOES_ON_WITHIN.as_secs()
    )
}

/// The file of a volume, by the pod that has it mounted.
pub(super) fn filler(target: &Target, file: &str) -> Result<Filler, FaultError> {
    match target {
        Target::Volume { uid, volume, .. } => {
            Ok(Filler { pod_uid: uid.clone(), volume: volume.clone(), file: file.to_owned() })
        }
        _ => Err(FaultError::Mismatch(format!("{target} is no volume"))),
    }
}

/// Fills it.
pub(super) async fn inject(line: &mut Line, target: &Target, leave_mib: u32) -> Result<(), FaultError> {
    let (filler, leave_bytes) = (filler(target, FILE)?, u64::from(leave_mib) * MIB);
    let request = Request::Fill { filler, leave_bytes, bytes_max: BYTES_PER_ANSWER };
    let filled = async {
        while !line.space(&request, ANSWER_LIMIT).await?.full {}
        Ok(())
    };
    let late = || FaultError::Mismatch(format!("{target} was not full after {} s", FILL_LIMIT.as_secs()));
    timeout(FILL_LIMIT, filled).await.map_err(|_| late())?
}

/// A fresh look: the kernel counts the space as taken, and refuses one more write of 4 KiB. A workload that stops may give some
/// back, as a NATS server does that switches its JetStream off; that is taken too.
pub(super) async fn prove(
    tools: &Tools,
    line: &mut Line,
    target: &Target,
    leave_mib: u32,
) -> Result<Vec<Proof>, FaultError> {
    let request = Request::Space { filler: filler(target, FILE)?, try_write: leave_mib == 0 };
    let at = tools.clock.now();
    let mut space = line.space(&request, ANSWER_LIMIT).await?;
    if leave_mib == 0 && space.filler_bytes.is_some() && space.refused.is_none() {
        inject(line, target, leave_mib).await?;
        space = line.space(&request, ANSWER_LIMIT).await?;
    }
    let (held, evidence) = proven(&space, u64::from(leave_mib) * MIB);
    Ok(vec![Proof { subject: target.to_string(), evidence, held, at }])
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

/// Removes the file on the node where the volume is now, looks that it is gone, and has the pod go on.
pub(super) async fn undo(
    tools: &Tools,
    target: &Target,
    file: &str,
    volume_uid: Option<&str>,
    deadline: Instant,
) -> Result<(), FaultError> {
    let Some((mut line, filler, node)) = reach(tools, target, file, volume_uid, deadline).await? else { return Ok(()) };
    line.emptied(&Request::Empty { filler: filler.clone() }, ANSWER_LIMIT).await?;
    match line.space(&Request::Space { filler, try_write: false }, ANSWER_LIMIT).await?.filler_bytes {
        None => have_go_on(tools, target).await,
        Some(_) => Err(FaultError::Agent { node, reason: format!("{file} is still there") }),
    }
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
    let ready = wait_for("the pod to go on", GOES_ON_WITHIN, async || {
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

/// Whether the file is gone, by a fresh look on the node where the volume is now.
pub(super) async fn is_clean(
    tools: &Tools,
    target: &Target,
    file: &str,
    volume_uid: Option<&str>,
    deadline: Instant,
) -> Result<bool, FaultError> {
    let Some((mut line, filler, _)) = reach(tools, target, file, volume_uid, deadline).await? else { return Ok(true) };
    let space = line.space(&Request::Space { filler, try_write: false }, ANSWER_LIMIT).await?;
    Ok(space.filler_bytes.is_none())
}

/// A line to the node where the volume is now; `None` where the volume is gone, or another one has its name, and with it all that was in it.
async fn reach(
    tools: &Tools,
    target: &Target,
    file: &str,
    volume_uid: Option<&str>,
    deadline: Instant,
) -> Result<Option<(Line, Filler, String)>, FaultError> {
    let Target::Volume { namespace, claim, volume, .. } = target else {
        return Err(FaultError::Mismatch(format!("{target} is no volume")));
    };
    if volume_of(&tools.cluster, namespace, claim).await?.as_ref() != Some(volume)
        || is_another_volume(&tools.cluster, volume, volume_uid).await?
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
    let agent = NodeAgent::ensure(tools, &node, &[undo_of(target)], deadline).await?;
    let filler = Filler { pod_uid: uid, volume: volume.clone(), file: file.to_owned() };
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
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "nats-0", "namespace": "n", "uid": "u"},
            "spec": {"nodeName": "w1",
                "containers": [{"name": "nats", "volumeMounts": [
                    {"name": "js", "mountPath": "/data"}, {"name": "config", "mountPath": "/etc/nats"}]}],
                "volumes": [{"name": "js", "persistentVolumeClaim": {"claimName": "js-nats-0"}},
                    {"name": "config", "configMap": {"name": "c"}}]},
            "status": {"phase": "Running"}}))
        .unwrap()
    }

    #[test]
    fn only_a_claims_volume_is_a_target() {
        let of = |container: &str, path: &str| target(&pod(), "u", container, path);
        assert!(matches!(of("nats", "/data/").unwrap(), Target::Volume { claim, .. } if claim == "js-nats-0"));
        assert_eq!(of("nats", "/etc/nats").unwrap_err(), "what is mounted at /etc/nats is no claim's volume");
        assert_eq!(of("nats", "/var").unwrap_err(), "container `nats` has nothing mounted at /var");
        assert_eq!(of("other", "/data").unwrap_err(), "has no container `other`");
    }

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
