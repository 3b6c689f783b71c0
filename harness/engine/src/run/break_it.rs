//! The injection, and the proof that it is in and felt.

use super::context::{Context, Stop};
use crate::fault::{self, Armed, Injected};
use firedrill_core::event::Event;
use firedrill_core::plan::{Phase, Target};
use firedrill_core::scenario::Moment;
use firedrill_core::time::At;
use futures::future::join_all;
use std::time::Duration;

/// How far a success of the control may be from the failure that it is the control of.
const CONTROL_WITHIN: Duration = Duration::from_secs(5);
/// How often a proof that does not hold yet is looked for again.
const PROVE_EVERY: Duration = Duration::from_millis(100);

/// Puts the fault into every target at once. How to undo each is on disk before the first call.
///
/// # Errors
/// Where one could not be called; all others were.
pub(super) async fn inject(context: &Context, armed: &Armed) -> Result<((At, Vec<Injected>), String), Stop> {
    let fault = context.drill.fault();
    let targets = &context.plan.targets;
    if targets.is_empty() {
        return Ok(((context.at(), Vec::new()), "nothing is broken: this is the control".to_owned()));
    }
    armed.connect().await.map_err(Stop::failed)?;
    for target in targets {
        let undo = fault::undo_of(&fault, target).map_err(Stop::failed)?;
        context.undo.before(undo).map_err(Stop::Broken)?;
    }
    let called_at = context.at();
    let calls = targets.iter().map(|target| async move {
        context.recorder.record(Event::InjectCalled { target: target.clone() });
        let injected = armed.inject(target).await;
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
    let took = context.at().since(called_at);
    Ok(((called_at, injected), format!("{} in {}", listed(targets), firedrill_core::time::human(took))))
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
    armed: &Armed,
    injected_at: At,
    injected: &[Injected],
) -> Result<(At, String), Stop> {
    let (mechanism, service) = tokio::join!(at_targets(context, armed, injected), at_service(context, injected_at));
    mechanism?;
    let (effect_at, evidence) = service;
    context.recorder.record(Event::MomentSeen { moment: Moment::Effect, seen_at: effect_at, by: evidence.clone() });
    Ok((effect_at, evidence))
}

async fn at_targets(context: &Context, armed: &Armed, injected: &[Injected]) -> Result<(), Stop> {
    if injected.is_empty() {
        context.doing("nothing was broken, so nothing can be proven");
        std::future::pending::<()>().await;
    }
    let within = context.deadline(Phase::Effect);
    let proofs = injected.iter().map(|one| async move {
        let mut tick = tokio::time::interval(PROVE_EVERY);
        loop {
            tick.tick().await;
            let proofs = armed.prove(one, within).await.map_err(Stop::failed)?;
            let held = !proofs.is_empty() && proofs.iter().all(|proof| proof.held);
            if let Some(open) = proofs.iter().find(|proof| !proof.held) {
                context.doing(format!("{}: {}", open.subject, open.evidence));
            }
            if held {
                for proof in proofs {
                    let (subject, evidence) = (proof.subject, proof.evidence);
                    context.recorder.record(Event::Proof { subject, evidence, held: true });
                }
                return Ok(());
            }
        }
    });
    futures::future::try_join_all(proofs).await.map(|_: Vec<()>| ())
}

async fn at_service(context: &Context, injected_at: At) -> (At, String) {
    let effect = &context.variant.effect;
    context
        .look(|| {
            let (down, control) = (&effect.down, &effect.control);
            context.doing(format!(
                "{down} has not failed on every connection while {control} succeeds from the same place"
            ));
            let failures = context.board.down_since(&effect.down, injected_at)?;
            let first = failures.iter().map(|(_, at)| *at).min()?;
            let controls = context.board.last_ok(&effect.control);
            let (series, control_at) = controls.iter().find(|(control, at)| {
                let near = at.since(first) <= CONTROL_WITHIN && *at >= first;
                near && failures.iter().any(|(down, _)| down.vantage == control.vantage)
            })?;
            let after = firedrill_core::time::human(control_at.since(first));
            let evidence = format!("{} fails; control {series} succeeded {after} later", effect.down);
            context.recorder.record(Event::Proof {
                subject: format!("probe {}", effect.down),
                evidence: evidence.clone(),
                held: true,
            });
            Some((first.max(injected_at), evidence))
        })
        .await
}
