//! What alerts did: those that the variant expects are judged, others that fired are told.
//!
//! - An alert counts from the injection on. One that was pending or firing before says nothing of the fault.
//! - It fires when this side saw it fire, and is resolved when this side saw that it no longer did. Of a fault that nobody
//!   takes away it has to fire only.
//! - Silence is never "it did not fire": where Prometheus did not answer, or could not evaluate the rule, it is unknown.
//!
//! None of this gates: an expected alert that did not do as expected is a finding. An objective on the moment of the alert gates.

use super::moments::History;
use crate::alert::{self, AlertObservation, AlertState};
use crate::scenario::{ExpectedAlert, Moment, Variant};
use crate::time::{At, human, millis};
use crate::verdict::{AlertResult, Finding, FindingKind, Measured, Value};
use std::collections::BTreeMap;

/// Judges the expected alerts, in their order, and adds the others that fired, by name. `blocked` says why nothing that was
/// measured can say anything.
pub(crate) fn alerts(history: &History<'_>, variant: &Variant, blocked: Option<&str>) -> Vec<AlertResult> {
    let watched = AlertHistory::of(history);
    let stays = variant.recovery.stays_broken();
    let mut results: Vec<_> = variant.alerts.iter().map(|alert| watched.judge(alert, stays, blocked)).collect();
    let is_expected = |name: &str| variant.alerts.iter().any(|alert| alert.fires == name);
    let others = watched.changes.iter().filter(|(name, _)| !is_expected(name));
    results.extend(others.filter_map(|(name, changes)| watched.tell(name, changes)));
    results
}

/// What of it the reader should act on.
pub(crate) fn findings(results: &[AlertResult]) -> Vec<Finding> {
    let open = results.iter().filter_map(|result| match result.value {
        Some(Value::Fail) => Some(format!("{}: {}", result.name, result.reason.as_deref()?)),
        Some(Value::Unknown) => Some(format!("{}: unknown: {}", result.name, result.reason.as_deref()?)),
        Some(Value::Pass) | None => None,
    });
    open.map(|text| Finding { kind: FindingKind::Alert, text, section: None }).collect()
}

/// A time in which Prometheus did not answer.
struct Silence<'a> {
    from: At,
    /// `None` where it lasted to the end.
    until: Option<At>,
    why: &'a str,
}

struct AlertHistory<'a> {
    history: &'a History<'a>,
    silences: Vec<Silence<'a>>,
    changes: BTreeMap<&'a str, Vec<(At, AlertState)>>,
}

/// Why it is not as expected, or not known.
struct Doubt(Value, String);

fn unknown(why: impl Into<String>) -> Doubt {
    Doubt(Value::Unknown, why.into())
}

fn failed(why: impl Into<String>) -> Doubt {
    Doubt(Value::Fail, why.into())
}

impl<'a> AlertHistory<'a> {
    fn of(history: &'a History<'a>) -> Self {
        let mut silences = vec![Silence { from: At::default(), until: None, why: "was not watched" }];
        let mut changes: BTreeMap<&str, Vec<(At, AlertState)>> = BTreeMap::new();
        for (at, observation) in &history.observed {
            match (alert::read(observation), silences.last_mut()) {
                (Some(AlertObservation::Alert { name, state }), _) => {
                    changes.entry(name).or_default().push((*at, state.clone()))
                }
                (Some(AlertObservation::Prometheus { answers: true, .. }), Some(last)) => {
                    last.until.get_or_insert(*at);
                }
                (Some(AlertObservation::Prometheus { answers: false, said }), Some(last)) if last.until.is_none() => {
                    last.why = said;
                }
                (Some(AlertObservation::Prometheus { answers: false, said }), _) => {
                    silences.push(Silence { from: *at, until: None, why: said });
                }
                (Some(AlertObservation::Prometheus { .. }) | None, _) => {}
            }
        }
        Self { history, silences, changes }
    }

    /// `stays`: what stays broken has nothing that could resolve it.
    fn judge(&self, alert: &ExpectedAlert, stays: bool, blocked: Option<&str>) -> AlertResult {
        let mut result = AlertResult {
            name: alert.fires.clone(),
            within_ms: Some(u64::try_from(alert.within.as_millis()).unwrap_or(u64::MAX)),
            fired_after_ms: None,
            resolved_after_ms: None,
            value: Some(Value::Pass),
            reason: None,
        };
        let judged = match blocked {
            Some(why) => Err(unknown(why)),
            None => self.decide(alert, stays, &mut result),
        };
        if let Err(Doubt(value, why)) = judged {
            (result.value, result.reason) = (Some(value), Some(why));
        }
        result
    }

