//! From the text of a scenario and its runbooks to a checked [`Scenario`], or to all mistakes.

use super::format::LONGEST_OUTAGE;
use super::layout::{Layout, Names};
use super::mistake::{Mistake, Mistakes};
use super::read::{Chosen, PerVariant, Placed, Tab};
use super::runbook::Draft;
use super::{
    Accepted, Correction, DataPolicy, Fault, Irreversible, Needs, Objective, Probe, ProviderStep, Recovery, Runbook,
    Scenario, Variant, check, check_layouts, check_objectives, check_runbooks, form, format, parts, runbook, text,
};
use crate::stack::Stack;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Everything that could be taken out of the tables, for the checks that look at several of them.
pub(super) struct Parts<'a> {
    pub(super) root: Tab<'a>,
    pub(super) stack: &'a Stack,
    pub(super) needs: Option<Needs>,
    /// The layout that names in the file are of.
    pub(super) layout: Layout,
    /// What has another name in other layouts.
    pub(super) names: &'a BTreeMap<Layout, Names>,
    pub(super) probes: Vec<ProbePart<'a>>,
    pub(super) variants: Vec<VariantPart<'a>>,
    /// The runbooks that could be read, by file name, each with its own mistakes.
    pub(super) runbooks: BTreeMap<String, (Draft, Mistakes)>,
}

pub(super) struct ProbePart<'a> {
    pub(super) name: Placed<&'a str>,
    pub(super) tab: Tab<'a>,
    pub(super) probe: Option<Probe>,
    /// The same in the other layouts that variants are in.
    pub(super) elsewhere: BTreeMap<Layout, Option<Probe>>,
}

pub(super) struct VariantPart<'a> {
    pub(super) name: Placed<&'a str>,
    pub(super) tab: Tab<'a>,
    /// Where it says so, or the one that names in the file are of.
    pub(super) layout: Placed<Layout>,
    pub(super) fault: Option<Placed<Chosen<'a>>>,
    /// What is done after the fault.
    pub(super) then: Vec<Placed<Chosen<'a>>>,
    pub(super) recovery: Option<Placed<Recovery>>,
}

impl VariantPart<'_> {
    pub(super) fn fault(&self) -> Option<Fault> {
        Fault::read(&self.fault.as_ref()?.value)
    }

    /// Every fault that could be read, with where it stands.
    pub(super) fn faults(&self) -> impl Iterator<Item = (Fault, &Placed<Chosen<'_>>)> {
        self.fault.iter().chain(&self.then).filter_map(|chosen| Some((Fault::read(&chosen.value)?, chosen)))
    }

    /// Whether it names an alert, well formed or not.
    pub(super) fn expects_an_alert(&self) -> bool {
        self.tab.has("alerts")
    }

    /// Whether it surely has no runbook.
    pub(super) fn is_unattended(&self) -> bool {
        matches!(self.recovery, Some(Placed { value: Recovery::Unattended | Recovery::StaysBroken, .. }))
    }

    /// Whether it has to stay broken, so that no time gates it.
    pub(super) fn stays_broken(&self) -> bool {
        matches!(self.recovery, Some(Placed { value: Recovery::StaysBroken, .. }))
    }
}

impl Parts<'_> {
    pub(super) fn probe(&self, name: &str) -> Option<&Probe> {
        self.probes.iter().find(|probe| probe.name.value == name)?.probe.as_ref()
    }

    pub(super) fn probe_names(&self) -> Vec<&str> {
        self.probes.iter().map(|probe| probe.name.value).collect()
    }

    pub(super) fn variant_names(&self) -> Vec<&str> {
        self.variants.iter().map(|variant| variant.name.value).collect()
    }
}

/// Reads the scenario `name` from `scenario_file` (its path, for mistakes, and its text); `runbooks` gives the text of a
/// runbook beside it by its file name, or says why it cannot. `stack` says what is meant where a key is left out.
///
/// # Errors
/// All mistakes, in the order of the files. Those of a runbook carry its own path.
pub fn parse(
    name: &str,
    scenario_file: (&str, &str),
    runbooks: impl Fn(&str) -> io::Result<String>,
    stack: &Stack,
) -> Result<Scenario, Vec<Mistake>> {
    let (path, text) = scenario_file;
    let mut mistakes = Mistakes::of(path);
    if let Err(wrong) = text::Rule::Name.check(name) {
        mistakes.add_hint(0..0, format!("the scenario's folder: {}", wrong.message), wrong.hint.unwrap_or_default());
    }
    let Some(document) = form::document(&mut mistakes, &format::SCENARIO, text, Some(stack)) else {
        return Err(mistakes.into_sorted());
    };
    let root = Tab::new(document.get_ref(), &format::SCENARIO, 0..0).for_stack(stack);
    let names = Names::all(&root);
    let mut parts = take(root, &names, stack);
    check_runbooks::read_all(&mut parts, &mut mistakes, path, runbooks);
    check_layouts::layouts(&parts, &mut mistakes);
    check::probes(&parts, &mut mistakes);
    check::steady_state(&parts, &mut mistakes);
    check::variants(&parts, &mut mistakes);
    check_objectives::objectives(&parts, &mut mistakes);
    check_objectives::data(&parts, &mut mistakes);
    check_runbooks::corrections(&parts, &mut mistakes);
    check_runbooks::references(&mut parts);

    let scenario = assemble(name, &parts);
    let mut all = mistakes.into_sorted();
    for (_, of_runbook) in parts.runbooks.into_values() {
        all.extend(of_runbook.into_sorted());
    }
    match scenario {
        Some(scenario) if all.is_empty() => Ok(scenario),
        None if all.is_empty() => {
            let message = "this file cannot be read, and firedrill does not know why: please report it";
            Err(vec![Mistake { file: path.to_owned(), span: 0..0, message: message.to_owned(), hint: None }])
        }
        _ => Err(all),
    }
}

