//! Secrets taken out of what a run writes: the values that the run has read, in every form in which a program may print them, and
//! what looks like a credential.
//!
//! Matching is done on whole outputs, so that no border between two reads hides a value. It errs on the side of taking out too much.

mod event;
mod patterns;

use k8s_openapi::ByteString;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A shorter value is no secret: it would stand in every other word.
const VALUE_BYTES_MIN: usize = 6;
/// The shortest piece of a value in Base64 that is looked for.
const BASE64_BYTES_MIN: usize = 7;
/// A text of this length may have been cut at its end: its last bytes may be the beginning of a value.
const MAYBE_CUT_BYTES: usize = 64 * 1024 - 4;
/// The shortest beginning of a value that is taken out where a text was cut.
const CUT_BYTES_MIN: usize = 4;

/// What is taken out, shared by all that writes.
#[derive(Default)]
pub struct Redactor {
    known: Mutex<BTreeMap<String, KnownSecret>>,
}

/// What a text that is looked for is.
struct KnownSecret {
    /// What it is, for people: `password of Secret a/b`.
    label: String,
    /// Whether it is in Base64, so that what stands around it may hold the rest.
    base64: bool,
}

impl Redactor {
    /// Has a value taken out of everything from now on. `label` says what it is. A value of fewer than six bytes is not.
    pub fn register(&self, label: &str, value: &str) {
        let value = value.trim();
        if value.len() < VALUE_BYTES_MIN {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut add = |text: String, base64| {
            let text = joined(&text).0;
            if text.len() >= VALUE_BYTES_MIN {
                known.entry(text).or_insert_with(|| KnownSecret { label: label.to_owned(), base64 });
            }
        };
        add(value.to_owned(), false);
        for form in url_forms(value) {
            add(form, false);
        }
        if let Ok(json) = serde_json::to_string(value) {
            add(json.trim_matches('"').to_owned(), false);
        }
        for form in base64_forms(value.as_bytes()) {
            add(form.replace('+', "-").replace('/', "_"), true);
            add(form, true);
        }
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        let found = self.found(text);
        patterns::redact(&if found.is_empty() { text.to_owned() } else { replaced(text, found) })
    }

    /// Takes secrets out of a text in place.
    pub(crate) fn clean(&self, text: &mut String) {
        *text = self.text(text);
    }

    /// Where values stand, with their labels.
    fn found(&self, text: &str) -> Vec<(Range<usize>, String)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return Vec::new();
        }
        let (joined, cuts) = joined(text);
        let mut found = Vec::new();
        for (value, KnownSecret { label, base64 }) in known.iter() {
            for (at, _) in joined.match_indices(value.as_str()) {
                let mut range = original(&cuts, at..at + value.len());
                if *base64 {
                    range = widened(text, range);
                }
                found.push((range, label.clone()));
            }
            if text.len() >= MAYBE_CUT_BYTES
                && let Some(length) = begun(&joined, value)
            {
                found.push((original(&cuts, joined.len() - length..joined.len()), label.clone()));
            }
        }
        found
    }
}

/// How many bytes at the end of a text are the beginning of a value, where they are enough.
fn begun(text: &str, value: &str) -> Option<usize> {
    let lengths = (CUT_BYTES_MIN..value.len()).rev();
    let mut lengths = lengths.filter(|length| value.is_char_boundary(*length));
    lengths.find(|length| text.ends_with(&value[..*length]))
}

/// A text with all of its lines joined, since programs break long values, and the places in the result at which something was left
/// out, each with how many bytes that were up to there.
fn joined(text: &str) -> (String, Vec<(usize, usize)>) {
    let (mut joined, mut cuts) = (String::with_capacity(text.len()), Vec::new());
    let (mut rest, mut left_out) = (text, 0);
    while let Some(at) = rest.find(['\r', '\n']) {
        joined.push_str(&rest[..at]);
        let after = rest[at..].trim_start_matches(['\r', '\n', ' ', '\t']);
        left_out += rest.len() - at - after.len();
        cuts.push((joined.len(), left_out));
        rest = after;
    }
    joined.push_str(rest);
    (joined, cuts)
}

/// A piece of a joined text, as it stands in the text itself.
fn original(cuts: &[(usize, usize)], range: Range<usize>) -> Range<usize> {
    let before = |at: usize| cuts[..cuts.partition_point(|(cut, _)| *cut <= at)].last();
    let moved = |at: usize| at + before(at).map_or(0, |(_, left_out)| *left_out);
    moved(range.start)..moved(range.end - 1) + 1
}

/// A piece of Base64 with all of it that stands around.
fn widened(text: &str, range: Range<usize>) -> Range<usize> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let bytes = text.as_bytes();
    let before = bytes[..range.start].iter().rev().take_while(|byte| is_base64(byte)).count();
    let after = bytes[range.end..].iter().take_while(|byte| is_base64(byte)).count();
    range.start - before..range.end + after
}

/// The text with pieces of it replaced; what overlaps is one piece.
fn replaced(text: &str, mut found: Vec<(Range<usize>, String)>) -> String {
    found.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let (mut clean, mut done) = (String::with_capacity(text.len()), 0);
    for (range, label) in found {
        if range.start >= done {
            clean.push_str(&text[done..range.start]);
            clean.push_str(&format!("[redacted: {label}]"));
        }
        done = done.max(range.end);
    }
    clean.push_str(&text[done..]);
    clean
}

