use super::page::{EVIL, assert_well_formed};
use super::verdicts::{dirty, later_than_documented, recovered, unknown};
use crate::command::merge::merged;
use crate::report::html::suite_html;
use crate::report::json::verdict_json;
use crate::report::suite::{table, write_all};
use crate::report::text::Style;
use firedrill_core::exit::ExitCode;
use firedrill_core::journal::Journal;
use firedrill_core::scenario;
use firedrill_core::suite::{Because, Catalog, Entry, Outcome, Ran, Shard, Slot, Suite, SuiteResult, facts, parse};
use firedrill_core::verdict::{Value, Verdict};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const PLAIN: Style = Style { color: false, width: 120 };

fn suite() -> Suite {
    let entry = |scenario: &str, variant: &str, repeat, control| Entry {
        scenario: scenario.to_owned(),
        variant: variant.to_owned(),
        repeat,
        control,
        without: None,
        expected: Duration::from_secs(240),
        irreversible: false,
        digest: "0123".to_owned(),
    };
    Suite {
        name: "nightly".to_owned(),
        title: "what runs each night".to_owned(),
        budget: Some(Duration::from_secs(3_600)),
        drills: vec![
            entry("nats-quorum-loss", "hung", 2, false),
            entry("nats-quorum-loss", "killed", 1, true),
            entry("postgres-primary-down", "pod", 1, false),
            entry("postgres-primary-down", "node", 1, false),
        ],
    }
}

/// A run whose folder stands in `runs`.
fn ran(runs: &Path, id: &str, mut verdict: Verdict, no_effect_seen: bool) -> Outcome {
    verdict.run_id = id.to_owned();
    fs::create_dir_all(runs.join(id)).unwrap();
    fs::write(runs.join(id).join("verdict.json"), verdict_json(&verdict)).unwrap();
    let journal = Journal { records: Vec::new(), truncated: false };
    let ran = Ran::of(&verdict, &journal, format!("../{id}"), verdict.exit_code);
    Outcome::Ran(Box::new(Ran { no_effect_seen, ..ran }))
}

/// The results of a suite, or of its shard, whose runs stand in `runs`.
pub(super) fn result(runs: &Path, shard: Option<Shard>) -> SuiteResult {
    let mut result = SuiteResult::new(&suite(), shard, "2026-12-01T10:00:00.000Z".to_owned());
    for index in 0..result.results.len() {
        let Slot { entry, round } = result.results[index].slot;
        let outcome = match (entry, round) {
            (0, 1) => ran(runs, "12011000-hung-0001", recovered(), false),
            (0, _) => ran(runs, "12011005-hung-0002", later_than_documented(), false),
            (1, _) => ran(runs, "12011010-killed-0003", unknown(), true),
            (2, _) => ran(runs, "12011015-pod-0004", dirty(), false),
            (_, _) => Outcome::NotRun(Because::LeftDirty { by: "postgres-primary-down/pod".to_owned() }),
        };
        result.put(index, outcome, 754_000.0);
    }
    result
}

#[test]
fn the_table_has_every_run_and_what_repeats_say() {
    let runs = TempDir::new().unwrap();
    insta::assert_snapshot!(table(&result(runs.path(), None), Path::new("runs/12011000-suite-nightly-1a2b"), &PLAIN));
}