    fn decide(&self, alert: &ExpectedAlert, stays: bool, result: &mut AlertResult) -> Result<(), Doubt> {
        let moments = self.history.moment(Moment::Inject).zip(self.history.moment(Moment::Effect));
        let (inject, effect) = moments.ok_or_else(|| unknown("the effect was not proven"))?;
        let until = self.history.measured_until();
        let changes = self.changes.get(alert.fires.as_str()).map_or(&[][..], Vec::as_slice);
        if let Some(silence) = self.silence(inject, inject) {
            return Err(unknown(format!("when the fault was injected, Prometheus {}", silence.why)));
        }
        match state_at(changes, inject) {
            AlertState::Inactive => {}
            AlertState::Unknown { why } => return Err(unknown(why.as_str())),
            state => return Err(unknown(format!("it was {state} already before the fault was injected"))),
        }
        let of_the_run = |(at, _): &&(At, AlertState)| *at >= inject && *at <= until;
        let fired = changes.iter().filter(of_the_run).find(|(_, state)| *state == AlertState::Firing);
        let Some((fired_at, _)) = fired else {
            result.fired_after_ms = Some(Measured::AtLeast { lower_ms: millis(until.since(effect)) });
            return Err(self.not_fired(alert, changes, (inject, effect, until)));
        };
        let fired_after = fired_at.since(effect);
        result.fired_after_ms = Some(point(effect, *fired_at));
        let resolved_at = resolved_at(changes, until);
        result.resolved_after_ms = Some(match resolved_at {
            Some(at) => point(effect, at),
            None => Measured::AtLeast { lower_ms: millis(until.since(effect)) },
        });
        if fired_after > alert.within {
            if let Some(silence) = self.silence(inject, *fired_at) {
                return Err(unknown(format!("it may have fired earlier: Prometheus {}", silence.why)));
            }
            let (after, within) = (human(fired_after), human(alert.within));
            return Err(failed(format!("fired {after} after the effect, expected within {within}")));
        }
        if resolved_at.is_some() || stays {
            return Ok(());
        }
        if let Some(silence) = self.silence(until, until) {
            return Err(unknown(format!("whether it is resolved: Prometheus {}", silence.why)));
        }
        if let AlertState::Unknown { why } = state_at(changes, until) {
            return Err(unknown(format!("whether it is resolved: {why}")));
        }
        let for_ = human(until.since(*fired_at));
        if self.history.interrupted || !self.history.ended {
            return Err(unknown(format!("whether it is resolved: it had fired for {for_} when the run broke off")));
        }
        Err(failed(format!(
            "fired after {}, and was not resolved when the run stopped looking, {for_} later",
            human(fired_after)
        )))
    }

    fn not_fired(
        &self,
        alert: &ExpectedAlert,
        changes: &[(At, AlertState)],
        (inject, effect, until): (At, At, At),
    ) -> Doubt {
        if let Some(silence) = self.silence(inject, until) {
            return unknown(format!("it was not seen to fire, but for a time Prometheus {}", silence.why));
        }
        let of_the_run = changes.iter().filter(|(at, _)| *at >= inject && *at <= until);
        let mut was_pending = false;
        for (_, state) in of_the_run {
            match state {
                AlertState::Unknown { why } => return unknown(why.as_str()),
                state => was_pending |= *state == AlertState::Pending,
            }
        }
        let looked = until.since(effect);
        let pending = if was_pending { "it was pending, and " } else { "" };
        if looked < alert.within {
            return unknown(format!("{pending}the run stopped looking {} after the effect", human(looked)));
        }
        failed(format!("{pending}it did not fire within {} of the effect", human(alert.within)))
    }

    /// An alert that was not expected, where it fired.
    fn tell(&self, name: &str, changes: &[(At, AlertState)]) -> Option<AlertResult> {
        let first = changes.iter().find(|(_, state)| *state == AlertState::Firing)?.0;
        let before = self.history.moment(Moment::Inject).is_none_or(|inject| first < inject);
        let effect = self.history.moment(Moment::Effect);
        let resolved = resolved_at(changes, self.history.last_at);
        Some(AlertResult {
            name: name.to_owned(),
            within_ms: None,
            fired_after_ms: effect.filter(|_| !before).map(|effect| point(effect, first)),
            resolved_after_ms: effect.zip(resolved).map(|(effect, at)| point(effect, at)),
            value: None,
            reason: before.then(|| "it fired before the fault was injected".to_owned()),
        })
    }

    /// The first silence that touches a time.
    fn silence(&self, from: At, until: At) -> Option<&Silence<'a>> {
        let touches = |silence: &&Silence<'_>| silence.from <= until && silence.until.is_none_or(|end| end > from);
        self.silences.iter().find(touches)
    }
}

fn point(effect: At, at: At) -> Measured {
    let ms = millis(at.since(effect));
    Measured::Interval { lower_ms: ms, upper_ms: ms }
}

/// What an alert was at a time; one of which nothing was told is inactive.
fn state_at(changes: &[(At, AlertState)], at: At) -> &AlertState {
    changes.iter().rev().find(|(changed, _)| *changed <= at).map_or(&AlertState::Inactive, |(_, state)| state)
}

/// Since when an alert that fired no longer does; `None` where it still does or that is not known.
fn resolved_at(changes: &[(At, AlertState)], until: At) -> Option<At> {
    let mut resolved = None;
    for (at, state) in changes.iter().filter(|(at, _)| *at <= until) {
        match state {
            AlertState::Firing | AlertState::Unknown { .. } => resolved = None,
            AlertState::Inactive | AlertState::Pending => resolved = resolved.or(Some(*at)),
        }
    }
    resolved
}
