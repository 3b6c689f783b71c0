//! What is looked for in the background from the injection on: detection, an alert, and redundancy lost and regained.

use super::alerts::{self, Alerts};
use super::context::Context;
use crate::port::{Baseline, NotHeld};
use firedrill_core::event::Event;
use firedrill_core::plan::Target;
use firedrill_core::scenario::{Condition, ExpectedAlert, Moment};
use firedrill_core::time::At;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the cluster is asked whether it has noticed the fault.
const DETECT_EVERY: Duration = Duration::from_millis(250);
/// How often it is asked for redundancy and the backlog: each look is several requests, of which the cluster that is measured
/// bears the cost.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For how long a look at redundancy says how it is: one of a silent NATS server takes a second, of several conditions some.
const LOOK_KNOWN_FOR: Duration = Duration::from_secs(10);
/// So many messages are work under way, not a backlog.
const BACKLOG_IDLE: u64 = 10;

/// What the background has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WatchState {
    /// When the system noticed.
    pub(super) detected: Option<At>,
    /// When the first of the expected alerts fired.
    pub(super) alerted: Option<At>,
    /// Since when everything redundant is there, without a break.
    pub(super) redundant_since: Option<At>,
    /// Whether redundancy was ever seen to be lost; before that, its being there says nothing.
    pub(super) redundancy_lost: bool,
    /// What of redundancy does not hold.
    pub(super) lacks: MissingRedundancy,
    /// When the look began that saw that.
    pub(super) looked_at: At,
    /// What waits in the work queue.
    pub(super) backlog: Backlog,
}

/// What of redundancy does not hold, in the order of its conditions; nothing where all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MissingRedundancy {
    /// Seen to be missing.
    pub(super) missing: Vec<String>,
    /// What could not be looked at.
    pub(super) unseen: Vec<String>,
}

impl MissingRedundancy {
    /// As it is known at a moment: what was seen too long before that is not known any more.
    pub(super) fn known(self, looked_at: At, now: At) -> Self {
        match now.since(looked_at) <= LOOK_KNOWN_FOR {
            true => self,
            false => Self { unseen: self.all().cloned().collect(), missing: Vec::new() },
        }
    }

    /// All of it, for people.
    pub(super) fn all(&self) -> impl Iterator<Item = &String> {
        self.missing.iter().chain(&self.unseen)
    }

    /// Whether everything holds.
    pub(super) fn is_nothing(&self) -> bool {
        self.all().next().is_none()
    }
}

impl std::fmt::Display for MissingRedundancy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<_> = self.all().map(String::as_str).collect();
        f.write_str(&all.join("; "))
    }
}

/// What waits in the work queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Backlog {
    /// The stack has no work queue.
    None,
    /// More than usual, or it is not known.
    Waiting {
        /// What, for people.
        what: String,
    },
    /// No more than usual.
    Drained {
        /// Since when, without a break.
        since: At,
    },
}

impl Default for Backlog {
    fn default() -> Self {
        Self::Waiting { what: "not looked at yet".to_owned() }
    }
}

