use super::drill::{Drill, drill};
use super::verdicts::{dirty, unknown};
use crate::report::html::html;
use crate::report::write_all;
use firedrill_core::event::{Event, Record};
use firedrill_core::scenario::Recovery;
use firedrill_core::time::At;
use quick_xml::Reader;
use quick_xml::events::Event as Xml;
use std::fs;

pub(super) const EVIL: &str =
    "</pre><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} \u{1b}[31mred\u{1b}[0m";

fn page(drill: &Drill) -> String {
    html(&drill.verdict(), &drill.journal, Some(drill.reader())).unwrap()
}

/// Every element that is opened is closed, in order, and every attribute stands once and in quotes.
pub(super) fn assert_well_formed(page: &str, elements_min: usize) {
    let mut reader = Reader::from_str(page);
    let mut elements = 0;
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("at byte {}: {error}", reader.error_position())) {
            Xml::Start(tag) | Xml::Empty(tag) => {
                elements += 1;
                for attribute in tag.attributes() {
                    attribute.unwrap_or_else(|error| panic!("in {tag:?}: {error}"));
                }
            }
            Xml::Eof => break,
            _ => {}
        }
    }
    assert!(elements > elements_min, "only {elements} elements");
}

#[test]
fn the_page_is_well_formed() {
    assert_well_formed(&page(&drill("")), 500);
}

#[test]
fn what_a_command_printed_is_text_on_the_page() {
    let page = page(&drill(EVIL));
    assert_well_formed(&page, 500);
    assert!(!page.contains("<script") && !page.contains("<img"), "an element of an output is one of the page");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;"), "the output is not there");
    assert!(page.contains("{{ 7 * 7 }}") && page.contains("red"), "the output was filled in");
    assert!(!page.contains('\u{1b}'));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = page(&drill(""));
    // What stands in outputs and commands is escaped and so has no such slashes.
    for reference in ["http://", "https://", "src=", "@import", "href=\"/", "xlink"] {
        assert!(!page.contains(reference), "{reference}");
    }
    assert_eq!(page.matches("href=").count(), page.matches("href=\"data:,\"").count());
    assert!(page.len() < 600_000, "{} bytes", page.len());
}

#[test]
fn the_page_says_what_the_verdict_says() {
    let drill = drill("");
    let (verdict, page) = (drill.verdict(), page(&drill));
    for objective in &verdict.objectives {
        assert!(page.contains(&objective.name), "{}", objective.name);
    }
    for text in [
        "firedrill run nats-quorum-loss&#x2f;hung --seed 41",
        "the server&#x27;s image has no nats program",
        "firedrill-a3f-worker3",
        "t0e effect +0.00 s",
        "executable file not found in $PATH",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn a_run_without_samples_or_injection_has_a_page_all_the_same() {
    let drill = drill("");
    let mut verdict = drill.verdict();
    verdict.moments.clear();
    verdict.series.clear();
    verdict.attribution.clear();
    let mut journal = drill.journal.clone();
    journal.records.truncate(8);
    let page = html::<&[u8]>(&verdict, &journal, None).unwrap();
    assert_well_formed_small(&page);
    assert!(page.contains("There are no samples of this run"));
}

#[test]
fn a_run_that_has_to_stay_broken_says_why_it_has_no_objectives() {
    let drill = drill("");
    let mut verdict = drill.verdict();
    verdict.objectives.clear();
    let mut journal = drill.journal.clone();
    assert!(html::<&[u8]>(&verdict, &journal, None).unwrap().contains("This variant has none."));
    let Event::RunStarted(start) = &mut journal.records[0].event else { panic!("not its start") };
    start.scenario.variants.get_mut(&verdict.variant).unwrap().recovery = Recovery::StaysBroken;
    assert!(html::<&[u8]>(&verdict, &journal, None).unwrap().contains("Negative test: the stack must still be broken"));
}

fn assert_well_formed_small(page: &str) {
    let mut reader = Reader::from_str(page);
    while reader.read_event().unwrap() != Xml::Eof {}
}

#[test]
fn all_reports_are_written() {
    let drill = drill("");
    let folder = tempfile::tempdir().unwrap();
    let samples = folder.path().join("samples.bin");
    fs::write(&samples, &drill.samples).unwrap();
    let verdict = drill.verdict();
    write_all(folder.path(), &verdict, &drill.journal, &samples).unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let kept: firedrill_core::verdict::Verdict = serde_json::from_str(&read("verdict.json")).unwrap();
    assert_eq!(
        (kept.run_id, kept.moments, kept.findings),
        (verdict.run_id.clone(), verdict.moments.clone(), verdict.findings.clone())
    );
    assert!(read("junit.xml").contains("<testsuite name=\"nats-quorum-loss/hung\""));
    assert!(read("report.html").ends_with("</html>"));
    write_all(folder.path(), &verdict, &drill.journal, &folder.path().join("none")).unwrap();
    assert!(read("report.html").contains("There are no samples of this run"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "a draft was left");
}

#[test]
#[ignore = "writes runs/example, a saved run for ci/picture"]
fn the_example_run_is_written() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runs/example");
    fs::create_dir_all(&folder).unwrap();
    let drill = drill("");
    let lines = drill.journal.records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n");
    fs::write(folder.join("events.jsonl"), lines.collect::<String>()).unwrap();
    let samples = folder.join("samples.bin");
    fs::write(&samples, &drill.samples).unwrap();
    write_all(&folder, &drill.verdict(), &drill.journal, &samples).unwrap();
}

#[test]
fn a_long_journal_is_cut_and_says_so() {
    let mut drill = drill("");
    let last = drill.journal.records.len() as u64;
    for seq in last..last + 6_000 {
        let event = Event::Note { text: format!("note {seq}") };
        drill.journal.records.push(Record { seq, at: At::from_ms(153_000), wall: String::new(), event });
    }
    let page = page(&drill);
    assert!(page.contains("more are in <code>events.jsonl</code>"));
}

#[test]
fn a_verdict_of_any_kind_has_a_whole_page() {
    let drill = drill(EVIL);
    for verdict in [unknown(), dirty()] {
        let page = html(&verdict, &drill.journal, Some(drill.reader())).unwrap();
        assert_well_formed(&page, 100);
        assert!(page.contains(&verdict.headline), "{}", verdict.headline);
    }
}