#[test]
fn every_run_is_in_the_one_junit_file_and_what_did_not_run_is_an_error() {
    let runs = TempDir::new().unwrap();
    let folder = runs.path().join("suite");
    fs::create_dir(&folder).unwrap();
    write_all(&folder, &result(runs.path(), None)).unwrap();
    let xml = fs::read_to_string(folder.join("junit.xml")).unwrap();
    let elements = ["<testsuite", "<testcase", "<error", "<failure"];
    let cases: Vec<&str> =
        xml.lines().map(str::trim).filter(|line| elements.iter().any(|element| line.starts_with(element))).collect();
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn the_index_links_each_report_and_needs_nothing_from_elsewhere() {
    let runs = TempDir::new().unwrap();
    let page = suite_html(&result(runs.path(), None)).unwrap();
    assert_well_formed(&page, 100);
    let page = page.replace("&#x2f;", "/");
    let links: Vec<&str> = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let report = |id: &str| format!("../{id}/report.html");
    let wanted = ["12011000-hung-0001", "12011010-killed-0003", "12011015-pod-0004", "12011005-hung-0002"].map(report);
    assert_eq!(links[1..], wanted);
    for reference in ["http://", "https://", "src=", "@import", "<script"] {
        assert!(!page.contains(reference), "{reference}");
    }
}

#[test]
fn what_a_run_said_is_text_on_the_index() {
    let runs = TempDir::new().unwrap();
    let mut result = result(runs.path(), None);
    result.title = EVIL.to_owned();
    result.put(1, Outcome::Failed { exit_code: ExitCode::Environment, message: EVIL.to_owned() }, 1.0);
    if let Outcome::Ran(ran) = &mut result.results[0].outcome {
        ran.folder = format!("../\"><script>/{EVIL}");
        ran.headline = EVIL.to_owned();
    }
    let page = suite_html(&result).unwrap();
    assert_well_formed(&page, 100);
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{1b}'));
}

/// The class and the name of every case in a file, in order.
fn cases(folder: &Path) -> Vec<String> {
    let xml = fs::read_to_string(folder.join("junit.xml")).unwrap();
    let cases = xml.split("<testcase ").skip(1).map(|rest| rest.split('>').next().unwrap());
    let value = |tag: &str, key: &str| {
        let from = tag.find(&format!("{key}=\"")).unwrap_or_else(|| panic!("no {key}: {tag}")) + key.len() + 2;
        tag[from..].split('"').next().unwrap().to_owned()
    };
    cases
        .map(|tag| format!("{}: {}", value(tag, "classname"), value(&tag.replace("classname=", "class="), "name")))
        .collect()
}

fn assert_unique(what: &str, folder: &Path) {
    let mut all = cases(folder);
    let count = all.len();
    all.sort();
    let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
    assert!(count > 0 && twice.is_empty(), "{what}: {twice:?}");
}

#[test]
fn no_two_cases_of_a_suite_have_the_same_name() {
    let all = TempDir::new().unwrap();
    let folder = all.path().join("suite");
    fs::create_dir(&folder).unwrap();
    write_all(&folder, &result(all.path(), None)).unwrap();
    assert_unique("a suite with repeats", &folder);
    assert!(cases(&folder).iter().any(|case| case.ends_with(": data (repeat 2 of 2)")), "{:?}", cases(&folder));
    let into = all.path().join("merged");
    merged(&shards(&all.path().join("shards")), &into).unwrap();
    assert_unique("shards", &into);
}

#[test]
fn no_two_cases_of_a_shipped_suite_have_the_same_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read_all = |folder: &str| {
        let mut all: Vec<_> = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    };
    let folders = read_all("scenarios").into_iter().filter(|path| path.join("scenario.toml").is_file());
    let catalog: Catalog = folders
        .map(|folder| {
            let name = folder.file_name().unwrap().to_str().unwrap();
            let text = fs::read_to_string(folder.join("scenario.toml")).unwrap();
            let read = |file: &str| fs::read_to_string(folder.join(file));
            let scenario = scenario::parse(name, ("scenario.toml", &text), read, &super::drill::stack()).unwrap();
            (scenario.name.clone(), facts(&scenario))
        })
        .collect();
    let suites = read_all("suites").into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
    let mut suites: Vec<Suite> =
        suites.map(|path| parse("s", ("s.toml", &fs::read_to_string(path).unwrap()), &catalog).unwrap()).collect();
    suites.push(Suite::all(&catalog));
    assert!(suites.len() >= 5);
    for suite in suites {
        let runs = TempDir::new().unwrap();
        let mut whole = SuiteResult::new(&suite, None, "2026-12-01T10:00:00.000Z".to_owned());
        for index in 0..whole.results.len() {
            let entry = &suite.drills[whole.results[index].slot.entry];
            let (scenario, variant) = (entry.scenario.clone(), entry.variant.clone());
            let verdict = Verdict { scenario, variant, without: entry.without.clone(), ..dirty() };
            let outcome = match index % 3 {
                2 => Outcome::NotRun(Because::NotReached),
                _ => ran(runs.path(), &format!("run-{index}"), verdict, false),
            };
            whole.put(index, outcome, 1.0);
        }
        let folder = runs.path().join("suite");
        fs::create_dir(&folder).unwrap();
        write_all(&folder, &whole).unwrap();
        assert_unique(&suite.title, &folder);
    }
}

/// Both shards of the suite, each with its runs, as two machines would have left them.
fn shards(all: &Path) -> Vec<PathBuf> {
    let shard = |index: u32| {
        let runs = all.join(format!("machine-{index}/runs"));
        let folder = runs.join("suite");
        fs::create_dir_all(&folder).unwrap();
        write_all(&folder, &result(&runs, Some(Shard { index, of: 2 }))).unwrap();
        folder
    };
    vec![shard(2), shard(1)]
}

#[test]
fn what_the_verdicts_say_now_is_merged() {
    let all = TempDir::new().unwrap();
    let shards = shards(all.path());
    let path = all.path().join("machine-1/runs/12011000-hung-0001/verdict.json");
    let path = if path.exists() { path } else { all.path().join("machine-2/runs/12011000-hung-0001/verdict.json") };
    let mut again = unknown();
    again.run_id = "12011000-hung-0001".to_owned();
    fs::write(&path, verdict_json(&again)).unwrap();
    let result = merged(&shards, &all.path().join("all")).unwrap();
    assert_eq!(
        (result.results[0].value, result.results[0].exit_code),
        (Value::Unknown, ExitCode::Unknown),
        "judged again since"
    );
    again.run_id = "12011000-hung-9999".to_owned();
    fs::write(&path, verdict_json(&again)).unwrap();
    let error = merged(&shards, &all.path().join("other")).unwrap_err().to_string();
    assert!(error.ends_with("of run 12011000-hung-9999, not 12011000-hung-0001"), "{error}");
}

#[test]
fn shards_are_merged_with_links_to_all_their_reports() {
    let all = TempDir::new().unwrap();
    let into = all.path().join("merged");
    let merged = merged(&shards(all.path()), &into).unwrap();
    let whole = result(&all.path().join("other"), None);
    assert_eq!((merged.exit_code, merged.results.len()), (whole.exit_code, whole.results.len()));
    for run in merged.results.iter().filter_map(|run| run.ran()) {
        assert!(into.join(&run.folder).join("verdict.json").is_file(), "{}", run.folder);
        assert!(run.folder.starts_with("../machine-"), "{}", run.folder);
    }
    for name in ["suite.json", "junit.xml", "index.html"] {
        assert!(into.join(name).is_file(), "{name}");
    }
}

#[test]
fn what_cannot_be_merged_leaves_nothing() {
    let all = TempDir::new().unwrap();
    let (into, mut shards) = (all.path().join("merged"), shards(all.path()));
    shards.pop();
    let error = merged(&shards, &into).unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().as_str()), (ExitCode::Input, "shard 1/2 is missing"));
    shards.push(shards[0].clone());
    assert!(merged(&shards, &into).unwrap_err().to_string().contains("are both shard 2/2"));
    assert!(merged(&[all.path().to_owned()], &into).unwrap_err().to_string().contains("suite.json"));
    assert!(!into.exists());
}
