//! Files of a volume corrupted under a container, which is killed then, so that it has to start from them.

use super::choose::Choice;
use super::freeze::container_of;
use super::kind::{FaultKind, Site, UndoKind};
use super::node_agent::{ANSWER_LIMIT, NodeAgent};
use super::{FaultError, Injected, Proof, Tools, signal};
use crate::agent::node::wire::{KeptFile, Request, Volume};
use crate::cluster::ClusterError;
use async_trait::async_trait;
use firedrill_core::event::{MendFilesUndo, Undo};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{CorruptFault, Signal};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::Api;
use tokio::time::Instant;

#[async_trait]
impl FaultKind for CorruptFault {
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        choice.containers(&self.pods, self.count, &self.container).await
    }

    fn preview(&self, target: &Target) -> String {
        format!(
            "a byte of every file in {} of {target} flipped, and SIGKILL to its first process, by a privileged pod on \
             that node; the files are kept in the volume as they were and put back, unless the runbook has deleted the volume",
            self.directory
        )
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        container_of(target)?;
        let (target, directory) = (target.clone(), self.directory.clone());
        Ok(Some(Undo::MendFiles(MendFilesUndo { target, directory, volume_uid: None })))
    }

    fn uses_agent(&self) -> bool {
        true
    }

    /// Flips the bytes, then kills.
    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        let (tools, target, line) = site.by_agent()?;
        let located = locate(tools, target, &self.directory).await?;
        let located = located.ok_or_else(|| on_no_volume(target, &self.directory))?;
        line.files(&Request::Corrupt(located.volume), ANSWER_LIMIT).await?;
        let processes = signal::send(line, target, Signal::Kill).await?;
        Ok(Injected { processes, ..Injected::of(target) })
    }

    /// What is on disk differs from what was kept, by a fresh look, and the killed process is gone.
    async fn prove(
        &self,
        site: &mut Site<'_>,
        injected: &Injected,
        deadline: Instant,
    ) -> Result<Vec<Proof>, FaultError> {
        let (tools, target, line) = site.by_agent()?;
        let files = match locate(tools, target, &self.directory).await? {
            Some(located) => line.files(&Request::LookAtFiles(located.volume), ANSWER_LIMIT).await?,
            None => Vec::new(),
        };
        let (held, evidence) = told(&files);
        let subject = format!("files in {} of {target}", self.directory);
        let mut proofs = vec![Proof { subject, evidence, held, at: tools.clock.now() }];
        proofs.extend(signal::prove_ended(tools, line, target, &injected.processes, deadline).await?);
        Ok(proofs)
    }
}

#[async_trait]
impl UndoKind for MendFilesUndo {
    async fn identify(&self, tools: &Tools) -> Result<Option<Undo>, FaultError> {
        let located = locate(tools, &self.target, &self.directory).await?;
        let uid = located.ok_or_else(|| on_no_volume(&self.target, &self.directory))?.uid;
        Ok(Some(Undo::MendFiles(Self { volume_uid: Some(uid), ..self.clone() })))
    }

    /// Puts the files back. Where the claim has another volume since, the corrupted one is gone with its bytes.
    async fn undo(&self, tools: &Tools, deadline: Instant) -> Result<(), FaultError> {
        if let Some(located) = locate_again(self, tools).await? {
            let agent = NodeAgent::ensure(tools, &located.node, &[Undo::MendFiles(self.clone())], deadline).await?;
            agent.line().await?.files(&Request::Mend(located.volume), ANSWER_LIMIT).await?;
        }
        Ok(())
    }

    /// Whether the volume keeps no file any more.
    async fn is_clean(&self, tools: &Tools, deadline: Instant) -> Result<bool, FaultError> {
        let Some(located) = locate_again(self, tools).await? else { return Ok(true) };
        let agent = NodeAgent::ensure(tools, &located.node, &[], deadline).await?;
        Ok(agent.line().await?.files(&Request::LookAtFiles(located.volume), ANSWER_LIMIT).await?.is_empty())
    }
}

fn on_no_volume(target: &Target, directory: &str) -> FaultError {
    FaultError::Mismatch(format!("{directory} of {target} is on no volume"))
}

fn told(files: &[KeptFile]) -> (bool, String) {
    let names: Vec<_> = files.iter().map(|file| format!("{} ({} bytes)", file.name, file.bytes)).collect();
    let held = !files.is_empty() && files.iter().all(|file| file.differing == Some(1));
    match held {
        true => (true, format!("read from disk, one byte differs in each: {}", names.join(", "))),
        false => (false, format!("not as they were corrupted: {}", names.join(", "))),
    }
}

/// Where a directory is now.
struct Located {
    node: String,
    volume: Volume,
    /// The UID of the PersistentVolume.
    uid: String,
}

