//! `docs/drills.md`: a table of every scenario's variants.

use super::{assert_current, entries, head, root, row};
use firedrill_core::scenario::{Fault, Recovery, Scenario, Start, Variant, parse};
use firedrill_core::stack::{self, Stack};
use std::fs;
use std::path::Path;

const ABOUT: &str = "\
# Drills

<!-- Made from scenarios/*/scenario.toml: UPDATE_DOCS=1 cargo test -p firedrill-core --test docs -->

Each scenario is a folder in [scenarios/](../scenarios) with a `scenario.toml` and the runbook. Each variant is one drill:
`firedrill run SCENARIO/VARIANT`. `firedrill run SCENARIO` runs the first variant in the file, which is marked with `*`.

- **Recovery**: a runbook, and when it starts. *none* means that the stack must recover without action. *negative test* means that nobody
  acts and that the stack must still be broken at the deadline.
- **Layout**: where the parts of the stack are installed. See [stack.md](stack.md).
- **Minutes**: the expected duration of the whole drill, without bringing up a cluster.

[results.md](results.md) has what was measured.
";

/// The stack that the scenarios are for.
fn stack() -> Stack {
    let path = root().join("fixtures/stack/ironflow/stack.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    stack::parse("ironflow", ("stack.toml", &text)).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn load(folder: &Path) -> Scenario {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let path = folder.join("scenario.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(name, ("scenario.toml", &text), |file| fs::read_to_string(folder.join(file)), &stack())
        .unwrap_or_else(|mistakes| panic!("{}: {mistakes:?}", path.display()))
}

/// A fault's name in scenario files, which is also its name in journals.
fn name(fault: &Fault) -> String {
    match serde_json::to_value(fault).unwrap() {
        serde_json::Value::Object(map) => map.keys().next().unwrap().clone(),
        word => word.as_str().unwrap().to_owned(),
    }
}

fn recovery(scenario: &Scenario, variant: &Variant) -> String {
    match &variant.recovery {
        Recovery::Unattended => "none".to_owned(),
        Recovery::StaysBroken => "negative test".to_owned(),
        Recovery::Runbook { file, start, .. } => {
            let start = match start {
                Start::Detected => "when detected".to_owned(),
                Start::Alert => "at the alert".to_owned(),
                Start::After(after) => format!("{} s after the effect", after.as_secs()),
            };
            format!("[{file}](../scenarios/{}/{file}), {start}", scenario.name)
        }
    }
}

fn table(scenario: &Scenario) -> String {
    let mut table = head(&["variant", "what happens", "faults", "recovery", "layout", "minutes"]);
    let first = |name: &&String| **name != scenario.default_variant;
    let mut names: Vec<&String> = scenario.variants.keys().collect();
    names.sort_by_key(|name| (first(name), (*name).clone()));
    for variant_name in names {
        let variant = &scenario.variants[variant_name];
        let mark = if *variant_name == scenario.default_variant { " *" } else { "" };
        let faults: Vec<String> = variant.faults().map(|fault| format!("`{}`", name(fault))).collect();
        table += &row(&[
            format!("`{variant_name}`{mark}"),
            variant.about.clone(),
            faults.join(", then "),
            recovery(scenario, variant),
            variant.layout.name().to_owned(),
            variant.expected.as_secs().div_ceil(60).to_string(),
        ]);
    }
    table
}

#[test]
fn the_table_of_drills_is_current() {
    let mut text = ABOUT.to_owned();
    for folder in entries(&root().join("scenarios"), None) {
        let scenario = load(&folder);
        text += &format!("\n## {}\n\n{}.\n\n{}", scenario.name, scenario.title, table(&scenario));
    }
    assert_current("drills.md", &text);
}
