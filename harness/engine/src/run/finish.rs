//! The end of every run, whatever happened before: logs kept, faults out, objects gone, the cluster compared.

use super::account;
use super::anew::start_anew;
use super::arm::{Armed, POD_WITHIN, STOP_WITHIN};
use super::context::{Context, Stop};
use super::endpoints::{is_data, take_away};
use crate::agent::Inside;
use crate::cluster::{Inventory, differences};
use crate::{fault, observe};
use firedrill_core::event::{Event, Undo};
use firedrill_core::plan::Phase;
use firedrill_core::time::At;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How long keeping logs and states may take.
const BUNDLE_WITHIN: Duration = Duration::from_secs(60);
/// How long one undo may take.
const UNDO_WITHIN: Duration = Duration::from_secs(60);
/// For how long faults' undos, and then all others, are tried again where they failed: the API server may be away for a while.
const UNDO_AGAIN_FOR: Duration = Duration::from_secs(120);
/// For how long another probe agent is tried again.
const STAND_IN_AGAIN_FOR: Duration = Duration::from_secs(60);
/// When nothing was heard of the API server for this long, after all that, nothing is to be found out from it any more.
const SILENT_MAX: Duration = Duration::from_secs(45);
/// How long faults may take to be out after their undo: a node that was powered on has to be ready again.
const FAULTS_OUT_WITHIN: Duration = Duration::from_secs(100);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Interrupts that stop an undo, and those that stop to wait for the cluster to settle.
const LEAVE_AT: u32 = 3;
const SKIP_SETTLING_AT: u32 = 2;

/// Keeps logs and states before anything is cleaned.
pub(super) async fn keep_bundle(context: &Context) {
    context.doing("keeping logs and states");
    let folder = context.folder.join("bundle");
    let missing = tokio::select! {
        missing = observe::bundle(&context.cluster, &folder, &context.drill.scenario, BUNDLE_WITHIN) => missing,
        () = context.interrupts.at_least(1) => vec!["what came after the interrupt".to_owned()],
    };
    context.recorder.record(Event::BundleKept { path: "bundle".to_owned(), missing });
}

/// Takes everything away in reverse, and compares the cluster with what it was before; whether it is so.
pub(super) async fn undo_and_compare(
    context: &Context,
    armed: Option<&mut Armed>,
    before: &Inventory,
    count_late: bool,
) -> bool {
    let faulty = Mutex::new(None);
    let undoing = undo(context, armed, count_late, &faulty);
    // What a late ledger takes is not taken from the undos that follow it.
    let late = if count_late { context.deadline(Phase::Ledger) } else { Duration::ZERO };
    let limit = context.deadline(Phase::Undo) + UNDO_WITHIN + STOP_WITHIN + late;
    let undone = context.phase(Phase::Undo, limit, LEAVE_AT, undoing).await;
    if undone.is_err() {
        for (id, undo) in context.undo.untried() {
            context.undo.done(id, Some("not undone".to_owned()), fault::finish_with(&context.tools(), &undo));
        }
    }
    let not_looked =
        || context.undo.recorded().iter().filter(|undo| undo.is_of_a_fault()).map(ToString::to_string).collect();
    let faulty = faulty.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(not_looked);
    let comparing = compare(context, before, faulty);
    let compared = context.phase(Phase::Clean, context.deadline(Phase::Clean), LEAVE_AT, comparing).await;
    undone.is_ok() && compared.is_ok()
}

