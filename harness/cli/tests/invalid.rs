//! Every mistake that a scenario can have, as people see it: one bad file each under `fixtures/invalid`.

#[path = "../src/diagnostics.rs"]
mod diagnostics;
#[allow(dead_code, reason = "the reports need the rest of it")]
#[path = "../src/escape.rs"]
mod escape;

use firedrill_core::scenario::{self, Scenario};
use firedrill_core::stack::{self, Stack};
use firedrill_core::suite::{self, Catalog};
use std::fs;
use std::path::{Path, PathBuf};

/// Bad files, at least.
const FILES_MIN: usize = 40;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn stack() -> Stack {
    let text = fs::read_to_string(root().join("fixtures/stack/ironflow/stack.toml")).unwrap();
    stack::parse("ironflow", ("stack.toml", &text)).unwrap()
}

fn bad_files() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join("fixtures/invalid"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_bad_file_is_refused_with_its_mistakes_shown() {
    let files = bad_files();
    assert!(files.len() >= FILES_MIN, "{} bad files, {FILES_MIN} at least", files.len());
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let shown = format!("fixtures/invalid/{name}.toml");
        let read = |file: &str| fs::read_to_string(root().join("fixtures/invalid").join(file));
        let runbook = |file: &str| read(file).ok();
        let mistakes = match scenario::parse("bad", (&shown, &text), read, &stack()) {
            Ok(_) => panic!("{name}: no mistake was found"),
            Err(mistakes) => mistakes,
        };
        for mistake in &mistakes {
            let source = if mistake.file == shown { text.clone() } else { runbook(&mistake.file[17..]).unwrap() };
            assert!(source.get(mistake.span.clone()).is_some(), "{name}: {mistake} is at no place of its file");
        }
        insta::assert_snapshot!(name, diagnostics::render(&mistakes, &shown, &text, runbook));
    }
}

#[test]
fn the_shipped_scenarios_have_no_mistake() {
    let folders = fs::read_dir(root().join("scenarios")).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for folder in folders.filter(|path| path.join("scenario.toml").is_file()) {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(folder.join("scenario.toml")).unwrap();
        let shown = format!("scenarios/{name}/scenario.toml");
        let read = |file: &str| fs::read_to_string(folder.join(file));
        let runbook = |file: &str| read(file).ok();
        if let Err(mistakes) = scenario::parse(&name, (&shown, &text), read, &stack()) {
            panic!("{}", diagnostics::render(&mistakes, &shown, &text, runbook));
        }
        count += 1;
    }
    assert!(count >= 2, "{count} scenarios");
}

/// The shipped scenarios, as suites know them.
fn catalog() -> Catalog {
    let read = |folder: PathBuf| -> Scenario {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(folder.join("scenario.toml")).unwrap();
        let runbook = |file: &str| fs::read_to_string(folder.join(file));
        scenario::parse(name, ("scenario.toml", &text), runbook, &stack()).unwrap()
    };
    let folders = fs::read_dir(root().join("scenarios")).unwrap().map(|entry| entry.unwrap().path());
    let scenarios = folders.filter(|path| path.join("scenario.toml").is_file()).map(read);
    scenarios.map(|scenario| (scenario.name.clone(), suite::facts(&scenario))).collect()
}

/// Suites in a folder: the path as shown, the text, the name.
fn suite_files(folder: &str) -> Vec<(String, String, String)> {
    let mut files: Vec<_> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (format!("{folder}/{name}.toml"), fs::read_to_string(&path).unwrap(), name)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn every_bad_suite_is_refused_with_its_mistakes_shown() {
    // Of fixed drills, so that one more shipped scenario changes no hint.
    let mut catalog = catalog();
    catalog.retain(|name, _| ["nats-quorum-loss", "postgres-primary-down"].contains(&name.as_str()));
    for (name, variants) in &mut catalog {
        let known = if name == "nats-quorum-loss" { ["killed", "hung"] } else { ["pod", "node"] };
        variants.retain(|variant, _| known.contains(&variant.as_str()));
    }
    let files = suite_files("fixtures/invalid/suites");
    assert!(files.len() >= 11, "{} bad suites", files.len());
    for (shown, text, name) in files {
        let Err(mistakes) = suite::parse(&name, (&shown, &text), &catalog) else {
            panic!("{name}: no mistake was found");
        };
        for mistake in &mistakes {
            assert!(text.get(mistake.span.clone()).is_some(), "{name}: {mistake} is at no place of its file");
        }
        insta::assert_snapshot!(format!("suite-{name}"), diagnostics::render(&mistakes, &shown, &text, |_| None));
    }
}

#[test]
fn the_shipped_suites_have_no_mistake() {
    let catalog = catalog();
    let files = suite_files("suites");
    for (shown, text, name) in &files {
        if let Err(mistakes) = suite::parse(name, (shown, text), &catalog) {
            panic!("{}", diagnostics::render(&mistakes, shown, text, |_| None));
        }
    }
    assert!(files.len() >= 4, "{} suites", files.len());
}
