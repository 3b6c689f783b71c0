//! The injection, and the proof that it is in and felt.

use super::context::{Context, Stop};
use crate::planted::{self, Bug};
use crate::port::{ArmedFaults, Baseline, Injected};
use firedrill_core::event::Event;
use firedrill_core::plan::{Phase, PlannedFault, Target};
use firedrill_core::scenario::{CONTROL_WITHIN, Failing, Fault, Moment, Shown, Symptom};
use firedrill_core::time::At;
use futures::future::join_all;
use std::time::Duration;

/// How often a proof that does not hold yet is looked for again.
const PROVE_EVERY: Duration = Duration::from_millis(100);

/// An injection with its fault.
pub(super) type InjectedFault<'a> = (&'a Fault, Injected);

/// Puts the faults in, in order, each into all its targets at once, and each once the one before is proven at its
/// targets. How to undo each is on disk and on the cluster before the first call.
///
/// # Errors
/// Where one could not be called, all others of the same fault being called, or is not proven while another one follows.
pub(super) async fn inject<'a>(
    context: &'a Context,
    armed: &dyn ArmedFaults,
) -> Result<((At, Vec<InjectedFault<'a>>), String), Stop> {
    let faults = &context.plan.faults;
    if faults.is_empty() {
        return Ok(((context.at(), Vec::new()), "no-op run: nothing is broken".to_owned()));
    }
    let mut put: Vec<InjectedFault<'_>> = Vec::new();
    let mut first = None;
    for (index, planned) in faults.iter().enumerate() {
        let (called_at, injected) = one(context, armed, planned).await?;
        first.get_or_insert(called_at);
        let injected: Vec<InjectedFault<'_>> =
            injected.into_iter().map(|injected| (&planned.fault, injected)).collect();
        if index + 1 < faults.len() {
            at_targets(context, armed, &injected).await?;
            tokio::time::sleep(context.variant.then_after).await;
        }
        put.extend(injected);
    }
    let called_at = first.unwrap_or_else(|| context.at());
    let took = context.at().since(called_at);
    Ok(((called_at, put), format!("{} in {}", listed(&context.plan.targets()), firedrill_core::time::human(took))))
}

async fn one(context: &Context, armed: &dyn ArmedFaults, planned: &PlannedFault) -> Result<(At, Vec<Injected>), Stop> {
    let PlannedFault { fault, targets } = planned;
    armed.connect(targets).await.map_err(Stop::failed)?;
    let undos: Result<Vec<_>, _> = targets.iter().map(|target| armed.undo_of(fault, target)).collect();
    let undos = undos.map_err(Stop::failed)?;
    for undo in undos.into_iter().filter(|_| !planted::has(Bug::UndoNotRecorded)) {
        let undo = context.ports.faults.identify(&context.mark, undo).await.map_err(Stop::failed)?;
        context.undo.record(undo).await?;
    }
    let called_at = context.at();
    let calls = targets.iter().map(|target| async move {
        context.recorder.record(Event::InjectCalled { target: target.clone() });
        let injected = armed.inject(fault, target).await;
        let error = injected.as_ref().err().map(ToString::to_string);
        context.recorder.record(Event::InjectReturned { target: target.clone(), error });
        injected.map_err(|error| format!("{target}: {error}"))
    });
    let (mut injected, mut errors) = (Vec::new(), Vec::new());
    for result in join_all(calls).await {
        match result {
            Ok(one) => injected.push(one),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(Stop::Failed(errors.join("; ")));
    }
    Ok((called_at, injected))
}

/// Names targets for people.
pub(super) fn listed(targets: &[Target]) -> String {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Proves the fault at its targets and at the service.
///
/// The moment of the effect is the start of the first failed attempt after the injection: the earliest that it can have
/// been felt, so that no time to recover is flattered by a late proof.
///
/// # Errors
/// Where it is not proven in time.
pub(super) async fn prove(
    context: &Context,
    armed: &dyn ArmedFaults,
    injected_at: At,
    put: &[InjectedFault<'_>],
    baseline: &Baseline,
) -> Result<(At, String), Stop> {
    if put.is_empty() {
        context.doing("nothing was broken, so nothing can be proven");
        std::future::pending::<()>().await;
    }
    let shown = async {
        match &context.variant.effect.shown {
            Shown::Down { probe, control, failing } => at_service(context, injected_at, probe, control, *failing).await,
            Shown::Seen(symptom) => in_cluster(context, injected_at, symptom, baseline).await,
        }
    };
    let proven = async {
        // What was proven when the next fault was put in is not looked for again: it may have been meant to pass.
        let last = put.last().map(|(fault, _)| *fault);
        let rest: Vec<_> = put.iter().filter(|(fault, _)| Some(*fault) == last).cloned().collect();
        at_targets(context, armed, &rest).await
    };
    let (mechanism, service) = tokio::join!(proven, shown);
    mechanism?;
    let (effect_at, evidence) = service;
    context.recorder.record(Event::MomentSeen { moment: Moment::Effect, seen_at: effect_at, by: evidence.clone() });
    Ok((effect_at, evidence))
}

async fn at_targets(context: &Context, armed: &dyn ArmedFaults, put: &[InjectedFault<'_>]) -> Result<(), Stop> {
    let within = context.deadline(Phase::Effect);
    let proofs = put.iter().map(|(fault, injected)| async move {
        let mut tick = tokio::time::interval(PROVE_EVERY);
        loop {
            tick.tick().await;
            let proofs = armed.prove(fault, injected, within).await.map_err(Stop::failed)?;
            let held = planted::has(Bug::ProofNotAsked) || !proofs.is_empty() && proofs.iter().all(|proof| proof.held);
            if let Some(open) = proofs.iter().find(|proof| !proof.held) {
                context.doing(format!("{}: {}", open.subject, open.evidence));
            }
            if held {
                for proof in proofs {
                    let (targets, subject) = (vec![injected.target().clone()], proof.subject);
                    let evidence = proof.evidence;
                    context.recorder.record(Event::Proof { targets, subject, evidence, held: true });
                }
                return Ok(());
            }
        }
    });
    futures::future::try_join_all(proofs).await.map(|_: Vec<()>| ())
}

/// A symptom that was not there before. Its moment is that of the last look that did not see it: it came after that.
async fn in_cluster(context: &Context, injected_at: At, symptom: &Symptom, baseline: &Baseline) -> (At, String) {
    let mut tick = tokio::time::interval(PROVE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut not_before = injected_at;
    loop {
        tick.tick().await;
        let looked_at = context.at();
        match context.ports.observer.symptom_since(symptom, baseline).await {
            Ok(Some(evidence)) => {
                let (targets, subject) = (Vec::new(), symptom.to_string());
                context.recorder.record(Event::Proof { targets, subject, evidence: evidence.clone(), held: true });
                return (not_before, evidence);
            }
            Ok(None) => {
                not_before = looked_at;
                context.doing(format!("not seen yet: {symptom}"));
            }
            Err(error) => context.doing(error.to_string()),
        }
    }
}

async fn at_service(context: &Context, injected_at: At, down: &str, control: &str, failing: Failing) -> (At, String) {
    let which = match failing {
        Failing::All => "every connection",
        Failing::Any => "any connection",
    };
    context
        .look(|| {
            context.doing(format!("{down} has not failed on {which} while {control} succeeds from the same place"));
            let failures = context.board.down_since(down, injected_at, failing)?;
            let first = failures.iter().map(|(_, at)| *at).min()?;
            let controls = context.board.ok_after(control, first);
            let (series, control_at) = controls.iter().find(|(control, at)| {
                let near = at.since(first) <= CONTROL_WITHIN;
                near && failures.iter().any(|(down, _)| down.is_beside(control))
            })?;
            let after = firedrill_core::time::human(control_at.since(first));
            let evidence = format!("{down} fails; control {series} succeeded {after} later");
            context.recorder.record(Event::Proof {
                targets: Vec::new(),
                subject: format!("probe {down}"),
                evidence: evidence.clone(),
                held: true,
            });
            let effect_at = if planted::has(Bug::EffectDatedLate) { *control_at } else { first };
            Some((effect_at.max(injected_at), evidence))
        })
        .await
}
