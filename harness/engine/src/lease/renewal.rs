//! The holder's side of the lock: renewing it, and knowing when it is lost.

use super::{DURATION, LeaseHolder, NAME, RENEW_EVERY, api, is_conflict, is_missing, read};
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError};
use firedrill_core::time::At;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// A holder stops when its last renewal began this long ago. The rest of [`DURATION`] is for what it was doing to end.
const RENEW_DEADLINE: Duration = Duration::from_secs(40);
/// Limit of one renewal, so that one that hangs leaves time for others.
const RENEW_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the deadline is compared with the clock: timers stand still in a suspension, and the deadline does not.
const CHECK_EVERY: Duration = Duration::from_millis(200);
// What a holder was doing must have ended before another may take the lock.
const _: () = assert!(RENEW_DEADLINE.as_secs() + RENEW_TIMEOUT.as_secs() < DURATION.as_secs());

/// When a holder renews, and when it stops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) every: Duration,
    pub(super) request: Duration,
    pub(super) deadline: Duration,
    pub(super) check: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { every: RENEW_EVERY, request: RENEW_TIMEOUT, deadline: RENEW_DEADLINE, check: CHECK_EVERY }
    }
}

/// The holder's side: what it wrote last, and the start of the request that did so.
pub(super) struct Holder {
    pub(super) cluster: Cluster,
    pub(super) clock: Clock,
    pub(super) holder: String,
    pub(super) held: LeaseObject,
    pub(super) renewed: At,
}

enum Renewal {
    Done(Box<LeaseObject>),
    /// It is still ours, and was changed since: when it was renewed last is not known. The next renewal starts from here.
    Changed(Box<LeaseObject>),
    Lost(String),
}

impl Holder {
    /// Renews until that is not possible any more; why not.
    pub(super) async fn until_lost(mut self, timing: Timing) -> String {
        // The first renewal is due one period after the lease was taken.
        let first = self.clock.deadline(self.renewed.plus(timing.every));
        let mut ticks = tokio::time::interval_at(first, timing.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = String::new();
        loop {
            let attempt = async {
                ticks.tick().await;
                let begun = self.clock.now();
                (begun, tokio::time::timeout(timing.request, self.once()).await)
            };
            let (begun, ended) = tokio::select! {
                biased;
                () = reached(&self.clock, self.renewed.plus(timing.deadline), timing.check) => {
                    let silent = self.clock.now().since(self.renewed).as_secs();
                    return format!("the lease on the cluster could not be renewed for {silent} s{last}");
                }
                ended = attempt => ended,
            };
            match ended {
                Ok(Ok(Renewal::Done(lease))) => (self.held, self.renewed) = (*lease, begun),
                Ok(Ok(Renewal::Changed(lease))) => self.held = *lease,
                Ok(Ok(Renewal::Lost(reason))) => return reason,
                Ok(Err(error)) => last = format!(": {error}"),
                Err(_) => last = format!(": no answer of the API server for {} s", timing.request.as_secs()),
            }
        }
    }

    async fn once(&self) -> Result<Renewal, ClusterError> {
        let mut next = self.held.clone();
        if let Some(spec) = &mut next.spec {
            spec.renew_time = Some(MicroTime(self.clock.timestamp(self.clock.now())));
        }
        let api = api(&self.cluster);
        let gone = || Renewal::Lost("the lease on the cluster was deleted".to_owned());
        match self.cluster.ask("renewing the lease", api.replace(NAME, &PostParams::default(), &next)).await {
            Ok(lease) => Ok(self.compared(lease, Renewal::Done)),
            Err(error) if is_missing(&error) => Ok(gone()),
            // An earlier renewal whose answer was lost, a stranger's annotation, or another holder.
            Err(error) if is_conflict(&error) => match read(&self.cluster).await? {
                Some(found) => Ok(self.compared(found, Renewal::Changed)),
                None => Ok(gone()),
            },
            Err(error) => Err(error),
        }
    }

    /// Whether a Lease is still the one that this holder took.
    fn compared(&self, now: LeaseObject, ours: fn(Box<LeaseObject>) -> Renewal) -> Renewal {
        let holder = LeaseHolder::of(&now).holder;
        if holder.is_empty() {
            Renewal::Lost("the lease on the cluster was released by somebody else".to_owned())
        } else if holder != self.holder {
            Renewal::Lost(format!("the cluster was taken over by {holder}"))
        } else if now.metadata.uid != self.held.metadata.uid {
            Renewal::Lost("the lease on the cluster was deleted".to_owned())
        } else {
            ours(Box::new(now))
        }
    }
}

/// Returns once the clock has reached a moment, whether or not the machine was suspended meanwhile.
async fn reached(clock: &Clock, at: At, check: Duration) {
    while clock.now() < at {
        tokio::time::sleep_until(clock.deadline(at.min(clock.now().plus(check)))).await;
    }
}
