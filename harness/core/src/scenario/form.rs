//! What a file must look like: every mistake of form against its [`Shape`], each with its place.

use super::format::{Key, Kind, LIKE, NEVER_LIKE, Presence, Shape};
use super::mistake::{Mistakes, closest, listed};
use super::read::{Value, read_whole};
use super::text;
use crate::stack::Stack;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Keys of a table whose keys are free, at most.
const MAP_MAX: usize = 64;
/// Bytes of a file, at most.
const BYTES_MAX: usize = 256 * 1024;

/// Reads a file and notes every mistake of form. `None` where what stands in it cannot be told: no TOML, two tables of one
/// name, which would be read as one, or another format.
pub(crate) fn document<'a>(
    mistakes: &mut Mistakes,
    shape: &'static Shape,
    text: &'a str,
    stack: Option<&Stack>,
) -> Option<Spanned<DeTable<'a>>> {
    if text.len() > BYTES_MAX {
        mistakes.add(0..0, format!("{} bytes, {BYTES_MAX} at most", text.len()));
        return None;
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut is_readable = true;
    for error in &errors {
        let twice = error.message().starts_with("duplicate key");
        is_readable &= twice;
        let message = if twice { "this key is there twice" } else { error.message() };
        mistakes.add(error.span().unwrap_or(0..0), message);
    }
    if is_readable && is_of_other_format(mistakes, shape, document.get_ref()) {
        return None;
    }
    if is_readable {
        check_table(mistakes, shape, document.get_ref(), 0..0, stack);
    }
    errors.is_empty().then_some(document)
}

/// Notes a format that is not the one that is read. What is wrong by the rules of this one may be right by those of the other.
fn is_of_other_format(mistakes: &mut Mistakes, shape: &'static Shape, table: &DeTable<'_>) -> bool {
    let format = shape.keys.iter().find_map(|key| match &key.kind {
        Kind::Format { known } => Some((key, *known)),
        _ => None,
    });
    let Some((key, known)) = format else { return false };
    let Some((_, value)) = table.iter().find(|(name, _)| name.get_ref() == key.name) else { return false };
    let DeValue::Integer(format) = value.get_ref() else { return false };
    if read_whole(&key.kind, value.get_ref()).is_some() {
        return false;
    }
    let hint = format!("this firedrill reads format {known}; use the firedrill that the file was written for");
    mistakes.add_hint(value.span(), format!("format {format} is not known"), hint);
    true
}

/// Notes every mistake of form in a table.
fn check_table(
    mistakes: &mut Mistakes,
    shape: &'static Shape,
    table: &DeTable<'_>,
    span: Range<usize>,
    stack: Option<&Stack>,
) {
    // What an unknown key was probably meant to be is not reported as missing as well.
    let mut meant: Vec<&str> = Vec::new();
    for (key, value) in table.iter() {
        match shape.keys.iter().find(|known| key.get_ref() == known.name) {
            Some(known) => check(mistakes, &known.kind, value, stack),
            None => {
                mistakes.add_unknown(key.span(), "key", key.get_ref(), shape.keys.iter().map(|known| known.name));
                meant.extend(closest(key.get_ref(), shape.keys.iter().map(|known| known.name)));
            }
        }
    }
    // What a table that is like another lacks, that one has, or is said to lack.
    let is_like = shape.keys.iter().any(|key| key.name == LIKE) && table.iter().any(|(key, _)| key.get_ref() == LIKE);
    let is_required = |key: &&Key| match key.presence {
        Presence::Required => true,
        Presence::Stack(default) => stack.and_then(|stack| stack.default(default)).is_none(),
        Presence::Optional | Presence::Default(_) => false,
    };
    for key in shape.keys.iter().filter(is_required) {
        if (!is_like || key.name == NEVER_LIKE)
            && !meant.contains(&key.name)
            && !table.iter().any(|(present, _)| present.get_ref() == key.name)
        {
            mistakes.add_hint(span.clone(), format!("`{}` is missing", key.name), key.about);
        }
    }
}

