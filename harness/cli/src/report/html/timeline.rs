//! The timeline: where everything lies on the one axis, in per cent of its width.
//!
//! Only positions across are in per cent; heights and text keep their size at every width of the page.

use super::axis::Axis;
use super::steps::{Fate, StepRun};
use crate::report::describe::phase_end;
use crate::report::text::{one_line, seconds, shorten};
use firedrill_core::event::{Event, PhaseEnd, PowerOnUndo, Source, ThawUndo, Undo};
use firedrill_core::journal::Journal;
use firedrill_core::plan::Phase;
use firedrill_core::scenario::Moment;
use firedrill_core::time::{At, millis};
use firedrill_core::verdict::Verdict;
use serde::Serialize;
use std::collections::BTreeMap;

/// The width of a narrow page's track, in pixels; what fits there fits everywhere.
const TRACK_PX: f64 = 560.0;
/// The width of a character of a label, in pixels.
const CHAR_PX: f64 = 6.6;
/// The most observations that are drawn in a lane.
const TICKS_MAX: usize = 400;

/// Everything but the series.
#[derive(Serialize)]
pub(super) struct Timeline {
    ticks: Vec<Tick>,
    flags: Vec<Flag>,
    flag_rows: usize,
    phases: Vec<Bar>,
    fault: Vec<Bar>,
    shares: Vec<Bar>,
    steps: Vec<StepBar>,
    observed: Vec<Observed>,
    length_s: String,
}

#[derive(Serialize)]
struct Tick {
    x: f64,
    label: String,
}

/// A moment: a line through all lanes with a label on top.
#[derive(Serialize)]
struct Flag {
    x: f64,
    row: usize,
    label: String,
    title: String,
    /// Whether the label stands to the left of its line.
    left: bool,
}

/// A piece of time in a lane.
#[derive(Serialize)]
struct Bar {
    x: f64,
    w: f64,
    /// What is written into it; empty where it would not fit.
    label: String,
    title: String,
    kind: &'static str,
    shade: usize,
}

/// A step in its own row, with its label beside it.
#[derive(Serialize)]
struct StepBar {
    x: f64,
    w: f64,
    label: String,
    label_x: f64,
    left: bool,
    title: String,
    kind: &'static str,
}

/// What one watcher saw.
#[derive(Serialize)]
struct Observed {
    source: String,
    summary: String,
    marks: Vec<Mark>,
}

#[derive(Serialize)]
struct Mark {
    x: f64,
    title: String,
    kind: &'static str,
}

/// Per cent, to a thousandth.
pub(super) fn percent(place: f64) -> f64 {
    (place * 100_000.0).round() / 1_000.0
}

/// Whether a label can be written into a shape of this width, also on a narrow page.
pub(super) fn fits(label: &str, width: f64) -> bool {
    label.chars().count() as f64 * CHAR_PX + 8.0 <= width * TRACK_PX
}

/// The sign of a moment in the field's definitions.
pub(super) fn sign(moment: Moment) -> &'static str {
    match moment {
        Moment::Inject => "t0",
        Moment::Effect => "t0e",
        Moment::FirstFailure => "t1",
        Moment::Detected => "t2",
        Moment::Alert => "t2a",
        Moment::RunbookStart => "t3",
        Moment::RunbookEnd => "t3e",
        Moment::FirstSuccess => "t4",
        Moment::SustainedOk => "t5",
        Moment::Redundancy => "t6",
        Moment::BacklogDrained => "t7",
        Moment::Clean => "t8",
    }
}

/// Lays everything out.
pub(super) fn timeline(verdict: &Verdict, journal: &Journal, steps: &[StepRun], axis: &Axis) -> Timeline {
    let flags = flags(verdict, axis);
    Timeline {
        ticks: axis.ticks(9).into_iter().map(|(place, label)| Tick { x: percent(place), label }).collect(),
        flag_rows: flags.iter().map(|flag| flag.row + 1).max().unwrap_or(0),
        flags,
        phases: phases(journal, axis),
        fault: fault(verdict, journal, axis),
        shares: shares(verdict, axis),
        steps: steps.iter().filter_map(|step| step_bar(step, axis)).collect(),
        observed: observed(journal, axis),
        length_s: format!("{:.0}", (axis.to.0 - axis.from.0) as f64 / 1e6),
    }
}

/// How long before the injection an attempt that it hit may have started.
const IN_FLIGHT_US: u64 = 5_000_000;

