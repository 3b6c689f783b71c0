//! Runs that earlier versions saved are read and judged as they were then: one folder in `saved/` for each version of the journal.
//!
//! A folder holds a run's `events.jsonl`, `samples.bin` and `verdict.json`. A change that is meant to judge differently replaces the
//! verdict and says so; a change of the journal's format adds a folder.

use firedrill_core::event::JOURNAL_VERSION;
use firedrill_core::journal::Journal;
use firedrill_core::judge::judge;
use firedrill_core::sample::SampleReader;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

fn folders() -> Vec<PathBuf> {
    let all = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/saved")).unwrap();
    all.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_saved_run_keeps_its_verdict() {
    for folder in folders() {
        let journal = Journal::parse(&fs::read_to_string(folder.join("events.jsonl")).unwrap()).unwrap();
        let samples = SampleReader::new(File::open(folder.join("samples.bin")).unwrap()).unwrap();
        let verdict = serde_json::to_value(judge(&journal, samples, None).unwrap()).unwrap();
        let saved: Value = serde_json::from_str(&fs::read_to_string(folder.join("verdict.json")).unwrap()).unwrap();
        for (key, value) in saved.as_object().unwrap() {
            assert_eq!(&verdict[key], value, "{}: {key}", folder.display());
        }
    }
}

#[test]
fn every_version_of_the_journal_has_a_saved_run() {
    let versions: Vec<u32> = folders()
        .iter()
        .map(|folder| {
            let text = fs::read_to_string(folder.join("events.jsonl")).unwrap();
            Journal::parse(&text).unwrap().start().unwrap().journal_version
        })
        .collect();
    assert!(versions.contains(&JOURNAL_VERSION), "{versions:?} are saved, and {JOURNAL_VERSION} is written");
}
