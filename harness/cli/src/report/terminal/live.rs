//! A run on the terminal while it happens.
//!
//! What is over stays as a line: phases with what was found and how long it took, steps of the runbook, and everything
//! that the reader should look at. What is under way is a frame, drawn in place on a terminal; elsewhere it is a line
//! every ten seconds.

use crate::printer::Printer;
use crate::report::describe::{phase_end, step_end};
use crate::report::text::{Style, limit, one_line, pad, seconds, shorten, wrap};
use firedrill_core::event::{Event, FileSystem, PhaseEnd, Record, RunStarted, StepEnd, Undo};
use firedrill_core::listing::first_of;
use firedrill_core::live::{Live, LiveProbe};
use firedrill_core::plan::Phase;
use firedrill_core::scenario::drill_name;
use firedrill_core::time::{At, micros, millis};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Time between two lines of progress where there is no terminal.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Columns before what is said of a phase.
const INDENT: usize = 20;
/// Columns kept for the time on the right.
const TIME_COLUMNS: usize = 10;
/// The most probes in a frame; the others are counted.
const PROBES_MAX: usize = 12;
/// How many differences from an earlier run are shown.
const DIFFERENCES_SHOWN_MAX: usize = 5;
/// Seconds of a probe in a frame, one column each.
const BAR_COLUMNS: usize = 60;

/// Shows a run while it happens.
pub(crate) struct LiveView<'a> {
    printer: &'a mut Printer,
    lines: Lines,
}

impl<'a> LiveView<'a> {
    /// A view of a run that has not started.
    pub(crate) fn new(printer: &'a mut Printer) -> Self {
        let lines = Lines::new(printer.progress_style());
        Self { printer, lines }
    }

    /// Prints what stays of a record.
    pub(crate) fn record(&mut self, record: &Record) {
        for line in self.lines.record(record).lines() {
            self.printer.status(line);
        }
    }

    /// Prints what is under way: draws the frame again, or appends a line at most every ten seconds.
    pub(crate) fn live(&mut self, live: &Live) {
        if self.printer.interactive() {
            self.printer.frame(&self.lines.frame(live));
        } else if let Some(line) = self.lines.progress(live) {
            self.printer.status(&line);
        }
    }

    /// Prints what is waited for before there is a run.
    pub(crate) fn waiting(&mut self, text: &str) {
        self.printer.status(&format!("  ▸ {}", one_line(text)));
    }

    /// Takes the frame away; what stays is followed by an empty line.
    pub(crate) fn finish(self) {
        self.printer.clear_frame();
        self.printer.status("");
    }
}

/// Turns records and live states into lines.
struct Lines {
    style: Style,
    phase_since: BTreeMap<Phase, At>,
    step_since: BTreeMap<(u32, bool), (At, String)>,
    undos: BTreeMap<u32, Undo>,
    progress_at: Option<At>,
}

impl Lines {
    fn new(style: Style) -> Self {
        Self {
            style,
            phase_since: BTreeMap::new(),
            step_since: BTreeMap::new(),
            undos: BTreeMap::new(),
            progress_at: None,
        }
    }

