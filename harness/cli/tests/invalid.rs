//! Every mistake that a scenario can have, as people see it: one bad file each under `fixtures/invalid`.

#[path = "../src/diagnostics.rs"]
mod diagnostics;

use firedrill_core::scenario;
use std::fs;
use std::path::{Path, PathBuf};

/// Bad files, at least.
const FILES_MIN: usize = 40;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
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
        let runbook = |file: &str| fs::read_to_string(root().join("fixtures/invalid").join(file)).ok();
        let mistakes = match scenario::parse("bad", (&shown, &text), runbook) {
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
        let runbook = |file: &str| fs::read_to_string(folder.join(file)).ok();
        if let Err(mistakes) = scenario::parse(&name, (&shown, &text), runbook) {
            panic!("{}", diagnostics::render(&mistakes, &shown, &text, runbook));
        }
        count += 1;
    }
    assert!(count >= 2, "{count} scenarios");
}
