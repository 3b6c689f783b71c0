//! From a journal and its samples to the verdict.

use super::alerts;
use super::attribution::attribute;
use super::moments::{History, PhaseSeen};
use super::objectives::ObjectiveJudge;
use super::parts;
use super::recovery::{self, RecoveryVerdict};
use super::series::{Bounds, Gather, SeriesHistory, mind_controls};
use crate::event::{PhaseEnd, Place};
use crate::exit::ExitCode;
use crate::journal::Journal;
use crate::listing::first_of;
use crate::plan::{Phase, Series};
use crate::sample::SampleReader;
use crate::scenario::{Fault, Moment, Scenario, Variant};
use crate::time::{human, millis};
use crate::verdict::{Finding, FindingKind, Measured, ObjectiveResult, Part, VERDICT_VERSION, Value, Verdict, grouped};
use std::io::{self, Read};
use std::time::Duration;

/// From which share of the time in which something waits for a processor a machine is said to be short of them: of drills on two
/// processors, one at 69 % saw no break of a second in publishing, one at 87 % breaks of 14 s, and one at 98 % no steady state
/// (2026-11-30).
const STARVED: f64 = 0.85;

/// Judges a run. With another scenario, its objectives, data policy and demanded load count instead of the run's own;
/// what was run stays what the journal says. Samples are read once; memory does not grow with their number.
///
/// # Errors
/// As the reader; `InvalidData` where the samples hold a series that the plan does not, where the journal has no start, or
/// where the scenario lacks the variant that was run.
pub fn judge<R: Read>(
    journal: &Journal,
    mut samples: SampleReader<R>,
    scenario_override: Option<&Scenario>,
) -> io::Result<Verdict> {
    let start = journal.start().map_err(|error| invalid(error.to_string()))?;
    let plan = &start.plan;
    let scenario = scenario_override.unwrap_or(&start.scenario);
    if scenario.name != plan.scenario {
        return Err(invalid(format!(
            "the run is of scenario {}, and these are {}'s objectives",
            plan.scenario, scenario.name
        )));
    }
    let none = || invalid(format!("scenario {} has no variant {}", scenario.name, plan.variant));
    if !scenario.variants.contains_key(&plan.variant) {
        return Err(none());
    }
    let variant = start.scenario.variants.get(&plan.variant).ok_or_else(none)?;
    let mut history = History::read(journal, start);
    let series = gather(&history, variant, &mut samples)?;
    history.not_whole = not_whole(&history, &samples);

    let injection = parts::injection(&history, variant, &series);
    let blocked = blocked(&history, variant, scenario, &injection);
    let alerts = alerts::alerts(&history, variant, blocked.as_deref());
    let objective_judge = ObjectiveJudge {
        history: &history,
        series: &series,
        variant: &plan.variant,
        alerts: &alerts,
        blocked: blocked.as_deref(),
    };
    // A runbook of which a section was left out says nothing of the runbook, and no time of it has an objective.
    let is_whole = history.left_out().is_none();
    let objectives = scenario.objectives.iter().filter(|_| is_whole);
    let objectives: Vec<_> = objectives.filter_map(|objective| objective_judge.judge(objective)).collect();
    let steps = if is_whole { recovery::steps(&history) } else { recovery::Steps::default() };
    let recovery = recovery::recovery(&history, blocked.as_deref(), &variant.recovery, &objectives, &series, &steps);
    let (data, data_findings) = parts::data(&history, &scenario.data, &plan.variant, &series);
    let cleanup = parts::cleanup(&history);

    let mut findings = accepted(&history);
    findings.extend(slower_than_documented(&objectives));
    findings.extend(steps.findings);
    findings.extend(data_findings);
    if blocked.is_none() {
        findings.extend(alerts::findings(&alerts));
    }
    if scenario_override.is_some() {
        let text = "objectives, accepted losses and minimum load come from another file, not from the run";
        findings.push(Finding { kind: FindingKind::Measurement, text: text.to_owned(), section: None });
    }
    let not_independent = not_independent(&history);
    findings.extend(not_independent.iter().map(|why| {
        let text = format!("{why}: its times are not pooled with those of other runs");
        Finding { kind: FindingKind::Measurement, text, section: None }
    }));
    findings.extend(misplaced(&history));
    findings.extend(measurement(&history, &series, journal.truncated, variant.sustained));

    Ok(Verdict {
        version: VERDICT_VERSION,
        run_id: plan.run_id.clone(),
        scenario: plan.scenario.clone(),
        variant: plan.variant.clone(),
        without: history.left_out().map(str::to_owned),
        flags: history.start.flags.clone(),
        negative_test: variant.recovery.stays_broken(),
        not_independent,
        started: history.started_wall.to_owned(),
        took_ms: history.last_at.ms(),
        cluster: start.cluster.clone(),
        seed: plan.seed,
        headline: headline(&history, &injection, &recovery, &data, &cleanup),
        exit_code: exit_code(&history, &injection, &recovery.part, &data, &cleanup),
        attribution: attribute(&history, &series, &objectives),
        time_to_detect_ms: since_effect(&history, Moment::Detected),
        time_to_recover_ms: since_effect(&history, Moment::Redundancy),
        back_to_normal_ms: since_effect(&history, Moment::BacklogDrained),
        moments: history.moments.clone(),
        placement: history.placement.iter().map(|place| (*place).clone()).collect(),
        ledger: history.ledger.iter().map(|count| (*count).clone()).collect(),
        series: series.iter().map(SeriesHistory::result).collect(),
        injection,
        recovery: recovery.part,
        data,
        cleanup,
        objectives,
        alerts,
        findings,
    })
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn gather<'a, R: Read>(
    history: &History<'a>,
    variant: &Variant,
    samples: &mut SampleReader<R>,
) -> io::Result<Vec<SeriesHistory<'a>>> {
    let plan = &history.start.plan;
    let bounds = Bounds::of(history);
    let lost = |series: &Series| history.ledger_of(series.id).map_or(&[][..], |count| &count.lost_ranges);
    let new = |series| Gather::new(series, variant.sustained, &variant.effect, bounds, lost(series));
    let mut gathers: Vec<_> = plan.series.iter().map(new).collect();
    let mut by_id: Vec<Option<usize>> = Vec::new();
    for (index, series) in plan.series.iter().enumerate() {
        let id = usize::from(series.id);
        by_id.resize(by_id.len().max(id + 1), None);
        if by_id[id].replace(index).is_some() {
            return Err(invalid(format!("the plan has two series with number {id}")));
        }
    }
    while let Some(sample) = samples.next_sample()? {
        let index = by_id.get(usize::from(sample.series)).copied().flatten();
        let index = index.ok_or_else(|| invalid(format!("series {} is not in the plan", sample.series)))?;
        gathers[index].push(&sample);
    }
    let mut all: Vec<_> = gathers.into_iter().map(|gather| gather.finish(history)).collect();
    mind_controls(&mut all);
    Ok(all)
}

