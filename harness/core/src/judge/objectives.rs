//! Objectives: each a time between two moments, against the runbook's figure and against the one that gates.
//!
//! - A moment of a probe lies between two bounds. A probe's *sustained-ok* is the end of the last outage that began after
//!   the injection and before everything was back to normal: a service that fails again has not recovered yet.
//! - A probe that never failed has an outage between zero and the longest time between the start of one success and the end of
//!   the next: no longer outage can hide there.
//! - The upper bound is asserted. What had not happened when the run's limit passed fails, whatever the lower bound.
//! - Silence is never success: where nothing was measured and an outage could lie hidden before the moment sought, or where
//!   silence alone puts the upper bound beyond the figure, the objective is unknown.

use super::moments::History;
use super::series::SeriesHistory;
use crate::sample::SeriesId;
use crate::scenario::{Moment, Objective};
use crate::time::{At, human, millis};
use crate::verdict::{AlertResult, Measured, ObjectiveResult, Outage, Value};
use std::cmp::Ordering;
use std::time::Duration;

/// What objectives are judged with.
pub(crate) struct ObjectiveJudge<'a> {
    pub(crate) history: &'a History<'a>,
    pub(crate) series: &'a [SeriesHistory<'a>],
    pub(crate) variant: &'a str,
    /// What alerts did.
    pub(crate) alerts: &'a [AlertResult],
    /// Why nothing can be said of any time: the fault was not proven, or there was too little load.
    pub(crate) blocked: Option<&'a str>,
}

/// A moment between two bounds; `latest` is `None` where it had not come when the run stopped looking.
#[derive(Clone, Copy, Debug)]
struct Span {
    earliest: At,
    latest: Option<At>,
}

impl Span {
    const fn point(at: At) -> Self {
        Self { earliest: at, latest: Some(at) }
    }
}

/// What one series, or the run, says of one objective.
struct Finding {
    series: Option<SeriesId>,
    measured: Option<Measured>,
    /// Why nothing can be concluded, whatever was measured.
    unknown: Option<String>,
    /// The upper bound is what it is because nothing was measured for a while.
    beside_gap: bool,
    note: Option<String>,
}

impl Finding {
    fn unknown(series: Option<SeriesId>, why: impl Into<String>) -> Self {
        Self { series, measured: None, unknown: Some(why.into()), beside_gap: false, note: None }
    }
}

