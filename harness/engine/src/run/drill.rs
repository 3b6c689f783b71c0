//! A drill, whole: its plan, its phases in order, and its end, whatever happened.

use super::arm::{self, Instruments};
use super::board::Board;
use super::context::{Context, Stop};
use super::finish::CleanupResult;
use super::interrupt::Interrupts;
use super::journals::Journals;
use super::leftovers::left_behind;
use super::panics::Panics;
use super::planned::{Drill, RunError, environment, plan, planned_steps};
use super::preflight::{accepted, left_changed, preflight};
use super::recorder::{Progress, Recorder};
use super::suspension::Suspensions;
use super::undo_log::{RunRecords, UndoLog};
use super::watching::Watching;
use super::{account, alerts, before, dirty, finish, inject, recover, steady};
use crate::port::{Baseline, Lease, Ports, RunMark};
use firedrill_core::event::{CheckTime, Event, JOURNAL_VERSION, RunStarted};
use firedrill_core::plan::{Phase, Plan};
use firedrill_core::scenario::Recovery;
use firedrill_core::time::At;
use futures::FutureExt;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// For how long a look at how things are before the fault is tried again.
const BASELINE_WITHIN: Duration = Duration::from_secs(10);

/// Where and with what to run it.
#[derive(Clone)]
pub struct Options {
    /// What.
    pub drill: Drill,
    /// The cluster and everything else outside the run.
    pub ports: Ports,
    /// The folder that gets the run's own.
    pub runs: PathBuf,
    /// Whether the cluster is taken as it is where an earlier run left it changed.
    pub accept_current_state: bool,
    /// Where the command found things, as [`RunStarted::flags`] has it.
    pub flags: BTreeMap<String, String>,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its folder.
    pub folder: PathBuf,
    /// Why the cluster could not be drilled, where it was not as it must be and nothing was broken.
    pub environment: Option<String>,
    /// Whether the cluster was seen to be as before.
    pub clean: bool,
}

/// Runs a drill. Whatever happens, what it made is taken away again, or said to be left.
///
/// # Errors
/// Where the cluster is not as it must be before anything was made, or the run's files cannot be written.
pub async fn run(options: Options, progress: mpsc::Sender<Progress>, interrupts: Interrupts) -> Result<Ran, RunError> {
    let redactor = options.ports.cluster.redactor();
    from_plan_to_end(options, progress, interrupts).await.map_err(|RunError::Environment { message, hint, dirty }| {
        // It is printed, and a message of the API server or of a program may hold what it was given.
        RunError::Environment { message: redactor.text(&message), hint, dirty }
    })
}

