//! What a check of runbooks found, for people and for programs.

mod sarif;
mod text;

pub(crate) use sarif::sarif;
pub(crate) use text::text;

use crate::report::json::pretty;
use firedrill_core::document::{Document, Report, position};
use serde_json::{Value, json};
use std::ops::Range;

/// One JSON object with everything, each piece with its place: lines and columns from 1, columns in characters.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn json(checked: &[(Document, Report)]) -> serde_json::Result<String> {
    let is_fine = checked.iter().all(|(_, report)| report.open().next().is_none());
    let files: Vec<Value> = checked.iter().map(|(document, report)| file(document, report)).collect();
    pretty(&json!({"ok": is_fine, "files": files}))
}

fn file(document: &Document, report: &Report) -> Value {
    let finding = |finding: &firedrill_core::document::Finding| {
        json!({
            "kind": finding.kind, "place": place(&document.text, &finding.span), "message": finding.message,
            "hint": finding.hint, "corrected": finding.corrected,
        })
    };
    let unchecked = |unchecked: &firedrill_core::document::Unchecked| {
        json!({
            "place": place(&document.text, &unchecked.span), "reason": unchecked.reason, "stand-in": unchecked.stand_in,
        })
    };
    let not_read = |piece: &firedrill_core::document::NotRead| json!({"place": place(&document.text, &piece.span), "reason": piece.reason});
    json!({
        "file": report.file, "commands": report.commands, "checked": report.checked,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "unchecked": report.unchecked.iter().map(unchecked).collect::<Vec<_>>(),
        "not-read": document.not_read.iter().map(not_read).collect::<Vec<_>>(),
    })
}

fn place(text: &str, span: &Range<usize>) -> Value {
    let ((line, column), (end_line, end_column)) = (position(text, span.start), position(text, span.end));
    let piece = text.get(span.clone()).unwrap_or_default();
    json!({"line": line, "column": column, "end-line": end_line, "end-column": end_column, "text": piece})
}

#[cfg(test)]
mod tests {
    use super::*;
    use firedrill_core::document::{self, Corrected, Finding, FindingKind, Unchecked};

    fn checked() -> Vec<(Document, Report)> {
        let source = "Büro# look:kubectl exec -l a=b -- x# thenkubectl get pods -n a\nironflow deploy upgrade --x\n";
        let document = document::read("dir with space/book.txt", source);
        let finding = |piece: &str, kind, corrected: Option<Corrected>| {
            let start = source.find(piece).unwrap();
            Finding {
                kind,
                span: start..start + piece.len(),
                message: "does not work".to_owned(),
                hint: Some("fix it".to_owned()),
                corrected,
            }
        };
        let corrected = Corrected { instead: "kubectl get pods -n b".to_owned(), because: "it moved".to_owned() };
        let start = source.find("ironflow").unwrap();
        let report = Report {
            file: document.file.clone(),
            commands: document.commands.len(),
            checked: 0,
            findings: vec![
                finding("-l", FindingKind::UnknownFlag, None),
                finding("kubectl get pods -n a", FindingKind::Fails, Some(corrected)),
            ],
            unchecked: vec![Unchecked {
                span: start..start + 27,
                reason: "not public".to_owned(),
                stand_in: Some("helm".to_owned()),
            }],
        };
        vec![(document, report)]
    }

    #[test]
    fn people_see_each_finding_at_its_place() {
        let text = text(&checked());
        for shown in [
            "× does not work",
            "dir with space/book.txt:1:25",
            "help: fix it",
            "instead: kubectl get pods -n b",
            "stands in: helm",
        ] {
            assert!(text.contains(shown), "{shown}: {text}");
        }
        assert!(text.contains("1 finding, 1 more that a correction covers; of 3 commands 0"), "{text}");
    }

    #[test]
    fn nothing_found_is_not_said_to_be_all_right_where_something_is_unchecked() {
        let mut checked = checked();
        checked[0].1.findings.clear();
        let text = text(&checked);
        assert!(text.contains("no finding") && text.contains("1 place was not checked"), "{text}");
    }

    #[test]
    fn what_was_not_read_is_said_everywhere() {
        let source = "# Look\n\n```sh\nkubectl get pods -n a\nkind: Pod\nname: b\ncat <<EOF\nx\nEOF\n```\n";
        let document = document::read("book.md", source);
        let report = Report {
            file: document.file.clone(),
            commands: document.commands.len(),
            checked: 1,
            findings: Vec::new(),
            unchecked: Vec::new(),
        };
        let checked = vec![(document, report)];
        let shown = text(&checked);
        for part in ["book.md, lines 5-6", "book.md, lines 7-9", "; 2 places were not read"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let all: Value = serde_json::from_str(&json(&checked).unwrap()).unwrap();
        let piece = &all["files"][0]["not-read"][0];
        assert_eq!((&piece["place"]["line"], &piece["place"]["end-line"]), (&json!(5), &json!(6)));
        assert_eq!(all["ok"], true);
        let all: Value = serde_json::from_str(&sarif(&checked).unwrap()).unwrap();
        let results = all["runs"][0]["results"].as_array().unwrap();
        assert_eq!((results.len(), &results[0]["ruleId"]), (2, &json!("not-read")));
        let rules = all["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
        let index = usize::try_from(results[0]["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], "not-read");
    }

    #[test]
    fn programs_get_the_same() {
        let all: Value = serde_json::from_str(&json(&checked()).unwrap()).unwrap();
        assert_eq!(all["ok"], false);
        let finding = &all["files"][0]["findings"][0];
        assert_eq!((&finding["kind"], &finding["place"]["text"]), (&json!("unknown-flag"), &json!("-l")));
        assert_eq!((&finding["place"]["line"], &finding["place"]["column"]), (&json!(1), &json!(25)));
        let all: Value = serde_json::from_str(&sarif(&checked()).unwrap()).unwrap();
        assert_eq!(all["version"], "2.1.0");
        let results = all["runs"][0]["results"].as_array().unwrap();
        assert_eq!(results.len(), 3);
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "dir%20with%20space/book.txt");
        assert_eq!((&place["region"]["startColumn"], &place["region"]["endColumn"]), (&json!(25), &json!(27)));
        assert_eq!(results[1]["suppressions"][0]["justification"], "it moved");
        assert_eq!((&results[2]["kind"], &results[2]["level"]), (&json!("open"), &json!("none")));
    }
}