/// Where the corrupted directory is now, where it is still on the volume that was recorded.
async fn locate_again(undo: &MendFilesUndo, tools: &Tools) -> Result<Option<Located>, FaultError> {
    let located = locate(tools, &undo.target, &undo.directory).await?;
    Ok(located.filter(|located| undo.volume_uid.as_ref().is_none_or(|uid| *uid == located.uid)))
}

/// The volume that holds the directory in the pod of the target's name, and the node where it is mounted now; `None` where
/// it is on none.
///
/// # Errors
/// Where the pod is not there or not placed: where its volume is now cannot be said.
async fn locate(tools: &Tools, target: &Target, directory: &str) -> Result<Option<Located>, FaultError> {
    let container = container_of(target)?;
    let client = || tools.cluster.client();
    let pods: Api<Pod> = Api::namespaced(client(), container.namespace);
    let pod = pods.get_opt(container.pod).await.map_err(ClusterError::api("read a pod"))?;
    let lost = || {
        FaultError::Mismatch(format!("{} is not scheduled to a node, so its volume cannot be located", container.pod))
    };
    let pod = pod.ok_or_else(lost)?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).ok_or_else(lost)?;
    let Some((claim, inside)) = claim_of(&pod, container.container, directory) else { return Ok(None) };
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client(), container.namespace);
    let claim = claims.get_opt(&claim).await.map_err(ClusterError::api("read a claim"))?;
    let Some(name) = claim.and_then(|claim| claim.spec?.volume_name) else { return Ok(None) };
    let volumes: Api<PersistentVolume> = Api::all(client());
    let volume = volumes.get_opt(&name).await.map_err(ClusterError::api("read a volume"))?;
    let Some(volume) = volume else { return Ok(None) };
    let (Some(spec), Some(volume_uid)) = (volume.spec, volume.metadata.uid) else { return Ok(None) };
    let uid = pod.metadata.uid.unwrap_or_default();
    let root = match (spec.host_path, spec.local, spec.csi) {
        (Some(host), _, _) => host.path,
        (_, Some(local), _) => local.path,
        // Where the kubelet publishes a CSI volume for a pod.
        (_, _, Some(_)) => format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~csi/{name}/mount"),
        _ => return Err(FaultError::Mismatch(format!("volume {name} has an unsupported type"))),
    };
    Ok(Some(Located { node, volume: Volume { root, directory: inside }, uid: volume_uid }))
}

/// The claim that a path of a container is on, and the path in it.
fn claim_of(pod: &Pod, container: &str, path: &str) -> Option<(String, String)> {
    let spec = pod.spec.as_ref()?;
    let container = spec.containers.iter().find(|other| other.name == container)?;
    let mounts = container.volume_mounts.iter().flatten().filter_map(|mount| {
        let rest = path.strip_prefix(mount.mount_path.trim_end_matches('/'))?;
        let prefix = mount.sub_path.as_deref().map(|sub| format!("{sub}/")).unwrap_or_default();
        let inside = rest.strip_prefix('/')?;
        Some((mount.mount_path.len(), mount.name.as_str(), format!("{prefix}{inside}")))
    });
    let (_, name, inside) = mounts.max_by_key(|(length, ..)| *length)?;
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == name)?;
    Some((volume.persistent_volume_claim.as_ref()?.claim_name.clone(), inside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_on_the_innermost_mount() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {
            "containers": [{"name": "nats", "volumeMounts": [
                {"name": "all", "mountPath": "/"}, {"name": "js", "mountPath": "/data", "subPath": "sub"},
                {"name": "tmp", "mountPath": "/data/tmp"}]}],
            "volumes": [{"name": "js", "persistentVolumeClaim": {"claimName": "js-0"}}, {"name": "tmp", "emptyDir": {}},
                {"name": "all", "persistentVolumeClaim": {"claimName": "root-0"}}]}}))
        .unwrap();
        let on = |path: &str| claim_of(&pod, "nats", path);
        assert_eq!(on("/data/jetstream/x"), Some(("js-0".to_owned(), "sub/jetstream/x".to_owned())));
        assert_eq!(on("/data/tmp/x"), None, "a directory that is no volume of the pod's own");
        assert_eq!(on("/database/x"), Some(("root-0".to_owned(), "database/x".to_owned())));
        assert_eq!(claim_of(&pod, "other", "/data/x"), None);
    }

    #[test]
    fn a_corruption_is_believed_only_where_every_file_shows_it() {
        let file = |differing| KeptFile { name: "snap.1.9".to_owned(), bytes: 300, differing };
        let (held, evidence) = told(&[file(Some(1))]);
        assert!(held);
        assert_eq!(evidence, "read from disk, one byte differs in each: snap.1.9 (300 bytes)");
        assert!(!told(&[file(Some(1)), file(Some(0))]).0);
        assert!(!told(&[file(None)]).0);
        assert!(!told(&[]).0);
    }
}