    /// What stays of a record, as lines; empty for most.
    fn record(&mut self, record: &Record) -> String {
        let paint = self.style.paint();
        match &record.event {
            Event::RunStarted(start) => self.started(start),
            Event::PhaseStarted { phase, deadline: _ } => {
                self.phase_since.insert(*phase, record.at);
                self.progress_at = Some(record.at);
                String::new()
            }
            Event::PhaseEnded { phase, end, detail } => self.phase(*phase, end, detail, record.at),
            Event::Placement { places } => places
                .iter()
                // The stack's own pods are there to be hit; what must not be is what the measurement and the recovery rest on.
                .filter(|place| place.on_victim && place.what.must_be_spared())
                .map(|place| {
                    self.warn(&format!("{} {} runs on a victim's node, {}", place.what, place.name, place.node))
                })
                .collect(),
            // The verdict says what it means.
            Event::RestartsSeen { when: _, containers: _, unseen: _ } => String::new(),
            Event::PodsMadeAnew { pods, failed } => {
                let mut text = String::new();
                if !pods.is_empty() {
                    let said = format!("recreated, because the kubelet would delay their restart: {}", pods.join(", "));
                    text.push_str(&self.under("·", &said, None));
                }
                for failed in failed {
                    text.push_str(&self.warn(&format!("could not be recreated: {failed}")));
                }
                text
            }
            Event::ClockCompared { vantage: _, uncertainty_us: _ } => String::new(),
            Event::UndoRecorded { id, undo } => {
                self.undos.insert(*id, undo.clone());
                String::new()
            }
            Event::InjectCalled { target: _ } => String::new(),
            Event::InjectReturned { target: _, error: None } => String::new(),
            Event::InjectReturned { target, error: Some(error) } => {
                self.warn(&format!("the injection into {target} failed: {error}"))
            }
            Event::Proof { targets: _, subject: _, evidence: _, held: true } => String::new(),
            Event::Proof { targets: _, subject, evidence, held: false } => {
                self.warn(&format!("not proven, {subject}: {evidence}"))
            }
            Event::MomentSeen { moment: _, seen_at: _, by: _ } => String::new(),
            Event::Load { achieved_per_s, demanded_per_s } if achieved_per_s < demanded_per_s => self.warn(&format!(
                "too little load: {achieved_per_s:.1}/s succeed, {demanded_per_s:.1}/s are needed for a verdict"
            )),
            Event::Load { achieved_per_s: _, demanded_per_s: _ } => String::new(),
            // The verdict says it where it matters.
            Event::CpuPressure { stalled: _, over: _ } => String::new(),
            Event::StepStarted { step, section: _, line: _, command, correction, deadline: _ } => {
                self.step_since.insert((*step, *correction), (record.at, one_line(command)));
                String::new()
            }
            Event::StepEnded { step, correction, end, stdout: _, stderr } => {
                self.step(*step, *correction, end, stderr, record.at)
            }
            Event::StepSkipped { step, section, because } => {
                let said = format!("step {step} skipped ({}): {}", one_line(section), one_line(because));
                self.under(&paint.dim("–"), &said, None)
            }
            Event::StepLeftToPeople { step, section: _, line: _, command, because } => {
                let said = format!("step {step} is manual ({}): {}", one_line(because), one_line(command));
                self.under(&paint.dim("–"), &said, None)
            }
            // The phase that ended says it.
            Event::Observed(_) | Event::NotRedundant { missing: _, unseen: _ } => String::new(),
            Event::Lost { what } => self.warn(&one_line(what)),
            Event::Suspended { length, awake_at: _ } => self.warn(&format!(
                "this machine was suspended for {:.1} s: its measurements prove nothing",
                length.as_secs_f64()
            )),
            Event::Ledger(ledger) => match &ledger.error {
                Some(error) => self.warn(&format!("the writes in {} cannot be read back: {error}", ledger.store)),
                None if ledger.lost > 0 => self.warn(&format!(
                    "{} of {} acknowledged writes lost in {}",
                    ledger.lost, ledger.acknowledged, ledger.store
                )),
                None => String::new(),
            },
            Event::VolumesAtRisk { claims: _, of_other_drivers: _ } => String::new(),
            Event::VolumeChecked { claim: _, found: FileSystem::Whole | FileSystem::Gone } => String::new(),
            Event::VolumeChecked { claim, found } => self.warn(&format!("file system of {claim}: {found}")),
            Event::Undone { id: _, error: None, finish_with: _ } => String::new(),
            Event::Undone { id, error: Some(error), finish_with } => {
                let what = self.undos.get(id).map_or_else(|| format!("undo {id}"), ToString::to_string);
                let mut text = self.stuck(&format!("could not {what}: {error}"));
                if let Some(with) = finish_with {
                    text.push_str(&self.under(" ", &format!("finish with: {}", one_line(with)), None));
                }
                text
            }
            Event::CleanChecked { made: _, gone: _, differences, still_faulty, residue: _ } => {
                let mut text = String::new();
                for faulty in still_faulty {
                    text.push_str(&self.stuck(&format!("still faulty: {faulty}")));
                }
                for difference in differences {
                    text.push_str(&self.warn(&format!("still differs: {difference}")));
                }
                text
            }
            Event::BundleKept { path, missing } => {
                // A node that is off has nothing to say for any of its containers; the report has all of it.
                let without = match missing.as_slice() {
                    [] => String::new(),
                    [one] => format!(", without {one}"),
                    [first, rest @ ..] => format!(", without {} parts that did not answer, as {first}", rest.len() + 1),
                };
                self.under("·", &format!("logs and states kept in {path}{without}"), None)
            }
            Event::StateAccepted { run, differences } => {
                let what = one_line(&first_of(differences, DIFFERENCES_SHOWN_MAX));
                self.warn(&format!("the cluster is accepted as run {} left it: {what}", one_line(run)))
            }
            Event::Note { text } => self.under("·", &one_line(text), None),
            Event::Interrupted { count } => self.warn(match count {
                1 => "interrupted: undoing everything; interrupt again to skip the settling",
                2 => "interrupted again: skipping the settling; a third time exits at once",
                _ => "interrupted a third time: exiting",
            }),
            Event::RunEnded { .. } => String::new(),
        }
    }

