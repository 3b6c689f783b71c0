//! A lock on a cluster: two runs never share one, and a sweep never touches a run that is alive.
//!
//! It is a Lease object that its holder renews. Whether a holder is dead is judged as in client-go, by seeing the Lease
//! unchanged for its whole duration on this machine's own clock, so that clocks need not agree. A holder on this machine is
//! recognized as dead at once: its process is gone.
//!
//! A holder that cannot renew stops before another may take the Lease: 40 s after the start of the last
//! request that renewed it. The start counts, since the API server may have written it at any moment of the request. A run
//! that lost its Lease breaks nothing more; it still undoes its own faults, which a later run finds and refuses to start on.

mod old_place;
mod process;
mod renewal;

use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError, LABEL_MANAGED_BY, MANAGED_BY, Waiting};
use firedrill_core::event::SYSTEM_NAMESPACE;
use firedrill_core::time::At;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use process::ProcessId;
use renewal::{Holder, Timing};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// Name of the Lease.
const NAME: &str = "firedrill";
/// Where it is: no tenant can write there.
const NAMESPACE: &str = SYSTEM_NAMESPACE;
/// A Lease that is not renewed for this long is lost, and may be taken by another.
pub const DURATION: Duration = Duration::from_secs(60);
/// Time between two renewals, and between two looks at another's Lease.
const RENEW_EVERY: Duration = Duration::from_secs(5);
const RELEASE_LIMIT: Duration = Duration::from_secs(20);
const ANNOTATION_PROCESS: &str = "firedrill.dev/process";

/// How the lock was not had.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// A run that is alive has it.
    #[error("the cluster is in use by {holder}")]
    Held {
        /// Who.
        holder: String,
    },
    /// The API server did not do its part.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// The lock, held and renewed until it is released or dropped. Dropped without release, it runs out by itself.
pub struct Lease {
    cluster: Cluster,
    lost: watch::Receiver<Option<String>>,
    renewal: JoinHandle<()>,
    holder: String,
}

impl Lease {
    /// Takes the lock: at once where it is free or its holder is a process of this machine that is gone, and after watching
    /// it for [`DURATION`] where its holder may be dead on another machine.
    ///
    /// # Errors
    /// Where a run that is alive holds it, or the API server does not answer.
    pub async fn acquire(
        cluster: &Cluster,
        run_id: &str,
        progress: &mut (dyn FnMut(String) + Send),
    ) -> Result<Self, LeaseError> {
        cluster.ensure_system_namespace().await?;
        let own = ProcessId::of_this_process();
        let holder = format!("run {run_id}, {own}");
        let clock = cluster.clock();
        old_place::wait_until_free(cluster, &own, &clock, progress).await?;
        let mut watched: Option<(String, At)> = None;
        let mut ticks = tokio::time::interval(RENEW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let found = read(cluster).await?;
            let version = found.as_ref().and_then(|lease| lease.metadata.resource_version.clone()).unwrap_or_default();
            let unchanged = match &watched {
                Some((seen, since)) if *seen == version => Some(clock.now().since(*since)),
                Some(_) => Some(Duration::ZERO),
                None => None,
            };
            let seen = found.as_ref().map(LeaseHolder::of);
            match decide(seen.as_ref(), &own, process::is_alive, unchanged) {
                Decision::Take => {
                    let begun = clock.now();
                    let Some(taken) = write(cluster, &clock, run_id, &holder, &own, found).await? else { continue };
                    return Ok(Self::keep(cluster, clock, holder, taken, begun));
                }
                Decision::Held => {
                    let holder = seen.map(|seen| seen.holder).unwrap_or_default();
                    return Err(LeaseError::Held { holder });
                }
                Decision::Watch => {
                    if watched.is_none() {
                        let holder = seen.map(|seen| seen.holder).unwrap_or_default();
                        let limit = DURATION.as_secs();
                        progress(format!(
                            "the cluster was in use by {holder}: watching for up to {limit} s whether it is alive"
                        ));
                    }
                    if watched.as_ref().is_none_or(|(seen, _)| *seen != version) {
                        watched = Some((version, clock.now()));
                    }
                }
            }
        }
    }

    /// Who uses the cluster now: the holder, unless it is a process of this machine that is gone. One elsewhere counts as
    /// alive.
    ///
    /// # Errors
    /// Where the API server does not say.
    pub async fn in_use_by(cluster: &Cluster) -> Result<Option<String>, ClusterError> {
        let mut seen = read(cluster).await?.map(|lease| LeaseHolder::of(&lease));
        if seen.is_none() {
            seen = old_place::read(cluster).await?.map(|lease| LeaseHolder::of(&lease));
        }
        let decision = decide(seen.as_ref(), &ProcessId::of_this_process(), process::is_alive, None);
        Ok(seen.filter(|_| decision != Decision::Take).map(|seen| seen.holder))
    }

    /// Becomes `Some(reason)` when the lock is lost: the run must stop, for another may begin.
    pub fn lost(&self) -> watch::Receiver<Option<String>> {
        self.lost.clone()
    }

