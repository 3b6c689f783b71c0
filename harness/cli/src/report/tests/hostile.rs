//! Every text of a journal, a verdict, a suite's results and a check of runbooks replaced by a hostile one: in no report may it be
//! more than text.

use super::drill::drill;
use super::page::assert_well_formed;
use super::suites::result as suite_result;
use super::verdicts::{dirty, later_than_documented};
use crate::escape::is_invisible;
use crate::report::check;
use crate::report::html::{html, suite_html};
use crate::report::json::verdict_json;
use crate::report::junit::junit;
use crate::report::suite::{suite_json, table, write_all};
use crate::report::terminal::{poisoned_run_lines, verdict_text_with_report};
use crate::report::text::{Style, render, uncoloured};
use firedrill_core::document::{self, Corrected, Finding, FindingKind, Report, Unchecked};
use firedrill_core::journal::Journal;
use firedrill_core::judge::judge;
use firedrill_core::suite::SuiteResult;
use firedrill_core::verdict::Verdict;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Control sequences of C0 and C1, a link, a line of ours, overrides of direction, elements, attributes and sections of markup, a
/// template's expression and the mark of a colour.
const EVIL: &str = "\u{1b}[2J\u{9b}31m\u{1b}]8;;http://x\u{7}\r\nPASSED faked\n  ✓ PASSED faked\r  ✓ PASSED faked\u{202e}\u{200b}\u{2028}\
    PASSED <script>alert(1)</script><img src=x>]]>--> \" onload=\"x ' {{ 7 * 7 }} \u{fdd0}p\u{fdd1}\u{0}\u{ffff}";

const COLOUR: Style = Style { color: true, width: 100 };

/// A value with [`EVIL`] behind every text that may be any text, but for those of these names, which others are found by.
fn poisoned<T: Serialize + DeserializeOwned>(value: &T, but: &[&str]) -> T {
    let mut whole = serde_json::to_value(value).unwrap();
    let mut places = Vec::new();
    texts(&whole, String::new(), &mut places);
    for place in places {
        if but.iter().any(|name| place.ends_with(&format!("/{name}"))) {
            continue;
        }
        let text = whole.pointer_mut(&place).unwrap();
        let before = text.clone();
        *text = Value::String(format!("{}{EVIL}", before.as_str().unwrap()));
        if T::deserialize(&whole).is_err() {
            // One of our own words.
            *whole.pointer_mut(&place).unwrap() = before;
        }
    }
    T::deserialize(&whole).unwrap()
}

/// The places of all texts, as JSON pointers.
fn texts(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::String(_) => places.push(at),
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(index, one)| texts(one, format!("{at}/{index}"), places))
        }
        Value::Object(all) => all
            .iter()
            .for_each(|(key, one)| texts(one, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), places)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn poisoned_journal() -> Journal {
    let mut journal = drill(EVIL).journal;
    // The judge finds these by their names.
    let but = ["variant", "default_variant", "probe", "control", "section", "file"];
    journal.records = journal.records.iter().map(|record| poisoned(record, &but)).collect();
    journal
}

fn poisoned_verdict() -> Verdict {
    let drill = drill(EVIL);
    poisoned(&judge(&poisoned_journal(), drill.reader(), None).unwrap(), &[])
}

/// Nothing in a text acts on a terminal, and no line of it is one of ours.
fn assert_harmless(what: &str, text: &str) {
    let plain = uncoloured(text);
    if let Some(at) = plain.find(|char: char| !matches!(char, '\n' | '\t') && is_invisible(char)) {
        panic!("{what}: {:?}", plain[at..].chars().take(60).collect::<String>());
    }
    assert!(plain.contains("PASSED faked"), "{what}: nothing of it is there: {plain}");
    for line in plain.lines() {
        assert!(!line.starts_with("PASSED") && !line.starts_with("  ✓ PASSED"), "{what}: {line}");
    }
}

/// Nothing in a page or in XML is markup.
fn assert_no_markup(what: &str, text: &str) {
    assert!(!text.chars().any(|char| !matches!(char, '\n' | '\t') && is_invisible(char)), "{what}");
    assert!(text.contains("PASSED faked"), "{what}: nothing of it is there");
    for markup in ["<script", "<img", "\" onload=\"", "&#49;", "> 49"] {
        assert!(!text.contains(markup), "{what}: {markup}");
    }
}

#[test]
fn a_run_on_the_terminal_shows_it_and_obeys_nothing() {
    for color in [true, false] {
        let lines = poisoned_run_lines(&poisoned_journal().records, EVIL, Style { color, ..COLOUR });
        assert_harmless("live", &render(&lines));
        for verdict in [poisoned_verdict(), poisoned(&dirty(), &[]), poisoned(&later_than_documented(), &[])] {
            let path = format!("runs/{EVIL}/report.html");
            let text = verdict_text_with_report(&verdict, &Style { color, ..COLOUR }, Path::new(&path));
            assert_harmless("verdict", &render(&text));
        }
    }
}