/// Watches in the background until dropped.
pub(super) struct Watching {
    /// What was seen; changes wake whoever waits.
    pub(super) seen: watch::Receiver<WatchState>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Watching {
    /// Starts to watch. `baseline` is how the cluster was in its steady state; `alerts` what is known of alerts, of which those
    /// that are `telling` were inactive before the injection: one that takes long may have made them pending by now.
    pub(super) fn start(
        context: &Context,
        injected_at: At,
        baseline: Arc<Baseline>,
        usual_backlog: u64,
        telling: Vec<ExpectedAlert>,
        alerts: watch::Receiver<Alerts>,
    ) -> Self {
        let (sender, seen) = watch::channel(WatchState::default());
        let sender = Arc::new(sender);
        let targets = context.plan.targets();
        let detection = detection(context.clone(), targets, baseline.clone(), sender.clone());
        let alert = alert(context.clone(), telling, alerts, injected_at, sender.clone());
        let redundancy = redundancy(context.clone(), baseline, sender.clone());
        let backlog = backlog(context.clone(), usual_backlog.max(BACKLOG_IDLE), sender);
        let tasks = vec![tokio::spawn(detection), tokio::spawn(alert), tokio::spawn(redundancy), tokio::spawn(backlog)];
        Self { seen, tasks }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}

async fn detection(
    context: Context,
    targets: Vec<Target>,
    baseline: Arc<Baseline>,
    sender: Arc<watch::Sender<WatchState>>,
) {
    let mut tick = ticks(DETECT_EVERY);
    loop {
        tick.tick().await;
        if let Some(by) = context.ports.observer.detected(&context.variant.detect, &targets, &baseline).await {
            let seen_at = context.at();
            context.recorder.record(Event::MomentSeen { moment: Moment::Detected, seen_at, by });
            sender.send_modify(|seen| seen.detected = Some(seen_at));
            return;
        }
    }
}

async fn alert(
    context: Context,
    telling: Vec<ExpectedAlert>,
    alerts: watch::Receiver<Alerts>,
    injected_at: At,
    sender: Arc<watch::Sender<WatchState>>,
) {
    if let Some(at) = alerts::first(&context, &telling, alerts, injected_at).await {
        sender.send_modify(|seen| seen.alerted = Some(at));
    }
}

/// What a variant's conditions of redundancy still lack.
pub(super) async fn lacks<'a>(
    context: &Context,
    conditions: impl IntoIterator<Item = &'a Condition>,
    baseline: &Baseline,
) -> MissingRedundancy {
    let mut lacks = MissingRedundancy::default();
    for condition in conditions {
        match context.ports.observer.holds(condition, baseline).await {
            Ok(_) => {}
            Err(NotHeld::Missing(what)) => lacks.missing.push(what),
            Err(NotHeld::Unseen(why)) => lacks.unseen.push(why),
        }
    }
    lacks
}

async fn redundancy(context: Context, baseline: Arc<Baseline>, sender: Arc<watch::Sender<WatchState>>) {
    let mut tick = ticks(LOOK_EVERY);
    loop {
        tick.tick().await;
        let looked_at = context.at();
        let lacks = lacks(&context, &context.variant.redundancy, &baseline).await;
        let at = context.at();
        sender.send_if_modified(|seen| {
            let before = seen.clone();
            seen.lacks = lacks;
            if seen.lacks.is_nothing() {
                seen.redundant_since.get_or_insert(at);
            } else {
                seen.redundant_since = None;
                // What could not be looked at may have been there all the time.
                seen.redundancy_lost |= !seen.lacks.missing.is_empty();
            }
            let changed = *seen != before;
            seen.looked_at = looked_at;
            changed
        });
    }
}

async fn backlog(context: Context, enough: u64, sender: Arc<watch::Sender<WatchState>>) {
    let mut tick = ticks(LOOK_EVERY);
    loop {
        tick.tick().await;
        let asked = context.ports.observer.backlog(&context.drill.scenario).await;
        let at = context.at();
        sender.send_modify(|seen| {
            seen.backlog = match (asked, &seen.backlog) {
                (Ok(None), _) => Backlog::None,
                (Ok(Some(waiting)), Backlog::Drained { since }) if waiting <= enough => {
                    Backlog::Drained { since: *since }
                }
                (Ok(Some(waiting)), _) if waiting <= enough => Backlog::Drained { since: at },
                (Ok(Some(waiting)), _) => Backlog::Waiting { what: format!("{waiting} steps wait for a worker") },
                (Err(error), _) => Backlog::Waiting { what: error.to_string() },
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_too_long_ago_is_not_known_any_more() {
        let lacks = MissingRedundancy { missing: vec!["a node".to_owned()], unseen: vec!["no answer".to_owned()] };
        let looked_at = At::from_ms(1_000);
        assert_eq!(lacks.clone().known(looked_at, At::from_ms(2_000)), lacks);
        let later = lacks.known(looked_at, At::from_ms(16_000));
        assert_eq!((later.missing.len(), later.unseen.len()), (0, 2));
    }
}