fn take<'a>(root: Tab<'a>, names: &'a BTreeMap<Layout, Names>, stack: &'a Stack) -> Parts<'a> {
    let needs = root.table("needs").and_then(|tab| parts::needs(&tab));
    let needed = needs.as_ref().map_or_else(|| stack.default_layout(), |needs| needs.layout.clone());
    let named = root.named("variant");
    let variants = named.iter().map(|(name, tab)| {
        let base = tab.text("like").and_then(|like| named.iter().find(|(other, _)| other.value == like.value));
        let tab = base.iter().fold(tab.clone(), |tab, (_, base)| tab.like(base));
        let layout = parts::layout(&tab).unwrap_or_else(|| Placed { value: needed.clone(), span: name.span.clone() });
        let tab = tab.in_layout(names.get(&layout.value).filter(|_| layout.value != needed));
        VariantPart {
            fault: tab.choice("fault"),
            then: tab.choices("then"),
            recovery: tab.choice("recovery").and_then(|chosen| {
                let span = match &chosen.value {
                    Chosen::Table(_, tab) => tab.place("file"),
                    Chosen::Word(_) => chosen.span.clone(),
                };
                Some(Placed { value: parts::recovery(&chosen.value)?, span })
            }),
            name: name.clone(),
            layout,
            tab,
        }
    });
    let variants: Vec<_> = variants.collect();
    let others: BTreeSet<_> =
        variants.iter().map(|part| part.layout.value.clone()).filter(|layout| *layout != needed).collect();
    let probes = root.named("probe").into_iter().map(|(name, tab)| {
        let elsewhere = |layout: &Layout| (layout.clone(), parts::probe(&tab.clone().in_layout(names.get(layout))));
        ProbePart { probe: parts::probe(&tab), elsewhere: others.iter().map(elsewhere).collect(), name, tab }
    });
    let probes = probes.collect();
    Parts { needs, stack, layout: needed, names, probes, variants, runbooks: BTreeMap::new(), root }
}

fn assemble(name: &str, parts: &Parts<'_>) -> Option<Scenario> {
    let variants: Option<BTreeMap<_, _>> =
        parts.variants.iter().map(|part| Some((part.name.value.to_owned(), variant(part)?))).collect();
    let probes: Option<BTreeMap<_, _>> =
        parts.probes.iter().map(|part| Some((part.name.value.to_owned(), part.probe.clone()?))).collect();
    let mut probes_in: BTreeMap<Layout, BTreeMap<String, Probe>> = BTreeMap::new();
    for part in &parts.probes {
        for (layout, probe) in &part.elsewhere {
            probes_in.entry(layout.clone()).or_default().insert(part.name.value.to_owned(), probe.clone()?);
        }
    }
    let others = parts.variants.iter().map(|part| &part.layout.value).filter(|layout| **layout != parts.layout);
    let template = |layout: &Layout| Some((layout.clone(), parts.stack.usual_template(layout)?.to_owned()));
    let templates_in = others.map(template).collect::<Option<BTreeMap<_, _>>>()?;
    let first = parts.variants.iter().min_by_key(|part| part.name.span.start)?;
    let corrections: Option<Vec<_>> = parts.root.tables("correction").iter().map(correction).collect();
    let runbooks = parts.runbooks.iter().map(|(file, (draft, _))| {
        let steps = draft.steps.iter().map(|step| step.step.clone()).collect();
        (file.clone(), Runbook { file: file.clone(), steps })
    });
    Some(Scenario {
        name: name.to_owned(),
        title: parts.root.text("title")?.value,
        needs: parts.needs.clone()?,
        steady_state: parts::steady_state(&parts.root.table("steady-state")?)?,
        probes: probes?,
        probes_in,
        templates_in,
        watch: parts.stack.watch.clone(),
        variants: variants?,
        default_variant: first.name.value.to_owned(),
        objectives: parts.root.tables("objective").iter().map(|tab| objective(parts, tab)).collect::<Option<_>>()?,
        data: data(parts)?,
        corrections: corrections?,
        runbooks: runbooks.collect(),
    })
}

