//! The end of every run, whatever happened before: logs kept, faults out, objects gone, the cluster compared.

use super::account;
use super::arm::{Instruments, POD_WITHIN, STOP_WITHIN};
use super::before::Before;
use super::compare::{Silence, compare};
use super::context::{Context, Stop};
use super::heartbeat::{BUNDLE_SILENCE_TIMEOUT, Heartbeat, SILENCE_TIMEOUT};
use crate::planted::{self, Bug};
use crate::port::Agent;
use firedrill_core::event::{Event, Undo};
use firedrill_core::plan::Phase;
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
/// How long faults may take to be out after their undo: a node that was powered on has to be ready again.
const FAULTS_OUT_WITHIN: Duration = Duration::from_secs(100);
/// How often it is looked.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Interrupts that stop an undo, and those that stop to wait for the cluster to settle.
const LEAVE_AT: u32 = 3;
pub(super) const SKIP_SETTLING_AT: u32 = 2;

/// How a run's end went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CleanupResult {
    /// Whether everything was undone and the cluster was seen to be as before.
    pub(super) clean: bool,
    /// Whether the API server was silent for so long that nothing more was asked of it.
    pub(super) silent: bool,
    /// Where it is not clean: what is left or differs. It may hold secrets.
    pub(super) left: Vec<String>,
}

/// Keeps logs and states before anything is cleaned.
pub(super) async fn keep_bundle(context: &Context) {
    context.doing("keeping logs and states");
    let folder = context.folder.join("bundle");
    let heartbeat = Heartbeat::start(context);
    let bundle = async { Ok(context.ports.observer.bundle(&folder, &context.drill.scenario, BUNDLE_WITHIN).await) };
    let missing = tokio::select! {
        biased;
        missing = context.guarded(bundle) => missing.unwrap_or_else(|stop| vec![stop.to_string()]),
        () = context.interrupts.at_least(1) => vec!["what came after the interrupt".to_owned()],
        () = heartbeat.silent(BUNDLE_SILENCE_TIMEOUT) => vec!["what came after the API server fell silent".to_owned()],
    };
    context.recorder.record(Event::BundleKept { path: "bundle".to_owned(), missing });
}

/// Takes everything away in reverse, and compares the cluster with what it was before.
///
/// All of it ends once the API server was silent for [`SILENCE_TIMEOUT`], counted from its last answer, or from now where that is
/// later. What makes progress may take as long as the plan allows.
pub(super) async fn undo_and_compare(
    context: &Context,
    armed: Option<&mut Instruments>,
    before: &Before,
    count_late: bool,
) -> CleanupResult {
    undo_unless_silent(context, armed, before, count_late, SILENCE_TIMEOUT).await
}

async fn undo_unless_silent(
    context: &Context,
    armed: Option<&mut Instruments>,
    before: &Before,
    count_late: bool,
    silence_max: Duration,
) -> CleanupResult {
    let faulty = Mutex::new(None);
    let heartbeat = Heartbeat::start(context);
    let mut silence = std::pin::pin!(heartbeat.silent(silence_max));
    let mut silent = false;
    let undoing = async {
        tokio::select! {
            biased;
            undone = undo(context, armed, count_late, &faulty) => undone,
            () = silence.as_mut() => {
                silent = true;
                Err(Stop::Failed(gave_up(silence_max)))
            }
        }
    };
    // What a late ledger takes is not taken from the undos that follow it.
    let late = if count_late { context.deadline(Phase::Ledger) } else { Duration::ZERO };
    let limit = context.deadline(Phase::Undo) + UNDO_WITHIN + STOP_WITHIN + late;
    let undone = context.phase(Phase::Undo, limit, LEAVE_AT, undoing).await;
    if let Err(stop) = &undone {
        for (id, undo) in context.undo.untried() {
            context.undo.done(id, Some(stop.to_string()), context.ports.faults.finish_with(&context.mark, &undo));
        }
    }
    let not_looked =
        || context.undo.recorded().iter().filter(|undo| undo.is_of_a_fault()).map(ToString::to_string).collect();
    let faulty = faulty.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(not_looked);
    let silence = Silence { limit: silence_max, passed: silence.as_mut(), has_passed: &mut silent };
    let comparing = compare(context, before, faulty, silence);
    let compared = context.phase(Phase::Clean, context.deadline(Phase::Clean), LEAVE_AT, comparing).await;
    let clean = undone.is_ok() && compared.is_ok();
    let left = undone.err().into_iter().chain(compared.err()).map(|stop| stop.to_string()).collect();
    CleanupResult { clean, silent, left }
}

/// What is said of an API server that nothing more is asked of.
pub(super) fn gave_up(silence_max: Duration) -> String {
    format!("the API server has not answered for {} s", silence_max.as_secs())
}

