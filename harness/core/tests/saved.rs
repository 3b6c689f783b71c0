//! Runs that earlier versions saved are read and judged as they were then: one folder in `saved/` for each version of the journal.
//!
//! A folder holds a run's `events.jsonl`, `samples.bin` and `verdict.json`. A change that is meant to judge differently replaces the
//! verdict and says so; a change of the journal's format adds a folder. `v3-killed-from-v2` was not run as such: it is what reading
//! `v2-killed` makes of its journal.

use firedrill_core::event::{JOURNAL_VERSION, PageCache};
use firedrill_core::journal::{JOURNAL_VERSION_MIN, Journal};
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
    let version = |folder: PathBuf| {
        let text = fs::read_to_string(folder.join("events.jsonl")).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        first["event"]["run_started"]["journal_version"].as_u64().unwrap()
    };
    let mut saved: Vec<u64> = folders().into_iter().map(version).collect();
    saved.sort_unstable();
    saved.dedup();
    let read: Vec<u64> = (JOURNAL_VERSION_MIN..=JOURNAL_VERSION).map(u64::from).collect();
    assert_eq!(saved, read, "the versions that are saved, and those that are read");
}

#[test]
fn a_journal_of_format_2_is_read_as_one_of_format_3() {
    let saved = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/saved");
    let records = |folder: &str| {
        let text = fs::read_to_string(saved.join(folder).join("events.jsonl")).unwrap();
        Journal::parse(&text).unwrap().records
    };
    for (upgraded, written) in records("v2-killed").iter().zip(records("v3-killed-from-v2")) {
        assert_eq!(*upgraded, written);
    }
    assert_eq!(records("v2-killed").len(), records("v3-killed-from-v2").len());
}

#[test]
fn a_journal_without_the_field_says_what_becomes_of_a_page_cache() {
    for folder in folders() {
        let text = fs::read_to_string(folder.join("events.jsonl")).unwrap();
        let page_cache = |text: &str| Journal::parse(text).unwrap().start().unwrap().page_cache;
        assert!(!text.contains("page_cache"), "{}", folder.display());
        assert_eq!(page_cache(&text), Some(PageCache::Kept), "{}", folder.display());
        assert_eq!(page_cache(&text.replacen(r#""provider":"kind""#, r#""provider":"existing""#, 1)), None);
        let lost = text.replacen(r#""noop":"#, r#""page_cache":"lost","noop":"#, 1);
        assert_eq!(page_cache(&lost), Some(PageCache::Lost), "what the run recorded counts");
    }
}
