//! Availability and latency of every series, as shapes on the one axis.

use super::axis::Axis;
use super::buckets::{AVAILABILITY_BUCKETS, Count, LATENCY_BUCKETS, Lane, State};
use super::timeline::{fits, percent};
use crate::report::text::{count, latency, one_line, plural};
use firedrill_core::plan::Plan;
use firedrill_core::time::At;
use firedrill_core::verdict::{Outage, SeriesResult, Verdict};
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// The height of a latency chart, in units of its view box.
const CHART_UNITS: f64 = 100.0;

/// One series.
#[derive(Serialize)]
pub(super) struct SeriesLane {
    name: String,
    steady: String,
    summary: String,
    pieces: Vec<Piece>,
    outages: Vec<OutageMark>,
    chart: Option<Chart>,
}

/// A piece of time in which a series was the same.
#[derive(Serialize)]
struct Piece {
    x: f64,
    w: f64,
    state: &'static str,
    title: String,
}

#[derive(Serialize)]
struct OutageMark {
    x: f64,
    label: String,
    left: bool,
    /// Whether the label stands on the outage itself, where that is wide enough.
    within: bool,
}

/// Latency over time, its axis in decades.
#[derive(Serialize)]
struct Chart {
    p50: String,
    p99: String,
    grid: Vec<Grid>,
    summary: String,
}

#[derive(Serialize)]
struct Grid {
    y: f64,
    label: String,
}

/// Lays out every series of the verdict; without samples only what the verdict knows.
pub(super) fn lanes(verdict: &Verdict, plan: &Plan, lanes: &[Lane], axis: &Axis) -> Vec<SeriesLane> {
    verdict
        .series
        .iter()
        .map(|series| {
            let lane = lanes.get(usize::from(series.id));
            let every = plan.series.iter().find(|planned| planned.id == series.id).map(|planned| planned.every);
            SeriesLane {
                name: one_line(&series.name),
                steady: match (series.steady_p50_ms, series.steady_p99_ms) {
                    (Some(p50), Some(p99)) => format!("before: p50 {}, p99 {}", latency(p50), latency(p99)),
                    _ => String::new(),
                },
                summary: summary(series, axis),
                pieces: lane.map(|lane| pieces(&lane.counts, every.unwrap_or_default(), axis)).unwrap_or_default(),
                outages: series.outages.iter().filter_map(|outage| outage_mark(outage, axis)).collect(),
                chart: lane.and_then(chart),
            }
        })
        .collect()
}

/// What the lane shows, for those who do not see it.
fn summary(series: &SeriesResult, axis: &Axis) -> String {
    let mut text = format!("{}: {} failed of {}", one_line(&series.name), count(series.failed), count(series.samples));
    if series.outages.is_empty() {
        text.push_str(", no outage");
    }
    for outage in &series.outages {
        let until = outage.first_ok_after.map_or_else(|| "the end".to_owned(), |at| format!("{} s", axis.seconds(at)));
        let _ = write!(text, "; down from {} s to {until}, {}", axis.seconds(outage.first_failure), outage.length);
    }
    text
}

/// Buckets side by side in the same state are one piece. A series whose attempts are rarer than buckets has empty ones
/// between them: these belong to the attempt before.
fn pieces(counts: &[Count], every: Duration, axis: &Axis) -> Vec<Piece> {
    let states = states(counts, every, axis);
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < counts.len() {
        let state = states[from];
        let until = states[from..].iter().position(|other| *other != state).map_or(counts.len(), |n| from + n);
        let sum = counts[from..until].iter().fold(Count::default(), |sum, count| Count {
            ok: sum.ok + count.ok,
            failed: sum.failed + count.failed,
            stalled: sum.stalled + count.stalled,
        });
        let place = |index: usize| index as f64 / AVAILABILITY_BUCKETS as f64;
        pieces.push(Piece {
            x: percent(place(from)),
            w: percent(place(until) - place(from)),
            state: match state {
                State::Up => "up",
                State::Partial => "partial",
                State::Down => "down",
                State::Stalled => "stalled",
                State::NoData => "none",
            },
            title: piece_title(state, sum, at(axis, place(from)), at(axis, place(until)), axis),
        });
        from = until;
    }
    pieces
}

