//! Three of the four verdicts: injection, data, cleanup. Each is passed only by what was seen.

use super::moments::{History, Injection, UndoSeen};
use super::series::SeriesHistory;
use crate::event::{FileSystem, PageCache, PhaseEnd, Undo};
use crate::plan::{Phase, PlannedFault, Series, Target};
use crate::scenario::{CONTROL_WITHIN, DataPolicy, Effect, Fault, Moment, Shown, Variant};
use crate::time::human;
use crate::verdict::{Finding, FindingKind, Part, Value, grouped};
use std::collections::BTreeMap;

pub(crate) fn part(value: Value, reasons: Vec<String>, hint: Option<&str>) -> Part {
    Part { value, reasons, hint: hint.map(str::to_owned) }
}

/// Did the fault really happen? Every target hit by its own call's word and by a proof that does not rest on it, and felt by
/// the service while a control from the same place worked.
pub(crate) fn injection(history: &History<'_>, variant: &Variant, series: &[SeriesHistory<'_>]) -> Part {
    if history.start.noop || variant.fault == Fault::Noop {
        let why = "no-op run: no fault was injected, so nothing was proven".to_owned();
        return part(Value::Unknown, vec![why], Some("run it without `--fault noop`"));
    }
    let targets = &history.start.plan.targets();
    if targets.is_empty() {
        let hint = "check the scenario's selector: `firedrill plan` shows the targets that it finds";
        return part(Value::Unknown, vec!["the plan has no target".to_owned()], Some(hint));
    }
    let failed: Vec<String> = history.injections.iter().filter_map(injection_error).collect();
    if !failed.is_empty() {
        let hint = "recovery cannot be judged: see the injection records in the journal";
        return part(Value::Fail, failed, Some(hint));
    }
    if let Some(open) = not_proven(history, targets) {
        return open;
    }
    let Some((inject, effect)) = history.moment(Moment::Inject).zip(history.moment(Moment::Effect)) else {
        return not_felt(history, &variant.effect, targets.len());
    };
    if let Some(why) = control_missing(&variant.effect, series) {
        let hint = "without it, \"down\" may only mean that the prober was cut off";
        return part(Value::Unknown, vec![why], Some(hint));
    }
    let hit = format!("{0} of {0} targets hit (checked)", targets.len());
    let by = history.effect_by.unwrap_or("the run");
    let felt = format!("effect proven after {} by {by}", human(effect.since(inject)));
    part(Value::Pass, vec![hit, felt], None)
}

fn injection_error(injection: &Injection<'_>) -> Option<String> {
    let error = injection.returned.flatten()?;
    Some(format!("injection into {} failed: {error}", injection.target))
}

fn not_proven(history: &History<'_>, targets: &[Target]) -> Option<Part> {
    let mut reasons = Vec::new();
    for target in targets {
        let called = history.injections.iter().find(|injection| injection.target == target);
        match called.map(|injection| injection.returned) {
            None => reasons.push(format!("no fault was injected into {target}")),
            Some(None) => reasons.push(format!("the injection into {target} never returned")),
            Some(Some(_)) if !history.proofs.iter().any(|proof| proof.held && proof.targets.contains(target)) => {
                reasons.push(format!("no proof that {target} was hit"));
            }
            Some(Some(_)) => {}
        }
    }
    let broken = history.proofs.iter().filter(|proof| !proof.held);
    reasons.extend(broken.map(|proof| format!("a proof did not hold: {}: {}", proof.subject, proof.evidence)));
    if reasons.is_empty() {
        return None;
    }
    let cut_short = history.interrupted || !history.ended;
    let hint = if history.injections.is_empty() {
        "the run ended earlier: see the reason under recovery"
    } else if cut_short {
        "the run was cut short"
    } else {
        "see the proofs in the report's journal"
    };
    Some(part(Value::Unknown, reasons, Some(hint)))
}

fn not_felt(history: &History<'_>, effect: &Effect, targets: usize) -> Part {
    let why = match history.phase(Phase::Effect).and_then(|phase| phase.end) {
        Some((PhaseEnd::Failed { reason }, _)) => reason.clone(),
        Some((PhaseEnd::DeadlinePassed, "")) => {
            format!("not seen in {} after the injection: {}", human(effect.within), effect.shown)
        }
        Some((PhaseEnd::DeadlinePassed, detail)) => detail.to_owned(),
        Some(_) | None => "the run ended before the effect was proven".to_owned(),
    };
    let hint = "the service may not depend on what was hit, or the fault missed: hit the leader, or wait longer for the effect";
    part(Value::Unknown, vec![why, format!("{targets} targets were hit (checked)")], Some(hint))
}