/// A value as it stands in URLs: by the letter of RFC 3986, by the forms of programs that escape more, and with lower-case digits.
fn url_forms(value: &str) -> Vec<String> {
    let escaped = |kept: &[u8], lower: bool| -> String {
        let letter = |byte: u8| match (byte.is_ascii_alphanumeric() || kept.contains(&byte), lower) {
            (true, _) => char::from(byte).to_string(),
            (false, false) => format!("%{byte:02X}"),
            (false, true) => format!("%{byte:02x}"),
        };
        value.bytes().map(letter).collect()
    };
    [&b""[..], b"-._~", b"-._~!$&'()*+,;="]
        .iter()
        .flat_map(|kept| [escaped(kept, false), escaped(kept, true)])
        .collect()
}

/// What a value is in Base64, alone and behind other bytes: of three places that it can have in a group, those letters that do not
/// depend on what stands around it.
fn base64_forms(value: &[u8]) -> Vec<String> {
    let encode = |bytes: Vec<u8>| match serde_json::to_value(ByteString(bytes)) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(_) | Err(_) => String::new(),
    };
    let behind = |before: usize| {
        let text = encode([vec![0; before], value.to_vec()].concat());
        let (first, last) = ((before * 8).div_ceil(6), (before + value.len()) * 8 / 6);
        text.get(first..last).unwrap_or_default().to_owned()
    };
    (0..3).map(behind).filter(|form| form.len() >= BASE64_BYTES_MIN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LABEL: &str = "password of Secret ironflow/ironflow-db-app";

    fn redactor(value: &str) -> Redactor {
        let redactor = Redactor::default();
        redactor.register(LABEL, value);
        redactor
    }

    #[test]
    fn a_value_is_taken_out_in_every_form() {
        let redactor = redactor("Tr0ub4dor&3/é");
        for shown in ["Tr0ub4dor&3/é", "Tr0ub4dor%263%2F%C3%A9", "Tr0ub4dor%263%2f%c3%a9", "Tr0ub4dor&3%2F%C3%A9"] {
            assert_eq!(redactor.text(&format!("x {shown} y")), format!("x [redacted: {LABEL}] y"));
        }
        // The whole, and as a part of another value: as kubectl prints a Secret.
        let secret =
            r#"{"password": "VHIwdWI0ZG9yJjMvw6k=", "uri": "cG9zdGdyZXNxbDovL2E6VHIwdWI0ZG9yJjMvw6lAZGI6NTQzMi9h"}"#;
        let shown = redactor.text(secret);
        assert_eq!(shown, format!(r#"{{"password": "[redacted: {LABEL}]", "uri": "[redacted: {LABEL}]"}}"#));
    }

    #[test]
    fn a_value_that_is_broken_over_lines_is_taken_out() {
        let redactor = redactor("correcthorsebattery");
        for text in ["correcthorse\nbattery", "correct\r\n  horse\r\n  battery", "correcthorsebatter\n\n\ty"] {
            let shown = redactor.text(&format!("before {text} after\nlast"));
            assert_eq!(shown, format!("before [redacted: {LABEL}] after\nlast"), "{text:?}");
        }
        assert_eq!(redactor.text("a\n  b\nc"), "a\n  b\nc", "nothing else changes");
    }

    #[test]
    fn what_a_cut_has_left_of_a_value_is_taken_out() {
        let redactor = redactor("correcthorsebattery");
        let cut = format!("{}correcth", "x ".repeat(MAYBE_CUT_BYTES / 2));
        let shown = redactor.text(&cut);
        assert!(shown.ends_with(&format!("x [redacted: {LABEL}]")), "{}", &shown[shown.len() - 80..]);
        assert_eq!(redactor.text("x correcth"), "x correcth", "a short text was not cut");
    }

    #[test]
    fn a_short_value_is_no_secret() {
        assert_eq!(redactor("app").text("the app"), "the app");
    }

    #[test]
    fn values_that_overlap_are_one() {
        let redactor = redactor("abcdefgh");
        redactor.register("other", "efghijkl");
        assert_eq!(redactor.text("abcdefghijkl."), format!("[redacted: {LABEL}]."));
    }

    proptest! {
        #[test]
        fn no_form_of_a_value_survives(
            value in "[!-~]{8,40}",
            before in "[ -~\n]{0,30}",
            after in "[ -~\n]{0,30}",
            breaks in prop::collection::vec(1_usize..40, 0..3),
            form in 0_usize..4,
        ) {
            let encoded = |bytes: &[u8]| serde_json::to_value(ByteString(bytes.to_vec())).unwrap().as_str().unwrap().to_owned();
            let mut shown = match form {
                0 => value.clone(),
                1 => url_forms(&value)[0].clone(),
                2 => encoded(value.as_bytes()),
                _ => encoded(format!("{before}{value}{after}").as_bytes()),
            };
            for at in breaks {
                if at < shown.len() {
                    shown.insert(at, '\n');
                }
            }
            let text = redactor(&value).text(&format!("{before} {shown} {after}"));
            let flat = text.replace('\n', "");
            prop_assert!(!flat.contains(&value), "{}", text);
            prop_assert!(form != 1 || !flat.contains(&url_forms(&value)[0]), "{}", text);
            prop_assert!(!base64_forms(value.as_bytes()).iter().any(|form| flat.contains(form)), "{}", text);
        }

        #[test]
        fn a_text_without_secrets_stays(text in "[a-z ,.\n]{0,200}") {
            prop_assert_eq!(redactor("0123456789abcdef").text(&text), text);
        }
    }
}