async fn from_plan_to_end(
    options: Options,
    progress: mpsc::Sender<Progress>,
    interrupts: Interrupts,
) -> Result<Ran, RunError> {
    let panics = Panics::from_now();
    let ports = options.ports.clone();
    let clock = ports.clock;
    let plan = plan(&options.drill, &ports).await?;
    let info = ports.cluster.info().await?;
    let cluster_uid = info.uid.clone();
    let folder = options.runs.join(&plan.run_id);
    let io = |error: std::io::Error| environment(format!("{}: {error}", folder.display()));
    let variant = options.drill.scenario.variants.get(&plan.variant).cloned();
    let variant = variant.ok_or_else(|| environment("the variant is gone"))?;
    let waiting = progress.clone();
    let mut say = move |text| {
        let _ = waiting.try_send(Progress::Waiting(text));
    };
    let lease = ports.cluster.lease(&plan.run_id, &mut say).await;
    let lease = lease.map_err(|error| environment(error.to_string()))?;
    // Only now: a run that is under way is not settled either.
    let journals = Journals::read(&*ports.store, &options.runs, &cluster_uid);
    if !options.accept_current_state
        && let Some(refused) = left_changed(&journals, ports.cluster.name())
    {
        give_back(lease).await;
        return Err(refused);
    }
    let cluster = &*ports.cluster;
    let checked = async {
        let found = cluster.records(&cluster_uid).await.map_err(|error| environment(error.to_string()))?;
        let elsewhere = dirty::check(cluster, found.dirty_ends, &journals, options.accept_current_state).await?;
        Ok::<_, RunError>((left_behind(found.undos), elsewhere))
    };
    let (left_behind, elsewhere) = match checked.await {
        Ok(checked) => checked,
        Err(refused) => {
            give_back(lease).await;
            return Err(refused);
        }
    };
    let (plan, anew) = match fresh(&options, plan, &mut say, &interrupts).await {
        Ok(fresh) => fresh,
        Err(error) => {
            give_back(lease).await;
            return Err(error);
        }
    };
    drop(say);
    let made = ports.store.create_dir_all(&folder).and_then(|()| {
        let recorder = Recorder::create(&*ports.store, &folder.join("events.jsonl"), clock, progress)?;
        let recorder = recorder.redacting(ports.cluster.redactor());
        let board = Board::open(&*ports.store, &folder.join("samples.bin"), &plan.series, variant.sustained)?;
        Ok((recorder, board))
    });
    let (recorder, (board, sink, samples)) = match made {
        Ok(made) => made,
        Err(error) => {
            give_back(lease).await;
            return Err(io(error));
        }
    };
    recorder.record(Event::RunStarted(Box::new(RunStarted {
        journal_version: JOURNAL_VERSION,
        firedrill: env!("CARGO_PKG_VERSION").to_owned(),
        plan: plan.clone(),
        scenario: options.drill.scenario.clone(),
        noop: options.drill.noop,
        cluster: info,
        page_cache: ports.cluster.page_cache(),
        flags: options.flags,
    })));
    if let Some(event) = anew {
        recorder.record(event);
    }
    recorder.record(restarts(&ports, &options.drill, CheckTime::Before).await);
    if let Some(text) = ports.cluster.credential_plugin_note() {
        recorder.record(Event::Note { text });
    }
    for (_, why) in &journals.unread {
        let text = format!("{why}: it is not known whether that run left this cluster changed");
        recorder.record(Event::Note { text });
    }
    let expires_unix = clock.unix_seconds(clock.now().plus(plan.expires_after));
    let mark = RunMark { run_id: plan.run_id.clone(), expires_unix };
    let records = RunRecords { cluster: ports.cluster.clone(), uid: cluster_uid.clone(), mark: mark.clone() };
    let context = Context {
        variant: Arc::new(variant),
        mark,
        plan: Arc::new(plan),
        ports,
        folder: folder.clone(),
        undo: UndoLog::new(recorder.clone(), records),
        recorder,
        board,
        drill: Arc::new(options.drill),
        interrupts,
        lease_lost: lease.lost(),
        panics,
        left_behind: Arc::new(left_behind),
        accepted: Arc::new(accepted(&journals, &elsewhere)),
        now: Arc::default(),
    };
    let show = tokio::spawn(context.clone().show());
    let counting = tokio::spawn(count_interrupts(context.clone()));
    let losing = tokio::spawn(record_loss(context.clone()));
    let suspensions = Suspensions::new(context.recorder.clone());
    let watching = tokio::spawn(suspensions.clone().watch());
    let whole = AssertUnwindSafe(whole(&context, sink)).catch_unwind();
    let panicked = |_| {
        let left = vec!["firedrill panicked, so it is not known whether everything was undone".to_owned()];
        DrillEnd { environment: None, finished: CleanupResult { clean: false, silent: false, left } }
    };
    let DrillEnd { environment, finished: CleanupResult { clean, silent, left } } =
        whole.await.unwrap_or_else(panicked);
    let samples = match samples.await {
        Ok(Ok(count)) => Some(count),
        Ok(Err(error)) => {
            context.board.lose(format!("the samples file is not whole: {error}"));
            None
        }
        Err(error) => {
            context.board.lose(format!("the samples file may not be whole: {error}"));
            None
        }
    };
    // What was lost just now is not recorded yet; twice would do no harm.
    losing.abort();
    if let (Some(what), false) = (context.lost_now(), losing.is_finished()) {
        context.recorder.record(Event::Lost { what });
    }
    watching.abort();
    suspensions.look();
    if !silent {
        context.recorder.record(restarts(&context.ports, &context.drill, CheckTime::After).await);
    }
    // A silent one does not take it. The undo records that are left keep runs away too.
    if !clean && !silent {
        let unwritten = dirty::write(&context.ports, &context.mark, &cluster_uid, &context.folder, &left).await;
        if let Some(text) = unwritten {
            context.recorder.record(Event::Note { text });
        }
    }
    context.recorder.record(Event::RunEnded { interrupted: context.interrupts.count() > 0, samples });
    counting.abort();
    show.abort();
    // One that is silent does not take it back either: it runs out by itself.
    if !silent {
        give_back(lease).await;
    }
    if clean && let Err(error) = before::forget_key(&*context.ports.store, &folder) {
        tracing::warn!("{error}");
    }
    match context.recorder.broken() {
        None => {
            let redactor = context.ports.cluster.redactor();
            let environment = environment.map(|why| redactor.text(&why));
            Ok(Ran { folder, environment, clean })
        }
        Some(reason) => Err(no_journal(&context, &reason, clean)),
    }
}

