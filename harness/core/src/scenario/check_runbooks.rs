//! What runbooks and corrections must be to variants and probes.

use super::command::{OWN_SHELL_HINT, bound, object_to_correction, object_to_step, unset_variable, volumes_named};
use super::mistake::{Mistakes, closest};
use super::parse::{Parts, VariantPart, read_runbook};
use super::read::Tab;
use super::{Layout, Recovery, Step, check_layouts, parts};
use crate::shell::placeholders;
use std::io;

/// Reads every runbook that a variant names.
pub(super) fn read_all(
    parts: &mut Parts<'_>,
    mistakes: &mut Mistakes,
    scenario_path: &str,
    runbooks: impl Fn(&str) -> io::Result<String>,
) {
    let folder = scenario_path.rsplit_once('/').map(|(folder, _)| folder);
    for variant in &parts.variants {
        let Some(recovery) = &variant.recovery else { continue };
        let Recovery::Runbook { file, .. } = &recovery.value else { continue };
        if parts.runbooks.contains_key(file) {
            continue;
        }
        let path = folder.map_or_else(|| file.clone(), |folder| format!("{folder}/{file}"));
        match runbooks(file) {
            Ok(text) => {
                parts.runbooks.insert(file.clone(), read_runbook(&path, &text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => mistakes.add_hint(
                recovery.span.clone(),
                format!("there is no {path}"),
                "runbooks stand beside the scenario",
            ),
            Err(error) => mistakes.add(recovery.span.clone(), format!("{path} cannot be read: {error}")),
        }
    }
    for variant in &parts.variants {
        let Some(recovery) = &variant.recovery else { continue };
        let Recovery::Runbook { file, .. } = &recovery.value else { continue };
        let Some((draft, of_runbook)) = parts.runbooks.get(file) else { continue };
        let name = variant.name.value;
        let has_steps = draft.steps.iter().any(|draft| draft.step.is_run_for(name, &variant.layout.value));
        // A step of a layout that is not known may be meant for it.
        let unknown = |layout: &Layout| parts.stack.layout(layout).is_none();
        let may_have = draft.steps.iter().any(|draft| draft.step.layout.as_ref().is_some_and(unknown));
        if !has_steps && !may_have && of_runbook.is_empty() {
            mistakes.add_hint(
                recovery.span.clone(),
                format!("{file} has no step for `{name}`"),
                "a step is a ```sh block under a heading; `recovery = \"unattended\"` needs none",
            );
        }
    }
}

/// Checks the names that runbooks mention.
pub(super) fn references(parts: &mut Parts<'_>) {
    let probes: Vec<String> = parts.probe_names().iter().map(|&name| name.to_owned()).collect();
    let variants: Vec<String> = parts.variant_names().iter().map(|&name| name.to_owned()).collect();
    let (layouts, stack) = (check_layouts::used(parts), parts.stack);
    let running = running(parts);
    for (file, (draft, mistakes)) in &mut parts.runbooks {
        let mut last = None;
        for step in &draft.steps {
            // The steps of one block share their attributes: each is looked at once.
            let named = step.variants.first().or(step.probe.as_ref()).map(|placed| placed.span.start);
            let block = named.or(step.layout.as_ref().map(|layout| layout.span.start));
            if block.is_none() || block != last {
                for variant in step.variants.iter().filter(|variant| !variants.contains(&variant.value)) {
                    let known = variants.iter().map(String::as_str);
                    mistakes.add_unknown(variant.span.clone(), "variant", &variant.value, known);
                }
                if let Some(layout) = step.layout.as_ref().filter(|layout| !layouts.contains(&layout.value)) {
                    match stack.layout(&layout.value) {
                        Some(_) => {
                            let message = format!("no variant is in the {} layout", layout.value);
                            mistakes.add(layout.span.clone(), message);
                        }
                        None => {
                            let name = layout.value.name();
                            mistakes.add_unknown(layout.span.clone(), "layout", name, stack.layout_names());
                        }
                    }
                }
                if let Some(probe) = step.probe.as_ref().filter(|probe| !probes.contains(&probe.value)) {
                    let known = probes.iter().map(String::as_str);
                    mistakes.add_unknown(probe.span.clone(), "probe", &probe.value, known);
                }
            }
            last = block;
            let Some(target) = &step.target else { continue };
            let runs = || running.iter().filter(|running| running.runs(file, &step.step));
            if let Some(Running { variant, targets, .. }) = runs().find(|running| running.targets < target.value) {
                mistakes.add_hint(
                    target.span.clone(),
                    format!("the fault of `{variant}` has {targets} targets"),
                    "name no more of them, or give the block `variants=...`",
                );
            }
            let Some(volume) = &step.volume else { continue };
            if let Some(running) = runs().find(|running| running.volumes < volume.value) {
                mistakes.add_hint(volume.span.clone(), running.volumes_hit(), VOLUMES_HINT);
            }
        }
    }
}

/// What faults have volumes for targets, for people.
const VOLUMES_HINT: &str =
    "`fill`, `fill-stream`, `hold-detach` and `slow-attach` have volumes for targets; or give the block `variants=...`";

/// A variant that runs a runbook, as far as its steps depend on its fault.
struct Running {
    file: String,
    variant: String,
    layout: Layout,
    targets: usize,
    /// Of these, volumes.
    volumes: usize,
    holds_volumes: bool,
}

impl Running {
    fn runs(&self, file: &str, step: &Step) -> bool {
        self.file == file && step.is_run_for(&self.variant, &self.layout)
    }

    fn volumes_hit(&self) -> String {
        match self.volumes {
            0 => format!("the fault of `{}` hits no volume", self.variant),
            hit => format!("the fault of `{}` hits {hit} volumes", self.variant),
        }
    }
}

fn running(parts: &Parts<'_>) -> Vec<Running> {
    let of = |variant: &VariantPart<'_>| {
        let Recovery::Runbook { file, .. } = &variant.recovery.as_ref()?.value else { return None };
        variant.fault()?;
        let count = |volumes: bool| {
            let faults = variant.faults().filter(|(fault, _)| !volumes || fault.hits_volumes());
            let counts = faults.filter_map(|(_, chosen)| parts::count_place(&chosen.value));
            usize::try_from(counts.map(|count| count.value).sum::<u64>()).ok()
        };
        Some(Running {
            file: file.clone(),
            variant: variant.name.value.to_owned(),
            layout: variant.layout.value.clone(),
            targets: count(false)?,
            volumes: count(true)?,
            holds_volumes: variant.faults().any(|(fault, _)| fault.holds_volumes()),
        })
    };
    parts.variants.iter().filter_map(of).collect()
}

pub(super) fn corrections(parts: &Parts<'_>, mistakes: &mut Mistakes) {
    let mut seen: Vec<(String, String)> = Vec::new();
    let running = running(parts);
    for tab in parts.root.tables("correction") {
        documented(parts, &tab, &mut seen, mistakes);
        if tab.has("instead") == tab.has("provider") {
            let hint = "`instead` is a command; `provider` is what only a cluster's provider can do";
            let message = if tab.has("instead") { "`provider` beside `instead`" } else { "nothing stands in" };
            let span = if tab.has("provider") { tab.place("provider") } else { tab.span.clone() };
            mistakes.add_hint(span, message, hint);
        }
        if tab.text("provider").is_some_and(|provider| provider.value == "detach-volume") {
            let held = running.iter().find(|running| !running.holds_volumes && runs(parts, running, &tab));
            if let Some(Running { variant, .. }) = held {
                mistakes.add_hint(
                    tab.place("provider"),
                    format!("no fault of `{variant}` holds a volume"),
                    "`hold-detach` does; or give the documented command's block `variants=...`",
                );
            }
        }
        if let (true, Some(expect)) = (tab.has("provider"), tab.text("expect")) {
            mistakes.add(expect.span, "what a provider does has no output to expect");
        }
        let Some(instead) = tab.text("instead") else { continue };
        let objection = object_to_correction(&instead.value).or_else(|| object_to_step(&instead.value));
        if let Some(objection) = objection {
            mistakes.add_hint(instead.span.clone(), objection.message, objection.hint);
        }
        if let Some(name) = unset_variable(&instead.value) {
            mistakes.add_hint(instead.span.clone(), format!("`${name}` is not set in this command"), OWN_SHELL_HINT);
        }
        if let Some((_, name)) = placeholders(&instead.value).into_iter().find(|(_, name)| bound(name).is_none()) {
            mistakes.add_hint(
                instead.span.clone(),
                format!("unknown placeholder `<{name}>`"),
                super::command::BOUND_HINT,
            );
        }
        let volumes = volumes_named(&instead.value).unwrap_or(0);
        let bare = running.iter().find(|running| running.volumes < volumes && runs(parts, running, &tab));
        if let Some(running) = bare {
            mistakes.add_hint(instead.span.clone(), running.volumes_hit(), VOLUMES_HINT);
        }
        if tab.text("documented").is_some_and(|documented| documented.value == instead.value) && !tab.has("expect") {
            mistakes.add_hint(
                instead.span,
                "the correction is the documented command",
                "where only its expectation is wrong, give the right one as `expect`",
            );
        }
    }
}

/// Whether a variant runs the command that a correction is for.
fn runs(parts: &Parts<'_>, running: &Running, correction: &Tab<'_>) -> bool {
    let (Some(section), Some(documented)) = (correction.text("section"), correction.text("documented")) else {
        return false;
    };
    let Some((draft, _)) = parts.runbooks.get(&running.file) else { return false };
    draft.steps.iter().map(|draft| &draft.step).any(|step| {
        step.section == section.value && step.command == documented.value && running.runs(&running.file, step)
    })
}

fn documented(parts: &Parts<'_>, tab: &Tab<'_>, seen: &mut Vec<(String, String)>, mistakes: &mut Mistakes) {
    let (Some(section), Some(documented)) = (tab.text("section"), tab.text("documented")) else { return };
    if seen.iter().any(|(s, d)| *s == section.value && *d == documented.value) {
        mistakes.add(documented.span, "a second correction of this command");
        return;
    }
    seen.push((section.value.clone(), documented.value.clone()));
    if parts.runbooks.is_empty() {
        let waits_for_one = parts.variants.iter().any(|variant| !variant.is_unattended());
        if !waits_for_one {
            mistakes.add(section.span, "a correction, and no variant has a runbook");
        }
        return;
    }
    let all = || parts.runbooks.values().flat_map(|(draft, _)| &draft.steps).map(|step| &step.step);
    let steps = || all().filter(|step| step.manual.is_none());
    if !steps().any(|step| step.section == section.value) {
        let mut sections: Vec<&str> = steps().map(|step| step.section.as_str()).collect();
        sections.dedup();
        mistakes.add_unknown(section.span, "section", &section.value, sections);
        return;
    }
    let in_section = || steps().filter(|step| step.section == section.value).map(|step| step.command.as_str());
    if !in_section().any(|command| command == documented.value) {
        let hint = match closest(&documented.value, in_section()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => {
                "word for word, as the runbook has it; a command of several lines joined by single spaces".to_owned()
            }
        };
        mistakes.add_hint(documented.span, format!("section `{}` has no such command", section.value), hint);
    }
}