fn check(mistakes: &mut Mistakes, kind: &'static Kind, value: &Value<'_>, stack: Option<&Stack>) {
    let span = value.span();
    match (kind, value.get_ref()) {
        (Kind::Text(_) | Kind::OneOf { .. }, DeValue::String(text)) => check_text(mistakes, kind, text, span),
        (Kind::Whole { min, max }, DeValue::Integer(integer)) => {
            if read_whole(kind, value.get_ref()).is_none() {
                mistakes.add_hint(span, format!("{integer} is out of bounds"), format!("{min} to {max}"));
            }
        }
        (Kind::Format { .. }, DeValue::Integer(_)) => {}
        (Kind::Duration { min_ms, max_ms }, DeValue::String(text)) => {
            let (min, max) = (Duration::from_millis(*min_ms), Duration::from_millis(*max_ms));
            if let Err(wrong) = text::duration(text, min, max) {
                note(mistakes, span, wrong);
            }
        }
        (Kind::Duration { .. }, DeValue::Integer(number)) => {
            mistakes.add_hint(span, "a duration needs a unit", format!("`\"{number}s\"`, in quotes"));
        }
        (Kind::List { of, min, max }, DeValue::Array(items)) => {
            count(mistakes, span, items.len(), *min, *max);
            for (at, item) in items.iter().enumerate() {
                check(mistakes, of, item, stack);
                let text = item.get_ref().as_str();
                if text.is_some() && items.iter().take(at).any(|before| before.get_ref().as_str() == text) {
                    mistakes.add(item.span(), "named twice");
                }
            }
        }
        (Kind::Table(shape), DeValue::Table(table)) => check_table(mistakes, shape, table, span, stack),
        (Kind::Named { what, shape, max }, DeValue::Table(table)) => {
            count(mistakes, span, table.len(), 1, *max);
            for (name, value) in table.iter() {
                if let Err(wrong) = text::Rule::Name.check(name.get_ref()) {
                    note(mistakes, name.span(), wrong);
                }
                match value.get_ref() {
                    DeValue::Table(table) => check_table(mistakes, shape, table, value.span(), stack),
                    other => mistakes.add_hint(
                        value.span(),
                        format!("{} where a {what} is described", article(other)),
                        format!("`[{what}.NAME]` and its keys below"),
                    ),
                }
            }
        }
        (Kind::Tables { shape, min, max }, DeValue::Array(items)) => {
            count(mistakes, span, items.len(), *min, *max);
            for item in items.iter() {
                match item.get_ref() {
                    DeValue::Table(table) => check_table(mistakes, shape, table, item.span(), stack),
                    other => wrong_type(mistakes, item.span(), other, "a table"),
                }
            }
        }
        (Kind::Map { keys, of }, DeValue::Table(table)) => {
            count(mistakes, span, table.len(), 1, MAP_MAX);
            for (key, value) in table.iter() {
                check_text(mistakes, keys, key.get_ref(), key.span());
                check(mistakes, of, value, stack);
            }
        }
        (Kind::Choice { what, words, tables }, _) => check_choice(mistakes, what, (words, tables), value, stack),
        (Kind::PerVariant { of, because }, DeValue::Table(table)) => {
            if table.iter().all(|(key, _)| *because && key.get_ref() == "because") {
                mistakes.add_hint(span, "no variant is named", "`{ VARIANT = ... }`, or one figure for all");
            }
            for (key, value) in table.iter() {
                if *because && key.get_ref() == "because" {
                    check(mistakes, &Kind::Text(text::Rule::Prose), value, stack);
                } else {
                    check(mistakes, of, value, stack);
                }
            }
        }
        (Kind::PerVariant { of, .. }, _) => check(mistakes, of, value, stack),
        (Kind::Tables { .. }, other) => wrong_type(mistakes, span, other, "a list of tables, `[[...]]`"),
        (Kind::Text(_) | Kind::OneOf { .. }, other) => wrong_type(mistakes, span, other, "text in quotes"),
        (Kind::Whole { .. } | Kind::Format { .. }, other) => wrong_type(mistakes, span, other, "a whole number"),
        (Kind::Duration { .. }, other) => wrong_type(mistakes, span, other, "a duration such as `\"30s\"`"),
        (Kind::List { .. }, other) => wrong_type(mistakes, span, other, "a list, `[...]`"),
        (Kind::Table(_) | Kind::Named { .. } | Kind::Map { .. }, other) => wrong_type(mistakes, span, other, "a table"),
    }
}

