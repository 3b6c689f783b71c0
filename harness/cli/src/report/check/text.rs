//! Findings for people.

use crate::diagnostics;
use crate::escape::one_line;
use firedrill_core::document::{Document, Finding, Lines, Report, position};
use firedrill_core::scenario::Mistake;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

/// How much of a piece of a runbook one line shows, in characters.
const PIECE_CHARS_MAX: usize = 70;

/// Each finding with the piece underlined, then what corrections cover, what could not be checked, what was not read, and the sum.
pub(crate) fn text(checked: &[(Document, Report)]) -> String {
    let mut out = String::new();
    for (document, report) in checked {
        for finding in report.open() {
            let mistake = Mistake {
                file: report.file.clone(),
                span: finding.span.clone(),
                message: finding.message.clone(),
                hint: finding.hint.clone(),
            };
            let _ = writeln!(out, "{}", diagnostics::piece(&mistake, document.text.clone()).trim_end());
            out.push('\n');
        }
        section(
            &mut out,
            "corrected drift: the runbook is wrong, and the scenario knows",
            &corrected(document, report),
        );
        section(&mut out, "not checked: neither right nor wrong", &unchecked(document, report));
        section(&mut out, "not checked: these lines may not be commands", &not_read(document, report));
    }
    let _ = write!(out, "{}", sum(checked));
    out
}

fn section(out: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = writeln!(out, "  {title}");
        lines.iter().for_each(|line| out.push_str(line));
        out.push('\n');
    }
}

fn corrected(document: &Document, report: &Report) -> Vec<String> {
    let line = |finding: &Finding| {
        let correction = finding.corrected.as_ref()?;
        let place = place(document, report, &finding.span);
        Some(format!("    {place}  {}\n      instead: {}\n", one_line(&finding.message), one_line(&correction.instead)))
    };
    report.findings.iter().filter_map(line).collect()
}

fn unchecked(document: &Document, report: &Report) -> Vec<String> {
    let line = |unchecked: &firedrill_core::document::Unchecked| {
        let place = place(document, report, &unchecked.span);
        let stand_in = unchecked
            .stand_in
            .as_ref()
            .map(|stand_in| format!("\n      stands in: {}", one_line(stand_in)))
            .unwrap_or_default();
        format!("    {place}  {}\n      {}{stand_in}\n", piece(document, &unchecked.span), one_line(&unchecked.reason))
    };
    report.unchecked.iter().map(line).collect()
}

/// The lines that were not read, by reason.
fn not_read(document: &Document, report: &Report) -> Vec<String> {
    let lines = Lines::of(&document.text);
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for piece in &document.not_read {
        let (first, last) = (lines.number(piece.span.start), lines.number(piece.span.end));
        let shown = if first == last { first.to_string() } else { format!("{first}-{last}") };
        by_reason.entry(&piece.reason).or_default().push(shown);
    }
    let shown = |(reason, lines): (&str, Vec<String>)| {
        let word = if lines.len() == 1 && !lines[0].contains('-') { "line" } else { "lines" };
        format!("    {}, {word} {}\n      {reason}\n", report.file, lines.join(", "))
    };
    by_reason.into_iter().map(shown).collect()
}

fn place(document: &Document, report: &Report, span: &Range<usize>) -> String {
    let (line, column) = position(&document.text, span.start);
    format!("{}:{line}:{column}", one_line(&report.file))
}

/// The piece itself, on one line.
fn piece(document: &Document, span: &Range<usize>) -> String {
    let text = document.text.get(span.clone()).unwrap_or_default();
    let line = one_line(text);
    match line.char_indices().nth(PIECE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

fn sum(checked: &[(Document, Report)]) -> String {
    let count = |of: fn(&Report) -> usize| checked.iter().map(|(_, report)| of(report)).sum::<usize>();
    let open = count(|report| report.open().count());
    let corrected = count(|report| report.findings.len()) - open;
    let unchecked = count(|report| report.unchecked.len());
    let mut sum = match open {
        0 => "no finding".to_owned(),
        1 => "1 finding".to_owned(),
        several => format!("{several} findings"),
    };
    if corrected > 0 {
        let _ = write!(sum, ", {corrected} more that a correction covers");
    }
    let (commands, works) = (count(|report| report.commands), count(|report| report.checked));
    let _ = write!(sum, "; of {commands} commands {works} were checked in full and found right");
    match unchecked {
        0 => {}
        1 => sum.push_str("; 1 place was not checked"),
        several => {
            let _ = write!(sum, "; {several} places were not checked");
        }
    }
    match checked.iter().map(|(document, _)| document.not_read.len()).sum::<usize>() {
        0 => {}
        1 => sum.push_str("; 1 place was not read"),
        several => {
            let _ = write!(sum, "; {several} places were not read");
        }
    }
    sum
}
