//! What stands behind `sh` in the first line of a step's block.

use super::mistake::Mistakes;
use super::read::Placed;
use super::runbook::DraftStep;
use super::text;
use super::{Layout, StepCondition};
use crate::time::parse_duration;
use std::ops::Range;
use std::time::Duration;

/// The bounds of a step's limit.
const TIMEOUT_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30 * 60));
/// The attributes of a step.
const ATTRIBUTES: [&str; 8] = ["expect", "timeout", "within", "exit", "variants", "layout", "only-if-down", "manual"];

/// Reads one attribute into `to`.
pub(super) fn attribute(text: &str, word: Range<usize>, to: &mut DraftStep, mistakes: &mut Mistakes) {
    let Some(equals) = text[word.clone()].find('=') else {
        let name = &text[word.clone()];
        mistakes.add_unknown(word, "attribute", name, ATTRIBUTES);
        return;
    };
    let key = word.start..word.start + equals;
    let mut span = key.end + 1..word.end;
    let quoted = text[span.clone()].starts_with(['\'', '"']) && span.len() >= 2;
    if quoted {
        span = span.start + 1..span.end - 1;
    }
    let value = &text[span.clone()];
    if value.trim().is_empty() {
        mistakes.add(word, format!("`{}` has no value", &text[key]));
        return;
    }
    match &text[key.clone()] {
        "expect" => to.step.expect = Some(value.to_owned()),
        "manual" => to.step.manual = Some(value.to_owned()),
        name @ ("timeout" | "within") => match text::duration(value, TIMEOUT_BOUNDS.0, TIMEOUT_BOUNDS.1) {
            Ok(limit) if name == "within" => to.step.within = Some(limit),
            Ok(limit) => to.step.timeout = limit,
            Err(wrong) => match wrong.hint {
                Some(hint) => mistakes.add_hint(span, wrong.message, hint),
                None => mistakes.add(span, wrong.message),
            },
        },
        "exit" if value == "any" => to.step.exit = None,
        "exit" => match value.parse::<u8>() {
            Ok(code) => to.step.exit = Some(i32::from(code)),
            Err(_) => mistakes.add_hint(span, format!("`{value}` is no exit code"), "`any`, or 0 to 255"),
        },
        "variants" => {
            let mut at = span.start;
            for name in value.split(',') {
                let start = at + (name.len() - name.trim_start().len());
                let name_span = start..start + name.trim().len();
                to.step.variants.push(name.trim().to_owned());
                to.variants.push(Placed { value: name.trim().to_owned(), span: name_span });
                at += name.len() + 1;
            }
        }
        "layout" => {
            to.step.layout = Some(Layout::named(value));
            to.layout = Some(Placed { value: Layout::named(value), span });
        }
        "only-if-down" => match value.split_once(" after ").map(|(probe, after)| (probe, parse_duration(after))) {
            Some((probe, Ok(after))) => {
                to.step.only_if = Some(StepCondition::StillDown { probe: probe.to_owned(), after });
                to.probe = Some(Placed { value: probe.to_owned(), span: span.start..span.start + probe.len() });
            }
            Some((_, Err(wrong))) => mistakes.add(span, wrong),
            None => mistakes.add_hint(span, "not a condition", "`only-if-down='PROBE after 60s'`"),
        },
        other => mistakes.add_unknown(key, "attribute", other, ATTRIBUTES),
    }
}

/// The words of a fence's first line; quotes hold a word together.
pub(super) fn words(text: &str, span: Range<usize>, mistakes: &mut Mistakes) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start: Option<usize> = None;
    let mut quote: Option<char> = None;
    for (at, c) in text[span.clone()].char_indices().map(|(at, c)| (span.start + at, c)) {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c.is_whitespace() => words.extend(start.take().map(|start| start..at)),
            None => {
                start.get_or_insert(at);
                if matches!(c, '\'' | '"') {
                    quote = Some(c);
                }
            }
        }
    }
    if let Some(start) = start {
        if quote.is_some() {
            mistakes.add(start..span.end, "a quote is not closed");
        } else {
            words.push(start..span.end);
        }
    }
    words
}