/// Why the samples that were read are not those of the whole run.
fn not_whole<R>(history: &History<'_>, samples: &SampleReader<R>) -> Option<String> {
    let of = |what: &str| Some(format!("the samples are not whole: {what}"));
    match history.samples {
        _ if samples.truncated => of("their last record was cut off"),
        Some(written) if written != samples.count => {
            of(&format!("the file holds {}, and the run wrote {}", grouped(samples.count), grouped(written)))
        }
        _ if !history.ended => of("the run died before it closed their file"),
        _ => None,
    }
}

/// Why no time that was measured can say anything.
fn blocked(history: &History<'_>, variant: &Variant, scenario: &Scenario, injection: &Part) -> Option<String> {
    if history.start.noop || variant.fault == Fault::Noop {
        return Some("no fault was injected (no-op run)".to_owned());
    }
    if history.injections.is_empty() {
        let why = recovery::broken_off(history);
        return Some(why.unwrap_or_else(|| "the fault was never injected".to_owned()));
    }
    match injection.value {
        Value::Pass => {}
        Value::Fail => return Some("the fault could not be injected".to_owned()),
        Value::Unknown => return Some("the fault was not proven".to_owned()),
    }
    // Neither a time that was too long nor one that was short enough was measured then.
    if let Some(why) = history.was_suspended() {
        return Some(why);
    }
    let demanded = scenario.steady_state.load_min_per_s;
    match history.load_per_s {
        Some(achieved) if achieved < demanded => {
            Some(format!("too little load: {achieved:.1} successes/s, {demanded:.1}/s required"))
        }
        None if demanded > 0.0 => Some("the load was never measured".to_owned()),
        Some(_) | None => None,
    }
}

