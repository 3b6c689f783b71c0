//! Whether a run may begin on this cluster, and what the cluster is before it.

use super::before::{self, Before};
use super::context::{AcceptedRun, AcceptedState, Context, Stop};
use super::journals::{self, Journals};
use super::planned::RunError;
use super::watching;
use crate::port::{DigestKey, DirtyEnd};
use firedrill_core::event::Event;
use firedrill_core::scenario::{Condition, Recovery, Start};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// For how long workloads that are not ready are taken for starting.
const STARTING_TIMEOUT: Duration = Duration::from_secs(20);

/// Why no run begins on this cluster: its "before" would be what an earlier run left.
pub(super) fn left_changed(journals: &Journals, cluster: &str) -> Option<RunError> {
    let unsettled: Vec<_> = journals.unsettled().collect();
    let first = unsettled.first()?;
    let more = match unsettled.len() {
        1 => String::new(),
        count => format!(" (and so did {} later ones)", count - 1),
    };
    Some(RunError::Environment {
        message: format!(
            "run {} left {cluster} changed{more}, and no sweep has settled it since: {}",
            first.run_id, first.ending
        ),
        hint: Some(
            "fix the cluster and check it with `firedrill sweep`, or accept its current state with --accept-current-state"
                .to_owned(),
        ),
        dirty: false,
    })
}

/// The earlier runs that left the cluster changed, for a run that takes it as it is.
pub(super) fn accepted(journals: &Journals, elsewhere: &[DirtyEnd]) -> Vec<AcceptedRun> {
    let of = |saved: &journals::SavedRun| AcceptedRun {
        run_id: saved.run_id.clone(),
        known: AcceptedState::Here { folder: saved.folder.clone(), irreversible: journals.irreversible_since(saved) },
    };
    let far = elsewhere
        .iter()
        .map(|end| AcceptedRun { run_id: end.run.clone(), known: AcceptedState::Elsewhere(end.to_string()) });
    journals.unsettled().map(of).chain(far).collect()
}

/// The cluster is as the scenario needs it, by the conditions of all its variants, and is listed to be compared with later.
///
/// # Errors
/// Where it is not so within the phase's limit, or another run left something on it.
pub(super) async fn preflight(context: &Context) -> Result<(Before, String), Stop> {
    let mut baselines = Vec::new();
    for (name, variant) in &context.drill.scenario.variants {
        let baseline = context.ports.observer.baseline(variant).await.map_err(Stop::failed)?;
        // That an alert is over matters to the variant that waits for it: the others need no Prometheus for it.
        let own = *name == context.plan.variant;
        let asked = variant.redundancy.iter().filter(|asked| own || !matches!(asked, Condition::AlertOver { .. }));
        baselines.push((asked.collect::<Vec<_>>(), baseline));
    }
    if !context.left_behind.is_empty() {
        let others: Vec<_> = context.left_behind.iter().map(String::as_str).collect();
        return Err(Stop::Failed(format!(
            "{} left undo records on the cluster, so its fault may still be there: run firedrill sweep",
            others.join(", ")
        )));
    }
    context.doing("waiting until everything is healthy");
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tick.tick().await;
        let mut missing = BTreeSet::new();
        for (asked, baseline) in &baselines {
            missing.extend(watching::lacks(context, asked.iter().copied(), baseline).await.all().cloned());
        }
        // A runbook that starts at an alert needs one that is there and quiet; elsewhere it is unknown, and no more.
        if let Recovery::Runbook { start: Start::Alert, .. } = &context.variant.recovery {
            missing.extend(context.ports.observer.not_quiet(&context.variant.alerts).await);
        }
        if missing.is_empty() {
            break;
        }
        context.doing(missing.into_iter().collect::<Vec<_>>().join("; "));
    }
    let before = list(context).await?;
    for accepted in context.accepted.iter() {
        accept(context, accepted).await?;
    }
    for defect in before.inventory.defects() {
        let text = format!("{defect} already before this run, so it does not count as a difference");
        context.recorder.record(Event::Note { text });
    }
    before::keep(&*context.ports.store, &context.folder, &before).map_err(Stop::Broken)?;
    if let Recovery::Runbook { .. } = &context.variant.recovery {
        context.ports.shell.prepare(&context.folder).map_err(Stop::Failed)?;
    }
    let text = format!(
        "marked for drills, healthy, {} targets, {} objects listed",
        context.plan.targets().len(),
        before.inventory.len()
    );
    Ok((before, text))
}

/// Lists the cluster, once nothing in it is on its way to another state.
async fn list(context: &Context) -> Result<Before, Stop> {
    let key = DigestKey::random().map_err(Stop::failed)?;
    let give_up_at = context.at().plus(STARTING_TIMEOUT);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        context.doing("listing the cluster");
        let inventory = context.ports.cluster.inventory(&key).await.map_err(Stop::failed)?;
        let mut changing = inventory.changing();
        if changing.is_empty() {
            // What never gets ready keeps no run away, and what is just starting must not make it look as if the run had changed it.
            let incomplete = inventory.incomplete();
            if incomplete.is_empty() || context.at() >= give_up_at {
                for what in incomplete {
                    let text = format!(
                        "{what} already before this run, so it does not count as a difference if it gets ready"
                    );
                    context.recorder.record(Event::Note { text });
                }
                return Ok(Before { inventory, key });
            }
            changing = incomplete;
        }
        context.doing(format!("waiting for a state to compare with later: {}", changing.join("; ")));
    }
}

/// Takes the cluster as that earlier run left it. How it differed is on disk before that run counts as settled.
async fn accept(context: &Context, accepted: &AcceptedRun) -> Result<(), Stop> {
    context.doing(format!("comparing with the snapshot taken before run {}", accepted.run_id));
    let cluster = &*context.ports.cluster;
    let mut differences = match &accepted.known {
        AcceptedState::Here { folder, irreversible } => before::differ_now(&context.ports, folder, *irreversible).await,
        AcceptedState::Elsewhere(text) => vec![text.clone()],
    };
    if differences.is_empty() {
        differences.push("nothing differs from the snapshot taken before it".to_owned());
    }
    let run = accepted.run_id.clone();
    context.recorder.record_durably(Event::StateAccepted { run, differences }).map_err(Stop::Broken)?;
    if let AcceptedState::Here { folder, .. } = &accepted.known {
        journals::note_accepted(&*context.ports.store, folder, &context.mark.run_id).map_err(Stop::Broken)?;
    }
    cluster.delete_dirty_end(&accepted.run_id).await.map_err(Stop::failed)
}