async fn undo(
    context: &Context,
    mut armed: Option<&mut Instruments>,
    count_late: bool,
    faulty: &Mutex<Option<Vec<String>>>,
) -> Result<((), String), Stop> {
    // The faults go first, so that the service can recover.
    let (faults, rest): (Vec<_>, Vec<_>) = context.undo.open().into_iter().partition(|(_, undo)| undo.is_of_a_fault());
    let total = faults.len() + rest.len();
    let mut failed = carry_out(context, None, faults).await;
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
    let vantages = armed.as_ref().map(|armed| &armed.vantages).filter(|vantages| !vantages.may_write());
    let own = vantages.map(|vantages| vantages.agent());
    let stand_in = match rest.iter().any(|(_, undo)| undo.is_data()) {
        true => stand_in(context, own).await,
        false => None,
    };
    let agent = stand_in.as_deref().or(own);
    failed += carry_out(context, agent, rest).await;
    match failed {
        0 => Ok(((), format!("{total} of {total} undone"))),
        _ => Err(Stop::Failed(format!("{failed} of {total} could not be undone"))),
    }
}

/// Another agent inside the cluster, where the run's own is lost or there never was one. What fails soon is tried again: an
/// API server that starts even forbids things for a moment.
async fn stand_in(context: &Context, own: Option<&dyn Agent>) -> Option<Box<dyn Agent>> {
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
        match context.ports.probes.replace(&context.mark, POD_WITHIN).await {
            Ok(agent) => return Some(agent),
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
async fn late_ledger(context: &Context, armed: &Instruments) {
    let why = tokio::select! {
        biased;
        () = count_late(context, armed) => return,
        () = tokio::time::sleep(context.deadline(Phase::Ledger)) => "in time",
        () = context.interrupts.at_least(SKIP_SETTLING_AT) => "before the run was interrupted again",
    };
    context.recorder.record(Event::Note { text: format!("acknowledged writes could not be read back {why}") });
}

async fn count_late(context: &Context, armed: &Instruments) {
    context.doing("restarting what crashed");
    for text in context.ports.cluster.restart_crashed(&context.drill.scenario, &context.mark.run_id).await {
        context.recorder.record(Event::Note { text });
    }
    let counted = match armed.vantages.agent().answers().await {
        Ok(()) => account::count(context, armed).await.map(drop).map_err(|stop| stop.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = counted {
        context.recorder.record(Event::Note { text: format!("acknowledged writes cannot be read back: {why}") });
    }
}

/// Carries undos out, in this order. What fails is tried again in rounds for [`UNDO_AGAIN_FOR`], so that one that waits for
/// something that is away keeps no other from its turn; repeating one is harmless. How many failed to the end.
async fn carry_out(context: &Context, agent: Option<&dyn Agent>, undos: Vec<(u32, Undo)>) -> usize {
    let again_until = context.at().plus(UNDO_AGAIN_FOR);
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = undos;
    loop {
        tick.tick().await;
        let mut failed = Vec::new();
        for (id, undo) in open {
            context.doing(undo.to_string());
            if planted::has(Bug::UndoSkipped) && undo.is_of_a_fault() {
                context.undo.done(id, None, None);
                continue;
            }
            match attempt(context, agent, &undo).await {
                Ok(()) => context.undo.done(id, None, None),
                Err(error) => failed.push((id, undo, error)),
            }
        }
        let Some((_, undo, error)) = failed.first() else { return 0 };
        if context.at() >= again_until || context.interrupts.count() >= SKIP_SETTLING_AT {
            let count = failed.len();
            for (id, undo, error) in failed {
                context.undo.done(id, Some(error), context.ports.faults.finish_with(&context.mark, &undo));
            }
            return count;
        }
        context.doing(format!("{undo}, again: {error}"));
        open = failed.into_iter().map(|(id, undo, _)| (id, undo)).collect();
    }
}

/// Carries one undo out. A panic in it is its failure, and no other's.
async fn attempt(context: &Context, agent: Option<&dyn Agent>, undo: &Undo) -> Result<(), String> {
    let undoing = async { one(context, agent, undo).await.map_err(Stop::Failed) };
    match tokio::time::timeout(UNDO_WITHIN, context.guarded(undoing)).await {
        Ok(undone) => undone.map_err(|stop| stop.to_string()),
        Err(_) => Err(format!("not done within {} s", UNDO_WITHIN.as_secs())),
    }
}

async fn one(context: &Context, agent: Option<&dyn Agent>, undo: &Undo) -> Result<(), String> {
    if undo.is_data() {
        let agent = agent.ok_or_else(|| "the agent for it is gone".to_owned())?;
        return agent.take_away(undo).await;
    }
    match context.ports.faults.undo(&context.mark, undo, UNDO_WITHIN).await {
        Err(error) if planted::has(Bug::ConflictCountsAsDone) && error.to_string().contains("conflict") => Ok(()),
        undone => undone.map_err(|error| error.to_string()),
    }
}

/// Looks until no fault is in; what still is when the limit passes.
async fn look_at_faults(context: &Context) -> Vec<String> {
    if planted::has(Bug::FaultNotLookedAt) {
        return Vec::new();
    }
    let faults: Vec<Undo> = context.undo.recorded().into_iter().filter(Undo::is_of_a_fault).collect();
    let deadline = context.clock().deadline(context.at().plus(FAULTS_OUT_WITHIN));
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tick.tick().await;
        let mut still = Vec::new();
        for undo in &faults {
            match context.ports.faults.is_clean(&context.mark, undo, UNDO_WITHIN).await {
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

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeRun, empty_cluster};
    use super::*;
    use firedrill_core::event::PhaseEnd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// In place of two minutes.
    const SILENCE_MAX: Duration = Duration::from_secs(3);

    fn undos() -> [Undo; 3] {
        let delete = |kind: &str, namespace: Option<&str>, name: &str| Undo::DeleteObject {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        };
        let release = Undo::RollBackUnfinished {
            namespace: "ironflow".to_owned(),
            release: "ironflow".to_owned(),
            revision: 2,
            uid: "u".to_owned(),
        };
        [delete("Namespace", None, "firedrill-r1"), delete("Service", Some("ironflow"), "firedrill-r1"), release]
    }

    /// Secrets are listed as if Helm had no record: the release is gone, and nothing is to be rolled back.
    fn answer(path: &str) -> (u16, String) {
        match path.contains("/secrets") {
            true => (
                200,
                r#"{"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": []}"#
                    .to_owned(),
            ),
            false => empty_cluster(path),
        }
    }

    async fn finish(run: &FakeRun) -> (CleanupResult, Duration) {
        for undo in undos() {
            run.context.undo.record_in_journal(undo);
        }
        let clock = run.context.clock();
        let from = clock.now();
        let finished = undo_unless_silent(&run.context, None, &Before::empty(), false, SILENCE_MAX).await;
        (finished, clock.now().since(from))
    }

    fn failed(run: &FakeRun) -> Vec<String> {
        let failed = run.events().into_iter().filter_map(|event| match event {
            Event::Undone { error, .. } => Some(error.unwrap_or_default()),
            _ => None,
        });
        failed.collect()
    }

    #[tokio::test]
    async fn an_api_server_that_is_away_for_good_is_given_up_at_the_limit() {
        assert_eq!(SILENCE_TIMEOUT, Duration::from_secs(120), "docs/safety.md promises two minutes");
        let run = FakeRun::new(|_, _| None).await;
        let (finished, took) = finish(&run).await;
        assert!(!finished.clean && finished.silent && finished.left.len() == 2, "{finished:?}");
        assert!(took >= SILENCE_MAX && took < SILENCE_MAX + Duration::from_secs(2), "{took:?}");
        let failed = failed(&run);
        assert_eq!(failed.len(), 3, "{failed:?}");
        assert!(failed.iter().all(|error| *error == gave_up(SILENCE_MAX)), "{failed:?}");
        let checked = run.events().into_iter().find_map(|event| match event {
            Event::CleanChecked { differences, still_faulty, .. } => Some((differences, still_faulty)),
            _ => None,
        });
        let (differences, still_faulty) = checked.unwrap();
        assert_eq!(differences, [format!("not compared: {}", gave_up(SILENCE_MAX))]);
        assert_eq!(still_faulty.len(), 1, "nobody saw the fault out: {still_faulty:?}");
    }

    #[tokio::test]
    async fn an_api_server_that_comes_back_in_time_is_undone_on() {
        let away = Arc::new(AtomicBool::new(true));
        let server = away.clone();
        let unavailable = || (503, String::new());
        let said = move |path: &str| if server.load(Ordering::Relaxed) { unavailable() } else { answer(path) };
        let run = FakeRun::new(move |_, path| Some(said(path))).await;
        tokio::spawn(async move {
            tokio::time::sleep(SILENCE_MAX.mul_f64(0.6)).await;
            away.store(false, Ordering::Relaxed);
        });
        let (finished, took) = finish(&run).await;
        assert_eq!(finished, CleanupResult { clean: true, silent: false, left: Vec::new() }, "{:?}", run.events());
        assert!(took < SILENCE_MAX * 4, "{took:?}");
        assert_eq!(failed(&run), ["", "", ""]);
    }

    #[tokio::test]
    async fn a_panic_in_a_phase_is_told_with_its_place_and_everything_is_undone() {
        let run = FakeRun::new(|_, path| Some(answer(path))).await;
        let body = async {
            tokio::task::yield_now().await;
            if run.folder.path().exists() {
                panic!("the injection met what it did not expect");
            }
            Ok(((), String::new()))
        };
        let stop = run.context.phase(Phase::Inject, Duration::from_secs(9), 1, body).await.unwrap_err();
        let Stop::Broken(why) = &stop else { panic!("{stop:?}") };
        assert!(why.starts_with("firedrill panicked: ") && why.contains(".rs:"), "{why}");
        assert!(run.context.lost_now().is_some(), "no pass, whatever was measured");
        let ended = run.events().into_iter().find_map(|event| match event {
            Event::PhaseEnded { end, .. } => Some(end),
            _ => None,
        });
        assert!(matches!(ended, Some(PhaseEnd::Failed { .. })), "{ended:?}");
        let (finished, _) = finish(&run).await;
        assert_eq!(finished, CleanupResult { clean: true, silent: false, left: Vec::new() }, "{:?}", run.events());
        assert_eq!(failed(&run), ["", "", ""]);
    }
}
