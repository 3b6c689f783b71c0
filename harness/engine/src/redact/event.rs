//! Which texts of a journal may hold secrets.

use super::Redactor;
use firedrill_core::alert::AlertState;
use firedrill_core::event::{Event, Fact, FileSystem, PhaseEnd, StepEnd};

impl Redactor {
    /// Takes secrets out of everything in an event that a program, a runbook or an API server said. What the harness itself reads
    /// again from a journal stays as it is: undo records, names of targets and claims, and which faults are still in.
    pub(crate) fn event(&self, event: &mut Event) {
        match event {
            Event::RunStarted(start) => {
                for step in start.scenario.runbooks.values_mut().flat_map(|runbook| &mut runbook.steps) {
                    self.clean(&mut step.command);
                }
                for correction in &mut start.scenario.corrections {
                    self.clean(&mut correction.documented);
                    self.clean(&mut correction.instead);
                }
            }
            Event::PhaseEnded { phase: _, end, detail } => {
                if let PhaseEnd::Failed { reason } = end {
                    self.clean(reason);
                }
                self.clean(detail);
            }
            Event::InjectReturned { target: _, error } => self.all(error),
            Event::Proof { targets: _, subject: _, evidence, held: _ } => self.clean(evidence),
            Event::MomentSeen { moment: _, seen_at: _, by } => self.clean(by),
            Event::StepStarted { command, .. } => self.clean(command),
            Event::StepEnded { step: _, correction: _, end, stdout, stderr } => {
                match end {
                    StepEnd::WrongOutput { exit: _, expected } => self.clean(expected),
                    StepEnd::NotStarted { reason } => self.clean(reason),
                    StepEnd::AsExpected { .. } | StepEnd::WrongExit { .. } | StepEnd::DeadlinePassed => {}
                }
                self.clean(stdout);
                self.clean(stderr);
            }
            Event::StepSkipped { step: _, section: _, because } => self.clean(because),
            Event::StepLeftToPeople { step: _, section: _, line: _, command, because } => {
                self.clean(command);
                self.clean(because);
            }
            Event::Observed(seen) => {
                self.clean(&mut seen.state);
                if let Some(Fact::Alert(AlertState::Unknown { why })) = &mut seen.fact {
                    self.clean(why);
                }
            }
            Event::NotRedundant { missing, unseen } => self.all(missing.iter_mut().chain(unseen)),
            Event::Lost { what } => self.clean(what),
            Event::Ledger(ledger) => self.all(&mut ledger.error),
            Event::VolumeChecked { claim: _, found } => match found {
                FileSystem::Damaged { said: text } | FileSystem::Unknown { why: text } => self.clean(text),
                FileSystem::Whole | FileSystem::Gone => {}
            },
            Event::Undone { id: _, error, finish_with } => self.all(error.iter_mut().chain(finish_with)),
            Event::CleanChecked { differences, .. } | Event::StateAccepted { run: _, differences } => {
                self.all(differences)
            }
            Event::BundleKept { path: _, missing } => self.all(missing),
            Event::Note { text } => self.clean(text),
            Event::RestartsSeen { when: _, containers: _, unseen: texts }
            | Event::PodsMadeAnew { pods: _, failed: texts } => self.all(texts),
            Event::PhaseStarted { .. }
            | Event::Placement { .. }
            | Event::VolumesAtRisk { .. }
            | Event::ClockCompared { .. }
            | Event::UndoRecorded { .. }
            | Event::InjectCalled { .. }
            | Event::Load { .. }
            | Event::CpuPressure { .. }
            | Event::Suspended { .. }
            | Event::Interrupted { .. }
            | Event::RunEnded { .. } => {}
        }
    }

    fn all<'a>(&self, texts: impl IntoIterator<Item = &'a mut String>) {
        texts.into_iter().for_each(|text| self.clean(text));
    }
}
