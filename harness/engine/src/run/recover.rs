//! Recovery: the runbook's commands or waiting, then unbroken service, redundancy and the backlog.

use super::context::{Context, Stop};
use super::watching::{Backlog, Watching};
use crate::planted::{self, Bug};
use crate::port::{CommandEnd, PlannedStep};
use firedrill_core::event::{Event, StepEnd, Undo};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{Moment, ProviderStep, Start, StepCondition};
use firedrill_core::time::{At, human};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long after an expectation did not hold its command runs again, where the runbook gives it time.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Waits until the system has noticed.
///
/// # Errors
/// Never by itself; its phase has a limit.
pub(super) async fn detect(watching: &Watching, effect_at: At) -> Result<((), String), Stop> {
    let mut seen = watching.seen.clone();
    let seen = seen.wait_for(|seen| seen.detected.is_some()).await.map_err(Stop::failed)?;
    let at = seen.detected.unwrap_or(effect_at);
    Ok(((), format!("{} after the effect", human(at.since(effect_at)))))
}

/// Waits for the runbook's trigger.
///
/// # Errors
/// Where there can be none.
pub(super) async fn trigger(context: &Context, watching: &Watching, start: &Start, effect_at: At) -> Result<(), Stop> {
    match start {
        Start::Detected => {
            context.doing("waiting until the system notices");
            detect(watching, effect_at).await.map(|_| ())
        }
        Start::Alert if planted::has(Bug::AlertNotAwaited) => Ok(()),
        Start::Alert => {
            let names: Vec<_> = context.variant.alerts.iter().map(|alert| alert.fires.as_str()).collect();
            context.doing(format!("waiting until an alert fires: {}", names.join(", ")));
            let mut seen = watching.seen.clone();
            seen.wait_for(|seen| seen.alerted.is_some()).await.map_err(Stop::failed).map(|_| ())
        }
        Start::After(after) => {
            context.doing(format!("waiting until {} after the effect", human(*after)));
            tokio::time::sleep_until(context.clock().deadline(effect_at.plus(*after))).await;
            Ok(())
        }
    }
}

/// Runs a runbook's steps in order. A step that is not as expected is recorded and the next one runs, as an operator
/// would go on; the judge says what it means.
///
/// # Errors
/// Where the run is interrupted, or the provider is to act and nothing was hit that it could act on.
pub(super) async fn runbook(
    context: &Context,
    steps: &[PlannedStep],
    stop: &CancellationToken,
    effect_at: At,
) -> Result<((), String), Stop> {
    let (mut held, mut corrected, mut skipped, mut manual) = (0, 0, 0, 0);
    for planned in steps {
        let step = &planned.step;
        if let Some(because) = &step.manual {
            manual += 1;
            context.recorder.record(Event::StepLeftToPeople {
                step: planned.number,
                section: step.section.clone(),
                line: step.line,
                command: step.command.clone(),
                because: because.clone(),
            });
            continue;
        }
        if let Some(StepCondition::StillDown { probe, after }) = &step.only_if {
            context.doing(format!(
                "step {} only if {probe} is still down {} after the effect",
                planned.number,
                human(*after)
            ));
            let due = effect_at.plus(*after);
            let up = context.look(|| (!context.board.is_down(probe)).then_some(()));
            let down = tokio::select! {
                biased;
                () = tokio::time::sleep_until(context.clock().deadline(due)) => context.board.is_down(probe),
                () = up => false,
            };
            if !down {
                skipped += 1;
                context.recorder.record(Event::StepSkipped {
                    step: planned.number,
                    section: step.section.clone(),
                    because: format!("{probe} works again within {} of the effect", human(*after)),
                });
                continue;
            }
        }
        context.doing(format!("step {} of {}: {}", planned.number, steps.len(), step.command));
        let expected = (step.exit, step.expect.as_deref());
        let documented = one(context, planned, &step.command, expected, false, stop).await;
        let mut ok = documented.end.held();
        if let (false, Some(correction)) = (ok, &planned.correction) {
            corrected += 1;
            if let Some(step) = correction.provider {
                held += usize::from(by_provider(context, planned, step, &correction.instead).await?);
                continue;
            }
            let expected = (Some(0), correction.expect.as_deref());
            ok = one(context, planned, &correction.instead, expected, true, stop).await.end.held();
        }
        held += usize::from(ok);
        if stop.is_cancelled() {
            return Err(Stop::Interrupted);
        }
    }
    let ran = steps.len() - skipped - manual;
    let mut detail = format!("{held} of {ran} commands as expected");
    if corrected > 0 {
        detail.push_str(&format!(", {corrected} by a correction"));
    }
    if skipped > 0 {
        detail.push_str(&format!(", {skipped} not needed"));
    }
    if manual > 0 {
        detail.push_str(&format!(", {manual} manual"));
    }
    Ok(((), detail))
}