/// The moments of the run, with the earliest failure and the latest recovery of its series, in order.
pub(super) fn moments(verdict: &Verdict) -> Vec<(Moment, At)> {
    // What failed before the injection is not of the fault; an attempt in flight then may have started a little before.
    let from = verdict.moments.get(&Moment::Inject).map_or(At(0), |at| At(at.0.saturating_sub(IN_FLIGHT_US)));
    let outages = || verdict.series.iter().flat_map(|series| &series.outages).filter(|o| o.first_failure >= from);
    let mut all = verdict.moments.clone();
    if let Some(first) = outages().map(|outage| outage.first_failure).min() {
        all.entry(Moment::FirstFailure).or_insert(first);
    }
    let over = outages().map(|outage| outage.sustained_from).collect::<Option<Vec<_>>>();
    if let Some(last) = over.and_then(|ends| ends.into_iter().max()) {
        all.entry(Moment::SustainedOk).or_insert(last);
    }
    let mut moments: Vec<(Moment, At)> = all.into_iter().collect();
    moments.sort_by_key(|(moment, at)| (*at, *moment));
    moments
}

/// Labels in as many rows as they need: each in the highest row in which no label is under it and, where that can be, no
/// line runs through another one's label.
fn flags(verdict: &Verdict, axis: &Axis) -> Vec<Flag> {
    let mut flags = Vec::new();
    for (moment, at) in moments(verdict) {
        let Some(place) = axis.place(at) else { continue };
        let label = format!("{} {} {} s", sign(moment), moment.name(), axis.seconds(at));
        let wide = (label.chars().count() as f64 * CHAR_PX + 8.0) / TRACK_PX;
        let left = place + wide > 1.0;
        let (from, until) = if left { (place - wide, place) } else { (place, place + wide) };
        let title = format!("{} at {} s", moment.name(), axis.seconds(at));
        flags.push((Flag { x: percent(place), row: 0, label, title, left }, Spot { place, from, until, row: 0 }));
    }
    // Those that stand to the right of their lines from the left on, then the others from the right on.
    let mut order: Vec<usize> = (0..flags.len()).filter(|index| !flags[*index].0.left).collect();
    order.extend((0..flags.len()).rev().filter(|index| flags[*index].0.left));
    let mut placed: Vec<Spot> = Vec::new();
    for index in order {
        let spot = &mut flags[index].1;
        spot.row = row_for(spot, &placed);
        placed.push(*spot);
    }
    flags.into_iter().map(|(flag, spot)| Flag { row: spot.row, ..flag }).collect()
}

/// Where a label is, and its line, which runs from its row down.
#[derive(Clone, Copy)]
struct Spot {
    place: f64,
    from: f64,
    until: f64,
    row: usize,
}

/// The highest row for a label. A line that runs through it from above does so in every lower row too, so that cannot
/// always be avoided; labels never lie on each other, for which as many rows as labels are enough.
fn row_for(spot: &Spot, placed: &[Spot]) -> usize {
    let free = |meets: fn(&Spot, &Spot) -> bool| {
        (0..=placed.len()).find(|row| {
            let spot = Spot { row: *row, ..*spot };
            !placed.iter().any(|other| meets(&spot, other))
        })
    };
    free(Spot::meets).or_else(|| free(Spot::overlaps)).unwrap_or(placed.len())
}

impl Spot {
    fn overlaps(&self, other: &Spot) -> bool {
        self.row == other.row && self.from < other.until && other.from < self.until
    }

    fn meets(&self, other: &Spot) -> bool {
        let crosses =
            |line: &Spot, label: &Spot| line.row < label.row && label.from < line.place && line.place < label.until;
        self.overlaps(other) || crosses(self, other) || crosses(other, self)
    }
}

fn bar(axis: &Axis, from: At, until: At, label: &str, kind: &'static str, shade: usize) -> Option<Bar> {
    let (x, w) = axis.span(from, until)?;
    let lasted = seconds(millis(until.since(from)));
    let title = format!("{label}: {} s to {} s, {lasted} s", axis.seconds(from), axis.seconds(until));
    let label = if fits(label, w) { label.to_owned() } else { String::new() };
    Some(Bar { x: percent(x), w: percent(w), label, title, kind, shade })
}

fn phases(journal: &Journal, axis: &Axis) -> Vec<Bar> {
    let mut since: BTreeMap<Phase, At> = BTreeMap::new();
    let mut bars = Vec::new();
    for record in &journal.records {
        match &record.event {
            Event::PhaseStarted { phase, deadline: _ } => {
                since.insert(*phase, record.at);
            }
            Event::PhaseEnded { phase, end, detail } => {
                let Some(from) = since.remove(phase) else { continue };
                let kind = match end {
                    PhaseEnd::Done | PhaseEnd::Skipped => "phase",
                    PhaseEnd::DeadlinePassed | PhaseEnd::Failed { .. } | PhaseEnd::Interrupted => "phase bad",
                };
                if let Some(mut bar) = bar(axis, from, record.at, phase.name(), kind, bars.len() % 2) {
                    bar.title = format!("{}. {}", bar.title, one_line(&phase_end(end, detail)));
                    bars.push(bar);
                }
            }
            _ => {}
        }
    }
    bars
}

