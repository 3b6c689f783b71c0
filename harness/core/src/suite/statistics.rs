//! What several runs of one drill say together.

use super::result::{Outcome, Ran, RunResult};
use crate::verdict::{Measured, Value};
use serde::{Deserialize, Serialize};

/// How sure the bound on the probability of a violation is.
const CONFIDENCE: f64 = 0.95;

/// A drill that runs more than once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeated {
    /// The drill.
    pub drill: String,
    /// How often it was to run.
    pub planned: u32,
    /// How often it was begun.
    pub runs: u32,
    /// Of these, the runs that are not in the times below, since they are not independent of the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Its times: every objective, then the time to recover.
    pub measures: Vec<Measure>,
}

impl Repeated {
    /// How many runs the times are of.
    pub fn pooled(&self) -> u32 {
        self.runs.saturating_sub(self.left_out.len() as u32)
    }
}

/// A run that is not pooled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Which run of the drill, from 1.
    pub round: u32,
    /// Why.
    pub because: String,
}

/// One time, over all runs that were begun and are pooled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The objective's name, or `time to recover`.
    pub name: String,
    /// In how many runs it was measured to its end.
    pub measured: u32,
    /// The longest, in milliseconds; at least so long where one had not ended. `None` where it was never measured.
    pub longest_ms: Option<Measured>,
    /// How sure it is that nine of ten such times are no longer than the longest: 1 - 0.9^n. `None` where one run of n has no
    /// upper bound.
    pub p90_confidence: Option<f64>,
    /// Whether it held; `None` where it gates nothing.
    pub held: Option<Held>,
}

/// How often an objective held.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Runs in which it did not.
    pub violated: u32,
    /// Runs in which that is not known.
    pub unknown: u32,
    /// With 95 % confidence the probability of a violation is no more than this, where what is not known is counted as one.
    pub violation_probability_max: f64,
}

/// The confidence that 90 % of all times are no longer than the longest of `runs` (order statistics: the longest of n lies below
/// the 90th percentile with probability 0.9^n).
pub fn p90_confidence(runs: u32) -> f64 {
    1.0 - 0.9_f64.powf(f64::from(runs))
}

/// The greatest probability of a violation that `violations` in `runs` leave possible at 95 % confidence: the exact one-sided
/// bound of Clopper and Pearson (1934). Without violations it is 1 - 0.05^(1/n).
pub fn violation_bound(violations: u32, runs: u32) -> f64 {
    if violations >= runs {
        return 1.0;
    }
    // The probability of so few violations falls as theirs grows: halve the interval in which it passes 5 %.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if at_most(violations, runs, middle) > 1.0 - CONFIDENCE { low = middle } else { high = middle }
    }
    high
}

/// The binomial probability of at most `count` in `runs`, for a probability `p` of each, 0 < p < 1; by logarithms, because
/// (1 - p)^n is soon too small for a number.
fn at_most(count: u32, runs: u32, p: f64) -> f64 {
    let mut ln_choose = 0.0;
    let mut sum = 0.0;
    for k in 0..=count {
        if k > 0 {
            ln_choose += (f64::from(runs - k + 1) / f64::from(k)).ln();
        }
        sum += (ln_choose + f64::from(k) * p.ln() + f64::from(runs - k) * (-p).ln_1p()).exp();
    }
    sum
}

/// The statistics of one drill from its results; `None` where it runs once or is a control.
pub(super) fn repeated(results: &[&RunResult]) -> Option<Repeated> {
    let first = results.first()?;
    if first.repeat < 2 || first.control {
        return None;
    }
    let left_out: Vec<LeftOut> = results
        .iter()
        .filter_map(|result| {
            let because = result.ran()?.not_independent.clone()?;
            Some(LeftOut { round: result.slot.round, because })
        })
        .collect();
    // One that was begun and has no verdict counts as one of which nothing is known.
    let ran: Vec<Option<&Ran>> = results
        .iter()
        .filter_map(|result| match &result.outcome {
            Outcome::Ran(ran) if ran.not_independent.is_some() => None,
            Outcome::Ran(ran) => Some(Some(&**ran)),
            Outcome::Failed { .. } => Some(None),
            Outcome::NotRun(_) => None,
        })
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for objective in ran.iter().flatten().flat_map(|ran| &ran.objectives) {
        if !names.contains(&objective.name.as_str()) {
            names.push(&objective.name);
        }
    }
    let mut measures: Vec<Measure> = names.iter().map(|name| of_objective(name, &ran)).collect();
    let times: Vec<_> = ran.iter().map(|ran| ran.and_then(|ran| ran.time_to_recover_ms)).collect();
    measures.push(measure("time to recover", &times, None));
    let runs = (ran.len() + left_out.len()) as u32;
    Some(Repeated { drill: first.drill.clone(), planned: first.repeat, runs, left_out, measures })
}

