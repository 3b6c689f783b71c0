//! Reads a spanned TOML table against its [`Shape`]: first every mistake of form is noted, then what is well formed is taken.

use super::format::{Key, Kind, LIKE, NEVER_LIKE, Presence, Shape};
use super::layout::Names;
use super::mistake::{Mistakes, closest, listed};
use super::text;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value that is well formed, with its place.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

type Value<'a> = Spanned<DeValue<'a>>;

/// The lines of a table whose keys are free.
pub(super) type Lines = Vec<(Placed<String>, Placed<String>)>;

/// Keys of a table whose keys are free, at most.
const MAP_MAX: usize = 64;

/// A table with the keys that it may have.
#[derive(Clone)]
pub(crate) struct Tab<'a> {
    table: &'a DeTable<'a>,
    shape: &'static Shape,
    pub(crate) span: Range<usize>,
    /// A table of the same shape, which has the keys that this one lacks.
    base: Option<&'a DeTable<'a>>,
    /// The names of the layout that it is read for, where they are not those in the file.
    names: Option<&'a Names>,
}

/// One of a choice: a word, or a table by its name.
pub(super) enum Chosen<'a> {
    Word(&'a str),
    Table(&'a str, Tab<'a>),
}

/// One figure for all variants, or one for each that is named.
pub(super) struct PerVariant<T> {
    pub(super) all: Option<Placed<T>>,
    pub(super) by_variant: BTreeMap<String, Placed<T>>,
    /// The variants' names, where they stand.
    pub(super) names: Vec<Placed<String>>,
    pub(super) because: Option<Placed<String>>,
    pub(super) span: Range<usize>,
}

impl<'a> Tab<'a> {
    pub(crate) fn new(table: &'a DeTable<'a>, shape: &'static Shape, span: Range<usize>) -> Self {
        Self { table, shape, span, base: None, names: None }
    }

    /// The same table, with another that has the keys that this one lacks.
    pub(super) fn like(self, base: &Tab<'a>) -> Self {
        Self { base: Some(base.table), ..self }
    }

    /// The same table, read for another layout.
    pub(super) fn in_layout(self, names: Option<&'a Names>) -> Self {
        Self { names, ..self }
    }

    fn inner(&self, table: &'a DeTable<'a>, shape: &'static Shape, span: Range<usize>) -> Self {
        Self { names: self.names, ..Self::new(table, shape, span) }
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        let key = self.shape.keys.iter().find(|key| key.name == name);
        debug_assert!(key.is_some(), "`{name}` is not in the format");
        key
    }

    fn value(&self, name: &str) -> Option<&'a Value<'a>> {
        debug_assert!(self.key(name).is_some());
        let mut tables = std::iter::once(self.table).chain(self.base);
        tables.find_map(|table| table.iter().find(|(key, _)| key.get_ref() == name)).map(|(_, value)| value)
    }