/// Makes pods anew in which the run before would go on: then targets are other pods, so that the plan is made again. An interrupt
/// ends that; the run itself then ends at once.
async fn fresh(
    options: &Options,
    plan: Plan,
    say: &mut (dyn FnMut(String) + Send),
    interrupts: &Interrupts,
) -> Result<(Plan, Option<Event>), RunError> {
    let (drill, ports) = (&options.drill, &options.ports);
    let Some(variant) = drill.scenario.variants.get(&drill.variant) else { return Ok((plan, None)) };
    let anew = tokio::select! {
        biased;
        anew = ports.cluster.replace_crashed(&drill.scenario, variant, say) => anew,
        () = interrupts.at_least(1) => return Ok((plan, None)),
    };
    if anew.is_none() {
        return Ok((plan, None));
    }
    let drill = Drill { seed: Some(plan.seed), ..drill.clone() };
    let again = super::planned::plan(&drill, ports).await?;
    Ok((Plan { run_id: plan.run_id, ..again }, anew))
}

/// A run whose journal broke off can show no verdict: what became of the cluster is said by the run itself.
fn no_journal(context: &Context, reason: &str, clean: bool) -> RunError {
    let (done, hint) = match clean {
        true => {
            ("everything is undone", "free space in the folder of runs, or name another one with --runs".to_owned())
        }
        false => {
            ("not everything could be undone", format!("finish with: firedrill sweep --run {}", context.mark.run_id))
        }
    };
    RunError::Environment {
        message: format!("{}: the journal cannot be written: {reason}; {done}", context.folder.display()),
        hint: Some(hint),
        dirty: !clean,
    }
}

/// How often the stack's containers were restarted.
async fn restarts(ports: &Ports, drill: &Drill, when: CheckTime) -> Event {
    let (containers, unseen) = ports.cluster.restarts(&drill.scenario).await;
    Event::RestartsSeen { when, containers, unseen }
}

/// A lease that cannot be given back runs out by itself.
async fn give_back(lease: Box<dyn Lease>) {
    if let Err(error) = lease.release().await {
        tracing::warn!("the lease was not released and expires by itself: {error}");
    }
}

/// Records that the lease or samples were lost, in whichever phase.
async fn record_loss(context: Context) {
    let what = context.look(|| context.lost_now()).await;
    context.recorder.record(Event::Lost { what });
}

async fn count_interrupts(context: Context) {
    for count in 1.. {
        context.interrupts.at_least(count).await;
        context.recorder.record(Event::Interrupted { count });
    }
}

/// How all phases ended.
struct DrillEnd {
    /// Why the cluster could not be drilled, where it could not and nothing was broken.
    environment: Option<String>,
    /// How its end went.
    finished: CleanupResult,
}

async fn whole(context: &Context, sink: mpsc::Sender<firedrill_core::sample::Sample>) -> DrillEnd {
    let before = match context.phase(Phase::Preflight, context.deadline(Phase::Preflight), 1, preflight(context)).await
    {
        Ok(before) => before,
        Err(stop) => {
            let finished = CleanupResult { clean: true, silent: false, left: Vec::new() };
            return DrillEnd { environment: not_ready(&stop), finished };
        }
    };
    let armed = context.phase(Phase::Arm, context.deadline(Phase::Arm), 1, arm::arm(context, sink)).await;
    let mut armed = match armed {
        Ok(armed) => armed,
        Err(stop) => {
            let finished = finish::undo_and_compare(context, None, &before, false).await;
            return DrillEnd { environment: not_ready(&stop), finished };
        }
    };
    let (from, stalled) = (context.at(), context.ports.observer.cpu_stalled());
    let drilled = context.guarded(drill(context, &mut armed)).await;
    if let Some(stalled) = stalled.and_then(|before| context.ports.observer.cpu_stalled()?.checked_sub(before)) {
        context.recorder.record(Event::CpuPressure { stalled, over: context.at().since(from) });
    }
    let recovered = drilled.is_ok();
    if let Err(stop) = &drilled
        && *stop != Stop::Interrupted
    {
        finish::keep_bundle(context).await;
    }
    if recovered {
        ledger(context, &mut armed).await;
    }
    let finished = finish::undo_and_compare(context, Some(&mut armed), &before, !recovered).await;
    DrillEnd { environment: None, finished }
}

/// Why a drill could not begin: an interrupt is none of the cluster's.
fn not_ready(stop: &Stop) -> Option<String> {
    (*stop != Stop::Interrupted).then(|| stop.to_string())
}

