//! What the journal says, in one pass: moments, phases, and who did what to which target.

use crate::event::{
    CheckTime, ContainerRestarts, Event, FileSystem, LedgerCount, Observation, PhaseEnd, Place, RunStarted, StepEnd,
    Undo,
};
use crate::journal::Journal;
use crate::plan::{Phase, Target};
use crate::sample::SeriesId;
use crate::scenario::Moment;
use crate::time::At;
use std::collections::BTreeMap;
use std::time::Duration;

/// A journal, taken apart for judging.
#[derive(Debug)]
pub(crate) struct History<'a> {
    pub(crate) start: &'a RunStarted,
    pub(crate) started_wall: &'a str,
    /// The moments of the run as a whole. Those of probes come from samples.
    pub(crate) moments: BTreeMap<Moment, At>,
    /// What proved the effect.
    pub(crate) effect_by: Option<&'a str>,
    pub(crate) phases: Vec<PhaseSeen<'a>>,
    /// Successes per second of the steady state.
    pub(crate) load_per_s: Option<f64>,
    /// For how long something waited for a processor of the prober's machine, and of how long.
    pub(crate) cpu_stalled: Option<(Duration, Duration)>,
    /// Restarts of containers before the run, and what could not be looked at.
    pub(crate) restarts_before: Option<(&'a [ContainerRestarts], &'a [String])>,
    pub(crate) injections: Vec<Injection<'a>>,
    pub(crate) proofs: Vec<ProofSeen<'a>>,
    pub(crate) steps: Vec<StepSeen<'a>>,
    /// Findings about steps that were left to people: section and text.
    pub(crate) left_to_people: Vec<(&'a str, String)>,
    pub(crate) observed: Vec<(At, &'a Observation)>,
    /// What of redundancy was seen to be missing when its limit passed.
    pub(crate) not_redundant: &'a [String],
    /// What was lost of the run's own, its lease or samples.
    pub(crate) lost: Option<&'a str>,
    /// For how long the machine that measured was suspended, in all.
    pub(crate) suspended: Duration,
    /// Why the samples that were read are not those of the whole run.
    pub(crate) not_whole: Option<String>,
    /// How many samples its file was closed with, where the run said so.
    pub(crate) samples: Option<u64>,
    pub(crate) ledger: Vec<&'a LedgerCount>,
    /// The file systems that the fault may have harmed, by claim, `None` where one was not looked into; `None` of all where the
    /// run did not look which there are.
    pub(crate) volumes: Option<BTreeMap<&'a str, Option<&'a FileSystem>>>,
    /// The claims whose file systems the fault may have harmed and that nobody can be asked about.
    pub(crate) not_looked_into: &'a [String],
    pub(crate) undos: Vec<UndoSeen<'a>>,
    pub(crate) clean: Option<CleanSeen<'a>>,
    /// The earlier runs whose changes this one was told to take as they are, each with how the cluster differed.
    pub(crate) accepted: Vec<(&'a str, &'a [String])>,
    pub(crate) placement: Vec<&'a Place>,
    /// How far times from inside the cluster can be off, in microseconds; `None` where that was never found out.
    pub(crate) inside_uncertainty_us: Option<u64>,
    pub(crate) interrupted: bool,
    /// Whether the run ended by itself.
    pub(crate) ended: bool,
    /// The last record.
    pub(crate) last_at: At,
    /// The last record of the run's looking at the service, before it put things back. A sweep may add records hours later.
    looked_until: At,
}

/// A phase that began.
#[derive(Debug)]
pub(crate) struct PhaseSeen<'a> {
    pub(crate) phase: Phase,
    /// How it ended and what was said of it; `None` where the journal does not say.
    pub(crate) end: Option<(&'a PhaseEnd, &'a str)>,
    /// When it ended.
    pub(crate) ended_at: Option<At>,
}

/// An injection into one target.
#[derive(Debug)]
pub(crate) struct Injection<'a> {
    pub(crate) target: &'a Target,
    /// `None` where the call did not come back.
    pub(crate) returned: Option<Option<&'a str>>,
}