async fn undo(
    context: &Context,
    mut armed: Option<&mut Armed>,
    count_late: bool,
    faulty: &Mutex<Option<Vec<String>>>,
) -> Result<((), String), Stop> {
    // The faults go first, so that the service can recover.
    let (faults, rest): (Vec<_>, Vec<_>) = context.undo.open().into_iter().partition(|(_, undo)| undo.is_of_a_fault());
    let mut failed = 0;
    let total = faults.len() + rest.len();
    let again_until = context.at().plus(UNDO_AGAIN_FOR);
    for (id, undo) in faults {
        failed += usize::from(!carry_out(context, None, id, &undo, again_until).await);
    }
    // Looked at here, while the node agents that look are still there.
    let still_faulty = look_at_faults(context).await;
    // A run that dies from here on must not have it undone again, over what somebody did since.
    if let Err(error) = context.undo.delete_records(&still_faulty).await {
        context.recorder.record(Event::Note { text: error.to_string() });
    }
    *faulty.lock().unwrap_or_else(PoisonError::into_inner) = Some(still_faulty);
    if let Some(armed) = armed.as_mut() {
        // What the probes write is taken away next, so none of them may go on.
        armed.stop_probes(context).await;
        if count_late {
            late_ledger(context, armed).await;
        }
        armed.stop_watchers().await;
    }
    // An agent that did not hear that its probes are to stop is replaced: it would write what was just taken away.
    let own = armed.as_ref().map(|armed| &armed.inside).filter(|inside| !inside.may_write());
    let stand_in = match rest.iter().any(|(_, undo)| is_data(undo)) {
        true => stand_in(context, own).await,
        false => None,
    };
    let inside = stand_in.as_ref().or(own);
    let again_until = context.at().plus(UNDO_AGAIN_FOR);
    for (id, undo) in rest {
        failed += usize::from(!carry_out(context, inside, id, &undo, again_until).await);
    }
    match failed {
        0 => Ok(((), format!("{total} of {total} undone"))),
        _ => Err(Stop::Failed(format!("{failed} of {total} could not be undone"))),
    }
}

/// Another agent inside the cluster, where the run's own is lost or there never was one. What fails soon is tried again: an
/// API server that starts even forbids things for a moment.
async fn stand_in(context: &Context, own: Option<&Inside>) -> Option<Inside> {
    if let Some(own) = own
        && own.answers().await.is_ok()
    {
        return None;
    }
    context.doing("starting another probe agent");
    let again_until = context.at().plus(STAND_IN_AGAIN_FOR);
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match Inside::replace(&context.cluster, &context.mark, &context.drill.agent_image, POD_WITHIN).await {
            Ok(inside) => return Some(inside),
            Err(error) if context.at() >= again_until || context.interrupts.count() >= SKIP_SETTLING_AT => {
                context.recorder.record(Event::Note { text: error.to_string() });
                return None;
            }
            Err(error) => context.doing(format!("starting another probe agent, again: {error}")),
        }
    }
}

/// A run that broke off still says what became of its writes, once the fault is out, if the stores answer within the limit
/// of a ledger. A second interrupt ends that.
async fn late_ledger(context: &Context, armed: &Armed) {
    let why = tokio::select! {
        () = count_late(context, armed) => return,
        () = tokio::time::sleep(context.deadline(Phase::Ledger)) => "in time",
        () = context.interrupts.at_least(SKIP_SETTLING_AT) => "before the run was interrupted again",
    };
    context.recorder.record(Event::Note { text: format!("acknowledged writes could not be read back {why}") });
}

