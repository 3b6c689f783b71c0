//! What objectives and the data policy must be to variants and probes.

use super::format::LONGEST_OUTAGE;
use super::mistake::Mistakes;
use super::parse::{Parts, VariantPart, because};
use super::read::{PerVariant, Placed, Tab};
use super::{Moment, check, text};
use std::time::Duration;

/// The variants that have the moments between which an objective measures.
pub(super) fn applies_to<'p>(parts: &'p Parts<'_>, from: Moment, to: Moment) -> Vec<&'p str> {
    parts
        .variants
        .iter()
        .filter(|variant| lacks(variant, from, to).is_none())
        .map(|variant| variant.name.value)
        .collect()
}

/// Why a variant surely has not both moments, and what to do about it.
fn lacks(variant: &VariantPart<'_>, from: Moment, to: Moment) -> Option<(&'static str, &'static str)> {
    if (is_of_a_runbook(from) || is_of_a_runbook(to)) && variant.is_unattended() {
        return Some((
            "is unattended: it has no runbook's moments",
            "measure from `effect`, or leave this variant out",
        ));
    }
    let of_an_alert = from == Moment::Alert || to == Moment::Alert;
    (of_an_alert && !variant.expects_an_alert()).then_some(("expects no alert", check::ALERTS_HINT))
}

fn is_of_a_runbook(moment: Moment) -> bool {
    matches!(moment, Moment::RunbookStart | Moment::RunbookEnd)
}

pub(super) fn objectives(parts: &Parts<'_>, mistakes: &mut Mistakes) {
    let mut names: Vec<String> = Vec::new();
    let mut gated: Vec<String> = Vec::new();
    let mut gates_unclear = false;
    for tab in parts.root.tables("objective") {
        if let Some(name) = tab.text("name") {
            if names.contains(&name.value) {
                mistakes.add(name.span, "a second objective of this name");
            }
            names.push(name.value);
        }
        match objective(parts, &tab, mistakes) {
            Some(variants) => gated.extend(variants),
            None => gates_unclear = true,
        }
    }
    if gates_unclear || !parts.root.has("objective") {
        return;
    }
    for variant in parts.variants.iter().filter(|variant| !variant.stays_broken()) {
        if !gated.iter().any(|gated| gated == variant.name.value) {
            mistakes.add_hint(
                variant.name.span.clone(),
                format!("no objective decides `{}`: it could never pass", variant.name.value),
                "an `[[objective]]` with an `accepted` figure for it",
            );
        }
    }
}

/// Checks one objective; the variants that it gates, or `None` where it is too malformed to tell.
fn objective(parts: &Parts<'_>, tab: &Tab<'_>, mistakes: &mut Mistakes) -> Option<Vec<String>> {
    let accepted = tab.durations_per_variant("accepted");
    if !tab.has("accepted") && !tab.has("documented") {
        mistakes.add_hint(
            tab.place("name"),
            "an objective without a figure",
            "`documented` (beyond it is a finding), `accepted` (decides the verdict), or both",
        );
    }
    if let Some(accepted) = &accepted {
        known_variants(parts, &accepted.names, mistakes);
        if because(tab, Some(accepted)).is_none() && !tab.has("because") {
            let hint = "`because = \"...\"`: what was measured, and which mechanism takes that long";
            mistakes.add_hint(accepted.span.clone(), "an accepted figure without its reason", hint);
        }
    }
    let probe = tab.text("probe");
    if let Some(probe) = &probe {
        check::known_probe(parts, mistakes, probe);
    }
    let (from, to) = (tab.text("from")?, tab.text("to")?);
    let (from_moment, to_moment) = (text::moment(&from.value)?, text::moment(&to.value)?);
    let alert = [&from, &to].into_iter().find(|moment| moment.value == Moment::Alert.name());
    if let Some(alert) = alert
        && !parts.variants.iter().any(VariantPart::expects_an_alert)
    {
        mistakes.add_hint(alert.span.clone(), "no variant expects an alert", check::ALERTS_HINT);
        return None;
    }
    if from_moment >= to_moment {
        mistakes.add_hint(
            to.span.clone(),
            format!("`{}` does not come after `{}`", to.value, from.value),
            format!("in order: {}", Moment::ALL.map(Moment::name).join(", ")),
        );
    }
    if let Some(measure) = tab.text("measure").filter(|measure| measure.value == LONGEST_OUTAGE)
        && (from_moment.is_of_a_probe() || to_moment != Moment::SustainedOk)
    {
        mistakes.add_hint(
            measure.span,
            "the longest outage is measured from a moment of the run until the probe's last outage is over",
            "`from = \"inject\"` and `to = \"sustained-ok\"`",
        );
    }
    match [(&from, from_moment), (&to, to_moment)].into_iter().find(|(_, moment)| moment.is_of_a_probe()) {
        Some((place, moment)) if !tab.has("probe") => mistakes.add_hint(
            place.span.clone(),
            format!("`{}` is a moment of one probe", moment.name()),
            "say which: `probe = \"...\"`",
        ),
        None => {
            if let Some(probe) = &probe {
                mistakes.add_hint(
                    probe.span.clone(),
                    "neither moment is of a probe",
                    "`first-failure`, `first-success` and `sustained-ok` are; or leave `probe` out",
                );
            }
        }
        Some(_) => {}
    }
    let applies = applies_to(parts, from_moment, to_moment);
    let Some(accepted) = accepted else {
        return (!tab.has("accepted")).then(Vec::new);
    };
    Some(gates(parts, &accepted, (from_moment, to_moment), &applies, mistakes))
}