/// Samples must bear the effect's proof out: its probe failed, and its control worked from the same place.
fn control_missing(effect: &Effect, series: &[SeriesHistory<'_>]) -> Option<String> {
    // What was seen in the cluster is borne out by its own proof in the journal.
    let Shown::Down { probe: down_probe, control: control_probe, .. } = &effect.shown else { return None };
    let shown = |probe: &str| -> Vec<&Series> {
        series.iter().filter(|s| s.plan.probe == probe && s.shows_effect).map(|s| s.plan).collect()
    };
    let (down, control) = (shown(down_probe), shown(control_probe));
    let within_s = CONTROL_WITHIN.as_secs();
    if down.is_empty() {
        return Some(format!(
            "no sample of {down_probe} failed between the injection and {within_s} s after the effect"
        ));
    }
    let same_place = down.iter().any(|down| control.iter().any(|control| down.is_beside(control)));
    let why = || {
        format!(
            "no sample of the control {control_probe} succeeded from the same place within {within_s} s of the effect"
        )
    };
    (!same_place).then(why)
}

/// Were acknowledged writes kept?
pub(crate) fn data(
    history: &History<'_>,
    policy: &DataPolicy,
    variant: &str,
    series: &[SeriesHistory<'_>],
) -> (Part, Vec<Finding>) {
    let mut unknown = Vec::new();
    let (mut acknowledged, mut lost, mut duplicated, mut indeterminate, mut found) = (0, 0, 0, 0, 0);
    let mut failed = Vec::new();
    let writers: Vec<_> = series.iter().filter(|seen| seen.plan.kind.writes()).collect();
    for seen in &writers {
        let Some(count) = history.ledger_of(seen.plan.id) else {
            unknown.push(format!("{}: its writes were not read back", seen.plan));
            continue;
        };
        if let Some(error) = &count.error {
            unknown.push(format!("{}: {} could not be read to the end: {error}", seen.plan, count.store));
            continue;
        }
        if count.acknowledged < seen.succeeded {
            let (of, all) = (count.acknowledged, seen.succeeded);
            unknown.push(format!("{}: {of} writes were read back, but {all} were acknowledged", seen.plan));
        }
        if count.acknowledged == 0 {
            unknown.push(format!("{}: no write was acknowledged", seen.plan));
        }
        acknowledged += count.acknowledged;
        lost += count.lost;
        let may_lose = policy.lost_acked_of.is_empty() || policy.lost_acked_of.contains(&seen.plan.probe);
        if count.lost > 0 && !may_lose {
            let (lost, all) = (grouped(count.lost), grouped(count.acknowledged));
            failed.push(format!("{}: {lost} of {all} acknowledged writes lost, none accepted", seen.plan));
        }
        if policy.lost_acked_oldest && count.lost > 0 {
            if seen.lost_since_kept > 0 {
                let newer = grouped(seen.lost_since_kept);
                failed
                    .push(format!("{}: {newer} of the lost writes are newer than one that is still there", seen.plan));
            } else if !seen.some_kept {
                unknown.push(format!("{}: none of its writes was found, so none is proven to be kept", seen.plan));
            }
        }
        duplicated += count.duplicated;
        indeterminate += count.indeterminate;
        found += count.indeterminate_found;
    }
    if writers.is_empty() {
        unknown.push("no probe writes, so no write could be lost".to_owned());
    }
    let allowed = |by: &BTreeMap<String, u64>| by.get(variant).copied().unwrap_or(0);
    let (lost_max, duplicated_max) = (allowed(&policy.lost_acked_max), allowed(&policy.duplicated_max));
    if lost > lost_max {
        let (lost, acknowledged) = (grouped(lost), grouped(acknowledged));
        failed.push(format!("{lost} of {acknowledged} acknowledged writes lost, {lost_max} accepted"));
    }
    if duplicated > duplicated_max {
        failed.push(format!("{duplicated} writes are duplicated, {duplicated_max} accepted"));
    }
    if history.volumes.is_none() {
        unknown.push(
            "file systems were not checked: an older firedrill made this run, or it ended before the check".to_owned(),
        );
    }
    unknown.extend(history.lost.map(str::to_owned));
    unknown.extend(history.was_suspended());
    unknown.extend(history.not_whole.clone());
    for (claim, found) in history.volumes.iter().flatten() {
        match found {
            Some(FileSystem::Whole | FileSystem::Gone) => {}
            Some(FileSystem::Damaged { .. }) => failed.push(file_system(claim, *found)),
            Some(FileSystem::Unknown { .. }) | None => unknown.push(file_system(claim, *found)),
        }
    }
    let others = (!history.not_looked_into.is_empty()).then(|| {
        let claims = history.not_looked_into.join(", ");
        format!("not checked, because the volume driver does not support it: file systems of {claims}")
    });
    let others = others.into_iter().chain(unsynced(history));
    let mut findings = Vec::new();
    if failed.is_empty() && lost + duplicated > 0 {
        let text =
            format!("{lost} acknowledged writes lost and {duplicated} duplicated, as accepted: {}", policy.because);
        findings.push(Finding { kind: FindingKind::Data, text, section: None });
    }
    let judged = if !failed.is_empty() {
        failed.extend(unknown.into_iter().chain(others));
        part(
            Value::Fail,
            failed,
            Some("the verdict's ledger lists the lost writes, and the report shows when they were sent"),
        )
    } else if !unknown.is_empty() {
        unknown.extend(others);
        part(Value::Unknown, unknown, Some("acknowledged writes must be read back before they count as kept or lost"))
    } else {
        let all = if found == indeterminate { "all found".to_owned() } else { format!("{found} found") };
        let open = if indeterminate == 0 { String::new() } else { format!(" ({all})") };
        let text = format!(
            "{} acknowledged, {} lost, {} duplicated, {} indeterminate{open}",
            grouped(acknowledged),
            grouped(lost),
            grouped(duplicated),
            grouped(indeterminate)
        );
        let volumes = history.volumes.iter().flatten().map(|(claim, found)| file_system(claim, *found));
        part(Value::Pass, [text].into_iter().chain(volumes).chain(others).collect(), None)
    };
    (judged, findings)
}

/// What a powered-off node does not put at risk if its page cache is kept: its processes end, but the kernel that they share with
/// their host still writes their pages to disk.
fn unsynced(history: &History<'_>) -> Option<String> {
    let start = history.start;
    let is_off = |fault: &PlannedFault| fault.fault.powers_nodes_off() && !fault.targets.is_empty();
    let node_off = !start.noop && start.plan.faults.iter().any(is_off);
    (node_off && start.page_cache == Some(PageCache::Kept)).then(|| {
        format!(
            "writes that were not fsynced were not put at risk: a {} node that is powered off keeps its page cache, so a store that \
             acknowledges before it fsyncs loses nothing here",
            start.cluster.provider
        )
    })
}

fn file_system(claim: &str, found: Option<&FileSystem>) -> String {
    let found = found.map_or_else(|| "not checked".to_owned(), ToString::to_string);
    format!("file system of {claim}: {found}")
}

/// Does the cluster match its state before the run?
pub(crate) fn cleanup(history: &History<'_>) -> Part {
    let sweep = format!("finish with: firedrill sweep --run {}", history.start.plan.run_id);
    let untouched = history.undos.is_empty() && history.injections.is_empty();
    if untouched && history.ended && history.clean.is_none() {
        return part(Value::Pass, vec!["nothing was made and nothing was broken".to_owned()], None);
    }
    let failed = dirt(history);
    if !failed.is_empty() {
        return part(Value::Fail, failed, Some(&sweep));
    }
    let mut unknown: Vec<String> = history
        .undos
        .iter()
        .filter(|undo| undo.done.is_none() && !matches!(undo.undo, Undo::HealsItself { .. }))
        .map(|undo| format!("not undone: {}", undo.undo))
        .collect();
    let Some(clean) = &history.clean else {
        let died = if history.ended {
            "the cluster was not compared with the snapshot taken before the run"
        } else {
            "the run died"
        };
        unknown.insert(0, died.to_owned());
        return part(Value::Unknown, unknown, Some(&sweep));
    };
    if !unknown.is_empty() {
        return part(Value::Unknown, unknown, Some(&sweep));
    }
    let mut reasons = vec![format!(
        "{} objects made, {} gone; the inventory matches the snapshot taken before the run",
        clean.made, clean.gone
    )];
    if !clean.residue.is_empty() {
        reasons.push(format!("declared residue: {}", clean.residue.join(", ")));
    }
    part(Value::Pass, reasons, None)
}

/// What was seen to be left, faults first.
fn dirt(history: &History<'_>) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    if let Some(clean) = &history.clean {
        left.extend(clean.still_faulty.iter().map(|what| format!("still in place: {what}")));
    }
    left.extend(history.undos.iter().filter_map(failed_undo));
    if let Some(clean) = &history.clean {
        if clean.made != clean.gone {
            left.push(format!(
                "{} of {} objects made are still there",
                clean.made.saturating_sub(clean.gone),
                clean.made
            ));
        }
        left.extend(
            clean.differences.iter().map(|what| format!("differs from the snapshot taken before the run: {what}")),
        );
    }
    left
}

fn failed_undo(undo: &UndoSeen<'_>) -> Option<String> {
    let done = undo.done.as_ref()?;
    let error = done.error?;
    let finish = done.finish_with.map(|command| format!("; by hand: {command}")).unwrap_or_default();
    Some(format!("could not {}: {error}{finish}", undo.undo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!([0, 999, 1_204, 10_000_000].map(grouped), ["0", "999", "1,204", "10,000,000"]);
    }
}
