//! The suite's file: every key, once, and what the keys must be to each other and to the scenarios.

use super::model::{Catalog, Entry, Suite};
use crate::scenario::form::document;
use crate::scenario::format::{Key, Kind, Shape, default, optional, required};
use crate::scenario::mistake::Mistakes;
use crate::scenario::read::{Placed, Tab};
use crate::scenario::schema::of_file;
use crate::scenario::text::{Rule, plain};
use crate::scenario::{Mistake, section_named};
use serde_json::Value;
use std::time::Duration;

const M: u64 = 60_000;
const NOOP: Key = optional(
    "fault",
    Kind::OneOf { what: "fault", words: &["noop"] },
    "`noop` breaks nothing: the control; needs `expect = \"unknown\"`",
);

static SUITE: Shape = Shape {
    keys: &[
        required("title", Kind::Text(Rule::Line), "one line for people"),
        optional(
            "budget",
            Kind::Duration { min_ms: M, max_ms: 48 * 60 * M },
            "what each shard may take; no drill is begun that is not expected to end within it",
        ),
        required("drill", Kind::Tables { shape: &DRILL, min: 1, max: 200 }, "the drills, in order"),
    ],
};

static DRILL: Shape = Shape {
    keys: &[
        required("run", Kind::Text(Rule::Drill), "the drill, `NAME/VARIANT`"),
        default(
            "repeat",
            "1",
            Kind::Whole { min: 1, max: 100 },
            "how often it runs; every drill runs once before any runs twice",
        ),
        NOOP,
        optional(
            "expect",
            Kind::OneOf { what: "verdict", words: &["unknown"] },
            "the verdict that a no-op run must end with; only a no-op run may be expected not to pass",
        ),
        optional(
            "without",
            Kind::Text(Rule::Line),
            "the section that is left out of the runbook, by its title or how that begins: it must stay broken then",
        ),
    ],
};

/// The JSON Schema (2020-12) of suite files, for editors. What several keys must be to each other is beyond it.
pub fn schema() -> Value {
    of_file(&SUITE, "firedrill suite")
}

/// Reads the suite `name` from `file` (its path, for mistakes, and its text), of the drills in `catalog`.
///
/// # Errors
/// All mistakes, in the order of the file.
pub fn parse(name: &str, file: (&str, &str), catalog: &Catalog) -> Result<Suite, Vec<Mistake>> {
    let (path, text) = file;
    let mut mistakes = Mistakes::of(path);
    if let Err(wrong) = Rule::Name.check(name) {
        mistakes.add_hint(0..0, format!("the suite's file: {}", wrong.message), wrong.hint.unwrap_or_default());
    }
    let Some(document) = document(&mut mistakes, &SUITE, text, None) else { return Err(mistakes.into_sorted()) };
    let root = Tab::new(document.get_ref(), &SUITE, 0..0);
    let mut drills: Vec<Placed<Entry>> = Vec::new();
    for tab in root.tables("drill") {
        control(&tab, &mut mistakes);
        let Some(drill) = drill(&tab, catalog, &mut mistakes) else { continue };
        let is_same = |other: &Placed<Entry>| other.value.to_string() == drill.value.to_string();
        if drills.iter().any(is_same) {
            let message = format!("{} is there twice", drill.value);
            mistakes.add_hint(drill.span, message, "`repeat = 2` runs it twice");
        } else {
            drills.push(drill);
        }
    }
    let budget = root.duration("budget");
    let longest = drills.iter().map(|drill| &drill.value).max_by_key(|entry| entry.expected);
    if let (Some(budget), Some(longest)) = (&budget, longest)
        && longest.expected > budget.value
    {
        let message = format!("{longest} alone is expected to take {}", plain(longest.expected));
        mistakes.add_hint(budget.span.clone(), message, "a drill that does not fit is not run, and counts as unknown");
    }
    let suite = root.text("title").map(|title| Suite {
        name: name.to_owned(),
        title: title.value,
        budget: budget.map(|budget| budget.value),
        drills: drills.into_iter().map(|drill| drill.value).collect(),
    });
    let mistakes = mistakes.into_sorted();
    match suite {
        Some(suite) if mistakes.is_empty() => Ok(suite),
        _ => Err(mistakes),
    }
}

/// A control must say so twice, and nothing else may be expected to end as anything but a pass.
fn control(tab: &Tab<'_>, mistakes: &mut Mistakes) {
    match (tab.has("fault"), tab.has("expect")) {
        (true, false) => mistakes.add_hint(
            tab.place("fault"),
            "a run that breaks nothing can only end as unknown",
            "say so beside it: `expect = \"unknown\"`",
        ),
        (false, true) => mistakes.add_hint(
            tab.place("expect"),
            "only a control may be expected to end as unknown",
            "leave it out: every other drill counts as what its verdict says; or make it a control: `fault = \"noop\"`",
        ),
        (true, true) | (false, false) => {}
    }
    if tab.has("fault") && tab.has("without") {
        mistakes.add(tab.place("without"), "where nothing is broken no runbook is needed");
    }
}

fn drill(tab: &Tab<'_>, catalog: &Catalog, mistakes: &mut Mistakes) -> Option<Placed<Entry>> {
    let run = tab.text("run")?;
    let (scenario, variant) = run.value.split_once('/')?;
    let names = || catalog.keys().map(String::as_str);
    let Some(variants) = catalog.get(scenario) else {
        mistakes.add_unknown(run.span, "scenario", scenario, names());
        return None;
    };
    let Some(facts) = variants.get(variant) else {
        let what = format!("variant of {scenario}:");
        mistakes.add_unknown(run.span, &what, variant, variants.keys().map(String::as_str));
        return None;
    };
    let repeat = tab.whole("repeat");
    let control = tab.has("fault");
    let without = match tab.text("without").map(|title| (section_named(&facts.sections, &title.value), title.span)) {
        None => None,
        Some((Ok(section), _)) => Some(section),
        Some((Err(wrong), span)) => {
            mistakes.add(span, format!("{}: {wrong}", run.value));
            return None;
        }
    };
    let repeat = u32::try_from(repeat?.value).ok()?;
    // A run that must stay broken is waited out.
    let waits = if without.is_some() { facts.deadline } else { Duration::ZERO };
    let once = Entry::once(scenario, variant, facts);
    let entry = Entry { repeat, control, without, expected: once.expected + waits, ..once };
    let irreversible = entry.irreversible && !control;
    Some(Placed { value: Entry { irreversible, ..entry }, span: run.span })
}