fn variant(part: &VariantPart<'_>) -> Option<Variant> {
    let tab = &part.tab;
    let redundancy = tab.choices("redundancy");
    Some(Variant {
        layout: part.layout.value.clone(),
        about: tab.text("about")?.value,
        expected: tab.duration("expected")?.value,
        fault: part.fault()?,
        then_after: tab.duration("then-after")?.value,
        then: part.then.iter().map(|chosen| Fault::read(&chosen.value)).collect::<Option<_>>()?,
        effect: parts::effect(&tab.table("effect")?)?,
        detect: parts::detector(&tab.choice("detect")?.value)?,
        recovery: part.recovery.as_ref()?.value.clone(),
        redundancy: redundancy.iter().map(|chosen| parts::condition(&chosen.value)).collect::<Option<_>>()?,
        deadline: tab.duration("deadline")?.value,
        sustained: tab.duration("sustained")?.value,
        alerts: tab.tables("alerts").iter().map(parts::alert).collect::<Option<_>>()?,
        irreversible: tab.has("irreversible").then_some(Irreversible::VolumesGrow),
    })
}

fn objective(parts: &Parts<'_>, tab: &Tab<'_>) -> Option<Objective> {
    let (from, to) = (text::moment(&tab.text("from")?.value)?, text::moment(&tab.text("to")?.value)?);
    let accepted = tab.durations_per_variant("accepted");
    let because = because(tab, accepted.as_ref()).map(|because| because.value).unwrap_or_default();
    let applies = check_objectives::applies_to(parts, from, to);
    let figures = accepted.map(|figures| by_variant(figures, &applies)).unwrap_or_default();
    Some(Objective {
        name: tab.text("name")?.value,
        probe: tab.text("probe").map(|probe| probe.value),
        from,
        to,
        longest_outage: tab.text("measure").is_some_and(|measure| measure.value == LONGEST_OUTAGE),
        documented: tab.duration("documented").map(|documented| documented.value),
        accepted: figures.into_iter().map(|(variant, limit)| (variant, Accepted(limit))).collect(),
        because,
    })
}

/// The reason of accepted figures: among them or beside them.
pub(super) fn because<T>(tab: &Tab<'_>, figures: Option<&PerVariant<T>>) -> Option<Placed<String>> {
    figures.and_then(|figures| figures.because.clone()).or_else(|| tab.text("because"))
}

fn by_variant<T: Copy>(figures: PerVariant<T>, variants: &[&str]) -> BTreeMap<String, T> {
    match figures.all {
        Some(all) => variants.iter().map(|variant| ((*variant).to_owned(), all.value)).collect(),
        None => figures.by_variant.into_iter().map(|(variant, figure)| (variant, figure.value)).collect(),
    }
}

fn data(parts: &Parts<'_>) -> Option<DataPolicy> {
    let Some(tab) = parts.root.table("data") else { return Some(DataPolicy::default()) };
    let names = parts.variant_names();
    let figures = |name: &str| {
        let mut figures = by_variant(tab.wholes_per_variant(name)?, &names);
        figures.retain(|_, figure| *figure > 0);
        Some(figures)
    };
    Some(DataPolicy {
        lost_acked_max: figures("lost-acked-max")?,
        lost_acked_of: tab.texts("lost-acked-of").into_iter().map(|probe| probe.value).collect(),
        lost_acked_oldest: tab.text("lost-acked-which").is_some_and(|which| which.value == "oldest"),
        duplicated_max: figures("duplicated-max")?,
        because: tab.text("because").map(|because| because.value).unwrap_or_default(),
    })
}

fn correction(tab: &Tab<'_>) -> Option<Correction> {
    let provider = tab.text("provider").map(|word| match word.value.as_str() {
        "detach-volume" => ProviderStep::DetachVolume,
        _ => ProviderStep::ReplaceNode,
    });
    Some(Correction {
        section: tab.text("section")?.value,
        documented: tab.text("documented")?.value,
        instead: provider.map(|step| step.about().to_owned()).or_else(|| Some(tab.text("instead")?.value))?,
        provider,
        expect: tab.text("expect").map(|expect| expect.value),
        at_times: tab.has("needed"),
        because: tab.text("because")?.value,
    })
}

/// Reads a runbook into a draft with its own mistakes.
pub(super) fn read_runbook(path: &str, text: &str) -> (Draft, Mistakes) {
    let mut mistakes = Mistakes::of(path);
    (runbook::read(text, &mut mistakes), mistakes)
}