/// A proof that was attempted; the last attempt on its targets and subject counts.
#[derive(Debug)]
pub(crate) struct ProofSeen<'a> {
    pub(crate) targets: &'a [Target],
    pub(crate) subject: &'a str,
    pub(crate) evidence: &'a str,
    pub(crate) held: bool,
}

/// A runbook step, or its correction.
#[derive(Debug)]
pub(crate) struct StepSeen<'a> {
    pub(crate) step: u32,
    pub(crate) section: &'a str,
    pub(crate) line: u32,
    pub(crate) command: &'a str,
    pub(crate) correction: bool,
    pub(crate) end: Option<&'a StepEnd>,
}

/// An undo that was written down.
#[derive(Debug)]
pub(crate) struct UndoSeen<'a> {
    pub(crate) id: u32,
    pub(crate) undo: &'a Undo,
    pub(crate) done: Option<UndoneSeen<'a>>,
}

/// An undo that was carried out; the last attempt counts.
#[derive(Debug)]
pub(crate) struct UndoneSeen<'a> {
    pub(crate) error: Option<&'a str>,
    pub(crate) finish_with: Option<&'a str>,
}

/// The last comparison of the cluster with what it was.
#[derive(Debug)]
pub(crate) struct CleanSeen<'a> {
    pub(crate) made: u32,
    pub(crate) gone: u32,
    pub(crate) differences: &'a [String],
    pub(crate) still_faulty: &'a [String],
    pub(crate) residue: &'a [String],
}

impl<'a> History<'a> {
    /// Reads a journal. `start` is its first record's.
    pub(crate) fn read(journal: &'a Journal, start: &'a RunStarted) -> Self {
        let mut history = Self {
            start,
            started_wall: journal.records.first().map_or("", |record| &record.wall),
            moments: BTreeMap::new(),
            effect_by: None,
            phases: Vec::new(),
            load_per_s: None,
            cpu_stalled: None,
            restarts_before: None,
            injections: Vec::new(),
            proofs: Vec::new(),
            steps: Vec::new(),
            left_to_people: Vec::new(),
            observed: Vec::new(),
            not_redundant: &[],
            lost: None,
            suspended: Duration::ZERO,
            not_whole: None,
            samples: None,
            ledger: Vec::new(),
            volumes: None,
            not_looked_into: &[],
            undos: Vec::new(),
            clean: None,
            accepted: Vec::new(),
            placement: Vec::new(),
            inside_uncertainty_us: None,
            interrupted: false,
            ended: false,
            last_at: At::default(),
            looked_until: At::default(),
        };
        let mut looking = true;
        let mut last_step_end = None;
        for record in &journal.records {
            history.last_at = history.last_at.max(record.at);
            looking &= !ends_looking(&record.event);
            if looking && !matches!(record.event, Event::Undone { .. } | Event::Note { .. } | Event::CpuPressure { .. })
            {
                history.looked_until = history.looked_until.max(record.at);
            }
            if matches!(record.event, Event::StepEnded { .. }) {
                last_step_end = Some(record.at);
            }
            history.take(record.at, &record.event);
        }
        if let Some(at) = last_step_end {
            history.moments.entry(Moment::RunbookEnd).or_insert(at);
        }
        history
    }

