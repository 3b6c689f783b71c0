//! The steady state: everything works, without a gap, under load.

use super::context::{Context, Stop};
use crate::planted::{self, Bug};
use firedrill_core::event::Event;
use firedrill_core::time::At;

/// Waits until the scenario's probes have succeeded without a gap for long enough, under enough load.
///
/// # Errors
/// Where that does not come in time, with what is failing.
pub(super) async fn hold(context: &Context) -> Result<((), String), Stop> {
    let steady = &context.drill.scenario.steady_state;
    let mut held: Option<(At, u64)> = None;
    let achieved = context
        .look(|| {
            let at = context.at();
            let Some(since) = context.board.ok_since(&steady.probes) else {
                held = None;
                context.doing(format!("not yet: {}", context.board.failing(&steady.probes).join("; ")));
                return None;
            };
            let successes = context.board.successes(&steady.probes);
            // A new stretch of success: count its load from here.
            let (from, before) = *held.get_or_insert((at, successes));
            if since > from {
                held = Some((at, successes));
                return None;
            }
            let length = at.since(from);
            context.doing(format!("held {} of {} s", length.as_secs(), steady.hold.as_secs()));
            (length >= steady.hold).then(|| (successes - before) as f64 / length.as_secs_f64())
        })
        .await;
    let achieved = if planted::has(Bug::LoadNotDemanded) { steady.load_min_per_s } else { achieved };
    context.recorder.record(Event::Load { achieved_per_s: achieved, demanded_per_s: steady.load_min_per_s });
    if achieved < steady.load_min_per_s {
        return Err(Stop::Failed(format!(
            "too little load for a verdict: {achieved:.1}/s succeeded, {:.1}/s are needed",
            steady.load_min_per_s
        )));
    }
    Ok(((), format!("{} all 100 % for {} s, {achieved:.0}/s", steady.probes.join(", "), steady.hold.as_secs())))
}