fn states(counts: &[Count], every: Duration, axis: &Axis) -> Vec<State> {
    let mut states: Vec<State> = counts.iter().map(|count| count.state()).collect();
    let bucket_us = (axis.to.0 - axis.from.0) as f64 / AVAILABILITY_BUCKETS as f64;
    let gap_max = (every.as_micros() as f64 * 1.5 / bucket_us).ceil() as usize;
    let mut from = 0;
    while from < states.len() {
        let same = states[from..].iter().position(|state| *state != State::NoData);
        match same {
            Some(0) => from += 1,
            length => {
                let until = length.map_or(states.len(), |length| from + length);
                if from > 0 && until - from <= gap_max {
                    let before = states[from - 1];
                    states[from..until].fill(before);
                }
                from = until;
            }
        }
    }
    states
}

fn at(axis: &Axis, place: f64) -> At {
    At(axis.from.0 + (place * (axis.to.0 - axis.from.0) as f64) as u64)
}

fn piece_title(state: State, sum: Count, from: At, until: At, axis: &Axis) -> String {
    let word = match state {
        State::Up => "up",
        State::Partial => "partly down",
        State::Down => "down",
        State::Stalled => "not sent by the prober",
        State::NoData => "no attempt due",
    };
    let tried = u64::from(sum.ok) + u64::from(sum.failed);
    let mut text = format!("{word}, {} s to {} s", axis.seconds(from), axis.seconds(until));
    if tried > 0 {
        let _ = write!(text, ": {} of {} succeeded", count(u64::from(sum.ok)), plural(tried, "attempt", "attempts"));
    }
    text
}

fn outage_mark(outage: &Outage, axis: &Axis) -> Option<OutageMark> {
    let (x, w) = axis.span(outage.first_failure, outage.first_ok_after.unwrap_or(axis.to))?;
    let label = format!("down {}", outage.length);
    let within = fits(&label, w);
    let left = !within && x + w > 0.72;
    Some(OutageMark { x: percent(if left || within { x } else { x + w }), label, left, within })
}

/// Lines of the median and the 99th percentile, broken where nothing succeeded.
fn chart(lane: &Lane) -> Option<Chart> {
    let quantiles = |share: f64| -> Vec<Option<f64>> {
        (0..LATENCY_BUCKETS).map(|bucket| lane.quantile_ms(bucket, share)).collect()
    };
    let (p50, p99) = (quantiles(0.5), quantiles(0.99));
    let seen = p50.iter().chain(&p99).flatten();
    let (least, most) = seen.fold((f64::MAX, f64::MIN), |(least, most), ms| (least.min(*ms), most.max(*ms)));
    if least > most {
        return None;
    }
    let first = least.log10().floor();
    let last = most.log10().ceil().max(first + 1.0);
    let y = |ms: f64| (last - ms.log10()) / (last - first) * CHART_UNITS;
    let grid = (first as i32..=last as i32).map(|decade| Grid {
        y: y(10_f64.powi(decade)),
        label: match decade {
            ..0 => format!("{} µs", 10_f64.powi(decade + 3)),
            0..3 => format!("{} ms", 10_f64.powi(decade)),
            3.. => format!("{} s", 10_f64.powi(decade - 3)),
        },
    });
    let worst = p99.iter().flatten().copied().fold(f64::MIN, f64::max);
    Some(Chart {
        p50: path(&p50, y),
        p99: path(&p99, y),
        grid: grid.collect(),
        summary: format!("latency of successes, median from {}, slowest about {}", latency(least), latency(worst)),
    })
}

fn path(values: &[Option<f64>], y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else {
            drawing = false;
            continue;
        };
        let x = (index as f64 + 0.5) / LATENCY_BUCKETS as f64 * 1_000.0;
        let command = if drawing { 'L' } else { 'M' };
        // A lone point is a line of no length, which round ends make visible.
        let _ = write!(path, "{command}{x:.1} {:.1}{}", y(*value), if drawing { "" } else { "h0" });
        drawing = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_attempts_fill_the_buckets_up_to_the_next_one_and_a_real_gap_stays() {
        let axis = Axis::new(At::from_ms(0), At::from_ms(60_000), At::from_ms(0));
        let mut counts = vec![Count::default(); AVAILABILITY_BUCKETS];
        for bucket in [0, 2, 4, 100] {
            counts[bucket].ok = 1;
        }
        let states = states(&counts, Duration::from_millis(200), &axis);
        assert_eq!(states[..5], [State::Up; 5]);
        assert_eq!(states[5], State::NoData);
        assert_eq!(states[99..101], [State::NoData, State::Up]);
    }
}