    fn take(&mut self, at: At, event: &'a Event) {
        match event {
            Event::PhaseStarted { phase, .. } => {
                self.phases.push(PhaseSeen { phase: *phase, end: None, ended_at: None });
            }
            Event::PhaseEnded { phase, end, detail } => self.end_phase(at, *phase, end, detail),
            Event::Placement { places } => self.placement.extend(places),
            Event::ClockCompared { uncertainty_us, .. } => {
                self.inside_uncertainty_us = self.inside_uncertainty_us.max(Some(*uncertainty_us));
            }
            Event::UndoRecorded { id, undo } => self.undos.push(UndoSeen { id: *id, undo, done: None }),
            Event::InjectCalled { target } => {
                self.moments.entry(Moment::Inject).or_insert(at);
                self.injections.push(Injection { target, returned: None });
            }
            Event::InjectReturned { target, error } => {
                if let Some(injection) = self.injections.iter_mut().rev().find(|i| i.target == target) {
                    injection.returned = Some(error.as_deref());
                }
            }
            Event::Proof { targets, subject, evidence, held } => {
                self.proofs.retain(|proof| (proof.targets, proof.subject) != (targets.as_slice(), subject.as_str()));
                self.proofs.push(ProofSeen { targets, subject, evidence, held: *held });
            }
            Event::MomentSeen { moment, seen_at, by } if !moment.is_of_a_probe() => {
                self.moments.entry(*moment).or_insert(*seen_at);
                if *moment == Moment::Effect {
                    self.effect_by.get_or_insert(by);
                }
            }
            Event::CpuPressure { stalled, over } => self.cpu_stalled = Some((*stalled, *over)),
            Event::Load { achieved_per_s, .. } => self.load_per_s = Some(*achieved_per_s),
            Event::StepStarted { step, section, line, command, correction, .. } => {
                self.moments.entry(Moment::RunbookStart).or_insert(at);
                let (step, line, correction) = (*step, *line, *correction);
                self.steps.push(StepSeen { step, section, line, command, correction, end: None });
            }
            Event::StepEnded { step, correction, end, .. } => {
                let matches = |s: &&mut StepSeen<'_>| s.step == *step && s.correction == *correction;
                if let Some(seen) = self.steps.iter_mut().rev().find(matches) {
                    seen.end = Some(end);
                }
            }
            Event::StepLeftToPeople { step, section, line, command, because } => {
                let text = format!("step {step} (line {line}) is manual and was not run: {command}; {because}");
                self.left_to_people.push((section, text));
            }
            Event::Observed(observation) => self.observed.push((at, observation)),
            Event::NotRedundant { missing, .. } => self.not_redundant = missing,
            Event::Lost { what } => drop(self.lost.get_or_insert(what)),
            Event::Suspended { length, .. } => self.suspended = self.suspended.saturating_add(*length),
            Event::Ledger(count) => self.ledger.push(count),
            Event::VolumesAtRisk { claims, of_other_drivers } => {
                let at_risk = self.volumes.get_or_insert_default();
                at_risk.extend(claims.iter().map(|claim| (claim.as_str(), None)));
                self.not_looked_into = of_other_drivers;
            }
            Event::VolumeChecked { claim, found } => {
                self.volumes.get_or_insert_default().insert(claim, Some(found));
            }
            Event::Undone { id, error, finish_with } => {
                if let Some(undo) = self.undos.iter_mut().find(|undo| undo.id == *id) {
                    undo.done = Some(UndoneSeen { error: error.as_deref(), finish_with: finish_with.as_deref() });
                }
            }
            Event::CleanChecked { made, gone, differences, still_faulty, residue } => {
                if differences.is_empty() && still_faulty.is_empty() && made == gone {
                    self.moments.entry(Moment::Clean).or_insert(at);
                }
                self.clean = Some(CleanSeen { made: *made, gone: *gone, differences, still_faulty, residue });
            }
            Event::StateAccepted { run, differences } => self.accepted.push((run, differences)),
            Event::Interrupted { .. } => self.interrupted = true,
            Event::RunEnded { interrupted, samples } => {
                self.ended = true;
                self.samples = *samples;
                self.interrupted |= interrupted;
            }
            Event::RestartsSeen { when: CheckTime::Before, containers, unseen } => {
                self.restarts_before = Some((containers, unseen));
            }
            Event::RunStarted(_)
            | Event::RestartsSeen { when: CheckTime::After, .. }
            | Event::PodsMadeAnew { .. }
            | Event::MomentSeen { .. }
            | Event::StepSkipped { .. }
            | Event::BundleKept { .. }
            | Event::Note { .. } => {}
        }
    }

    fn end_phase(&mut self, at: At, phase: Phase, end: &'a PhaseEnd, detail: &'a str) {
        match self.phases.iter_mut().rev().find(|seen| seen.phase == phase && seen.end.is_none()) {
            Some(seen) => (seen.end, seen.ended_at) = (Some((end, detail)), Some(at)),
            // A phase that was passed over may never have started.
            None => self.phases.push(PhaseSeen { phase, end: Some((end, detail)), ended_at: Some(at) }),
        }
    }