fn since_effect(history: &History<'_>, moment: Moment) -> Option<Measured> {
    let effect = history.moment(Moment::Effect)?;
    match history.moment(moment) {
        Some(at) => {
            let ms = millis(at.since(effect));
            Some(Measured::Interval { lower_ms: ms, upper_ms: ms })
        }
        None => {
            let lower_ms = millis(history.measured_until().since(effect));
            history.gave_up_in().map(|_| Measured::AtLeast { lower_ms })
        }
    }
}

fn headline(
    history: &History<'_>,
    injection: &Part,
    recovery: &RecoveryVerdict,
    data: &Part,
    cleanup: &Part,
) -> String {
    if cleanup.value == Value::Unknown {
        let died = if history.ended { "" } else { "the run died, " };
        return format!("LEFT DIRTY: {died}cleanup was not proven");
    }
    if cleanup.value == Value::Fail {
        return match history.clean.as_ref().map_or(0, |clean| clean.still_faulty.len()) {
            0 => "LEFT DIRTY: not everything was undone".to_owned(),
            1 => "LEFT DIRTY: 1 fault is still in place".to_owned(),
            faults => format!("LEFT DIRTY: {faults} faults are still in place"),
        };
    }
    if history.interrupted {
        return "INTERRUPTED, everything undone".to_owned();
    }
    let of_data = || data.reasons.first().map_or("", String::as_str);
    if recovery.part.value == Value::Fail {
        recovery.headline.clone()
    } else if data.value == Value::Fail {
        format!("DATA NOT KEPT: {}", of_data())
    } else if injection.value == Value::Pass && recovery.part.value == Value::Pass && data.value == Value::Unknown {
        format!("UNKNOWN: {}", of_data())
    } else {
        recovery.headline.clone()
    }
}

/// The exit code of the process, as far as a verdict decides it.
fn exit_code(history: &History<'_>, injection: &Part, recovery: &Part, data: &Part, cleanup: &Part) -> ExitCode {
    let values = [recovery.value, data.value];
    if cleanup.value != Value::Pass {
        ExitCode::Dirty
    } else if history.interrupted {
        ExitCode::Interrupted
    } else if values.contains(&Value::Fail) {
        ExitCode::Failed
    } else if injection.value != Value::Pass || values.contains(&Value::Unknown) {
        ExitCode::Unknown
    } else {
        ExitCode::Pass
    }
}

/// How many differences a finding shows; the journal has all.
const ACCEPTED_SHOWN_MAX: usize = 5;

/// What earlier runs had left, and this one took for its own "before".
fn accepted(history: &History<'_>) -> Vec<Finding> {
    let text = |(run, differences): &(&str, &[String])| {
        let what = first_of(differences, ACCEPTED_SHOWN_MAX);
        format!("the run accepted the cluster as run {run} had left it: {what}")
    };
    let finding = |text| Finding { kind: FindingKind::AcceptedState, text, section: None };
    history.accepted.iter().map(text).map(finding).collect()
}