    /// What is under way, for a terminal.
    fn frame(&self, live: &Live) -> Vec<String> {
        let paint = self.style.paint();
        let used = clock(live);
        let doing_columns = self.style.width.saturating_sub(INDENT + used.chars().count() + 2);
        let doing = pad(&shorten(&one_line(&live.doing), doing_columns), doing_columns);
        let mut lines = vec![format!(
            "  {} {}{doing}  {used}",
            paint.strong("▸"),
            paint.strong(&pad(live.phase.name(), INDENT - 4))
        )];
        if !live.probes.is_empty() {
            lines.push(String::new());
        }
        let shown = live.probes.len().min(PROBES_MAX);
        let name_columns = live.probes[..shown].iter().map(|p| p.name.chars().count()).max().unwrap_or(0).min(24);
        for probe in &live.probes[..shown] {
            let columns = self.style.width.saturating_sub(name_columns + 22).min(BAR_COLUMNS);
            let state = match probe.down_since {
                Some(since) => paint.fail(&format!("down {:>6} s", tenths(live.at.since(since)))),
                None if probe.recent.iter().all(Option::is_none) => paint.dim("no answer yet"),
                None => paint.pass("up"),
            };
            lines.push(format!(
                "  {}  {}  {state}",
                pad(&shorten(&one_line(&probe.name), name_columns), name_columns),
                bar(probe, columns)
            ));
        }
        if live.probes.len() > shown {
            lines.push(format!("  and {} more", live.probes.len() - shown));
        }
        lines
    }

    /// A line of progress, where ten seconds have passed since the last one.
    fn progress(&mut self, live: &Live) -> Option<String> {
        let last = *self.progress_at.get_or_insert(live.at);
        if live.at.since(last) < PROGRESS_EVERY {
            return None;
        }
        self.progress_at = Some(live.at);
        let mut line = format!("  ▸ {}{}, {}", pad(live.phase.name(), INDENT - 4), one_line(&live.doing), clock(live));
        for (index, probe) in live.probes.iter().filter(|probe| probe.down_since.is_some()).enumerate() {
            let since = probe.down_since.unwrap_or(live.at);
            let _ = write!(
                line,
                "{}{} down {} s",
                if index == 0 { "; " } else { ", " },
                one_line(&probe.name),
                tenths(live.at.since(since))
            );
        }
        Some(line)
    }

    fn started(&self, start: &RunStarted) -> String {
        let paint = self.style.paint();
        let (plan, cluster) = (&start.plan, &start.cluster);
        let left_out = start.scenario.variants.get(&plan.variant).and_then(|variant| variant.recovery.left_out());
        let name = one_line(&drill_name(&plan.scenario, &plan.variant, left_out));
        let place = format!(
            " on {} {} ({} nodes, Kubernetes {})",
            one_line(&cluster.provider),
            one_line(&cluster.name),
            cluster.nodes,
            one_line(&cluster.version)
        );
        let run = format!("run {}", one_line(&plan.run_id));
        let used = name.chars().count() + place.chars().count() + run.chars().count();
        let mut text = paint.strong(&name) + &place;
        if used + 2 <= self.style.width {
            let _ = write!(text, "{:gap$}{}", "", paint.dim(&run), gap = self.style.width - used);
        } else {
            let _ = write!(text, "\n{}", paint.dim(&run));
        }
        text.push_str("\n\n");
        if start.noop {
            text.push_str(&self.warn("no-op run: nothing is broken, so it can only end as unknown"));
        }
        text
    }

