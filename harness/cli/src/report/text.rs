//! Text for people: figures, colour and wrapping.

use anstyle::{AnsiColor, Style as Ansi};
use firedrill_core::verdict::Value;
use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

/// How text for a terminal is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether it is coloured.
    pub(crate) color: bool,
    /// How wide it may be, in columns.
    pub(crate) width: usize,
}

impl Style {
    /// Its colours.
    pub(crate) fn paint(self) -> Paint {
        Paint::new(self.color)
    }
}

/// Between these two noncharacters, which no text is made of, stands the process's key and a colour.
const MARK: (char, char) = ('\u{fdd0}', '\u{fdd1}');

/// A random text of this process: no text from elsewhere can hold a mark that [`render`] obeys.
static KEY: LazyLock<String> = LazyLock::new(|| {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
});

/// The colours that there are; the letter of each stands in its mark.
const COLOURS: [(char, Ansi); 5] = [
    ('p', AnsiColor::Green.on_default()),
    ('u', AnsiColor::Yellow.on_default().bold()),
    ('f', AnsiColor::Red.on_default().bold()),
    ('s', Ansi::new().bold()),
    ('d', Ansi::new().dimmed()),
];

/// Marks text for [`render`] to colour, or leaves it as it is. A mark is no control sequence: only the printer writes those.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    color: bool,
}

fn mark(letter: char) -> String {
    format!("{}{}{letter}{}", MARK.0, *KEY, MARK.1)
}

/// Text as it may be written to a terminal: marks of this process as colours, every other invisible character written out.
pub(crate) fn render(text: &str) -> String {
    let begin = format!("{}{}", MARK.0, *KEY);
    let mut pieces = text.split(&begin);
    let mut rendered = visible(pieces.next().unwrap_or_default());
    for piece in pieces {
        let mut chars = piece.chars();
        let letter = chars.next().unwrap_or_default();
        let colour = COLOURS.iter().find(|(known, _)| *known == letter);
        let _ = match colour {
            Some((_, colour)) => write!(rendered, "{colour}"),
            None => write!(rendered, "{}", anstyle::Reset),
        };
        let rest = chars.as_str();
        rendered.push_str(&visible(rest.strip_prefix(MARK.1).unwrap_or(rest)));
    }
    rendered
}

/// A rendered text without our own colours.
#[cfg(test)]
pub(crate) fn uncoloured(rendered: &str) -> String {
    let colours = ["[0m", "[1m", "[2m", "[31m", "[32m", "[33m"].map(|code| format!("\u{1b}{code}"));
    colours.iter().fold(rendered.to_owned(), |text, colour| text.replace(colour, ""))
}

impl Paint {
    /// With colour or without.
    pub(crate) fn new(color: bool) -> Self {
        Self { color }
    }

    fn with(self, letter: char, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{}{text}{}", mark(letter), mark('0')) } else { text.to_owned() }
    }

    /// Good.
    pub(crate) fn pass(self, text: &str) -> String {
        self.with('p', text)
    }

    /// Not known, or to be looked at.
    pub(crate) fn unknown(self, text: &str) -> String {
        self.with('u', text)
    }

    /// Bad.
    pub(crate) fn fail(self, text: &str) -> String {
        self.with('f', text)
    }

    /// Important.
    pub(crate) fn strong(self, text: &str) -> String {
        self.with('s', text)
    }

    /// Beside the point.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with('d', text)
    }

    /// In the colour of a verdict.
    pub(crate) fn value(self, value: Value, text: &str) -> String {
        match value {
            Value::Pass => self.pass(text),
            Value::Unknown => self.unknown(text),
            Value::Fail => self.fail(text),
        }
    }
}

/// A verdict as a word.
pub(crate) fn value_word(value: Value) -> &'static str {
    match value {
        Value::Pass => "pass",
        Value::Unknown => "unknown",
        Value::Fail => "fail",
    }
}

/// A verdict as a sign.
pub(crate) fn value_sign(value: Value) -> &'static str {
    match value {
        Value::Pass => "✓",
        Value::Unknown => "?",
        Value::Fail => "✗",
    }
}