/// From the steady state to the drained backlog.
async fn drill(context: &Context, armed: &mut Instruments) -> Result<(), Stop> {
    let limit = |phase| context.deadline(phase);
    context.phase(Phase::SteadyState, limit(Phase::SteadyState), 1, steady::hold(context)).await?;
    let before = context.between(async {
        let usual = context.ports.observer.backlog(&context.drill.scenario).await.ok().flatten().unwrap_or(0);
        Ok((usual, baseline(context).await?))
    });
    let (usual, baseline) = before.await?;
    let telling = alerts::telling(&context.variant.alerts, &armed.alerts.borrow());
    let injecting = inject::inject(context, &*armed.faults);
    let (injected_at, injected) = context.phase(Phase::Inject, limit(Phase::Inject), 1, injecting).await?;
    let targets = context.plan.targets();
    let baseline = Arc::new(baseline);
    let watching = Watching::start(context, injected_at, baseline.clone(), usual, telling, armed.alerts.clone());
    let proving = inject::prove(context, &*armed.faults, injected_at, &injected, &baseline);
    let effect_at = context.phase(Phase::Effect, limit(Phase::Effect), 1, proving).await?;

    let left = || left(context, effect_at);
    match &context.variant.recovery {
        Recovery::Unattended | Recovery::StaysBroken => {
            context.phase(Phase::Detect, left(), 1, recover::detect(&watching, effect_at)).await.ok();
            context.skip(Phase::Recover, "nobody acts");
        }
        Recovery::Runbook { start, .. } => {
            let trigger = async {
                recover::trigger(context, &watching, start, effect_at).await?;
                Ok(((), format!("start of the runbook: {start}")))
            };
            context.phase(Phase::Detect, left(), 1, trigger).await?;
            let steps = planned_steps(&context.drill, &targets);
            let stop: CancellationToken = context.interrupts.token(1);
            let running = recover::runbook(context, &steps, &stop, effect_at);
            let ran = context.phase(Phase::Recover, left(), 1, running).await;
            stop.cancel();
            match ran {
                // What is left of the runbook may wait for what was left out; whether the service is back is asked all the same.
                Err(Stop::Deadline(_)) if context.variant.recovery.left_out().is_some() => {}
                ran => ran?,
            }
        }
    }
    let recovered = back_to_normal(context, &watching, effect_at).await;
    if let Err(Stop::Deadline(_)) = &recovered {
        let seen = watching.seen.borrow().clone();
        let lacks = seen.lacks.known(seen.looked_at, context.at());
        if !lacks.is_nothing() {
            context.recorder.record(Event::NotRedundant { missing: lacks.missing, unseen: lacks.unseen });
        }
    }
    recovered?;
    if context.variant.alerts.is_empty() {
        return Ok(());
    }
    let settled = alerts::settled(context, armed.alerts.clone(), (injected_at, effect_at));
    match context.phase(Phase::Alerts, limit(Phase::Alerts), 1, settled).await {
        // An alert that did not do as expected is for the judge; the service is back all the same.
        Ok(()) | Err(Stop::Deadline(_) | Stop::Failed(_)) => Ok(()),
        Err(stop) => Err(stop),
    }
}

/// How things are before the fault. One look that fails is not the end of a run: what it lists may be slow to answer once.
async fn baseline(context: &Context) -> Result<Baseline, Stop> {
    let again_until = context.at().plus(BASELINE_WITHIN);
    loop {
        match context.ports.observer.baseline(&context.variant).await {
            Ok(baseline) => return Ok(baseline),
            Err(error) if context.at() >= again_until => {
                let text = format!("the state before the fault could not be read: {error}");
                context.recorder.record(Event::Note { text: text.clone() });
                return Err(Stop::Failed(text));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

/// What is left of the one limit for all that follows the effect, so that phases cannot add up their limits.
fn left(context: &Context, effect_at: At) -> Duration {
    let passed = context.at().since(effect_at);
    context.variant.deadline.saturating_sub(passed).max(Duration::from_secs(1))
}

/// Waits for unbroken service, redundancy and the drained backlog.
async fn back_to_normal(context: &Context, watching: &Watching, effect_at: At) -> Result<(), Stop> {
    let left = || left(context, effect_at);
    context.phase(Phase::SustainedOk, left(), 1, recover::sustained(context)).await?;
    if context.variant.redundancy.is_empty() {
        context.skip(Phase::Redundancy, "this variant has no condition for it");
    } else {
        context.phase(Phase::Redundancy, left(), 1, recover::redundancy(context, watching, effect_at)).await?;
    }
    let draining = recover::backlog(context, watching);
    context.phase(Phase::Backlog, context.deadline(Phase::Backlog), 1, draining).await
}

async fn ledger(context: &Context, armed: &mut Instruments) {
    let counting = async {
        armed.stop_probes(context).await;
        account::count(context, armed).await
    };
    // What could not be counted stays unknown to the judge.
    context.phase(Phase::Ledger, context.deadline(Phase::Ledger), 1, counting).await.ok();
}