/// Each target from its injection until its undo, or until redundancy was back where that was first.
fn fault(verdict: &Verdict, journal: &Journal, axis: &Axis) -> Vec<Bar> {
    let mut undone: BTreeMap<u32, At> = BTreeMap::new();
    for record in &journal.records {
        if let Event::Undone { id, error: None, finish_with: _ } = &record.event {
            undone.insert(*id, record.at);
        }
    }
    let undo_of = |wanted: &firedrill_core::plan::Target| {
        journal.records.iter().find_map(|record| match &record.event {
            Event::UndoRecorded { id, undo: Undo::Thaw(ThawUndo { target }) } if target == wanted => {
                undone.get(id).copied()
            }
            Event::UndoRecorded { id, undo: Undo::PowerOn(PowerOnUndo { node, .. }) }
                if Some(node.as_str()) == wanted.node() =>
            {
                undone.get(id).copied()
            }
            _ => None,
        })
    };
    let redundancy = verdict.moments.get(&Moment::Redundancy).copied();
    let mut bars = Vec::new();
    for record in &journal.records {
        if let Event::InjectCalled { target } = &record.event {
            let until = [redundancy, undo_of(target)].into_iter().flatten().min().unwrap_or(axis.to).max(record.at);
            if let Some(mut bar) = bar(axis, record.at, until, &target.to_string(), "fault", 0) {
                if bar.label.is_empty() {
                    bar.label = shorten(&target.to_string(), (bar.w / 100.0 * TRACK_PX / CHAR_PX) as usize);
                }
                bars.push(bar);
            }
        }
    }
    bars
}

fn shares(verdict: &Verdict, axis: &Axis) -> Vec<Bar> {
    let shares = verdict.attribution.iter().enumerate();
    shares
        .filter_map(|(index, share)| bar(axis, share.from, share.until, &one_line(&share.name), "share", index % 6))
        .collect()
}

fn step_bar(step: &StepRun, axis: &Axis) -> Option<StepBar> {
    let until = step.until.unwrap_or(axis.to);
    let (x, w) = axis.span(step.from, until)?;
    let (kind, sign) = match (&step.fate, step.held()) {
        (Fate::Skipped(_), _) => ("skipped", "–"),
        (_, Some(true)) => ("ok", "✓"),
        (_, Some(false)) => ("bad", "✗"),
        (_, None) => ("open", "…"),
    };
    let what = if step.correction { "correction" } else { "step" };
    let command = one_line(&step.command);
    let lasted = seconds(millis(until.since(step.from)));
    let said = if command.is_empty() { one_line(&step.section) } else { command };
    let name = if step.correction { format!("{}′", step.number) } else { step.number.to_string() };
    let left = x > 1.0 - x - w;
    let room = if left { x } else { 1.0 - x - w };
    let label = shorten(&format!("{sign} {name} ({lasted} s) {said}"), (room * TRACK_PX / CHAR_PX) as usize);
    Some(StepBar {
        x: percent(x),
        w: percent(w),
        label,
        label_x: percent(if left { x } else { x + w }),
        left,
        title: format!("{what} {}, {}: {said}, {lasted} s, {}", step.number, one_line(&step.section), step.said()),
        kind,
    })
}

fn observed(journal: &Journal, axis: &Axis) -> Vec<Observed> {
    let mut sources: BTreeMap<Source, Observed> = BTreeMap::new();
    for record in &journal.records {
        let Event::Observed(seen) = &record.event else { continue };
        let Some(place) = axis.place(record.at) else { continue };
        let lane = sources.entry(seen.source).or_insert_with(|| Observed {
            source: seen.source.to_string(),
            summary: String::new(),
            marks: Vec::new(),
        });
        if lane.marks.len() < TICKS_MAX {
            let kind = match seen.healthy {
                Some(true) => "healthy",
                Some(false) => "unhealthy",
                None => "neutral",
            };
            let title = format!("{} s: {} {}", axis.seconds(record.at), one_line(&seen.object), one_line(&seen.state));
            lane.marks.push(Mark { x: percent(place), title, kind });
        }
    }
    let mut lanes: Vec<Observed> = sources.into_values().collect();
    for lane in &mut lanes {
        let of = |kind: &str| lane.marks.iter().filter(|mark| mark.kind == kind).count();
        lane.summary = format!("{} changes, {} for the worse", lane.marks.len(), of("unhealthy"));
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_a_line_must_cross_still_finds_a_row() {
        let placed = [
            Spot { place: 0.80, from: 0.80, until: 0.95, row: 0 },
            Spot { place: 0.90, from: 0.75, until: 0.90, row: 1 },
        ];
        let crossed = Spot { place: 0.99, from: 0.78, until: 0.99, row: 0 };
        let row = row_for(&crossed, &placed);
        let found = Spot { row, ..crossed };
        assert!(placed.iter().all(|other| !found.overlaps(other)), "row {row}");
    }
}
