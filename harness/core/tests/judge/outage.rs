//! The tracker's rules, one by one.

use firedrill_core::judge::outage::{FailureCount, Gap, SeriesSummary, SeriesTracker};
use firedrill_core::sample::{Cause, NotSent, Outcome, Sample};
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
fn an_attempt_that_this_side_could_not_send_is_as_a_stalled_one() {
    let mut all = samples(100, "ooxssxoooosssssssssssssssoooo");
    let stalled = track(100, 300, "ooxssxoooosssssssssssssssoooo");
    let mut tracker = SeriesTracker::new(Duration::from_millis(300)).with_every(Duration::from_millis(100));
    for sample in &mut all {
        if sample.outcome == Outcome::Stalled {
            sample.outcome = Outcome::NotSent { why: NotSent::NoLocalPort };
        }
        tracker.push(sample);
    }
    let seen = tracker.finish(At::from_ms(2_900));
    assert_eq!(seen.not_sent, [(NotSent::NoLocalPort, 17)].into());
    assert_eq!((seen.failed, seen.stalled, seen.gaps.len()), (2, 17, 1));
    assert_eq!(SeriesSummary { not_sent: stalled.not_sent.clone(), ..seen }, stalled);
}

#[test]
fn an_attempt_that_was_held_up_says_nothing_of_the_time_in_which_it_was() {
    // This side stopped from 1.0 to 5.0 s, with an attempt under way.
    let held_up = |outcome| {
        let (every, timeout) = (Duration::from_millis(50), Duration::from_secs(1));
        let mut tracker = SeriesTracker::new(Duration::from_millis(100)).with_every(every).with_timeout(timeout);
        let mut push = |seq, started, ended, outcome| {
            let started = At::from_ms(started);
            tracker.push(&Sample { series: 0, seq, intended: started, started, ended: At::from_ms(ended), outcome });
        };
        push(0, 950, 955, Outcome::Ok);
        push(1, 1_000, 5_000, outcome);
        push(2, 5_050, 5_055, Outcome::Ok);
        push(3, 5_200, 5_205, Outcome::Ok);
        tracker.finish(At::from_ms(5_250))
    };
    let gap = Gap { from: At::from_ms(1_000), until: At::from_ms(5_050) };
    let seen = held_up(Outcome::Ok);
    assert_eq!((seen.gaps.as_slice(), seen.outages.len()), ([gap].as_slice(), 0));
    let seen = held_up(Outcome::Failed { cause: Cause::Timeout, code: 0, maybe_applied: true });
    assert_eq!(seen.gaps, [gap]);
    assert_eq!(seen.outages[0].length.lower_ms(), 0.0, "the time in which it was held up is no outage");
}

#[test]
fn failures_are_counted_by_cause_and_code() {
    let mut tracker = SeriesTracker::new(Duration::from_millis(300));
    let status = |code| Outcome::Failed { cause: Cause::Status, code, maybe_applied: false };
    for (seq, outcome) in (0..).zip([Outcome::Ok, status(302), status(429), status(429), REFUSED]) {
        let at = At::from_ms(u64::from(seq) * 100);
        tracker.push(&Sample { series: 0, seq, intended: at, started: at, ended: at, outcome });
    }
    let seen = tracker.finish(At::from_ms(500));
    let count = |cause, code, count| FailureCount { cause, code, count };
    let all = [count(Cause::Refused, 0, 1), count(Cause::Status, 302, 1), count(Cause::Status, 429, 2)];
    assert_eq!(seen.failures, all);
    assert_eq!((seen.outages[0].cause, seen.details[0].code), (Cause::Status, 429));
}

#[test]
fn a_server_that_makes_up_codes_takes_no_memory() {
    let mut tracker = SeriesTracker::new(Duration::from_millis(300));
    for seq in 0..10_000_u32 {
        let at = At(u64::from(seq) * 1_000);
        let outcome = Outcome::Failed { cause: Cause::Unavailable, code: seq as u16, maybe_applied: false };
        tracker.push(&Sample { series: 0, seq, intended: at, started: at, ended: at, outcome });
    }
    let seen = tracker.finish(At::from_ms(10_000));
    assert!(seen.failures.len() <= 64, "{}", seen.failures.len());
    assert_eq!(seen.failures.iter().map(|failure| failure.count).sum::<u64>(), 10_000);
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