#[test]
fn a_command_to_copy_runs_nothing_else() {
    let mut verdict = dirty();
    verdict.scenario = "a; rm -rf ~".to_owned();
    verdict.run_id = "$(id)".to_owned();
    verdict.without = Some("it's '$(id)'\n; id".to_owned());
    let text = verdict_text_with_report(&verdict, &Style { color: false, width: 400 }, Path::new("x"));
    assert!(text.contains(r"firedrill sweep --run '$(id)'"), "{text}");
    assert!(
        text.contains(r"firedrill run 'a; rm -rf ~/hung' --seed 41 --without 'it'\''s '\''$(id)'\'' ; id'"),
        "{text}"
    );
}

#[test]
fn pages_show_it_as_text() {
    let (verdict, journal, drill) = (poisoned_verdict(), poisoned_journal(), drill(EVIL));
    let page = html(&verdict, &journal, Some(drill.reader())).unwrap();
    assert_well_formed(&page, 500);
    assert_no_markup("page", &page);
    let runs = TempDir::new().unwrap();
    let page = suite_html(&poisoned(&suite_result(runs.path(), None), &[])).unwrap();
    assert_well_formed(&page, 100);
    assert_no_markup("index", &page);
}

#[test]
fn a_report_on_another_machine_is_not_linked() {
    let runs = TempDir::new().unwrap();
    let mut result = suite_result(runs.path(), None);
    for run in &mut result.results {
        if let firedrill_core::suite::Outcome::Ran(ran) = &mut run.outcome {
            ran.folder = "//evil.example/x".to_owned();
        }
    }
    assert!(!suite_html(&result).unwrap().contains("evil.example"));
}

#[test]
fn programs_read_what_was_said() {
    let verdict = poisoned_verdict();
    let json = verdict_json(&verdict);
    assert!(!json.chars().any(|char| char != '\n' && is_invisible(char)));
    let kept: Verdict = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (kept.headline, kept.cleanup, kept.findings),
        (verdict.headline.clone(), verdict.cleanup.clone(), verdict.findings.clone())
    );
    let xml = junit(&verdict).unwrap();
    assert_well_formed(&xml, 10);
    assert_no_markup("JUnit", &xml);

    let runs = TempDir::new().unwrap();
    let result = poisoned(&suite_result(runs.path(), None), &["folder"]);
    let json = suite_json(&result);
    assert!(!json.chars().any(|char| char != '\n' && is_invisible(char)));
    assert_eq!(serde_json::from_str::<SuiteResult>(&json).unwrap(), result);
    assert_harmless("table", &render(&table(&result, Path::new(EVIL), &COLOUR)));
    for run in fs::read_dir(runs.path()).unwrap() {
        fs::write(run.unwrap().path().join("verdict.json"), verdict_json(&verdict)).unwrap();
    }
    let folder = runs.path().join("suite");
    fs::create_dir(&folder).unwrap();
    write_all(&folder, &result).unwrap();
    let xml = fs::read_to_string(folder.join("junit.xml")).unwrap();
    assert_well_formed(&xml, 20);
    assert_no_markup("JUnit of a suite", &xml);
}

#[test]
fn findings_in_a_runbook_show_it() {
    let source = format!("kubectl get {EVIL} pods\n");
    let document = document::read(&format!("dir/{EVIL}.md"), &source);
    let (from, to) = (source.find("[2J").unwrap(), source.find("alert").unwrap());
    let finding = |corrected| Finding {
        kind: FindingKind::Fails,
        span: from..to,
        message: EVIL.to_owned(),
        hint: Some(EVIL.to_owned()),
        corrected,
    };
    let corrected = Corrected { instead: EVIL.to_owned(), because: EVIL.to_owned() };
    let report = Report {
        file: document.file.clone(),
        commands: 1,
        checked: 0,
        findings: vec![finding(None), finding(Some(corrected))],
        unchecked: vec![Unchecked { span: from..to, reason: EVIL.to_owned(), stand_in: Some(EVIL.to_owned()) }],
    };
    let checked = vec![(document, report)];
    assert_harmless("findings", &render(&check::text(&checked)));
    for json in [check::json(&checked).unwrap(), check::sarif(&checked).unwrap()] {
        assert!(!json.chars().any(|char| char != '\n' && is_invisible(char)));
        serde_json::from_str::<Value>(&json).unwrap();
    }
}
