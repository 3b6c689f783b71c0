//! Findings as SARIF 2.1.0 (OASIS standard, 2020-03-27), which code scanners read.

use crate::report::json::pretty;
use firedrill_core::document::{Document, FindingKind, Report, position};
use serde_json::{Value, json};
use std::ops::Range;

/// The rule of what could not be checked.
const UNCHECKED: &str = "unchecked";
/// The rule of what was not read.
const NOT_READ: &str = "not-read";

/// One run with a result for each finding. What a correction covers is suppressed, and what could not be checked is open.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn sarif(checked: &[(Document, Report)]) -> serde_json::Result<String> {
    let rule = |id: &str, about: &str| json!({"id": id, "shortDescription": {"text": about}});
    let mut rules: Vec<Value> = FindingKind::ALL.iter().map(|kind| rule(kind.name(), kind.about())).collect();
    rules.push(rule(UNCHECKED, "it could not be checked, so it is neither right nor wrong"));
    rules.push(rule(NOT_READ, "it may not be a command, so it was not checked"));
    let results: Vec<Value> = checked.iter().flat_map(|(document, report)| results(document, report)).collect();
    let driver = json!({"name": "firedrill", "version": env!("CARGO_PKG_VERSION"), "rules": rules});
    pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }))
}

fn results(document: &Document, report: &Report) -> Vec<Value> {
    let mut results = Vec::new();
    for finding in &report.findings {
        let hint = finding.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        let index = FindingKind::ALL.iter().position(|kind| *kind == finding.kind);
        let mut result = json!({
            "ruleId": finding.kind.name(), "ruleIndex": index, "level": "error",
            "message": {"text": format!("{}{hint}", finding.message)},
            "locations": [location(document, report, &finding.span)],
        });
        if let Some(corrected) = &finding.corrected {
            result["suppressions"] = json!([{"kind": "external", "justification": corrected.because}]);
        }
        results.push(result);
    }
    for unchecked in &report.unchecked {
        let stand_in =
            unchecked.stand_in.as_ref().map(|stand_in| format!("; stands in: {stand_in}")).unwrap_or_default();
        results.push(json!({
            "ruleId": UNCHECKED, "ruleIndex": FindingKind::ALL.len(), "kind": "open", "level": "none",
            "message": {"text": format!("{}{stand_in}", unchecked.reason)},
            "locations": [location(document, report, &unchecked.span)],
        }));
    }
    for piece in &document.not_read {
        results.push(json!({
            "ruleId": NOT_READ, "ruleIndex": FindingKind::ALL.len() + 1, "kind": "informational", "level": "none",
            "message": {"text": format!("not read: {}", piece.reason)},
            "locations": [location(document, report, &piece.span)],
        }));
    }
    results
}

fn location(document: &Document, report: &Report, span: &Range<usize>) -> Value {
    let (start, end) = (position(&document.text, span.start), position(&document.text, span.end));
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(&report.file)},
        "region": {"startLine": start.0, "startColumn": start.1, "endLine": end.0, "endColumn": end.1},
    }})
}

/// A path as a URI: an absolute one with its scheme, what it may not hold encoded (RFC 3986).
fn uri(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let encode = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let encoded: String = path.bytes().map(encode).collect();
    if path.starts_with('/') { format!("file://{encoded}") } else { encoded }
}
