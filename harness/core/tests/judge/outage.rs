//! The tracker's rules, one by one.

use firedrill_core::judge::outage::{Gap, SeriesSummary, SeriesTracker};
use firedrill_core::sample::{Cause, Outcome, Sample};
use firedrill_core::time::At;
use firedrill_core::verdict::Measured;
use std::time::Duration;

const REFUSED: Outcome = Outcome::Failed { cause: Cause::Refused, code: 0, maybe_applied: false };

/// Samples every `every_ms`, each 10 ms long: `o` succeeds, `x` is refused, `s` stalls, ` ` is silence.
fn samples(every_ms: u64, pattern: &str) -> Vec<Sample> {
    let mut seq = 0;
    let mut all = Vec::new();
    for (slot, what) in (0u64..).zip(pattern.chars()) {
        let outcome = match what {
            'o' => Outcome::Ok,
            'x' => REFUSED,
            's' => Outcome::Stalled,
            _ => continue,
        };
        let at = At::from_ms(slot * every_ms);
        let ended = if outcome == Outcome::Stalled { at } else { at.plus(Duration::from_millis(10)) };
        all.push(Sample { series: 0, seq, intended: at, started: at, ended, outcome });
        seq += 1;
    }
    all
}

fn track(every_ms: u64, sustained_ms: u64, pattern: &str) -> SeriesSummary {
    let mut tracker =
        SeriesTracker::new(Duration::from_millis(sustained_ms)).with_every(Duration::from_millis(every_ms));
    samples(every_ms, pattern).iter().for_each(|sample| tracker.push(sample));
    tracker.finish(At::from_ms(every_ms * pattern.len() as u64))
}

#[test]
fn no_failure_is_no_outage() {
    let seen = track(100, 300, "oooooooo");
    assert_eq!((seen.samples, seen.failed, seen.outages.len(), seen.gaps.len()), (8, 0, 0, 0));
}

#[test]
fn an_outage_lies_between_its_bounds() {
    let seen = track(100, 300, "ooxxxoooo");
    let [outage] = seen.outages.as_slice() else { panic!("{:?}", seen.outages) };
    assert_eq!(outage.last_ok_before, Some(At::from_ms(100)));
    assert_eq!(outage.first_failure, At::from_ms(200));
    assert_eq!(outage.last_failure, At::from_ms(410));
    assert_eq!(outage.sustained_from, Some(At::from_ms(500)));
    assert_eq!(outage.first_ok_after, Some(At::from_ms(510)));
    assert_eq!(outage.length, Measured::Interval { lower_ms: 210.0, upper_ms: 410.0 });
    assert_eq!((outage.failed, outage.flaps, outage.cause), (3, 0, Cause::Refused));
}

#[test]
fn a_window_shorter_than_demanded_ends_nothing() {
    let seen = track(100, 300, "ooxooo");
    assert_eq!(seen.outages[0].length, Measured::AtLeast { lower_ms: 10.0 });
    assert_eq!(seen.outages[0].sustained_from, None);
    let seen = track(100, 300, "ooxoooo");
    assert_eq!(seen.outages[0].sustained_from, Some(At::from_ms(300)));
}

#[test]
fn how_long_it_succeeds_is_what_ends_an_outage() {
    for (pattern, ok_for, is_down) in [("ooxooo", 200, true), ("ooxoooo", 300, false)] {
        let mut tracker = SeriesTracker::new(Duration::from_millis(300)).with_every(Duration::from_millis(100));
        samples(100, pattern).iter().for_each(|sample| tracker.push(sample));
        assert_eq!((tracker.ok_for(), tracker.is_down()), (Some(Duration::from_millis(ok_for)), is_down), "{pattern}");
    }
}

#[test]
fn short_successes_are_flaps_inside_one_outage() {
    let seen = track(100, 300, "oxoxooxoooo");
    let [outage] = seen.outages.as_slice() else { panic!("{:?}", seen.outages) };
    assert_eq!((outage.flaps, outage.failed), (2, 3));
    assert_eq!(outage.length, Measured::Interval { lower_ms: 510.0, upper_ms: 710.0 });
    assert_eq!(seen.details[0].longest_flap, Duration::from_millis(100));
    assert_eq!(seen.details[0].first_success, Some((At::from_ms(110), At::from_ms(210))));
}

#[test]
fn a_window_between_two_failures_makes_two_outages() {
    let seen = track(100, 300, "oxoooooxoooo");
    assert_eq!(seen.outages.len(), 2);
}