    fn default(&self, name: &str) -> Option<&'static str> {
        match self.key(name)?.presence {
            Presence::Default(value) => Some(value),
            Presence::Required | Presence::Optional => None,
        }
    }

    /// Whether the format has this key here.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.shape.keys.iter().any(|key| key.name == name)
    }

    /// Whether the key is there, well formed or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Where the value stands; the table where there is none.
    pub(crate) fn place(&self, name: &str) -> Range<usize> {
        self.value(name).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// A value that is text, of whatever form, where `check` finds nothing wrong with it.
    fn scalar<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Option<Placed<T>> {
        match self.value(name) {
            Some(value) => read(value.get_ref().as_str()?).map(|read| Placed { value: read, span: value.span() }),
            None => read(self.default(name)?).map(|read| Placed { value: read, span: self.span.clone() }),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<Placed<String>> {
        let key = self.key(name)?;
        self.scalar(name, |text| match &key.kind {
            Kind::Text(rule) => rule.check(text).is_ok().then(|| text.to_owned()),
            Kind::OneOf { words, .. } => words.contains(&text).then(|| text.to_owned()),
            _ => None,
        })
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Placed<Duration>> {
        let kind = &self.key(name)?.kind;
        self.scalar(name, |text| read_duration(kind, text))
    }

    pub(crate) fn whole(&self, name: &str) -> Option<Placed<u64>> {
        let kind = &self.key(name)?.kind;
        match self.value(name) {
            Some(value) => Some(Placed { value: read_whole(kind, value.get_ref())?, span: value.span() }),
            None => Some(Placed { value: self.default(name)?.parse().ok()?, span: self.span.clone() }),
        }
    }

    /// The items of a list of texts that are well formed.
    pub(super) fn texts(&self, name: &str) -> Vec<Placed<String>> {
        match self.value(name).map(|value| (value.get_ref(), value.span())) {
            Some((DeValue::Array(items), _)) => items
                .iter()
                .filter_map(|item| Some(Placed { value: item.get_ref().as_str()?.to_owned(), span: item.span() }))
                .collect(),
            Some(_) => Vec::new(),
            None => self
                .default(name)
                .unwrap_or_default()
                .split_whitespace()
                .map(|word| Placed { value: word.to_owned(), span: self.span.clone() })
                .collect(),
        }
    }

    pub(super) fn table(&self, name: &str) -> Option<Tab<'a>> {
        let Kind::Table(shape) = &self.key(name)?.kind else { return None };
        let value = self.value(name)?;
        Some(self.inner(value.get_ref().as_table()?, shape, value.span()))
    }

    /// The namespace that the table names and the name behind a key, as they are in the layout that it is read for.
    pub(super) fn named_in_layout(&self, name: &str) -> Option<(String, String)> {
        self.placed_in_layout("namespace", name)
    }

    /// The same, where the namespace stands behind another key.
    pub(super) fn placed_in_layout(&self, namespace: &str, name: &str) -> Option<(String, String)> {
        let (namespace, name) = (self.text(namespace)?.value, self.text(name)?.value);
        Some(match self.names {
            Some(names) => names.of(namespace, name),
            None => (namespace, name),
        })
    }

    /// Tables of texts by name, with where everything stands.
    pub(super) fn maps(&self, name: &str) -> Vec<(Placed<String>, Lines)> {
        let placed =
            |key: &Spanned<_>| Placed { value: AsRef::<str>::as_ref(key.get_ref()).to_owned(), span: key.span() };
        let tables = self.value(name).and_then(|value| value.get_ref().as_table()).into_iter().flat_map(DeTable::iter);
        tables
            .map(|(name, value)| {
                let texts = value.get_ref().as_table().into_iter().flat_map(DeTable::iter);
                let texts = texts.filter_map(|(key, value)| {
                    let text = Placed { value: value.get_ref().as_str()?.to_owned(), span: value.span() };
                    Some((placed(key), text))
                });
                (placed(name), texts.collect())
            })
            .collect()
    }

    /// Tables by name, with where each name stands.
    pub(super) fn named(&self, name: &str) -> Vec<(Placed<&'a str>, Tab<'a>)> {
        let (Some(key), Some(value)) = (self.key(name), self.value(name)) else { return Vec::new() };
        let (Kind::Named { shape, .. }, Some(table)) = (&key.kind, value.get_ref().as_table()) else {
            return Vec::new();
        };
        table
            .iter()
            .filter_map(|(key, value)| {
                let name = Placed { value: key.get_ref().as_ref(), span: key.span() };
                Some((name, self.inner(value.get_ref().as_table()?, shape, value.span())))
            })
            .collect()
    }

    pub(crate) fn tables(&self, name: &str) -> Vec<Tab<'a>> {
        let (Some(key), Some(value)) = (self.key(name), self.value(name)) else { return Vec::new() };
        let (Kind::Tables { shape, .. }, Some(items)) = (&key.kind, value.get_ref().as_array()) else {
            return Vec::new();
        };
        items.iter().filter_map(|item| Some(self.inner(item.get_ref().as_table()?, shape, item.span()))).collect()
    }

    pub(super) fn choice(&self, name: &str) -> Option<Placed<Chosen<'a>>> {
        self.chosen(&self.key(name)?.kind, self.value(name)?)
    }

    /// The items of a list of choices that are well formed.
    pub(super) fn choices(&self, name: &str) -> Vec<Placed<Chosen<'a>>> {
        let (Some(key), Some(value)) = (self.key(name), self.value(name)) else { return Vec::new() };
        match (&key.kind, value.get_ref()) {
            (Kind::List { of, .. }, DeValue::Array(items)) => {
                items.iter().filter_map(|item| self.chosen(of, item)).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn durations_per_variant(&self, name: &str) -> Option<PerVariant<Duration>> {
        self.per_variant(name, |kind, value| read_duration(kind, value.as_str()?), |_, _| None)
    }

    pub(super) fn wholes_per_variant(&self, name: &str) -> Option<PerVariant<u64>> {
        self.per_variant(name, read_whole, |_, text| text.parse().ok())
    }

    fn per_variant<T>(
        &self,
        name: &str,
        read: impl Fn(&Kind, &DeValue<'_>) -> Option<T>,
        read_default: impl Fn(&Kind, &str) -> Option<T>,
    ) -> Option<PerVariant<T>> {
        let Kind::PerVariant { of, because } = &self.key(name)?.kind else { return None };
        let mut found = PerVariant {
            all: None,
            by_variant: BTreeMap::new(),
            names: Vec::new(),
            because: None,
            span: self.place(name),
        };
        let Some(value) = self.value(name) else {
            let value = read_default(of, self.default(name)?)?;
            found.all = Some(Placed { value, span: self.span.clone() });
            return Some(found);
        };
        let Some(table) = value.get_ref().as_table() else {
            found.all = Some(Placed { value: read(of, value.get_ref())?, span: value.span() });
            return Some(found);
        };
        for (key, value) in table.iter() {
            if *because && key.get_ref() == "because" {
                found.because = value
                    .get_ref()
                    .as_str()
                    .filter(|text| !text.trim().is_empty())
                    .map(|text| Placed { value: text.to_owned(), span: value.span() });
                continue;
            }
            found.names.push(Placed { value: key.get_ref().to_string(), span: key.span() });
            if let Some(read) = read(of, value.get_ref()) {
                found.by_variant.insert(key.get_ref().to_string(), Placed { value: read, span: value.span() });
            }
        }
        Some(found)
    }

    fn chosen(&self, kind: &'static Kind, value: &'a Value<'a>) -> Option<Placed<Chosen<'a>>> {
        let Kind::Choice { words, tables, .. } = kind else { return None };
        let chosen = match value.get_ref() {
            DeValue::String(word) if words.contains(&word.as_ref()) => Chosen::Word(word.as_ref()),
            DeValue::Table(table) if table.len() == 1 => {
                let (key, inner) = table.iter().next()?;
                let (name, shape) = tables.iter().find(|(name, _)| key.get_ref() == name)?;
                Chosen::Table(name, self.inner(inner.get_ref().as_table()?, shape, inner.span()))
            }
            _ => return None,
        };
        Some(Placed { value: chosen, span: value.span() })
    }
}

fn read_duration(kind: &Kind, text: &str) -> Option<Duration> {
    let Kind::Duration { min_ms, max_ms } = kind else { return None };
    text::duration(text, Duration::from_millis(*min_ms), Duration::from_millis(*max_ms)).ok()
}

fn read_whole(kind: &Kind, value: &DeValue<'_>) -> Option<u64> {
    let (Kind::Whole { min, max }, DeValue::Integer(integer)) = (kind, value) else { return None };
    let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    (*min..=*max).contains(&value).then_some(value)
}

/// Bytes of a file, at most.
const BYTES_MAX: usize = 256 * 1024;

/// Reads a file and notes every mistake of form. `None` where what stands in it cannot be told: no TOML, or two tables of one
/// name, which would be read as one.
pub(crate) fn document<'a>(
    mistakes: &mut Mistakes,
    shape: &'static Shape,
    text: &'a str,
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
    if is_readable {
        check_table(mistakes, shape, document.get_ref(), 0..0);
    }
    errors.is_empty().then_some(document)
}

/// Notes every mistake of form in a table.
pub(super) fn check_table(mistakes: &mut Mistakes, shape: &'static Shape, table: &DeTable<'_>, span: Range<usize>) {
    // What an unknown key was probably meant to be is not reported as missing as well.
    let mut meant: Vec<&str> = Vec::new();
    for (key, value) in table.iter() {
        match shape.keys.iter().find(|known| key.get_ref() == known.name) {
            Some(known) => check(mistakes, &known.kind, value),
            None => {
                mistakes.add_unknown(key.span(), "key", key.get_ref(), shape.keys.iter().map(|known| known.name));
                meant.extend(closest(key.get_ref(), shape.keys.iter().map(|known| known.name)));
            }
        }
    }
    // What a table that is like another lacks, that one has, or is said to lack.
    let is_like = shape.keys.iter().any(|key| key.name == LIKE) && table.iter().any(|(key, _)| key.get_ref() == LIKE);
    for key in shape.keys.iter().filter(|key| matches!(key.presence, Presence::Required)) {
        if (!is_like || key.name == NEVER_LIKE)
            && !meant.contains(&key.name)
            && !table.iter().any(|(present, _)| present.get_ref() == key.name)
        {
            mistakes.add_hint(span.clone(), format!("`{}` is missing", key.name), key.about);
        }
    }
}

fn check(mistakes: &mut Mistakes, kind: &'static Kind, value: &Value<'_>) {
    let span = value.span();
    match (kind, value.get_ref()) {
        (Kind::Text(_) | Kind::OneOf { .. }, DeValue::String(text)) => check_text(mistakes, kind, text, span),
        (Kind::Whole { min, max }, DeValue::Integer(integer)) => {
            if read_whole(kind, value.get_ref()).is_none() {
                mistakes.add_hint(span, format!("{integer} is out of bounds"), format!("{min} to {max}"));
            }
        }
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
                check(mistakes, of, item);
                let text = item.get_ref().as_str();
                if text.is_some() && items.iter().take(at).any(|before| before.get_ref().as_str() == text) {
                    mistakes.add(item.span(), "named twice");
                }
            }
        }
        (Kind::Table(shape), DeValue::Table(table)) => check_table(mistakes, shape, table, span),
        (Kind::Named { what, shape, max }, DeValue::Table(table)) => {
            count(mistakes, span, table.len(), 1, *max);
            for (name, value) in table.iter() {
                if let Err(wrong) = text::Rule::Name.check(name.get_ref()) {
                    note(mistakes, name.span(), wrong);
                }
                match value.get_ref() {
                    DeValue::Table(table) => check_table(mistakes, shape, table, value.span()),
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
                    DeValue::Table(table) => check_table(mistakes, shape, table, item.span()),
                    other => wrong_type(mistakes, item.span(), other, "a table"),
                }
            }
        }
        (Kind::Map { keys, of }, DeValue::Table(table)) => {
            count(mistakes, span, table.len(), 1, MAP_MAX);
            for (key, value) in table.iter() {
                check_text(mistakes, keys, key.get_ref(), key.span());
                check(mistakes, of, value);
            }
        }
        (Kind::Choice { what, words, tables }, _) => check_choice(mistakes, what, words, tables, value),
        (Kind::PerVariant { of, because }, DeValue::Table(table)) => {
            if table.iter().all(|(key, _)| *because && key.get_ref() == "because") {
                mistakes.add_hint(span, "no variant is named", "`{ VARIANT = ... }`, or one figure for all");
            }
            for (key, value) in table.iter() {
                if *because && key.get_ref() == "because" {
                    check(mistakes, &Kind::Text(text::Rule::Prose), value);
                } else {
                    check(mistakes, of, value);
                }
            }
        }
        (Kind::PerVariant { of, .. }, _) => check(mistakes, of, value),
        (Kind::Tables { .. }, other) => wrong_type(mistakes, span, other, "a list of tables, `[[...]]`"),
        (Kind::Text(_) | Kind::OneOf { .. }, other) => wrong_type(mistakes, span, other, "text in quotes"),
        (Kind::Whole { .. }, other) => wrong_type(mistakes, span, other, "a whole number"),
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
    words: &'static [&'static str],
    tables: &'static [(&'static str, &'static Shape)],
    value: &Value<'_>,
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
                    (Some((_, shape)), DeValue::Table(table)) => check_table(mistakes, shape, table, inner.span()),
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