    /// Gives the lock back: the Lease object goes away. One that was lost is left to its new holder.
    ///
    /// # Errors
    /// Where the API server does not do it.
    pub async fn release(mut self) -> Result<(), ClusterError> {
        self.renewal.abort();
        let _ = (&mut self.renewal).await;
        let api = api(&self.cluster);
        // A renewal that was under way may still arrive between a look and the deletion: then it is looked again.
        self.cluster
            .wait_for("the release of the lease", RELEASE_LIMIT, || async {
                let Some(found) = read(&self.cluster).await? else { return Ok(Waiting::Done(())) };
                if LeaseHolder::of(&found).holder != self.holder {
                    return Ok(Waiting::Done(()));
                }
                let exactly =
                    Preconditions { resource_version: found.metadata.resource_version, uid: found.metadata.uid };
                let params = DeleteParams::default().preconditions(exactly);
                match self.cluster.ask("releasing the lease", api.delete(NAME, &params)).await {
                    Err(error) if is_conflict(&error) => Ok(Waiting::Not("it was renewed meanwhile".to_owned())),
                    Err(error) if !is_missing(&error) => Err(error),
                    _ => Ok(Waiting::Done(())),
                }
            })
            .await
    }

    fn keep(cluster: &Cluster, clock: Clock, holder: String, held: LeaseObject, renewed: At) -> Self {
        let (tell, lost) = watch::channel(None);
        let renewing = Holder { cluster: cluster.clone(), clock, holder: holder.clone(), held, renewed };
        let task = async move {
            tell.send_replace(Some(renewing.until_lost(Timing::default()).await));
        };
        Self { cluster: cluster.clone(), lost, renewal: tokio::spawn(task), holder }
    }
}

/// Does something for which the lock is needed, and drops it half-way where the lock is lost. `lost` is the lock's.
///
/// # Errors
/// Why the lock was lost.
pub async fn while_held<T>(
    mut lost: watch::Receiver<Option<String>>,
    work: impl Future<Output = T>,
) -> Result<T, String> {
    let lost = async {
        match lost.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the lease on the cluster is not renewed any more".to_owned(),
        }
    };
    tokio::select! {
        biased;
        reason = lost => Err(reason),
        done = work => Ok(done),
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Another's Lease, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LeaseHolder {
    holder: String,
    process: Option<ProcessId>,
}

impl LeaseHolder {
    fn of(lease: &LeaseObject) -> Self {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        let notes = lease.metadata.annotations.as_ref();
        let process = notes.and_then(|notes| notes.get(ANNOTATION_PROCESS)).and_then(|text| ProcessId::parse(text));
        Self { holder, process }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Take,
    Watch,
    Held,
}

/// What to do about a Lease. `unchanged` is for how long it was watched without a change; `None` before the first look.
fn decide(
    seen: Option<&LeaseHolder>,
    own: &ProcessId,
    is_alive: impl Fn(&ProcessId) -> Option<bool>,
    unchanged: Option<Duration>,
) -> Decision {
    let Some(seen) = seen.filter(|seen| !seen.holder.is_empty()) else { return Decision::Take };
    let alive = seen.process.as_ref().filter(|process| process.is_visible_from(own)).and_then(is_alive);
    match (alive, unchanged) {
        (Some(true), _) => Decision::Held,
        (Some(false), _) => Decision::Take,
        (_, None) => Decision::Watch,
        (_, Some(Duration::ZERO)) => Decision::Held,
        (_, Some(unchanged)) if unchanged >= DURATION => Decision::Take,
        _ => Decision::Watch,
    }
}

fn api(cluster: &Cluster) -> Api<LeaseObject> {
    Api::namespaced(cluster.client(), NAMESPACE)
}

async fn read(cluster: &Cluster) -> Result<Option<LeaseObject>, ClusterError> {
    cluster.ask("the lease on the cluster", api(cluster).get_opt(NAME)).await
}

/// Writes this holder into the Lease, on the condition that nobody was faster; `None` where somebody was.
async fn write(
    cluster: &Cluster,
    clock: &Clock,
    run_id: &str,
    holder: &str,
    own: &ProcessId,
    found: Option<LeaseObject>,
) -> Result<Option<LeaseObject>, ClusterError> {
    let now = MicroTime(clock.timestamp(clock.now()));
    let transitions = found.as_ref().and_then(|lease| lease.spec.as_ref()?.lease_transitions);
    let labels = [(LABEL_MANAGED_BY, MANAGED_BY)];
    let notes = [(ANNOTATION_PROCESS, own.text()), ("firedrill.dev/holder-run", run_id.to_owned())];
    let lease = LeaseObject {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            resource_version: found.as_ref().and_then(|lease| lease.metadata.resource_version.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            annotations: Some(notes.map(|(key, value)| (key.to_owned(), value)).into()),
            ..Default::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions.map_or(0, |count| count + 1)),
            ..Default::default()
        }),
    };
    let (api, params) = (api(cluster), PostParams::default());
    let written = if found.is_some() {
        cluster.ask("taking the lease over", api.replace(NAME, &params, &lease)).await
    } else {
        cluster.ask("taking the lease", api.create(&params, &lease)).await
    };
    match written {
        Ok(lease) => Ok(Some(lease)),
        Err(error) if is_conflict(&error) || is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn code_of(error: &ClusterError) -> Option<u16> {
    match error {
        ClusterError::Api { source, .. } => match &**source {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        },
        _ => None,
    }
}

fn is_conflict(error: &ClusterError) -> bool {
    code_of(error) == Some(409)
}

fn is_missing(error: &ClusterError) -> bool {
    code_of(error) == Some(404)
}

#[cfg(test)]
mod tests;