/// Milliseconds as seconds, without the unit: `0.94`, `31.42`, `312.4`.
pub(crate) fn seconds(ms: f64) -> String {
    let seconds = ms / 1_000.0;
    if seconds.abs() < 99.995 { format!("{seconds:.2}") } else { format!("{seconds:.1}") }
}

/// A limit in milliseconds as it is written in scenarios: `60 s`, `1.5 s`, `500 ms`.
pub(crate) fn limit(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        _ if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        _ => format!("{} s", ms as f64 / 1_000.0),
    }
}

/// A latency in milliseconds: `0.84 ms`, `12.5 ms`, `3.20 s`.
pub(crate) fn latency(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.2} ms")
    } else if ms < 1_000.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{} s", seconds(ms))
    }
}

pub(crate) use firedrill_core::verdict::grouped as count;

/// `1 fault`, `2 faults`.
pub(crate) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

pub(crate) use crate::escape::{one_line, visible};

/// At most `columns` characters, with an ellipsis where it was longer.
pub(crate) fn shorten(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Lines of at most `columns` characters, broken at blanks, though not at no-break ones; a longer word has a line for
/// itself, whole, so that it can be copied.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in visible(text).lines() {
        let mut line = String::new();
        let mut used = 0;
        let words: Vec<&str> = paragraph.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        for (index, word) in words.iter().enumerate() {
            let wide = word.chars().count();
            let unit =
                words.get(index + 1).filter(|next| is_unit(next) && word.ends_with(|c: char| c.is_ascii_digit()));
            let whole = wide + unit.map_or(0, |unit| 1 + unit.chars().count());
            if used > 0 && used + 1 + whole > columns {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += wide;
        }
        lines.push(line);
    }
    lines
}

/// Whether a word is a unit, which stays with the figure before it.
fn is_unit(word: &str) -> bool {
    matches!(word.trim_end_matches([',', ';', '.', ':', ')']), "s" | "ms" | "%")
}

/// `text`, filled with blanks to `columns`.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    let mut padded = text.to_owned();
    for _ in text.chars().count()..columns {
        padded.push(' ');
    }
    padded
}

/// Appends `text` as wrapped lines: the first after `head`, the others under it. `head_columns` is the head's width on
/// the screen, which is not its length where it is coloured.
pub(crate) fn hang(to: &mut String, head: &str, head_columns: usize, text: &str, width: usize) {
    let lines = wrap(text, width.saturating_sub(head_columns).max(20));
    for (index, line) in lines.iter().enumerate() {
        if index == 0 {
            let _ = writeln!(to, "{head}{line}");
        } else {
            let _ = writeln!(to, "{:head_columns$}{line}", "");
        }
    }
    if lines.is_empty() {
        let _ = writeln!(to, "{}", head.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!([limit(500), limit(1_500), limit(120_000)], ["500 ms", "1.5 s", "120 s"]);
        assert_eq!([count(0), count(999), count(1_204), count(1_000_000)], ["0", "999", "1,204", "1,000,000"]);
        assert_eq!([latency(0.84), latency(12.46), latency(3_200.0)], ["0.84 ms", "12.5 ms", "3.20 s"]);
    }

    #[test]
    fn a_mark_of_another_process_is_shown_not_obeyed() {
        let painted = Paint::new(true).fail("bad");
        assert_eq!(render(&painted), "\u{1b}[1m\u{1b}[31mbad\u{1b}[0m");
        let forged = painted.replace(KEY.as_str(), &"0".repeat(32));
        assert!(render(&forged).contains("\\u{fdd0}0000") && !render(&forged).contains('\u{1b}'));
        assert_eq!(Paint::new(false).fail("bad"), "bad");
    }

    #[test]
    fn lines_break_at_blanks_and_keep_long_words_whole() {
        assert_eq!(wrap("a bb ccc dddd", 6), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrap("after 0.90 s, then", 10), ["after", "0.90 s,", "then"]);
        assert_eq!(wrap("see runs/0192-hung-7c/report.html now", 10), ["see", "runs/0192-hung-7c/report.html", "now"]);
    }
}