    fn phase(&mut self, phase: Phase, end: &PhaseEnd, detail: &str, at: At) -> String {
        let paint = self.style.paint();
        let sign = match end {
            PhaseEnd::Done => paint.pass("✓"),
            PhaseEnd::Skipped => paint.dim("–"),
            PhaseEnd::DeadlinePassed | PhaseEnd::Failed { .. } => paint.fail("✗"),
            PhaseEnd::Interrupted => paint.unknown("!"),
        };
        let took = self.phase_since.remove(&phase).map(|since| at.since(since));
        self.progress_at = Some(at);
        self.row(&sign, &paint.strong(&pad(phase.name(), INDENT - 4)), &phase_end(end, detail), took)
    }

    fn step(&mut self, step: u32, correction: bool, end: &StepEnd, stderr: &str, at: At) -> String {
        let paint = self.style.paint();
        let (took, command) = match self.step_since.remove(&(step, correction)) {
            Some((since, command)) => (Some(at.since(since)), command),
            None => (None, String::new()),
        };
        let what = if correction { "correction" } else { "step" };
        let sign = if end.held() { paint.pass("·") } else { paint.fail("✗") };
        let mut text = self.under(&sign, &format!("{what} {step}: {}", shorten(&command, 160)), took);
        if !end.held() {
            let last = stderr.lines().rfind(|line| !line.trim().is_empty()).map_or_else(String::new, |line| {
                format!("; last line of its errors: {}", shorten(&one_line(line), 200))
            });
            text.push_str(&self.under(" ", &format!("{}{last}", step_end(end)), None));
        }
        text
    }

    /// A line with a phase's name, and the time on the right.
    fn row(&self, sign: &str, name: &str, said: &str, took: Option<Duration>) -> String {
        let lines = wrap(&one_line(said), self.style.width.saturating_sub(INDENT + TIME_COLUMNS).max(20));
        let first = lines.first().map_or("", String::as_str);
        let mut text = format!("  {sign} {name}{first}");
        if let Some(took) = took {
            let time = format!("{} s", tenths(took));
            let gap = self.style.width.saturating_sub(INDENT + first.chars().count() + time.chars().count()).max(1);
            let _ = write!(text, "{:gap$}{}", "", self.style.paint().dim(&time));
        }
        text.push('\n');
        for line in lines.iter().skip(1) {
            let _ = writeln!(text, "{:INDENT$}{line}", "");
        }
        text
    }

    /// A line under a phase's text.
    fn under(&self, sign: &str, said: &str, took: Option<Duration>) -> String {
        self.row(sign, &" ".repeat(INDENT - 4), said, took)
    }

    fn warn(&self, said: &str) -> String {
        let paint = self.style.paint();
        self.row(&paint.unknown("!"), &paint.unknown(&pad("warning", INDENT - 4)), said, None)
    }

    fn stuck(&self, said: &str) -> String {
        let paint = self.style.paint();
        self.row(&paint.fail("✗"), &paint.fail(&pad("stuck", INDENT - 4)), said, None)
    }
}

/// `12 s of 120 s`.
fn clock(live: &Live) -> String {
    let elapsed = live.at.since(live.since).as_secs();
    format!("{elapsed} s of {}", limit(micros(live.deadline) / 1_000))
}

/// Seconds with one decimal.
fn tenths(duration: Duration) -> String {
    let ms = millis(duration);
    if ms < 1_000.0 { seconds(ms) } else { format!("{:.1}", ms / 1_000.0) }
}

/// The latest seconds of a probe, a column each: full where all attempts succeeded, lowest where none did, a dot where
/// there was none.
fn bar(probe: &LiveProbe, columns: usize) -> String {
    let from = probe.recent.len().saturating_sub(columns);
    let mut bar = " ".repeat(columns.saturating_sub(probe.recent.len()));
    for share in &probe.recent[from..] {
        bar.push(match share {
            None => '·',
            Some(share) if *share >= 1.0 => '█',
            Some(share) if *share > 0.66 => '▆',
            Some(share) if *share > 0.33 => '▄',
            Some(share) if *share > 0.0 => '▂',
            Some(_) => '▁',
        });
    }
    bar
}

#[cfg(test)]
#[path = "live_tests.rs"]
pub(super) mod tests;