impl ObjectiveJudge<'_> {
    /// Judges one objective; `None` where it says nothing of this variant: one that gates others and not this one is not
    /// meant for it, and so is one without any figure.
    pub(crate) fn judge(&self, objective: &Objective) -> Option<ObjectiveResult> {
        let accepted = objective.accepted.get(self.variant).map(|accepted| accepted.0);
        if accepted.is_none() && (objective.documented.is_none() || !objective.accepted.is_empty()) {
            return None;
        }
        let on_alert = [objective.from, objective.to].contains(&Moment::Alert);
        if on_alert && !self.alerts.iter().any(|alert| alert.value.is_some()) {
            return None;
        }
        let judged = self.measure(objective).into_iter().map(|finding| {
            let (value, reason) = self.decide(&finding, accepted);
            (finding, value, reason)
        });
        let (finding, value, reason) = judged.reduce(worse)?;
        let documented_held = objective
            .documented
            .filter(|_| self.blocked.is_none() && finding.unknown.is_none())
            .and_then(|figure| held(&finding, figure));
        Some(ObjectiveResult {
            name: objective.name.clone(),
            series: finding.series,
            from: objective.from,
            to: objective.to,
            measured: finding.measured,
            reason,
            documented_ms: objective.documented.map(whole_ms),
            documented_held,
            accepted_ms: accepted.map(whole_ms),
            because: objective.because.clone(),
            value,
        })
    }

    fn measure(&self, objective: &Objective) -> Vec<Finding> {
        if objective.to == Moment::Alert && self.history.moment(Moment::Alert).is_none() {
            let unseen = self.alerts.iter().find(|alert| alert.value == Some(Value::Unknown));
            if let Some(why) =
                unseen.and_then(|alert| alert.reason.as_ref().map(|why| format!("{}: {why}", alert.name)))
            {
                return vec![Finding::unknown(None, why)];
            }
        }
        let Some(probe) = &objective.probe else { return vec![self.measure_run(objective)] };
        let of_probe = self.series.iter().filter(|seen| seen.plan.probe == *probe);
        let findings: Vec<_> = of_probe.map(|seen| self.measure_series(objective, seen)).collect();
        if findings.is_empty() {
            return vec![Finding::unknown(None, format!("nothing was measured by probe {probe}"))];
        }
        findings
    }

    fn measure_run(&self, objective: &Objective) -> Finding {
        let Some(from) = self.history.moment(objective.from) else {
            return Finding::unknown(None, format!("{} was not seen", objective.from.name()));
        };
        let measured = between(Span::point(from), self.run_span(objective.to, from), Duration::ZERO);
        Finding { series: None, measured, unknown: None, beside_gap: false, note: None }
    }

    /// A moment of the run: when it was, or not before the run stopped looking.
    fn run_span(&self, moment: Moment, not_before: At) -> Span {
        match self.history.moment(moment) {
            Some(at) => Span::point(at),
            None => Span { earliest: self.history.measured_until().max(not_before), latest: None },
        }
    }

    fn measure_series(&self, objective: &Objective, seen: &SeriesHistory<'_>) -> Finding {
        let id = Some(seen.plan.id);
        let fail = |why: String| Finding::unknown(id, format!("{}: {why}", seen.plan));
        if let Some(why) = &seen.unfit {
            return fail(why.clone());
        }
        let Some(inject) = self.history.moment(Moment::Inject) else {
            return fail("nothing was injected".to_owned());
        };
        let (from, to) = (objective.from, objective.to);
        if !from.is_of_a_probe() && self.history.moment(from).is_none() {
            return fail(format!("{} was not seen", from.name()));
        }
        let crossing = from.is_of_a_probe() != to.is_of_a_probe();
        let Some(uncertainty) = seen.uncertainty.or((!crossing).then_some(Duration::ZERO)) else {
            return fail("its clock was never compared with the run's".to_owned());
        };
        let slack = if crossing { uncertainty } else { Duration::ZERO };
        let horizon = self.history.horizon();
        let outages: Vec<usize> = relevant(seen, inject, horizon).collect();
        let Some((&first, &last)) = outages.first().zip(outages.last()) else {
            return self.never_failed(objective, seen, inject, horizon);
        };
        let (first_outage, last_outage) = (&seen.summary.outages[first], &seen.summary.outages[last]);
        // An attempt in flight at the injection started before it and was failed by it all the same.
        if seen.summary.details[first].first_failure_ended < inject {
            return fail("it was already failing when the fault was injected".to_owned());
        }
        if objective.longest_outage {
            return self.longest_outage(objective, seen);
        }
        let span = |moment: Moment, not_before: At| match moment {
            Moment::FirstFailure => beginning(first_outage),
            Moment::FirstSuccess => match seen.summary.details[first].first_success {
                Some((earliest, latest)) => Span { earliest, latest: Some(latest) },
                None => Span { earliest: first_outage.last_failure, latest: None },
            },
            Moment::SustainedOk => {
                Span { earliest: seen.summary.details[last].down_until, latest: last_outage.first_ok_after }
            }
            of_run => self.run_span(of_run, not_before),
        };
        let begin = span(from, inject);
        let Some(begin_latest) = begin.latest else {
            return fail(format!("{} was not seen", from.name()));
        };
        let end = span(to, begin_latest);
        // An outage that nobody saw may follow the last one that was seen: then the service recovered later.
        let blind = match end.latest {
            Some(latest) if to.is_of_a_probe() && to != Moment::SustainedOk => seen.blind_gaps(inject, latest).next(),
            _ if to.is_of_a_probe() => seen.blind_gaps_to(horizon, inject).next(),
            _ => seen.blind_gaps(inject, begin_latest).next(),
        };
        let blind = blind.map(|gap| seen.describe_gap(gap));
        let again = outages.len() > 1 && to == Moment::SustainedOk;
        Finding {
            series: id,
            measured: between(begin, end, slack),
            unknown: blind.map(|why| format!("{}: {why}", seen.plan)),
            beside_gap: beside_gap(seen, first, last),
            note: again.then(|| format!("it failed {} times; counted to the last recovery", outages.len())),
        }
    }

    /// The longest of the outages that were not over at the objective's beginning, or began later.
    fn longest_outage(&self, objective: &Objective, seen: &SeriesHistory<'_>) -> Finding {
        let id = Some(seen.plan.id);
        let horizon = self.history.horizon();
        let from = self.history.moment(objective.from).unwrap_or(horizon);
        let of_one = |index: usize| {
            let outage = &seen.summary.outages[index];
            let end = Span { earliest: seen.summary.details[index].down_until, latest: outage.first_ok_after };
            let measured = between(beginning(outage), end, Duration::ZERO);
            Finding { series: id, measured, unknown: None, beside_gap: beside_gap(seen, index, index), note: None }
        };
        let outages: Vec<Finding> = relevant(seen, from, horizon).map(of_one).collect();
        let count = outages.len();
        let longer = |a: Finding, b: Finding| if by_length(&a, &b) == Ordering::Less { b } else { a };
        let Some(longest) = outages.into_iter().reduce(longer) else {
            return self.never_failed(objective, seen, from, horizon);
        };
        let blind = seen.blind_gaps_to(horizon, from).next();
        Finding {
            unknown: blind.map(|gap| format!("{}: {}", seen.plan, seen.describe_gap(gap))),
            note: (count > 1).then(|| format!("the longest of {count}")),
            ..longest
        }
    }

    fn never_failed(&self, objective: &Objective, seen: &SeriesHistory<'_>, inject: At, horizon: At) -> Finding {
        let id = Some(seen.plan.id);
        let gap = seen.blind_gaps(inject, horizon).next().map(|gap| seen.describe_gap(gap));
        let unknown = match gap {
            Some(why) => Some(why),
            None if seen.oks_to_horizon == 0 => Some("nothing succeeded after the injection".to_owned()),
            None if objective.to == Moment::FirstFailure => Some("it never failed".to_owned()),
            None if objective.from.is_of_a_probe() && !objective.to.is_of_a_probe() => {
                Some("it never failed".to_owned())
            }
            None if !objective.to.is_of_a_probe() => {
                return Finding { series: id, ..self.measure_run(objective) };
            }
            None => None,
        };
        let measured = (seen.oks_to_horizon > 0 && objective.to != Moment::FirstFailure)
            .then(|| Measured::Interval { lower_ms: 0.0, upper_ms: millis(seen.longest_hole) });
        let unknown = unknown.map(|why| format!("{}: {why}", seen.plan));
        // No sample failed: an upper bound beyond the figure comes from the distance of samples alone.
        Finding { series: id, measured, unknown, beside_gap: true, note: None }
    }

    fn decide(&self, finding: &Finding, accepted: Option<Duration>) -> (Value, Option<String>) {
        let unknown = self.blocked.map(str::to_owned).or_else(|| finding.unknown.clone());
        if unknown.is_some() {
            return (Value::Unknown, unknown);
        }
        let Some(measured) = finding.measured else {
            return (Value::Unknown, Some("nothing could be measured".to_owned()));
        };
        let Some(accepted) = accepted else {
            let value = if measured.upper_ms().is_some() { Value::Pass } else { Value::Unknown };
            return (value, finding.note.clone());
        };
        let limit = human(accepted);
        let noted = |why: String| Some(finding.note.iter().fold(why, |why, note| format!("{why}; {note}")));
        match held(finding, accepted) {
            Some(true) => (Value::Pass, finding.note.clone()),
            Some(false) => (Value::Fail, noted(self.why_failed(measured, accepted, &limit))),
            None if measured.upper_ms().is_none() && self.history.gave_up_in().is_some() => {
                (Value::Fail, noted(self.why_failed(measured, accepted, &limit)))
            }
            None if measured.upper_ms().is_some() => {
                (Value::Unknown, noted(format!("too little was measured to say whether it took {limit} or less")))
            }
            None => {
                (Value::Unknown, noted(format!("it was not over after {measured}, and then the run stopped looking")))
            }
        }
    }

    fn why_failed(&self, measured: Measured, accepted: Duration, limit: &str) -> String {
        match measured {
            Measured::AtLeast { .. } => match self.history.gave_up_in() {
                Some(phase) => format!("not over when the run's limit for {} passed: {measured}", phase.name()),
                None => format!("{measured}, more than the {limit} accepted"),
            },
            Measured::Interval { lower_ms, .. } if lower_ms > millis(accepted) => {
                format!("{measured}, more than the {limit} accepted")
            }
            Measured::Interval { .. } => {
                format!("{measured}: up to more than the {limit} accepted, and the upper bound is what counts")
            }
        }
    }
}

