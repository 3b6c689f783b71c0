//! Undoing from the record alone: whoever holds it needs nothing but the cluster, and its provider for a node.

use super::{FaultError, Tools, corrupt, fill, fill_stream, freeze, helm_values, hold_detach, node_off, patch};
use crate::cluster::{Cluster, ClusterError, LABEL_RUN, exactly};
use firedrill_core::event::Undo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersion};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout_at};

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Undoes one thing. Repeating it is harmless, and so is undoing what was never done.
///
/// # Errors
/// Where it could not be undone in time, and where the record is not a fault's (what a probe wrote is the probe's to
/// take away).
pub async fn undo(tools: &Tools, undo: &Undo, within: Duration) -> Result<(), FaultError> {
    let deadline = tools.clock.deadline(tools.clock.now().plus(within));
    match undo {
        Undo::Thaw { target } => freeze::undo(tools, target, deadline).await,
        Undo::MendFiles { target, directory, volume_uid } => {
            corrupt::undo(tools, target, directory, volume_uid.as_deref(), deadline).await
        }
        Undo::RemoveFiller { target, file, volume_uid } => {
            fill::undo(tools, target, file, volume_uid.as_deref(), deadline).await
        }
        Undo::EmptyStream { .. } => fill_stream::undo(tools, undo, deadline).await,
        Undo::LetDetach { target, volume_uid } | Undo::LetAttach { target, volume_uid } => {
            hold_detach::undo(tools, target, volume_uid.as_deref()).await
        }
        Undo::PowerOn { node, container } => node_off::undo(tools, node, container.as_deref()).await,
        Undo::RemoveNode { node } => {
            Ok(tools.cluster.machines.remove_node(&tools.cluster, &tools.mark.run_id, node).await?)
        }
        Undo::RollBack { namespace, release, revision, uid } => {
            helm_values::undo(tools, namespace, release, (*revision, uid.as_deref())).await
        }
        Undo::RollBackUnfinished { namespace, release, revision, uid } => {
            helm_values::undo_unfinished(tools, namespace, release, (*revision, uid)).await
        }
        Undo::Restore { object, uid, merge } => patch::undo(tools, object, uid, merge).await,
        Undo::HealsItself { .. } => Ok(()),
        Undo::DeleteObject { api_version, kind, namespace, name } => {
            let objects = objects(&tools.cluster, api_version, kind, namespace.as_deref())?;
            // One that somebody else had made of that name is left alone.
            let Some(uid) = of_run(tools, &objects, (kind, name)).await? else { return Ok(()) };
            match objects.delete(name, &exactly(Some(uid))).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
                // It ends already, or another one has its name by now.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(ClusterError::api(format!("delete {kind} {name}"))(error).into()),
            }
            if kind == "Namespace" {
                end_pods(tools, name).await?;
            }
            let gone = async {
                let mut tick = interval(LOOK_EVERY);
                tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tick.tick().await;
                    if of_run(tools, &objects, (kind, name)).await?.is_none() {
                        return Ok(());
                    }
                }
            };
            timeout_at(deadline, gone).await.unwrap_or_else(|_| {
                Err(ClusterError::Deadline { what: format!("the end of {kind} {name}"), limit: within }.into())
            })
        }
        Undo::PurgeSubject { .. } | Undo::DropTable { .. } => Err(not_a_fault()),
    }
}

/// The UID of the object of that kind and name, where it is there and this run's.
async fn of_run(
    tools: &Tools,
    objects: &Api<DynamicObject>,
    (kind, name): (&str, &str),
) -> Result<Option<String>, FaultError> {
    let there = objects.get_metadata_opt(name).await.map_err(ClusterError::api(format!("read {kind} {name}")))?;
    let metadata = there.map(|there| there.metadata).unwrap_or_default();
    let run = metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_RUN));
    Ok(metadata.uid.filter(|_| run == Some(&tools.mark.run_id)))
}

/// Asks the run's pods in a namespace that is being deleted to end, each in its own grace period. Kubernetes itself first
/// lets 5 s pass (`namespaceDeletionGracePeriod` of its namespace controller), then deletes what it finds, and comes again
/// later for what took a while: where pods have ended by then, its first pass is its last.
async fn end_pods(tools: &Tools, namespace: &str) -> Result<(), FaultError> {
    let pods: Api<Pod> = Api::namespaced(tools.cluster.client(), namespace);
    let of_run = ListParams::default().labels(&format!("{LABEL_RUN}={}", tools.mark.run_id));
    let what = format!("delete the pods of namespace {namespace}");
    pods.delete_collection(&DeleteParams::default(), &of_run).await.map_err(ClusterError::api(what))?;
    Ok(())
}

