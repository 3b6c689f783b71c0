//! Foreign text made visible: what a scenario, a log, an API reply or a saved run holds must not steer a terminal, a page or a
//! program that reads a report.

use std::fmt::Write as _;

/// Whether a terminal or a reader would act on this character instead of showing it: control characters of C0 and C1, overrides
/// of the writing direction, characters without a width, line separators that are no line break, and noncharacters.
pub(crate) fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(char, '\u{fdd0}'..='\u{fdef}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || u32::from(char) & 0xfffe == 0xfffe
}

/// Appends a character, as `\x1b` or `\u{202e}` where it is invisible.
fn push(to: &mut String, char: char) {
    match char {
        '\r' => to.push_str("\\r"),
        '\n' => to.push_str("\\n"),
        _ if !is_invisible(char) => to.push(char),
        '\0'..='\u{7f}' => _ = write!(to, "\\x{:02x}", u32::from(char)),
        _ => _ = write!(to, "\\u{{{:x}}}", u32::from(char)),
    }
}

/// Text of many lines with every invisible character written out; line breaks and tabs stay. A CR LF is a line break, a lone CR is
/// written out: a terminal would go back to the start of the line.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\n' | '\t' => shown.push(char),
            '\r' if chars.peek() == Some(&'\n') => {}
            _ => push(&mut shown, char),
        }
    }
    shown
}

/// The same as one line: blanks, tabs and line breaks become one blank each run, so that a value can never begin a line.
pub(crate) fn one_line(text: &str) -> String {
    visible(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A line of a file with its tabs, and with two places in it (in bytes) as they are in the result.
pub(crate) fn visible_with(text: &str, places: [usize; 2]) -> (String, [usize; 2]) {
    let mut shown = String::with_capacity(text.len());
    let mut moved = places;
    for (at, char) in text.char_indices() {
        for (place, moved) in places.iter().zip(&mut moved) {
            if *place == at {
                *moved = shown.len();
            }
        }
        match char {
            '\n' | '\t' => shown.push(char),
            // The end of a line in a file from Windows.
            '\r' if text[at..].starts_with("\r\n") => {}
            _ => push(&mut shown, char),
        }
    }
    for (place, moved) in places.iter().zip(&mut moved) {
        if *place >= text.len() {
            *moved = shown.len();
        }
    }
    (shown, moved)
}

/// Text of many lines in which none is a command to a CI runner that reads the output: GitHub's obeys lines that begin with
/// `::name::`, and `##[name]` anywhere. Nothing of ours looks so.
pub(crate) fn without_commands(text: &str) -> String {
    if !text.contains("::") && !text.contains("##[") {
        return text.to_owned();
    }
    let line = |line: &str| {
        let command = line.trim_start();
        let blanks = &line[..line.len() - command.len()];
        let line = match command.strip_prefix("::") {
            Some(rest) if rest.starts_with(|char: char| char.is_ascii_alphabetic()) => format!("{blanks}\\::{rest}"),
            Some(_) | None => line.to_owned(),
        };
        line.replace("##[", "##\\[")
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// JSON text with every invisible character inside its strings as `\u202e`; its value stays the same. A serializer escapes C0 only.
pub(crate) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if char == '\n' || !is_invisible(char) {
            shown.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(visible("a\u{1b}[31mred\u{1b}[0m b\u{7}"), "a\\x1b[31mred\\x1b[0m b\\x07");
        assert_eq!(visible("\u{9b}2J\u{7f}rest\r\nnext\rlast\t."), "\\u{9b}2J\\x7frest\nnext\\rlast\t.");
        assert_eq!(visible("pod\u{202e}txt\u{200b}\u{2028}\u{feff}"), "pod\\u{202e}txt\\u{200b}\\u{2028}\\u{feff}");
        assert_eq!(visible("\u{fdd0}\u{10ffff}\u{e0041}"), "\\u{fdd0}\\u{10ffff}\\u{e0041}");
        assert_eq!(visible("grün 日本 ✓ 🚀"), "grün 日本 ✓ 🚀");
    }

    #[test]
    fn nothing_is_escaped_twice() {
        let once = visible("\u{1b}\u{202e}\\");
        assert_eq!(visible(&once), once);
    }

    #[test]
    fn one_line_stays_one_line() {
        assert_eq!(one_line("a\nPASSED \u{85}\u{2029}b\r\tc\u{b}d"), "a PASSED \\u{85}\\u{2029}b\\r c\\x0bd");
    }

    #[test]
    fn no_line_is_a_command_to_a_runner() {
        let text = "a\n  ::add-mask::x\n::error::y ::z::\n##[set-env]v\nat ::1 and a::b\n";
        let shown = "a\n  \\::add-mask::x\n\\::error::y ::z::\n##\\[set-env]v\nat ::1 and a::b\n";
        assert_eq!(without_commands(text), shown);
        assert_eq!(without_commands("::1 ok\n"), "::1 ok\n");
    }

    #[test]
    fn places_move_with_the_text() {
        let text = "ab\u{1b}cd\u{202e}e";
        let (shown, [from, to]) = visible_with(text, [3, 5]);
        assert_eq!((shown.as_str(), &shown[from..to]), ("ab\\x1bcd\\u{202e}e", "cd"));
        assert_eq!(visible_with("a\r\n", [1, 3]).1, [1, 2]);
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({"a\u{202e}": ["\u{9b}\u{7f}\u{1b}\n", "\u{e0041}\u{feff}"]});
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let shown = json(&text);
            assert!(!shown.chars().any(|char| char != '\n' && is_invisible(char)), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