/// Whether a figure held, where that can be said. The upper bound is asserted, unless it is what it is for want of samples.
fn held(finding: &Finding, figure: Duration) -> Option<bool> {
    let figure_ms = millis(figure);
    match finding.measured? {
        Measured::Interval { upper_ms, .. } if upper_ms <= figure_ms => Some(true),
        measured if measured.lower_ms() > figure_ms => Some(false),
        Measured::Interval { .. } => (!finding.beside_gap).then_some(false),
        Measured::AtLeast { .. } => None,
    }
}

/// The outages that count against a series: seen after the injection and begun before the horizon.
pub(crate) fn relevant(seen: &SeriesHistory<'_>, inject: At, horizon: At) -> impl Iterator<Item = usize> {
    let counts = move |outage: &Outage| {
        outage.first_failure <= horizon && outage.first_ok_after.is_none_or(|after| after >= inject)
    };
    seen.summary.outages.iter().enumerate().filter(move |(_, outage)| counts(outage)).map(|(index, _)| index)
}

/// Whether silence widens the bounds of the first outage's beginning or the last one's end.
fn beside_gap(seen: &SeriesHistory<'_>, first: usize, last: usize) -> bool {
    let (begin, end) = (&seen.summary.outages[first], &seen.summary.outages[last]);
    let down_until = seen.summary.details[last].down_until;
    seen.summary.gaps.iter().any(|gap| {
        let before = begin.last_ok_before.is_some_and(|ok| ok <= gap.from) && gap.until <= begin.first_failure;
        let after = end.first_ok_after.is_some_and(|ok| gap.until <= ok) && gap.from >= down_until;
        before || after
    })
}