#[test]
fn an_outage_from_the_first_sample_on_says_so() {
    let seen = track(100, 300, "xxoooo");
    assert_eq!(seen.outages[0].last_ok_before, Some(seen.outages[0].first_failure));
}

#[test]
fn a_stalled_attempt_is_neither_success_nor_failure() {
    let seen = track(100, 300, "oosxsxoosoo");
    let [outage] = seen.outages.as_slice() else { panic!("{:?}", seen.outages) };
    assert_eq!((seen.stalled, outage.failed, outage.flaps), (3, 2, 0));
    assert_eq!(outage.sustained_from, Some(At::from_ms(600)));
    assert!(seen.gaps.is_empty());
}

#[test]
fn silence_interrupts_a_window() {
    // 1.4 s without an attempt: the window begins anew behind it.
    let seen = track(100, 300, "oxooosssssssssssssoooo");
    assert_eq!(seen.gaps, [Gap { from: At::from_ms(410), until: At::from_ms(1_800) }]);
    assert_eq!(seen.outages[0].sustained_from, Some(At::from_ms(1_800)));
    assert_eq!(seen.outages[0].length, Measured::Interval { lower_ms: 10.0, upper_ms: 1_810.0 });
    // Unsent and unrecorded attempts are silence alike.
    assert_eq!(track(100, 300, "oxooo             oooo").gaps, seen.gaps);
}

#[test]
fn silence_at_the_end_is_a_gap() {
    assert_eq!(track(100, 300, "ooo").gaps, []);
    let gap = Gap { from: At::from_ms(210), until: At::from_ms(2_000) };
    assert_eq!(track(100, 300, "ooo                 ").gaps, [gap]);
}

#[test]
fn an_attempt_under_way_is_no_silence() {
    let mut tracker = SeriesTracker::new(Duration::from_secs(1)).with_every(Duration::from_millis(50));
    let mut push = |seq, started, ended, outcome| {
        let started = At::from_ms(started);
        tracker.push(&Sample { series: 0, seq, intended: started, started, ended: At::from_ms(ended), outcome });
    };
    push(0, 0, 5, Outcome::Ok);
    push(1, 50, 5_050, REFUSED);
    push(2, 5_100, 5_105, Outcome::Ok);
    assert_eq!(tracker.finish(At::from_ms(5_150)).gaps, []);
}

#[test]
fn a_failure_given_up_after_a_success_does_not_stretch_the_lower_bound() {
    let mut tracker = SeriesTracker::new(Duration::ZERO);
    let mut push = |seq, started, ended, outcome| {
        let started = At::from_ms(started);
        tracker.push(&Sample { series: 0, seq, intended: started, started, ended: At::from_ms(ended), outcome });
    };
    push(0, 0, 5, Outcome::Ok);
    push(1, 100, 5_100, REFUSED);
    push(2, 200, 5_200, REFUSED);
    push(3, 300, 305, Outcome::Ok);
    let seen = tracker.finish(At::from_ms(400));
    assert_eq!(seen.outages[0].length, Measured::Interval { lower_ms: 100.0, upper_ms: 305.0 });
}

#[test]
fn the_live_view_follows() {
    let mut tracker = SeriesTracker::new(Duration::from_millis(300)).with_every(Duration::from_millis(100));
    let all = samples(100, "ooxooooo");
    tracker.push(&all[0]);
    tracker.push(&all[1]);
    assert_eq!((tracker.is_down(), tracker.ok_since()), (false, Some(At(0))));
    tracker.push(&all[2]);
    assert_eq!((tracker.is_down(), tracker.down_since()), (true, Some(At::from_ms(200))));
    assert_eq!(tracker.ok_since(), None);
    tracker.push(&all[3]);
    assert_eq!((tracker.is_down(), tracker.ok_since()), (true, Some(At::from_ms(300))));
    all[4..7].iter().for_each(|sample| tracker.push(sample));
    assert_eq!((tracker.is_down(), tracker.ok_since()), (false, Some(At::from_ms(300))));
    assert_eq!(tracker.succeeded(), 6);
}

#[test]
fn lost_and_disordered_samples_are_counted() {
    let all = samples(100, "ooooo");
    let mut tracker = SeriesTracker::new(Duration::ZERO);
    [0, 1, 4, 3].iter().for_each(|index: &usize| tracker.push(&all[*index]));
    let seen = tracker.finish(At::from_ms(500));
    assert_eq!((seen.samples, seen.missing, seen.disordered), (4, 2, 1));
}