fn of_objective(name: &str, ran: &[Option<&Ran>]) -> Measure {
    let of_run = |ran: &Option<&Ran>| ran.and_then(|ran| ran.objectives.iter().find(|seen| seen.name == name).cloned());
    let seen: Vec<_> = ran.iter().map(of_run).collect();
    let times: Vec<_> = seen.iter().map(|seen| seen.as_ref().and_then(|seen| seen.measured)).collect();
    let gates = seen.iter().flatten().any(|seen| seen.accepted_ms.is_some());
    let value = |seen: &Option<super::ObjectiveSeen>| seen.as_ref().map_or(Value::Unknown, |seen| seen.value);
    let count = |wanted| seen.iter().filter(|seen| value(seen) == wanted).count() as u32;
    let (violated, unknown) = (count(Value::Fail), count(Value::Unknown));
    let violation_probability_max = violation_bound(violated + unknown, ran.len() as u32);
    measure(name, &times, gates.then_some(Held { violated, unknown, violation_probability_max }))
}

/// One time of each run.
fn measure(name: &str, times: &[Option<Measured>], held: Option<Held>) -> Measure {
    let uppers: Vec<f64> = times.iter().flatten().filter_map(|time| time.upper_ms()).collect();
    let censored = times.iter().flatten().filter(|time| time.upper_ms().is_none());
    let longest = |values: &mut dyn Iterator<Item = f64>| values.max_by(f64::total_cmp);
    let at_least_ms = longest(&mut censored.map(|time| time.lower_ms()));
    let upper_ms = longest(&mut uppers.iter().copied());
    let longest_ms = match (at_least_ms, upper_ms) {
        (Some(lower_ms), _) => Some(Measured::AtLeast { lower_ms }),
        (None, Some(upper_ms)) => times.iter().flatten().copied().find(|time| time.upper_ms() == Some(upper_ms)),
        (None, None) => None,
    };
    let all = !times.is_empty() && uppers.len() == times.len();
    Measure {
        name: name.to_owned(),
        measured: uppers.len() as u32,
        longest_ms,
        p90_confidence: all.then(|| p90_confidence(times.len() as u32)),
        held,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(upper_ms: f64) -> Option<Measured> {
        Some(Measured::Interval { lower_ms: upper_ms - 10.0, upper_ms })
    }

    #[test]
    fn the_bounds_are_those_of_the_tables() {
        // n = 22 gives 90 %, n = 29 gives 95 %: 1 - 0.9^n.
        assert!((p90_confidence(22) - 0.9015).abs() < 1e-4 && (p90_confidence(29) - 0.9529).abs() < 1e-4);
        // Without a violation: 26 %, 9.5 %, 5 %.
        for (runs, bound) in [(10, 0.259), (30, 0.095), (59, 0.0495)] {
            assert!((violation_bound(0, runs) - bound).abs() < 5e-4, "{runs}: {}", violation_bound(0, runs));
        }
        // Clopper and Pearson, one-sided: 1 of 10 and 2 of 20.
        assert!((violation_bound(1, 10) - 0.3942).abs() < 5e-4 && (violation_bound(2, 20) - 0.2826).abs() < 5e-4);
        assert!(violation_bound(0, 0) == 1.0 && violation_bound(3, 3) == 1.0);
    }

    #[test]
    fn a_run_without_an_upper_bound_leaves_no_bound() {
        let all = measure("x", &[time(10.0), time(30.0), time(20.0)], None);
        assert_eq!(all.longest_ms, time(30.0));
        assert!((all.p90_confidence.unwrap() - 0.271).abs() < 1e-9);
        let censored = measure("x", &[time(90.0), Some(Measured::AtLeast { lower_ms: 60.0 })], None);
        assert_eq!(censored.longest_ms, Some(Measured::AtLeast { lower_ms: 60.0 }));
        assert_eq!((censored.measured, censored.p90_confidence), (1, None));
        let missing = measure("x", &[time(10.0), None], None);
        assert_eq!((missing.measured, missing.p90_confidence), (1, None));
        assert_eq!(measure("x", &[], None).p90_confidence, None);
    }

    proptest! {
        #[test]
        fn the_bound_leaves_five_percent(runs in 1_u32..100, violations in 0_u32..100) {
            let violations = violations.min(runs - 1);
            let bound = violation_bound(violations, runs);
            prop_assert!((at_most(violations, runs, bound) - 0.05).abs() < 1e-6);
            prop_assert!(bound > f64::from(violations) / f64::from(runs));
            prop_assert!(violation_bound(violations + 1, runs) > bound);
        }
    }
}