fn check_text(mistakes: &mut Mistakes, kind: &Kind, text: &str, span: Range<usize>) {
    match kind {
        Kind::Text(rule) => {
            if let Err(wrong) = rule.check(text) {
                note(mistakes, span, wrong);
            }
        }
        Kind::OneOf { what, words } if !words.contains(&text) => {
            mistakes.add_unknown(span, what, text, words.iter().copied());
        }
        _ => {}
    }
}

fn check_choice(
    mistakes: &mut Mistakes,
    what: &str,
    (words, tables): (&'static [&'static str], &'static [(&'static str, &'static Shape)]),
    value: &Value<'_>,
    stack: Option<&Stack>,
) {
    let all = || words.iter().copied().chain(tables.iter().map(|(name, _)| *name));
    match value.get_ref() {
        DeValue::String(word) if words.contains(&word.as_ref()) => {}
        DeValue::String(word) => match tables.iter().find(|(name, _)| word == name) {
            Some((name, shape)) => {
                let keys: Vec<_> = shape.keys.iter().map(|key| key.name).collect();
                let hint = format!("`{name} = {{ ... }}` in a table, with {}", listed(&keys));
                mistakes.add_hint(value.span(), format!("`{name}` needs its settings"), hint);
            }
            None => mistakes.add_unknown(value.span(), what, word, all()),
        },
        DeValue::Table(table) => {
            if table.len() != 1 {
                mistakes.add_hint(
                    value.span(),
                    format!("{} where there is one {what}", if table.is_empty() { "nothing" } else { "several" }),
                    format!("one of {}", listed(&all().collect::<Vec<_>>())),
                );
            }
            for (key, inner) in table.iter() {
                match (tables.iter().find(|(name, _)| key.get_ref() == name), inner.get_ref()) {
                    (Some((_, shape)), DeValue::Table(table)) => {
                        check_table(mistakes, shape, table, inner.span(), stack)
                    }
                    (Some(_), other) => wrong_type(mistakes, inner.span(), other, "a table"),
                    (None, _) if words.iter().any(|word| key.get_ref() == word) => {
                        let hint = format!("write it as a word: `\"{}\"`", key.get_ref());
                        mistakes.add_hint(key.span(), format!("`{}` has no settings", key.get_ref()), hint);
                    }
                    (None, _) => mistakes.add_unknown(key.span(), what, key.get_ref(), all()),
                }
            }
        }
        other => wrong_type(mistakes, value.span(), other, &format!("a {what}")),
    }
}

fn note(mistakes: &mut Mistakes, span: Range<usize>, wrong: text::Wrong) {
    match wrong.hint {
        Some(hint) => mistakes.add_hint(span, wrong.message, hint),
        None => mistakes.add(span, wrong.message),
    }
}

fn count(mistakes: &mut Mistakes, span: Range<usize>, is: usize, min: usize, max: usize) {
    if is < min {
        let message = if is == 0 { "nothing here".to_owned() } else { format!("{is} of them") };
        mistakes.add(span, format!("{message}, {min} at least"));
    } else if is > max {
        mistakes.add(span, format!("{is} of them, {max} at most"));
    }
}

fn wrong_type(mistakes: &mut Mistakes, span: Range<usize>, value: &DeValue<'_>, expected: &str) {
    mistakes.add(span, format!("expected {expected}, found {}", article(value)));
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