/// Whether nothing is left of it, by a fresh look.
///
/// # Errors
/// Where that could not be seen, and where the record is not a fault's.
pub async fn is_clean(tools: &Tools, undo: &Undo, within: Duration) -> Result<bool, FaultError> {
    let deadline = tools.clock.deadline(tools.clock.now().plus(within));
    match undo {
        Undo::Thaw { target } => freeze::is_clean(tools, target, deadline).await,
        Undo::MendFiles { target, directory, volume_uid } => {
            corrupt::is_clean(tools, target, directory, volume_uid.as_deref(), deadline).await
        }
        Undo::RemoveFiller { target, file, volume_uid } => {
            fill::is_clean(tools, target, file, volume_uid.as_deref(), deadline).await
        }
        Undo::EmptyStream { .. } => fill_stream::is_clean(tools, undo, deadline).await,
        Undo::LetDetach { target, volume_uid } | Undo::LetAttach { target, volume_uid } => {
            hold_detach::is_clean(tools, target, volume_uid.as_deref()).await
        }
        Undo::PowerOn { node, container } => node_off::is_clean(tools, node, container.as_deref(), deadline).await,
        Undo::RemoveNode { node } => Ok(tools.cluster.machines.is_node_gone(&tools.cluster, node).await?),
        Undo::RollBack { namespace, release, revision, uid } => {
            helm_values::is_clean(tools, namespace, release, (*revision, uid.as_deref())).await
        }
        Undo::RollBackUnfinished { namespace, release, revision, uid } => {
            helm_values::is_finished(tools, namespace, release, (*revision, uid)).await
        }
        Undo::Restore { object, uid, merge } => patch::is_clean(tools, object, uid, merge).await,
        // That it has healed is what the scenario's conditions of redundancy say.
        Undo::HealsItself { .. } => Ok(true),
        Undo::DeleteObject { api_version, kind, namespace, name } => {
            let objects = objects(&tools.cluster, api_version, kind, namespace.as_deref())?;
            Ok(of_run(tools, &objects, (kind, name)).await?.is_none())
        }
        Undo::PurgeSubject { .. } | Undo::DropTable { .. } => Err(not_a_fault()),
    }
}

/// The command by which a person finishes an undo that did not work; `None` where there is nothing to do.
pub fn finish_with(tools: &Tools, undo: &Undo) -> Option<String> {
    let sweep = format!("firedrill sweep --run {}", tools.mark.run_id);
    match undo {
        Undo::HealsItself { .. } => None,
        Undo::PowerOn { node, .. } => Some(match tools.cluster.machines.power_on_command(node) {
            Some(command) => format!("{command} && {sweep}"),
            None => sweep,
        }),
        // No command that names a container: whether it is this run's is for the sweep to check.
        Undo::RemoveNode { .. }
        | Undo::Thaw { .. }
        | Undo::MendFiles { .. }
        | Undo::RemoveFiller { .. }
        | Undo::EmptyStream { .. }
        | Undo::LetDetach { .. }
        | Undo::LetAttach { .. }
        | Undo::RollBack { .. }
        | Undo::RollBackUnfinished { .. }
        | Undo::Restore { .. }
        | Undo::DeleteObject { .. }
        | Undo::PurgeSubject { .. }
        | Undo::DropTable { .. } => Some(sweep),
    }
}

fn not_a_fault() -> FaultError {
    FaultError::Mismatch("what a probe wrote is not a fault's to undo".to_owned())
}

/// Objects of a kind that is known by its name alone.
pub(super) fn objects(
    cluster: &Cluster,
    api_version: &str,
    kind: &str,
    namespace: Option<&str>,
) -> Result<Api<DynamicObject>, FaultError> {
    let version: GroupVersion =
        api_version.parse().map_err(|_| FaultError::Mismatch(format!("`{api_version}` is no API version")))?;
    let resource = ApiResource::from_gvk(&version.with_kind(kind));
    Ok(match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client(), namespace, &resource),
        None => Api::all_with(cluster.client(), &resource),
    })
}