/// Runs one command, again and again where the runbook gives it time to succeed.
async fn one(
    context: &Context,
    planned: &PlannedStep,
    command: &str,
    expected: (Option<i32>, Option<&str>),
    correction: bool,
    stop: &CancellationToken,
) -> CommandEnd {
    let limit = planned.step.timeout;
    let until = planned.step.within.map(|within| context.at().plus(within));
    context.recorder.record(Event::StepStarted {
        step: planned.number,
        section: planned.step.section.clone(),
        line: planned.step.line,
        command: command.to_owned(),
        correction,
        deadline: limit + planned.step.within.unwrap_or_default(),
    });
    let ended = loop {
        let ended = context.ports.shell.run(&context.folder, command, expected, limit, stop).await;
        for change in &ended.changes {
            let text = format!("step {}: change asked of the provider: {change}", planned.number);
            context.recorder.record(Event::Note { text });
        }
        let look_again = !ended.end.held() && until.is_some_and(|until| context.at() < until);
        if !look_again || stop.is_cancelled() {
            break ended;
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    };
    context.recorder.record(Event::StepEnded {
        step: planned.number,
        correction,
        end: ended.end.clone(),
        stdout: ended.stdout.clone(),
        stderr: ended.stderr.clone(),
    });
    if let StepEnd::NotStarted { reason } = &ended.end {
        context.recorder.record(Event::Note { text: format!("a command could not be started: {reason}") });
    }
    ended
}

/// Has the cluster's provider do what stands in for a command; whether it did. How to undo it is on disk before.
async fn by_provider(context: &Context, planned: &PlannedStep, step: ProviderStep, about: &str) -> Result<bool, Stop> {
    let targets = context.plan.targets();
    let lost = targets.iter().find_map(Target::node);
    if step == ProviderStep::ReplaceNode {
        let replacement = |lost| context.ports.faults.replacement_of(lost);
        let node = lost.map(replacement).ok_or_else(|| nothing_to_act_on(planned, "node"))?;
        context.undo.record(Undo::RemoveNode { node }).await?;
    }
    context.doing(format!("step {}: {about}", planned.number));
    context.recorder.record(Event::StepStarted {
        step: planned.number,
        section: planned.step.section.clone(),
        line: planned.step.line,
        command: about.to_owned(),
        correction: true,
        deadline: planned.step.timeout,
    });
    let acting = async {
        match (step, lost) {
            (ProviderStep::ReplaceNode, Some(lost)) => {
                let node = context.ports.faults.replacement_of(lost);
                let made = context.ports.faults.replace_node(&context.mark, lost, &node).await;
                made.map(|()| format!("node {node} has joined\n")).map_err(|error| error.to_string())
            }
            _ => {
                let detached = context.ports.faults.detach_by_force(&context.mark, &targets).await;
                detached.map_err(|error| error.to_string())
            }
        }
    };
    let (end, stdout, stderr) = match tokio::time::timeout(planned.step.timeout, acting).await {
        Ok(Ok(said)) => (StepEnd::AsExpected { exit: 0 }, said, String::new()),
        Ok(Err(error)) => (StepEnd::NotStarted { reason: error.clone() }, String::new(), error),
        Err(_) => (StepEnd::DeadlinePassed, String::new(), String::new()),
    };
    let held = end.held();
    context.recorder.record(Event::StepEnded { step: planned.number, correction: true, end, stdout, stderr });
    Ok(held)
}

fn nothing_to_act_on(planned: &PlannedStep, what: &str) -> Stop {
    Stop::Failed(format!("step {}: no {what} was hit that the provider could act on", planned.number))
}

/// Waits until every probe succeeds without a gap for as long as the variant demands.
///
/// # Errors
/// Never by itself; its phase has a limit.
pub(super) async fn sustained(context: &Context) -> Result<((), String), Stop> {
    context.look(|| serves_since(context)).await;
    Ok(((), format!("every probe without a gap for {}", human(context.variant.sustained))))
}

/// Since when every probe succeeds without a gap, once that was for as long as the variant demands. What counts are the
/// attempts, as for the judge: by the clock the last one might be missing when the run ends.
fn serves_since(context: &Context) -> Option<At> {
    let probes: Vec<String> = context.drill.scenario.probes.keys().cloned().collect();
    let failing = context.board.failing(&probes);
    if !failing.is_empty() {
        context.doing(format!("still down: {}", failing.join("; ")));
    }
    let held = context.board.ok_for(&probes)? >= context.variant.sustained;
    context.board.ok_since(&probes).filter(|_| held)
}

/// Waits until everything redundant is there, and stays so for as long as service has to.
///
/// # Errors
/// Never by itself; its phase has a limit.
pub(super) async fn redundancy(context: &Context, watching: &Watching, effect_at: At) -> Result<((), String), Stop> {
    let (since, lost) = context
        .look(|| {
            let seen = watching.seen.borrow();
            if !seen.lacks.is_nothing() {
                context.doing(seen.lacks.to_string());
            }
            let since = seen.redundant_since?;
            let stays = context.at().since(since) >= context.variant.sustained;
            stays.then_some((since, seen.redundancy_lost))
        })
        .await;
    if !lost {
        return Err(Stop::Failed("redundancy was never lost, so its return cannot be measured".to_owned()));
    }
    let by = format!("{} conditions hold", context.variant.redundancy.len());
    context.recorder.record(Event::MomentSeen { moment: Moment::Redundancy, seen_at: since, by: by.clone() });
    Ok(((), format!("{by} since {} after the effect", human(since.since(effect_at)))))
}

/// Waits until what had piled up in the work queue is done, the last of all: redundancy is back by then, and the service
/// without a break since: one that came later counts, and its end has to be seen.
///
/// # Errors
/// Never by itself; its phase has a limit.
pub(super) async fn backlog(context: &Context, watching: &Watching) -> Result<((), String), Stop> {
    let drained = context
        .look(|| {
            let serves_since = serves_since(context)?;
            let seen = watching.seen.borrow().clone();
            match seen.backlog {
                Backlog::Drained { since } => {
                    Some(Some(since.max(serves_since).max(seen.redundant_since.unwrap_or(serves_since))))
                }
                Backlog::None => Some(None),
                Backlog::Waiting { what } => {
                    context.doing(what);
                    None
                }
            }
        })
        .await;
    let Some(seen_at) = drained else { return Ok(((), "this stack has no work queue".to_owned())) };
    let by = "the backlog is back to its usual size".to_owned();
    context.recorder.record(Event::MomentSeen { moment: Moment::BacklogDrained, seen_at, by: by.clone() });
    Ok(((), by))
}