    /// What was counted last of a series' writes.
    pub(crate) fn ledger_of(&self, series: SeriesId) -> Option<&'a LedgerCount> {
        self.ledger.iter().rev().find(|count| count.series == series).copied()
    }

    /// A moment of the run as a whole.
    pub(crate) fn moment(&self, moment: Moment) -> Option<At> {
        self.moments.get(&moment).copied()
    }

    /// A phase, where it began.
    pub(crate) fn phase(&self, phase: Phase) -> Option<&PhaseSeen<'a>> {
        self.phases.iter().find(|seen| seen.phase == phase)
    }

    /// The recovery phases that began, in order.
    pub(crate) fn recovery_phases(&self) -> impl Iterator<Item = &PhaseSeen<'a>> {
        self.phases.iter().filter(|seen| (Phase::Detect..=Phase::Backlog).contains(&seen.phase))
    }

    /// The first recovery phase whose limit passed: what had not happened by then was waited for to the end. `None` also
    /// where the run was cut short in a recovery phase, since then it waited for nothing to the end.
    pub(crate) fn gave_up_in(&self) -> Option<Phase> {
        self.given_up().next()
    }

    /// As [`Self::gave_up_in`], of the phases in which the service was waited for: that nothing noticed the fault is no word on
    /// whether it recovered, and must not hide one that follows.
    pub(crate) fn not_recovered_in(&self) -> Option<Phase> {
        self.given_up().find(|phase| *phase != Phase::Detect)
    }

    /// The recovery phases whose limit passed, in order; none where the run was cut short in one.
    pub(crate) fn given_up(&self) -> impl Iterator<Item = Phase> {
        let cut_short = |seen: &PhaseSeen<'_>| matches!(seen.end, None | Some((PhaseEnd::Interrupted, _)));
        let waited = !self.recovery_phases().any(cut_short);
        let late = |seen: &&PhaseSeen<'_>| matches!(seen.end, Some((PhaseEnd::DeadlinePassed, _)));
        self.recovery_phases().filter(move |seen| waited && late(seen)).map(|seen| seen.phase)
    }

    /// The phase in which service or redundancy was waited for in vain, and when its limit passed.
    pub(crate) fn broken_until(&self) -> Option<(Phase, At)> {
        let phase = self.given_up().find(|phase| [Phase::SustainedOk, Phase::Redundancy].contains(phase))?;
        Some((phase, self.phase(phase)?.ended_at?))
    }

    /// The section that was left out of the runbook, whatever scenario it is judged by.
    pub(crate) fn left_out(&self) -> Option<&str> {
        self.start.scenario.variants.get(&self.start.plan.variant)?.recovery.left_out()
    }

    /// Why no time that was measured, and no look at the data, can be relied on, where the machine was suspended.
    pub(crate) fn was_suspended(&self) -> Option<String> {
        let length = self.suspended.as_secs_f64();
        (!self.suspended.is_zero()).then(|| format!("this machine was suspended for {length:.1} s"))
    }

    /// When the run is last known to have looked at the service: from then on acknowledged writes are looked for, or things
    /// are put back.
    pub(crate) fn measured_until(&self) -> At {
        self.looked_until
    }

    /// Until when a failure of the service counts against its recovery: until the run saw everything back to normal, or
    /// as long as it looked.
    pub(crate) fn horizon(&self) -> At {
        let until = self.measured_until();
        self.moment(Moment::BacklogDrained).or(self.moment(Moment::Redundancy)).map_or(until, |at| at.min(until))
    }
}

fn ends_looking(event: &Event) -> bool {
    match event {
        Event::PhaseStarted { phase, .. } => *phase >= Phase::Ledger,
        Event::CleanChecked { .. } | Event::BundleKept { .. } | Event::Interrupted { .. } | Event::RunEnded { .. } => {
            true
        }
        _ => false,
    }
}