fn gates(
    parts: &Parts<'_>,
    accepted: &PerVariant<Duration>,
    (from, to): (Moment, Moment),
    applies: &[&str],
    mistakes: &mut Mistakes,
) -> Vec<String> {
    if let Some(all) = &accepted.all {
        if applies.is_empty() && !parts.variants.is_empty() {
            mistakes.add(all.span.clone(), "no variant has both of these moments");
        }
        let tightest = parts
            .variants
            .iter()
            .filter(|variant| applies.contains(&variant.name.value))
            .filter_map(|variant| Some((variant.name.value, variant.tab.duration("deadline")?.value)))
            .min_by_key(|(_, deadline)| *deadline);
        if let Some((variant, deadline)) = tightest {
            within_deadline(variant, deadline, all, mistakes);
        }
        return applies.iter().map(|variant| (*variant).to_owned()).collect();
    }
    for name in &accepted.names {
        let Some(variant) = parts.variants.iter().find(|variant| variant.name.value == name.value) else { continue };
        if let Some((why, hint)) = lacks(variant, from, to) {
            mistakes.add_hint(name.span.clone(), format!("`{}` {why}", name.value), hint);
        }
        if let (Some(figure), Some(deadline)) = (accepted.by_variant.get(&name.value), variant.tab.duration("deadline"))
        {
            within_deadline(&name.value, deadline.value, figure, mistakes);
        }
    }
    accepted.names.iter().map(|name| name.value.clone()).collect()
}

fn within_deadline(variant: &str, deadline: Duration, figure: &Placed<Duration>, mistakes: &mut Mistakes) {
    if figure.value > deadline {
        mistakes.add_hint(
            figure.span.clone(),
            format!("the run of `{variant}` stops waiting after {}", text::plain(deadline)),
            "a longer `deadline`, or a smaller figure",
        );
    }
}

fn known_variants(parts: &Parts<'_>, names: &[Placed<String>], mistakes: &mut Mistakes) {
    let known = parts.variant_names();
    for name in names {
        if !known.contains(&name.value.as_str()) {
            mistakes.add_unknown(name.span.clone(), "variant", &name.value, known.iter().copied());
        }
    }
}

pub(super) fn data(parts: &Parts<'_>, mistakes: &mut Mistakes) {
    let Some(tab) = parts.root.table("data") else { return };
    let mut tolerates = None;
    for name in ["lost-acked-max", "duplicated-max"] {
        let Some(figures) = tab.wholes_per_variant(name) else { continue };
        known_variants(parts, &figures.names, mistakes);
        let all = figures.all.iter().chain(figures.by_variant.values());
        if all.into_iter().any(|figure| figure.value > 0) {
            tolerates.get_or_insert(figures.span);
        }
    }
    for probe in tab.texts("lost-acked-of") {
        if check::known_probe(parts, mistakes, &probe).is_some_and(|known| !known.kind.writes()) {
            mistakes.add(probe.span, format!("`{}` writes nothing that could be lost", probe.value));
        }
    }
    if let (Some(span), false) = (&tolerates, tab.has("because")) {
        mistakes.add_hint(
            span.clone(),
            "writes may be lost or duplicated without a reason",
            "`because = \"...\"`: which mechanism does that",
        );
    }
    let probes: Option<Vec<_>> = parts.probes.iter().map(|part| part.probe.as_ref()).collect();
    if let (Some(span), Some(probes)) = (tolerates, probes)
        && !probes.iter().any(|probe| probe.kind.writes())
    {
        mistakes.add_hint(span, "no probe writes anything", "`jetstream`, `postgres` and `ironflow` probes do");
    }
}
