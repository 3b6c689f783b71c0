//! Text for people: figures, colour, wrapping, and what came from elsewhere made harmless.

use anstyle::{AnsiColor, Style as Ansi};
use firedrill_core::verdict::Value;
use std::fmt::Write;

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

/// Colours text, or leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    color: bool,
}

impl Paint {
    /// With colour or without.
    pub(crate) fn new(color: bool) -> Self {
        Self { color }
    }

    fn with(self, style: Ansi, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Good.
    pub(crate) fn pass(self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    /// Not known, or to be looked at.
    pub(crate) fn unknown(self, text: &str) -> String {
        self.with(AnsiColor::Yellow.on_default().bold(), text)
    }

    /// Bad.
    pub(crate) fn fail(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    /// Important.
    pub(crate) fn strong(self, text: &str) -> String {
        self.with(Ansi::new().bold(), text)
    }

    /// Beside the point.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with(Ansi::new().dimmed(), text)
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

/// Text that came from elsewhere without terminal sequences and control characters; line breaks and tabs stay.
pub(crate) fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => skip_sequence(&mut chars),
            '\n' | '\t' => clean.push(char),
            '\r' => {
                if chars.peek() != Some(&'\n') {
                    clean.push('\n');
                }
            }
            // Overrides of the writing direction can make a line read as another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            _ if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => clean.push('\u{fffd}'),
            _ => clean.push(char),
        }
    }
    clean
}

/// Skips what follows an escape character: a control sequence up to its final byte, a string up to its end, else one
/// character.
fn skip_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => while chars.next_if(|c| !('\u{40}'..='\u{7e}').contains(c) && *c != '\n').is_some() {},
        Some(']' | 'P' | '_' | '^') => {
            while chars.next_if(|c| !matches!(c, '\u{7}' | '\u{1b}' | '\n')).is_some() {}
            if chars.peek() == Some(&'\u{1b}') {
                chars.next();
            }
        }
        _ => return,
    }
    chars.next_if(|c| *c != '\n');
}

/// One line of it: line breaks and tabs become blanks.
pub(crate) fn one_line(text: &str) -> String {
    harmless(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

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
    for paragraph in harmless(text).lines() {
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
    fn what_came_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31mred\u{1b}[0m b\u{7}"), "ared b\u{fffd}");
        assert_eq!(harmless("\u{1b}]0;title\u{7}rest\r\nnext\rlast"), "rest\nnext\nlast");
        assert_eq!(harmless("\u{1b}]8;;http://x\u{1b}\\link\u{1b}[2J\u{1b}[H"), "link");
        assert_eq!(harmless("pod\u{202e}txt"), "podtxt");
    }

    #[test]
    fn lines_break_at_blanks_and_keep_long_words_whole() {
        assert_eq!(wrap("a bb ccc dddd", 6), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrap("after 0.90 s, then", 10), ["after", "0.90 s,", "then"]);
        assert_eq!(wrap("see runs/0192-hung-7c/report.html now", 10), ["see", "runs/0192-hung-7c/report.html", "now"]);
    }
}
