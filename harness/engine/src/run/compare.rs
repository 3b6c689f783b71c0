//! Whether the cluster is as it was before the run.

use super::before::Before;
use super::context::{Context, Stop};
use super::finish::{LOOK_EVERY, SKIP_SETTLING_AT, gave_up};
use crate::planted::{self, Bug};
use crate::port::differences;
use firedrill_core::event::{Event, Undo};
use firedrill_core::listing::first_of;
use firedrill_core::plan::Phase;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

/// How many differences a message shows; the journal has all.
const SHOWN_MAX: usize = 10;

/// For how long the API server may be silent.
pub(super) struct Silence<'a, F> {
    /// The limit.
    pub(super) limit: Duration,
    /// Ends once it was silent for so long.
    pub(super) passed: Pin<&'a mut F>,
    /// Whether it was.
    pub(super) has_passed: &'a mut bool,
}

/// Waits until nothing of the run is left and the cluster is as before; records what is not. Once the API server was silent
/// for too long, nothing is waited for.
///
/// # Errors
/// Where it is not so, with what differs.
pub(super) async fn compare<F: Future<Output = ()>>(
    context: &Context,
    before: &Before,
    still_faulty: Vec<String>,
    mut silence: Silence<'_, F>,
) -> Result<((), String), Stop> {
    let limit = silence.limit;
    let not_compared = || format!("not compared: {}", gave_up(limit));
    let recorded = context.undo.recorded();
    let made: BTreeSet<String> = recorded.iter().filter(|undo| is_object(undo)).map(ToString::to_string).collect();
    let made = u32::try_from(made.len()).unwrap_or(u32::MAX);
    let deadline = context.clock().deadline(context.at().plus(context.deadline(Phase::Clean).mul_f64(0.9)));
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last: Option<CleanCheck> = None;
    loop {
        tick.tick().await;
        // A look that is cut off says less than the one before it.
        let cut_off = |last: Option<CleanCheck>| {
            last.unwrap_or_else(|| CleanCheck::failed("the API server did not answer".to_owned()))
        };
        let looked = if *silence.has_passed {
            CleanCheck::failed(not_compared())
        } else {
            let looking = async {
                // Until now the API server may have been away. What stays of them is among what is left.
                if let Err(error) = context.undo.delete_records(&still_faulty).await {
                    tracing::debug!("{error}");
                }
                look(context, before).await
            };
            tokio::select! {
                biased;
                looked = looking => looked,
                () = tokio::time::sleep_until(deadline) => cut_off(last.take()),
                () = silence.passed.as_mut() => {
                    *silence.has_passed = true;
                    CleanCheck { error: Some(not_compared()), ..last.take().unwrap_or_default() }
                }
            }
        };
        let clean = looked.is_clean() && still_faulty.is_empty();
        let late = *silence.has_passed || context.clock().deadline(context.at()) >= deadline;
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
            true => Ok(((), format!("{made} objects made, {made} gone; inventory matches"))),
            false => Err(Stop::Failed([still_faulty.join("; "), looked.text()].join(" ").trim().to_owned())),
        };
    }
}

fn is_object(undo: &Undo) -> bool {
    undo.is_data() || matches!(undo, Undo::DeleteObject { .. } | Undo::RemoveNode { .. })
}

#[derive(Default)]
struct CleanCheck {
    differences: Vec<String>,
    /// What differs and is declared.
    residue: Vec<String>,
    left: u32,
    error: Option<String>,
}

impl CleanCheck {
    fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.left == 0 && self.error.is_none()
    }

    fn text(&self) -> String {
        let left = (self.left > 0).then(|| format!("{} objects of the run are left", self.left));
        let all: Vec<String> = self.error.iter().chain(&self.differences).cloned().chain(left).collect();
        first_of(&all, SHOWN_MAX)
    }
}

async fn look(context: &Context, before: &Before) -> CleanCheck {
    let mut looked = CleanCheck::default();
    if planted::has(Bug::ClusterNotCompared) {
        return looked;
    }
    match context.ports.cluster.objects_of_runs().await {
        Ok(left) => {
            let mine = left.iter().filter(|left| left.run_id == context.mark.run_id).count();
            looked.left = u32::try_from(mine + open_data(context)).unwrap_or(u32::MAX);
        }
        Err(error) => looked.error = Some(error.to_string()),
    }
    match context.ports.cluster.inventory(&before.key).await {
        Ok(after) => {
            let found = differences(&before.inventory, &after, context.variant.irreversible);
            (looked.differences, looked.residue) = (found.undeclared, found.declared);
        }
        Err(error) => looked.error = Some(error.to_string()),
    }
    looked
}

/// Tables and messages whose undo did not work.
fn open_data(context: &Context) -> usize {
    let open = context.undo.open();
    open.iter().filter(|(_, undo)| undo.is_data()).count()
}
