//! What a run knows of the alerts that its variant expects: a runbook may start at one, and a run waits for them at its end.

use super::context::{Context, Stop};
use crate::planted::{self, Bug};
use firedrill_core::alert::{AlertObservation, AlertState, read};
use firedrill_core::event::{Event, Observation};
use firedrill_core::scenario::{ExpectedAlert, Moment};
use firedrill_core::time::{At, human};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked whether the alerts are over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the watchers have told of alerts so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Alerts {
    /// What was said last of Prometheus itself; empty before anything was.
    said: String,
    /// The latest state of each alert.
    states: BTreeMap<String, AlertState>,
    /// When each alert last began to fire.
    fired: BTreeMap<String, At>,
}

impl Alerts {
    /// Takes an observation, where it is about alerts.
    pub(super) fn take(sender: &watch::Sender<Self>, seen: &Observation, at: At) {
        match read(seen) {
            Some(AlertObservation::Prometheus { said, .. }) => {
                sender.send_modify(|alerts| alerts.said = said.to_owned())
            }
            Some(AlertObservation::Alert { name, state }) => sender.send_modify(|alerts| {
                // An instance more changes nothing of when the alert itself began.
                if *state == AlertState::Firing && *alerts.state(name) != AlertState::Firing {
                    alerts.fired.insert(name.to_owned(), at);
                }
                alerts.states.insert(name.to_owned(), state.clone());
            }),
            None => {}
        }
    }

    fn state(&self, name: &str) -> &AlertState {
        self.states.get(name).unwrap_or(&AlertState::Inactive)
    }
}

/// The expected alerts that can say something of a fault put in now: those that are not active already.
pub(super) fn telling(expected: &[ExpectedAlert], now: &Alerts) -> Vec<ExpectedAlert> {
    if planted::has(Bug::EarlierAlertCounts) {
        return expected.to_vec();
    }
    expected.iter().filter(|alert| *now.state(&alert.fires) == AlertState::Inactive).cloned().collect()
}

/// Waits for the first of these alerts to fire after the injection, and records it; `None` where nobody watches any more.
pub(super) async fn first(
    context: &Context,
    expected: &[ExpectedAlert],
    mut alerts: watch::Receiver<Alerts>,
    injected_at: At,
) -> Option<At> {
    loop {
        let fired = {
            let now = alerts.borrow_and_update();
            let of = |alert: &ExpectedAlert| Some((*now.fired.get(&alert.fires)?, alert.fires.clone()));
            let counts = |at: At| at >= injected_at || planted::has(Bug::EarlierAlertCounts);
            expected.iter().filter_map(of).filter(|(at, _)| counts(*at)).min()
        };
        if let Some((seen_at, name)) = fired {
            let by = format!("{name}, seen in Prometheus");
            context.recorder.record(Event::MomentSeen { moment: Moment::Alert, seen_at, by });
            return Some(seen_at);
        }
        alerts.changed().await.ok()?;
    }
}

/// Waits until every expected alert has fired and is resolved, each as long as the scenario allows after everything else is
/// back to normal.
///
/// # Errors
/// Where one has not, with what is missing.
pub(super) async fn settled(
    context: &Context,
    mut alerts: watch::Receiver<Alerts>,
    (injected_at, effect_at): (At, At),
) -> Result<((), String), Stop> {
    let expected = &context.variant.alerts;
    let normal_at = context.at();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = alerts.borrow_and_update().clone();
        if now.said.is_empty() {
            return Err(Stop::Failed("Prometheus has not answered".to_owned()));
        }
        let at = context.at();
        let stages = expected.iter().map(|alert| now.stage(alert, at, injected_at, effect_at, normal_at));
        let (mut waits, mut missed) = (Vec::new(), Vec::new());
        for (alert, stage) in expected.iter().zip(stages) {
            match stage {
                Stage::Over => {}
                Stage::Waiting(what) => waits.push(format!("{} {what}", alert.fires)),
                Stage::Missed(what) => missed.push(format!("{} {what}", alert.fires)),
            }
        }
        if !waits.is_empty() && !planted::has(Bug::AlertsNotSettled) {
            context.doing(format!("waiting: {}", waits.join("; ")));
        } else if missed.is_empty() {
            return Ok(((), format!("{} of {0} fired and are resolved", expected.len())));
        } else {
            return Err(Stop::Deadline(missed.join("; ")));
        }
    }
}

/// How far an expected alert is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// It fired and is resolved.
    Over,
    /// It may still do so.
    Waiting(String),
    /// It has not, in its time.
    Missed(String),
}

impl Alerts {
    fn stage(&self, alert: &ExpectedAlert, at: At, injected_at: At, effect_at: At, normal_at: At) -> Stage {
        let state = self.state(&alert.fires);
        match self.fired.get(&alert.fires).filter(|fired_at| **fired_at >= injected_at) {
            Some(fired_at) if *state == AlertState::Firing => {
                let waited = at.since(normal_at.max(*fired_at));
                let what = format!("still fires, {} after everything else", human(waited));
                if waited < alert.resolves { Stage::Waiting(what) } else { Stage::Missed(what) }
            }
            Some(_) => Stage::Over,
            None => match state {
                AlertState::Unknown { why } => Stage::Missed(format!("cannot be told: {why}")),
                AlertState::Firing => Stage::Missed("fired before the fault was injected".to_owned()),
                state if at.since(effect_at) < alert.within => Stage::Waiting(format!("is {state}, and has not fired")),
                state => Stage::Missed(format!("is {state}, and has not fired within {}", human(alert.within))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firedrill_core::alert::changed;

    fn expected() -> ExpectedAlert {
        let (within, resolves) = (Duration::from_secs(180), Duration::from_secs(60));
        ExpectedAlert { fires: "NATSDown".to_owned(), within, resolves }
    }

    #[test]
    fn an_alert_is_waited_for_as_long_as_the_scenario_allows() {
        let (sender, receiver) = watch::channel(Alerts::default());
        let s = |seconds: u64| At::from_ms(seconds * 1_000);
        let stage = |at| receiver.borrow().stage(&expected(), s(at), s(40), s(41), s(200));
        let become_ = |state, at| Alerts::take(&sender, &changed("NATSDown", &state, ""), s(at));
        assert!(matches!(stage(100), Stage::Waiting(_)) && matches!(stage(221), Stage::Missed(_)));
        become_(AlertState::Firing, 30);
        become_(AlertState::Inactive, 35);
        assert!(matches!(stage(100), Stage::Waiting(_)), "what fired before the fault does not count");
        assert_eq!(telling(&[expected()], &receiver.borrow()).len(), 1);
        become_(AlertState::Pending, 50);
        become_(AlertState::Firing, 170);
        become_(AlertState::Firing, 180);
        assert_eq!(receiver.borrow().fired["NATSDown"], s(170), "an instance more is the same alert");
        assert!(matches!(stage(259), Stage::Waiting(_)) && matches!(stage(260), Stage::Missed(_)));
        become_(AlertState::Inactive, 261);
        assert_eq!(stage(262), Stage::Over);
        assert_eq!(telling(&[expected()], &receiver.borrow()).len(), 1);
        become_(AlertState::Pending, 263);
        assert!(telling(&[expected()], &receiver.borrow()).is_empty());
    }
}
