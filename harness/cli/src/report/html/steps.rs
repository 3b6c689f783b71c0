//! The steps of the runbook, as the journal has them.

use super::super::describe::step_end;
use super::super::text::visible;
use firedrill_core::event::{Event, RunStarted, StepEnd};
use firedrill_core::journal::Journal;
use firedrill_core::scenario::{Correction, Step};
use firedrill_core::time::At;

/// A step that ran, or was passed over.
pub(super) struct StepRun {
    /// Its number.
    pub(super) number: u32,
    /// Whether it is the correction of the documented command that ran just before.
    pub(super) correction: bool,
    /// Its section's heading.
    pub(super) section: String,
    /// The line in the runbook; 0 where it is not known.
    pub(super) line: u32,
    /// The command.
    pub(super) command: String,
    /// When it began, or was passed over.
    pub(super) from: At,
    /// When it ended; `None` where the run ended first.
    pub(super) until: Option<At>,
    /// What became of it.
    pub(super) fate: Fate,
    /// The first part of its standard output.
    pub(super) stdout: String,
    /// The first part of its standard error.
    pub(super) stderr: String,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It ended.
    Ended(StepEnd),
    /// The run ended first.
    Open,
    /// It was passed over.
    Skipped(String),
}

impl StepRun {
    /// Whether it ended as expected; `None` where it did not end.
    pub(super) fn held(&self) -> Option<bool> {
        match &self.fate {
            Fate::Ended(end) => Some(end.held()),
            Fate::Open | Fate::Skipped(_) => None,
        }
    }

    /// What became of it, in words.
    pub(super) fn said(&self) -> String {
        match &self.fate {
            Fate::Ended(end) => step_end(end),
            Fate::Open => "the run ended before it did".to_owned(),
            Fate::Skipped(because) => format!("skipped: {because}"),
        }
    }

    /// Its exit code, where it has one.
    pub(super) fn exit(&self) -> Option<i32> {
        match &self.fate {
            Fate::Ended(
                StepEnd::AsExpected { exit } | StepEnd::WrongExit { exit } | StepEnd::WrongOutput { exit, expected: _ },
            ) => Some(*exit),
            Fate::Ended(StepEnd::DeadlinePassed | StepEnd::NotStarted { reason: _ }) => None,
            Fate::Open | Fate::Skipped(_) => None,
        }
    }
}

/// All steps, in the order in which they ran.
pub(super) fn steps(journal: &Journal) -> Vec<StepRun> {
    let mut steps: Vec<StepRun> = Vec::new();
    for record in &journal.records {
        match &record.event {
            Event::StepStarted { step, section, line, command, correction, deadline: _ } => steps.push(StepRun {
                number: *step,
                correction: *correction,
                section: visible(section),
                line: *line,
                command: visible(command),
                from: record.at,
                until: None,
                fate: Fate::Open,
                stdout: String::new(),
                stderr: String::new(),
            }),
            Event::StepEnded { step, correction, end, stdout, stderr } => {
                let open = steps.iter_mut().rfind(|s| s.number == *step && s.correction == *correction);
                if let Some(open) = open {
                    open.until = Some(record.at);
                    open.fate = Fate::Ended(end.clone());
                    open.stdout = visible(stdout);
                    open.stderr = visible(stderr);
                }
            }
            Event::StepSkipped { step, section, because } => steps.push(StepRun {
                number: *step,
                correction: false,
                section: visible(section),
                line: 0,
                command: String::new(),
                from: record.at,
                until: Some(record.at),
                fate: Fate::Skipped(visible(because)),
                stdout: String::new(),
                stderr: String::new(),
            }),
            Event::StepLeftToPeople { step, section, line, command, because } => steps.push(StepRun {
                number: *step,
                correction: false,
                section: visible(section),
                line: *line,
                command: visible(command),
                from: record.at,
                until: Some(record.at),
                fate: Fate::Skipped(format!("manual: {}", visible(because))),
                stdout: String::new(),
                stderr: String::new(),
            }),
            _ => {}
        }
    }
    steps
}

/// The step of the runbook behind a step that ran.
pub(super) fn documented<'a>(start: &'a RunStarted, run: &StepRun) -> Option<&'a Step> {
    let steps = start.scenario.runbooks.values().flat_map(|runbook| &runbook.steps);
    steps.into_iter().find(|step| step.line == run.line && step.section == run.section)
}

/// The correction behind a step that ran in place of a documented one.
pub(super) fn correction<'a>(start: &'a RunStarted, run: &StepRun) -> Option<&'a Correction> {
    start.scenario.corrections.iter().find(|correction| run.correction && correction.section == run.section)
}

/// What was expected of a step, in words.
pub(super) fn expectation(start: &RunStarted, run: &StepRun) -> String {
    let (output, exit) = match (correction(start, run), documented(start, run)) {
        (Some(correction), _) => (correction.expect.as_deref(), Some(0)),
        (None, Some(step)) => (step.expect.as_deref(), step.exit),
        (None, None) => return "not known".to_owned(),
    };
    let exit = exit.map_or_else(|| "any exit".to_owned(), |exit| format!("exit {exit}"));
    match output {
        Some(output) => format!("{exit}, output has `{}`", visible(output)),
        None => exit,
    }
}