async fn count_late(context: &Context, armed: &Armed) {
    start_anew(context).await;
    let counted = match armed.inside.answers().await {
        Ok(()) => account::count(context, armed).await.map(drop).map_err(|stop| stop.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = counted {
        context.recorder.record(Event::Note { text: format!("acknowledged writes cannot be read back: {why}") });
    }
}

/// Carries one undo out, if need be again and again until `again_until`; repeating one is harmless.
async fn carry_out(context: &Context, inside: Option<&Inside>, id: u32, undo: &Undo, again_until: At) -> bool {
    context.doing(undo.to_string());
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let error = loop {
        tick.tick().await;
        let error = match tokio::time::timeout(UNDO_WITHIN, one(context, inside, undo)).await {
            Ok(Ok(())) => break None,
            Ok(Err(error)) => error,
            Err(_) => format!("not done within {} s", UNDO_WITHIN.as_secs()),
        };
        if context.at() >= again_until || context.interrupts.count() >= SKIP_SETTLING_AT {
            break Some(error);
        }
        context.doing(format!("{undo}, again: {error}"));
    };
    let ok = error.is_none();
    let finish_with = if ok { None } else { fault::finish_with(&context.tools(), undo) };
    context.undo.done(id, error, finish_with);
    ok
}

async fn one(context: &Context, inside: Option<&Inside>, undo: &Undo) -> Result<(), String> {
    if is_data(undo) {
        let inside = inside.ok_or_else(|| "the agent that could do it is gone".to_owned())?;
        return take_away(&context.cluster, inside, undo).await;
    }
    fault::undo(&context.tools(), undo, UNDO_WITHIN).await.map_err(|error| error.to_string())
}

/// Looks until no fault is in; what still is when the limit passes.
async fn look_at_faults(context: &Context) -> Vec<String> {
    let faults: Vec<Undo> = context.undo.recorded().into_iter().filter(Undo::is_of_a_fault).collect();
    let deadline = context.clock().deadline(context.at().plus(FAULTS_OUT_WITHIN));
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tick.tick().await;
        let mut still = Vec::new();
        for undo in &faults {
            match fault::is_clean(&context.tools(), undo, UNDO_WITHIN).await {
                Ok(true) => {}
                Ok(false) => still.push(undo.to_string()),
                Err(error) => still.push(format!("{undo}: {error}")),
            }
        }
        let late = context.clock().deadline(context.at()) >= deadline;
        if still.is_empty() || late || context.interrupts.count() >= SKIP_SETTLING_AT {
            return still;
        }
        context.doing(format!("waiting until the faults are out: {}", still.join("; ")));
    }
}

/// Waits until nothing of the run is left and the cluster is as before; records what is not.
async fn compare(context: &Context, before: &Inventory, still_faulty: Vec<String>) -> Result<((), String), Stop> {
    let recorded = context.undo.recorded();
    let made: BTreeSet<String> = recorded.iter().filter(|undo| is_object(undo)).map(ToString::to_string).collect();
    let made = u32::try_from(made.len()).unwrap_or(u32::MAX);
    let deadline = context.clock().deadline(context.at().plus(context.deadline(Phase::Clean).mul_f64(0.9)));
    let mut tick = tokio::time::interval(LOOK_EVERY);
    let mut answered = context.at();
    let mut last = None;
    loop {
        tick.tick().await;
        // Until then the API server may have been away.
        let _ = tokio::time::timeout_at(deadline, context.undo.delete_records(&still_faulty)).await;
        // A look that the limit cuts off says less than the one before it.
        let silent = || Look { error: Some("the API server did not answer".to_owned()), ..Look::default() };
        let looked = tokio::time::timeout_at(deadline, look(context, before)).await;
        let looked = looked.unwrap_or_else(|_| last.take().unwrap_or_else(silent));
        let clean = looked.is_clean() && still_faulty.is_empty();
        if looked.error.is_none() {
            answered = context.at();
        }
        let late = context.clock().deadline(context.at()) >= deadline || context.at().since(answered) >= SILENT_MAX;
        if !clean && !late && context.interrupts.count() < SKIP_SETTLING_AT {
            context.doing(looked.text());
            last = Some(looked);
            continue;
        }
        let mut differences = looked.differences.clone();
        differences.extend(looked.error.clone());
        context.recorder.record(Event::CleanChecked {
            made,
            gone: made.saturating_sub(looked.left),
            differences,
            still_faulty: still_faulty.clone(),
            residue: looked.residue.clone(),
        });
        return match clean {
            true => Ok(((), format!("{made} objects made, {made} gone; listing as before"))),
            false => Err(Stop::Failed([still_faulty.join("; "), looked.text()].join(" ").trim().to_owned())),
        };
    }
}

fn is_object(undo: &Undo) -> bool {
    is_data(undo) || matches!(undo, Undo::DeleteObject { .. } | Undo::RemoveNode { .. })
}

#[derive(Default)]
struct Look {
    differences: Vec<String>,
    /// What differs and is declared.
    residue: Vec<String>,
    left: u32,
    error: Option<String>,
}

impl Look {
    fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.left == 0 && self.error.is_none()
    }

    fn text(&self) -> String {
        let left = (self.left > 0).then(|| format!("{} objects of the run are left", self.left));
        let all = self.error.iter().chain(&self.differences).cloned().chain(left);
        all.collect::<Vec<_>>().join("; ")
    }
}

async fn look(context: &Context, before: &Inventory) -> Look {
    let mut looked = Look::default();
    match context.cluster.objects_of_runs().await {
        Ok(left) => {
            let mine = left.iter().filter(|left| left.run_id == context.mark.run_id).count();
            looked.left = u32::try_from(mine + open_data(context)).unwrap_or(u32::MAX);
        }
        Err(error) => looked.error = Some(error.to_string()),
    }
    match context.cluster.inventory().await {
        Ok(after) => {
            let found = differences(before, &after, context.variant.irreversible);
            (looked.differences, looked.residue) = (found.undeclared, found.declared);
        }
        Err(error) => looked.error = Some(error.to_string()),
    }
    looked
}

/// Tables and messages whose undo did not work.
fn open_data(context: &Context) -> usize {
    let open = context.undo.open();
    open.iter().filter(|(_, undo)| is_data(undo)).count()
}
