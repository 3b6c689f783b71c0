//! Undoing from the record alone: it takes the cluster and, for a node, its provider.

use super::kind::undo_kind_of;
use super::{FaultError, Tools, helm_values};
use crate::cluster::{Cluster, ClusterError, LABEL_RUN, exactly};
use firedrill_core::event::Undo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersion};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout_at};

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The undo with what tells the object that it acts on from a later one of the same name, as that is now: before the act, and
/// before it is recorded.
///
/// # Errors
/// Where what it acts on is not there; then the act must not follow.
pub async fn identify(tools: &Tools, undo: Undo) -> Result<Undo, FaultError> {
    match undo_kind_of(&undo) {
        Some(kind) => Ok(kind.identify(tools).await?.unwrap_or(undo)),
        // These carry what tells them apart, or act on what only this run makes.
        None => Ok(undo),
    }
}

/// Undoes one thing. Repeating it is harmless, and so is undoing what was never done.
///
/// # Errors
/// Where it could not be undone in time, and where the record is not a fault's (what a probe wrote is the probe's to
/// take away).
pub async fn undo(tools: &Tools, undo: &Undo, within: Duration) -> Result<(), FaultError> {
    let deadline = tools.clock.deadline(tools.clock.now().plus(within));
    if let Some(kind) = undo_kind_of(undo) {
        return kind.undo(tools, deadline).await;
    }
    match undo {
        Undo::RemoveNode { node } => {
            Ok(tools.cluster.machines.remove_node(&tools.cluster, &tools.mark.run_id, node).await?)
        }
        Undo::RollBackUnfinished { namespace, release, revision, uid } => {
            helm_values::undo_unfinished(tools, namespace, release, (*revision, uid)).await
        }
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
        // What a probe wrote. The others are kinds of their own.
        _ => Err(not_a_fault()),
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
    if let Some(kind) = undo_kind_of(undo) {
        return kind.is_clean(tools, deadline).await;
    }
    match undo {
        Undo::RemoveNode { node } => Ok(tools.cluster.machines.is_node_gone(&tools.cluster, node).await?),
        Undo::RollBackUnfinished { namespace, release, revision, uid } => {
            helm_values::is_finished(tools, namespace, release, (*revision, uid)).await
        }
        // That it has healed is what the scenario's conditions of redundancy say.
        Undo::HealsItself { .. } => Ok(true),
        Undo::DeleteObject { api_version, kind, namespace, name } => {
            let objects = objects(&tools.cluster, api_version, kind, namespace.as_deref())?;
            Ok(of_run(tools, &objects, (kind, name)).await?.is_none())
        }
        // What a probe wrote. The others are kinds of their own.
        _ => Err(not_a_fault()),
    }
}

/// The command by which a person finishes an undo that did not work; `None` where there is nothing to do.
pub fn finish_with(tools: &Tools, undo: &Undo) -> Option<String> {
    if matches!(undo, Undo::HealsItself { .. }) {
        return None;
    }
    // No command that names a container that the run made: whether it is this run's is for the sweep to check.
    let sweep = format!("firedrill sweep --run {}", tools.mark.run_id);
    Some(match undo_kind_of(undo).and_then(|kind| kind.finish_first(tools)) {
        Some(first) => format!("{first} && {sweep}"),
        None => sweep,
    })
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
        api_version.parse().map_err(|_| FaultError::Mismatch(format!("`{api_version}` is not a valid API version")))?;
    let resource = ApiResource::from_gvk(&version.with_kind(kind));
    Ok(match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client(), namespace, &resource),
        None => Api::all_with(cluster.client(), &resource),
    })
}
