//! Reads what is well formed in a spanned TOML table, by its [`Shape`]; [`super::form`] has noted the mistakes.

use super::format::{Key, Kind, Presence, Shape};
use super::layout::Names;
use super::text;
use crate::stack::Stack;
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

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// The lines of a table whose keys are free.
pub(super) type Lines = Vec<(Placed<String>, Placed<String>)>;

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
    /// The stack whose defaults hold.
    stack: Option<&'a Stack>,
}

/// One of a choice: a word, or a table by its name.
pub(crate) enum Chosen<'a> {
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
        Self { table, shape, span, base: None, names: None, stack: None }
    }

    /// The same table, with another that has the keys that this one lacks.
    pub(super) fn like(self, base: &Tab<'a>) -> Self {
        Self { base: Some(base.table), ..self }
    }

    /// The same table, read for another layout.
    pub(super) fn in_layout(self, names: Option<&'a Names>) -> Self {
        Self { names, ..self }
    }

    /// The same table, read for a stack.
    pub(super) fn for_stack(self, stack: &'a Stack) -> Self {
        Self { stack: Some(stack), ..self }
    }

    /// The stack that it is read for.
    pub(super) fn stack(&self) -> Option<&'a Stack> {
        self.stack
    }

    fn inner(&self, table: &'a DeTable<'a>, shape: &'static Shape, span: Range<usize>) -> Self {
        Self { names: self.names, stack: self.stack, ..Self::new(table, shape, span) }
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

    fn default(&self, name: &str) -> Option<&'a str> {
        match self.key(name)?.presence {
            Presence::Default(value) => Some(value),
            Presence::Stack(default) => self.stack?.default(default),
            Presence::Required | Presence::Optional => None,
        }
    }

    /// Every key that the format has here.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.shape.keys.iter().map(|key| key.name)
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
            Some(value) => {
                // A text of several lines has the line ends of its file.
                let text = value.get_ref().as_str()?.replace("\r\n", "\n");
                read(&text).map(|read| Placed { value: read, span: value.span() })
            }
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
    pub(crate) fn texts(&self, name: &str) -> Vec<Placed<String>> {
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

    pub(crate) fn table(&self, name: &str) -> Option<Tab<'a>> {
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
    pub(crate) fn named(&self, name: &str) -> Vec<(Placed<&'a str>, Tab<'a>)> {
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
    pub(crate) fn choices(&self, name: &str) -> Vec<Placed<Chosen<'a>>> {
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

pub(super) fn read_duration(kind: &Kind, text: &str) -> Option<Duration> {
    let Kind::Duration { min_ms, max_ms } = kind else { return None };
    text::duration(text, Duration::from_millis(*min_ms), Duration::from_millis(*max_ms)).ok()
}

pub(super) fn read_whole(kind: &Kind, value: &DeValue<'_>) -> Option<u64> {
    let DeValue::Integer(integer) = value else { return None };
    let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    let is_within = match kind {
        Kind::Whole { min, max } => (*min..=*max).contains(&value),
        Kind::Format { known } => value == *known,
        _ => false,
    };
    is_within.then_some(value)
}
