//! The one time axis of a page.

use firedrill_core::event::Event;
use firedrill_core::journal::Journal;
use firedrill_core::plan::Phase;
use firedrill_core::scenario::Moment;
use firedrill_core::time::At;
use firedrill_core::verdict::Verdict;
use std::time::Duration;

/// What is shown of the steady state before the injection.
const BEFORE: Duration = Duration::from_secs(10);
/// The least that is shown after the last moment.
const AFTER_MIN: Duration = Duration::from_secs(4);

/// A piece of the run's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Its left end.
    pub(super) from: At,
    /// Its right end, later than the left one.
    pub(super) to: At,
    /// What is written as 0 s.
    pub(super) zero: At,
}

impl Axis {
    /// An axis of at least a millisecond.
    pub(super) fn new(from: At, to: At, zero: At) -> Self {
        Self { from, to: to.max(At(from.0 + 1_000)), zero }
    }

    /// From about ten seconds before the injection to shortly after redundancy was back, or to the end of the waiting
    /// where it never was. A run without an injection is shown whole.
    pub(super) fn of(verdict: &Verdict, journal: &Journal) -> Self {
        let last = journal.records.last().map_or(At(0), |record| record.at);
        let moment = |moment: Moment| verdict.moments.get(&moment).copied();
        let called = journal.records.iter().find(|record| matches!(record.event, Event::InjectCalled { .. }));
        let Some(inject) = moment(Moment::Inject).or(called.map(|record| record.at)) else {
            return Self::new(At(0), last, At(0));
        };
        let outages = verdict.series.iter().flat_map(|series| &series.outages);
        let ends = outages.filter_map(|outage| outage.first_ok_after).chain(
            [Moment::Effect, Moment::RunbookEnd, Moment::SustainedOk, Moment::Redundancy]
                .into_iter()
                .filter_map(moment),
        );
        let open =
            verdict.series.iter().flat_map(|series| &series.outages).any(|outage| outage.sustained_from.is_none());
        let waited = journal.records.iter().filter_map(|record| match &record.event {
            Event::PhaseEnded { phase: Phase::Effect | Phase::SustainedOk | Phase::Redundancy, end: _, detail: _ } => {
                Some(record.at)
            }
            _ => None,
        });
        let seen = ends.max().unwrap_or(inject);
        let until =
            if open || moment(Moment::Redundancy).is_none() { waited.max().unwrap_or(last).max(seen) } else { seen };
        let margin = AFTER_MIN.max(until.since(inject) / 20);
        let from = At(inject.0.saturating_sub(BEFORE.as_micros() as u64));
        Self::new(from, until.plus(margin).min(last.max(until)), moment(Moment::Effect).unwrap_or(inject))
    }

    /// Where a moment lies, from 0 to 1; `None` where it is off the axis.
    pub(super) fn place(&self, at: At) -> Option<f64> {
        (self.from <= at && at <= self.to).then(|| self.clamped(at))
    }

    /// Where a moment lies, moved onto the axis where it is off it.
    pub(super) fn clamped(&self, at: At) -> f64 {
        let at = at.clamp(self.from, self.to);
        (at.0 - self.from.0) as f64 / (self.to.0 - self.from.0) as f64
    }

    /// Where a piece of time lies, as left end and width from 0 to 1; `None` where it is off the axis.
    pub(super) fn span(&self, from: At, until: At) -> Option<(f64, f64)> {
        if until < self.from || from > self.to {
            return None;
        }
        let left = self.clamped(from);
        Some((left, self.clamped(until) - left))
    }

    /// A moment in seconds from zero, with its sign: `+12.30`.
    pub(super) fn seconds(&self, at: At) -> String {
        format!("{:+.2}", self.relative(at))
    }

    /// A moment in seconds from zero.
    pub(super) fn relative(&self, at: At) -> f64 {
        (at.0 as f64 - self.zero.0 as f64) / 1e6
    }

    /// Round moments on the axis, at most `most` of them, with their labels.
    pub(super) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        let length = (self.to.0 - self.from.0) as f64 / 1e6;
        let steps =
            [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0];
        let step = steps.into_iter().find(|step| length / step <= most as f64).unwrap_or(length);
        let (first, last) =
            ((self.relative(self.from) / step).ceil() as i64, (self.relative(self.to) / step).floor() as i64);
        (first..=last)
            .map(|index| {
                let seconds = index as f64 * step;
                let place = (seconds - self.relative(self.from)) / length;
                let label = match (index, step < 1.0) {
                    (0, _) => "0 s".to_owned(),
                    (_, true) => format!("{seconds:+.2}"),
                    (_, false) => format!("{seconds:+.0}"),
                };
                (place, label)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_count_from_zero() {
        let axis = Axis::new(At::from_ms(40_000), At::from_ms(90_000), At::from_ms(50_700));
        let labels: Vec<String> = axis.ticks(8).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["-10", "0 s", "+10", "+20", "+30"]);
    }

    #[test]
    fn a_piece_of_time_is_cut_to_the_axis() {
        let axis = Axis::new(At::from_ms(10_000), At::from_ms(20_000), At::from_ms(10_000));
        assert_eq!(axis.span(At::from_ms(5_000), At::from_ms(15_000)), Some((0.0, 0.5)));
        assert_eq!(axis.span(At::from_ms(21_000), At::from_ms(25_000)), None);
        assert_eq!(axis.place(At::from_ms(9_999)), None);
    }
}
