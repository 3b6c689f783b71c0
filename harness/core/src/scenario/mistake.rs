//! Mistakes in what people wrote, with their place, so that all of them can be shown at once.

use std::ops::Range;

/// One mistake in a scenario or in a runbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as its reader named it.
    pub file: String,
    /// The piece meant, in bytes of that file.
    pub span: Range<usize>,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to do about it, where that can be said.
    pub hint: Option<String>,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.file, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Mistakes found in one file so far.
pub(crate) struct Mistakes {
    file: String,
    found: Vec<Mistake>,
}

impl Mistakes {
    pub(crate) fn of(file: &str) -> Self {
        Self { file: file.to_owned(), found: Vec::new() }
    }

    /// Notes a mistake.
    pub(crate) fn add(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.found.push(Mistake { file: self.file.clone(), span, message: message.into(), hint: None });
    }

    /// Notes a mistake that comes with advice.
    pub(crate) fn add_hint(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.add(span, message);
        if let Some(last) = self.found.last_mut() {
            last.hint = Some(hint.into());
        }
    }

    /// Notes a word that is none of those known.
    pub(crate) fn add_unknown<'w>(
        &mut self,
        span: Range<usize>,
        what: &str,
        word: &str,
        known: impl IntoIterator<Item = &'w str>,
    ) {
        let hint = among(word, known);
        self.add_hint(span, format!("unknown {what} `{word}`"), hint);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them, in the order of the file.
    pub(crate) fn into_sorted(mut self) -> Vec<Mistake> {
        self.found.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
        self.found.dedup();
        self.found
    }
}

/// The known word that `word` was probably meant to be.
pub fn closest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= limit || is_part(word, candidate) || is_part(candidate, word))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether `part` begins or ends `whole`, and is long enough for that to be no chance.
fn is_part(part: &str, whole: &str) -> bool {
    part.len() > 2 && (whole.starts_with(part) || whole.ends_with(part))
}

/// Advice on a word that is none of those known.
fn among<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match closest(word, known.iter().copied()) {
        Some(close) => format!("did you mean `{close}`?"),
        None if known.is_empty() => "there is none to choose from".to_owned(),
        None => format!("one of {}", listed(&known)),
    }
}

/// Words for people: `` `a`, `b` ``.
pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["runbook-start", "runbook-end", "effect"];
        assert_eq!(closest("runbok-start", known), Some("runbook-start"));
        assert_eq!(closest("efect", known), Some("effect"));
        assert_eq!(closest("banana", known), None);
        assert_eq!(closest("SIGKILL", ["KILL", "INT"]), Some("KILL"));
        assert_eq!(among("banana", ["a", "b"]), "one of `a`, `b`");
    }

    #[test]
    fn mistakes_come_in_the_order_of_the_file() {
        let mut mistakes = Mistakes::of("x.toml");
        mistakes.add(9..10, "later");
        mistakes.add_hint(1..2, "earlier", "fix it");
        let sorted = mistakes.into_sorted();
        assert_eq!(sorted[0].to_string(), "x.toml: earlier (fix it)");
        assert_eq!(sorted[1].to_string(), "x.toml: later");
    }
}