/// When an outage began: after the last success before it, and with its first failure at the latest.
fn beginning(outage: &Outage) -> Span {
    let first = outage.first_failure;
    Span { earliest: outage.last_ok_before.unwrap_or(first), latest: Some(first) }
}

/// The time from one moment to another, clamped to zero; `slack` is how far their clocks can be apart.
fn between(from: Span, to: Span, slack: Duration) -> Option<Measured> {
    let lower = to.earliest.since(from.latest?).saturating_sub(slack);
    Some(match to.latest {
        Some(latest) => {
            let upper = if latest >= from.earliest { latest.since(from.earliest) + slack } else { slack };
            Measured::Interval { lower_ms: millis(lower), upper_ms: millis(upper) }
        }
        None => Measured::AtLeast { lower_ms: millis(lower) },
    })
}

/// By what was measured: what had not ended is longest.
fn by_length(a: &Finding, b: &Finding) -> Ordering {
    let rank = |finding: &Finding| match finding.measured {
        None => (0, 0.0),
        Some(Measured::Interval { upper_ms, .. }) => (1, upper_ms),
        Some(Measured::AtLeast { lower_ms }) => (2, lower_ms),
    };
    let (of_a, of_b) = (rank(a), rank(b));
    of_a.0.cmp(&of_b.0).then(of_a.1.total_cmp(&of_b.1))
}

fn worse(a: (Finding, Value, Option<String>), b: (Finding, Value, Option<String>)) -> (Finding, Value, Option<String>) {
    let order = b.1.cmp(&a.1).then(by_length(&b.0, &a.0));
    if order == Ordering::Greater { b } else { a }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