fn slower_than_documented(objectives: &[ObjectiveResult]) -> Vec<Finding> {
    let slower = objectives.iter().filter(|objective| objective.documented_held == Some(false));
    let text = |objective: &ObjectiveResult| {
        let documented = human(Duration::from_millis(objective.documented_ms.unwrap_or_default()));
        let measured = objective.measured.map_or_else(String::new, |measured| format!("{measured}, "));
        format!("{}: {measured}documented {documented}", objective.name)
    };
    slower
        .map(|objective| Finding { kind: FindingKind::SlowerThanDocumented, text: text(objective), section: None })
        .collect()
}

/// Why the run's times may depend on what another run did before it: the kubelet starts a container that crashes again with a delay
/// that it remembers from before.
fn not_independent(history: &History<'_>) -> Option<String> {
    let (containers, unseen) = history.restarts_before?;
    let remembered: Vec<String> =
        containers.iter().filter(|container| container.in_back_off_s.is_some()).map(ToString::to_string).collect();
    match (remembered.as_slice(), unseen) {
        ([], []) => None,
        ([], unseen) => {
            Some(format!("whether the run began within a restart back-off is not known ({})", unseen.join("; ")))
        }
        (remembered, _) => Some(format!("the run began within the restart back-off of {}", remembered.join(", "))),
    }
}

/// What must not be on a victim's node, since its own end would look like the fault's effect.
fn misplaced(history: &History<'_>) -> Vec<Finding> {
    let misplaced = history.placement.iter().filter(|place| place.on_victim && place.what.must_be_spared());
    let text = |place: &Place| format!("{} ({}) ran on {}, a victim's node", place.what, place.name, place.node);
    misplaced.map(|place| Finding { kind: FindingKind::Placement, text: text(place), section: None }).collect()
}

/// Where the measurement itself had holes, or its window was too short to tell a flap from the end.
fn measurement(
    history: &History<'_>,
    series: &[SeriesHistory<'_>],
    journal_truncated: bool,
    sustained: Duration,
) -> Vec<Finding> {
    let mut texts = Vec::new();
    if journal_truncated {
        texts.push("the journal's last line was cut off".to_owned());
    }
    if let Some((stalled, over)) = history.cpu_stalled
        && stalled >= over.mul_f64(STARVED)
        && !over.is_zero()
    {
        let share = 100.0 * stalled.as_secs_f64() / over.as_secs_f64();
        texts.push(format!(
            "the machine that firedrill ran on was short of processors: something waited for one in {share:.0} % of the time; where \
             the cluster's nodes share it, they took longer than they would elsewhere"
        ));
    }
    let unnoticed = |seen: &PhaseSeen<'_>| {
        seen.phase == Phase::Detect && seen.end.is_some_and(|(end, _)| *end == PhaseEnd::DeadlinePassed)
    };
    if history.phases.iter().any(unnoticed) {
        texts.push("the system was not seen to notice the fault within its limit".to_owned());
    }
    let from = history.moment(Moment::Inject).unwrap_or_default();
    for seen in series {
        if let Some(why) = &seen.unfit {
            texts.push(format!("{}: {why}", seen.plan));
        }
        let horizon = history.horizon();
        let gaps: Vec<_> = seen.blind_gaps_to(horizon, from).collect();
        if let Some(longest) = gaps.iter().max_by_key(|gap| gap.until.since(gap.from)) {
            let more = if gaps.len() > 1 { format!(", the longest of {}", gaps.len()) } else { String::new() };
            texts.push(format!("{}: {}{more}", seen.plan, seen.describe_gap(longest)));
        }
        let flap = seen.summary.details.iter().map(|detail| detail.longest_flap).max().unwrap_or_default();
        if flap * 3 > sustained {
            let (flap, window) = (human(flap), human(sustained));
            texts.push(format!(
                "{}: it flapped for {flap}, and the window of {window} is less than three times that",
                seen.plan
            ));
        }
    }
    texts.into_iter().map(|text| Finding { kind: FindingKind::Measurement, text, section: None }).collect()
}
