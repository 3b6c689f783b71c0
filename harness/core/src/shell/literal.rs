//! The strict reader: pipelines whose words mean the same to every shell. Everything else is refused, with the reason.
//!
//! It accepts a positive list of characters, because it must never read a command otherwise than bash does. A full bash
//! parser (`brush-parser`, MIT, 10,000 lines, five further dependencies) was compared: it returns a syntax tree in which
//! every expansion would have to be found and refused one by one, so that an overlooked node would fail open. The list
//! below fails closed and is shorter than that walk.

use std::ops::Range;
use thiserror::Error;

/// Characters that are themselves outside of quotes, besides ASCII letters and digits.
const PLAIN: &str = "-_./:,@%+=";
/// Characters that a backslash leaves alone inside of double quotes, besides ASCII letters and digits.
const ESCAPED: &str = "|.()+*?{}[]/^-";
/// Words that begin something else than a simple command.
const RESERVED: [&str; 20] = [
    "if", "then", "elif", "else", "fi", "for", "in", "while", "until", "do", "done", "case", "esac", "select",
    "function", "time", "coproc", "{", "}", "!",
];

/// When a pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// In any case: it is the first, or stands after `;` or a new line.
    Always,
    /// After `&&`.
    Success,
    /// After `||`.
    Failure,
}

/// Where a stream of a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// To the next command of the pipeline, or to the reader.
    Output,
    /// To the errors of the whole.
    Errors,
    /// Nowhere.
    Nothing,
}

/// A program with its arguments, and where its two streams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiteralCommand {
    /// The program and its arguments, as it gets them.
    pub words: Vec<String>,
    /// Its standard output.
    pub output: Sink,
    /// Its standard error.
    pub errors: Sink,
}

/// Commands, each of which reads the output of the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// One or more.
    pub commands: Vec<LiteralCommand>,
    /// When it runs.
    pub after: After,
}

/// Why a text is not made of literal words alone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct NotLiteral {
    /// The piece meant, in bytes.
    pub span: Range<usize>,
    /// What it is.
    pub what: &'static str,
    /// Whether [`super::simple_commands`] may see other words here than a shell does.
    pub is_misread: bool,
}

/// Reads a text as pipelines of literal words.
///
/// # Errors
/// Where any part of it has a meaning to a shell that is not on the list. Of several parts, one that may be misread.
pub fn literal_pipelines(text: &str) -> Result<Vec<Pipeline>, NotLiteral> {
    let mut reader = Reader { text, ..Reader::default() };
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = reader.one(at, c);
        while chars.next_if(|(inner, _)| *inner < end).is_some() {}
    }
    reader.end_pipeline(text.len(), None);
    match reader.problem {
        Some(problem) => Err(problem),
        None => Ok(reader.done),
    }
}

#[derive(Default)]
struct Reader<'t> {
    text: &'t str,
    done: Vec<Pipeline>,
    commands: Vec<LiteralCommand>,
    command: Option<LiteralCommand>,
    word: Option<String>,
    /// Whether the word has quotes.
    is_quoted: bool,
    after: Option<After>,
    problem: Option<NotLiteral>,
}

impl Reader<'_> {
    /// Notes the first problem, or the first that may be misread.
    fn refuse(&mut self, span: Range<usize>, what: &'static str, is_misread: bool) {
        if self.problem.as_ref().is_none_or(|known| is_misread && !known.is_misread) {
            self.problem = Some(NotLiteral { span, what, is_misread });
        }
    }

    /// Reads what begins with `c` at `at`; where it ends.
    fn one(&mut self, at: usize, c: char) -> usize {
        let rest = &self.text[at + c.len_utf8()..];
        let next = rest.chars().next();
        let end = at + c.len_utf8();
        match c {
            ' ' | '\t' => self.end_word(),
            '\n' => self.end_pipeline(at, Some(After::Always)),
            ';' if matches!(next, Some(';' | '&')) => self.refuse(at..end, "`;;`", true),
            ';' => {
                if self.command.is_none() && self.word.is_none() {
                    self.refuse(at..end, "`;` without a command", true);
                }
                self.end_pipeline(at, Some(After::Always));
            }
            '|' if next == Some('|') => return self.join(at, After::Failure),
            '&' if next == Some('&') => return self.join(at, After::Success),
            '|' if next == Some('&') => self.refuse(at..end, "`|&`", true),
            '|' => self.end_command(at, true),
            '&' => {
                self.refuse(at..end, "a command in the background (`&`)", false);
                self.end_pipeline(at, Some(After::Always));
            }
            '>' => return self.redirect(at),
            '<' if super::placeholder(&self.text[at..]).is_some() => {
                self.refuse(at..end, "a placeholder", false);
                self.push("");
                return at + 2 + super::placeholder(&self.text[at..]).unwrap_or_default().len();
            }
            '<' if next == Some('<') => self.refuse(at..end, "a here-document (`<<`)", true),
            '<' if next == Some('(') => self.refuse(at..end, "a process substitution (`<(..)`)", true),
            '<' => self.refuse(at..end, "a redirection from a file (`<`)", false),
            '\'' => match rest.find('\'') {
                Some(length) => {
                    self.quoted(end, &rest[..length]);
                    return end + length + 1;
                }
                None => self.refuse(at..end, "a quote that is not closed", true),
            },
            '"' => return self.double_quoted(end),
            '#' if self.word.is_none() => return end + rest.find('\n').unwrap_or(rest.len()),
            '$' => self.dollar(at, rest),
            '`' => self.refuse(at..end, "a command substitution (a backquote)", false),
            '\\' => {
                self.refuse(at..end, "a backslash outside of quotes", false);
                self.push("");
                return end + next.map_or(0, char::len_utf8);
            }
            '(' | ')' => self.refuse(at..end, "a parenthesis: a subshell, a function or an array", false),
            '*' | '?' => self.bare(at..end, "a file name pattern (`*`, `?`, `[`)", false),
            '[' => {
                let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                // `list[0]` matches only a file with this very name less its brackets, so a shell passes it on as it stands.
                if digits > 0 && rest[digits..].starts_with(']') && self.word.is_some() {
                    self.push(&self.text[at..end + digits + 1]);
                    return end + digits + 1;
                }
                self.bare(at..end, "a file name pattern (`*`, `?`, `[`)", false);
            }
            '{' | '}' => {
                let length = rest.find(|c: char| c.is_whitespace()).unwrap_or(rest.len());
                let is_expanded = rest[..length].contains(',') || rest[..length].contains("..");
                self.bare(at..end, "a brace outside of quotes", c == '{' && is_expanded);
            }
            '~' => self.bare(at..end, "a home directory (`~`)", false),
            '!' if next == Some('=') && self.word.is_some() => self.push("!"),
            '!' => self.bare(at..end, "`!`", false),
            c if c.is_ascii_alphanumeric() || PLAIN.contains(c) => self.push(&self.text[at..end]),
            c if c.is_control() => self.refuse(at..end, "a control character", true),
            c if c.is_whitespace() => self.refuse(at..end, "a space that is not ASCII", true),
            c if c.is_ascii() => self.bare(at..end, "a character with a meaning to a shell", false),
            _ => self.bare(at..end, "a character outside of ASCII", !c.is_alphanumeric()),
        }
        end
    }

    fn push(&mut self, text: &str) {
        self.word.get_or_insert_default().push_str(text);
    }

    /// Refuses a character that is a part of its word all the same.
    fn bare(&mut self, span: Range<usize>, what: &'static str, is_misread: bool) {
        self.push(&self.text[span.clone()]);
        self.refuse(span, what, is_misread);
    }

    fn quoted(&mut self, at: usize, text: &str) {
        self.is_quoted = true;
        let is_known = |c: char| matches!(c, ' '..='~') || (!c.is_ascii() && c.is_alphanumeric());
        if let Some((offset, c)) = text.char_indices().find(|(_, c)| !is_known(*c)) {
            let span = at + offset..at + offset + c.len_utf8();
            self.refuse(span, "a control character, or one that is not a letter, in quotes", c.is_control());
        }
        self.push(text);
    }

    fn double_quoted(&mut self, start: usize) -> usize {
        let text = self.text;
        self.push("");
        let mut chars = text[start..].char_indices().map(|(offset, c)| (start + offset, c)).peekable();
        while let Some((at, c)) = chars.next() {
            let end = at + c.len_utf8();
            match c {
                '"' => {
                    self.is_quoted = true;
                    return end;
                }
                '$' => self.dollar(at, &text[end..]),
                '`' => self.refuse(at..end, "a command substitution (a backquote)", false),
                '!' if text[end..].starts_with('=') => self.push("!"),
                '!' => self.refuse(at..end, "`!`, which a shell may take for its history", false),
                '\\' => {
                    let next = chars.peek().map(|(_, next)| *next);
                    let is_kept = next.is_some_and(|next| next.is_ascii_alphanumeric() || ESCAPED.contains(next));
                    if !is_kept {
                        self.refuse(at..end, "a backslash before a character that it changes", false);
                        chars.next();
                    }
                    self.push("\\");
                }
                _ => self.quoted(at, &text[at..end]),
            }
        }
        self.refuse(start - 1..start, "a quote that is not closed", true);
        text.len()
    }

    fn dollar(&mut self, at: usize, rest: &str) {
        self.push("$");
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let braced = |rest: &str| rest.find('}').is_some_and(|end| end > 0 && rest[..end].chars().all(is_name));
        let (what, is_misread) = match rest.chars().next() {
            Some('\'') => ("an ANSI-C quote (`$'..'`)", true),
            Some('"') => ("a translated quote (`$\"..\"`)", true),
            Some('(') if rest.starts_with("((") => ("arithmetic (`$((..))`)", true),
            Some('[') => ("arithmetic (`$[..]`)", true),
            Some('(') => ("a command substitution (`$(..)`)", false),
            Some('{') => ("a parameter expansion (`${..}`)", !braced(&rest[1..])),
            _ => ("a variable (`$`)", false),
        };
        self.refuse(at..at + 1, what, is_misread);
    }

    fn redirect(&mut self, at: usize) -> usize {
        let text = self.text;
        let number = match self.word.as_deref() {
            Some("1") if !self.is_quoted => Some(1),
            Some("2") if !self.is_quoted => Some(2),
            Some(word) if !self.is_quoted && word.bytes().all(|b| b.is_ascii_digit()) => None,
            _ => {
                self.end_word();
                Some(1)
            }
        };
        self.word = None;
        let after = &text[at + 1..];
        let ends = |rest: &str| rest.is_empty() || rest.starts_with([' ', '\t', '\n', ';', '|', '&']);
        let command = self.command.get_or_insert_with(LiteralCommand::empty);
        let blanks = after.len() - after.trim_start_matches([' ', '\t']).len();
        let (length, sink) = match after {
            _ if after.starts_with("&1") && ends(&after[2..]) => (2, Some(command.output)),
            _ if after.starts_with("&2") && ends(&after[2..]) => (2, Some(command.errors)),
            _ if after[blanks..].strip_prefix("/dev/null").is_some_and(ends) => (blanks + 9, Some(Sink::Nothing)),
            _ => (0, None),
        };
        match (number, sink) {
            (Some(1), Some(sink)) => command.output = sink,
            (Some(2), Some(sink)) => command.errors = sink,
            _ => self.refuse(at..at + 1, "a redirection to a file (`>`)", after.starts_with(['(', '|'])),
        }
        at + 1 + length
    }

    fn end_word(&mut self) {
        let is_quoted = std::mem::take(&mut self.is_quoted);
        let Some(word) = self.word.take() else { return };
        let is_first = self.command.as_ref().is_none_or(|command| command.words.is_empty());
        if is_first && !is_quoted && RESERVED.contains(&word.as_str()) {
            self.refuse(0..self.text.len(), "a compound command (`if`, `for`, ...)", true);
        } else if is_first && word.contains('=') {
            self.refuse(0..self.text.len(), "an assignment", false);
        }
        self.command.get_or_insert_with(LiteralCommand::empty).words.push(word);
    }

    fn end_command(&mut self, at: usize, is_needed: bool) {
        self.end_word();
        match self.command.take() {
            Some(command) if !command.words.is_empty() => self.commands.push(command),
            None if !is_needed => {}
            _ => self.refuse(at..at, "an operator without a command", true),
        }
    }

    /// Ends a pipeline. `next` is `None` at the text's end.
    fn end_pipeline(&mut self, at: usize, next: Option<After>) {
        let is_joined = matches!(self.after, Some(After::Success | After::Failure));
        let is_needed = next != Some(After::Always) && (next.is_some() || is_joined) || !self.commands.is_empty();
        self.end_command(at, is_needed);
        let commands = std::mem::take(&mut self.commands);
        if commands.is_empty() {
            return; // a new line after `&&` goes on with it
        }
        let after = std::mem::replace(&mut self.after, next).unwrap_or(After::Always);
        self.done.push(Pipeline { commands, after });
    }

    fn join(&mut self, at: usize, next: After) -> usize {
        self.end_pipeline(at, Some(next));
        at + 2
    }
}

impl LiteralCommand {
    fn empty() -> Self {
        Self { words: Vec::new(), output: Sink::Output, errors: Sink::Errors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let all = match literal_pipelines(text) {
            Ok(all) => all,
            Err(why) => return format!("{}{}", if why.is_misread { "misread: " } else { "" }, why.what),
        };
        let one = |pipeline: &Pipeline| {
            let commands: Vec<String> = pipeline
                .commands
                .iter()
                .map(|one| {
                    format!(
                        "{}{}",
                        one.words.join("_"),
                        match (one.output, one.errors) {
                            (Sink::Output, Sink::Errors) => String::new(),
                            (output, errors) => format!(" {output:?}/{errors:?}"),
                        }
                    )
                })
                .collect();
            format!("{:?}: {}", pipeline.after, commands.join(" | "))
        };
        all.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn literal_words_are_read() {
        for (text, wanted) in [
            ("a -b 'c d'\"e f\"g # not this", "Always: a_-b_c de fg"),
            ("a | b && c || d; e\nf", "Always: a | b; Success: c; Failure: d; Always: e; Always: f"),
            ("grep -i \"x\\|y\" 2>&1 >/dev/null", "Always: grep_-i_x\\|y Nothing/Output"),
            ("a > /dev/null 2>&1 | b", "Always: a Nothing/Nothing | b"),
            ("a b2>/dev/null 1>&2", "Always: a_b2 Errors/Errors"),
            ("helm --set a[0].b=c", "Always: helm_--set_a[0].b=c"),
            ("a '' \"\"", "Always: a__"),
            ("a b'#'c phase!=Running", "Always: a_b#c_phase!=Running"),
        ] {
            assert_eq!(shown(text), wanted, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_what_it_is() {
        for (text, wanted) in [
            ("a $'b'", "misread: an ANSI-C quote (`$'..'`)"),
            ("a $\"b\"", "misread: a translated quote (`$\"..\"`)"),
            ("a ${x:=b c}", "misread: a parameter expansion (`${..}`)"),
            ("a ${x}", "a parameter expansion (`${..}`)"),
            ("a \"${x@P}\"", "misread: a parameter expansion (`${..}`)"),
            ("a $x", "a variable (`$`)"),
            ("a \"$x\"", "a variable (`$`)"),
            ("a $(b)", "a command substitution (`$(..)`)"),
            ("a `b`", "a command substitution (a backquote)"),
            ("a $((x[$(b)]))", "misread: arithmetic (`$((..))`)"),
            ("a $[1]", "misread: arithmetic (`$[..]`)"),
            ("a {b,c}", "misread: a brace outside of quotes"),
            ("a {1..3}", "misread: a brace outside of quotes"),
            ("a *", "a file name pattern (`*`, `?`, `[`)"),
            ("a [bc]", "a file name pattern (`*`, `?`, `[`)"),
            ("a ~/b", "a home directory (`~`)"),
            ("a \\b", "a backslash outside of quotes"),
            ("a \"\\$b\"", "a backslash before a character that it changes"),
            ("a\u{a0}#b", "misread: a space that is not ASCII"),
            ("a\u{2003}b", "misread: a space that is not ASCII"),
            ("a \u{200b}b", "misread: a character outside of ASCII"),
            ("a \u{7}", "misread: a control character"),
            ("a 'b\u{1b}'", "misread: a control character, or one that is not a letter, in quotes"),
            ("a\rb", "misread: a control character"),
            ("A=b c", "an assignment"),
            ("A+=b c", "an assignment"),
            ("a <<EOF", "misread: a here-document (`<<`)"),
            ("a <<< b", "misread: a here-document (`<<`)"),
            ("a <b", "a redirection from a file (`<`)"),
            ("a <(b)", "misread: a process substitution (`<(..)`)"),
            ("a >(b)", "misread: a redirection to a file (`>`)"),
            ("a >b", "a redirection to a file (`>`)"),
            ("a >>b", "a redirection to a file (`>`)"),
            ("a >/dev/nullx", "a redirection to a file (`>`)"),
            ("a 3>&1", "a redirection to a file (`>`)"),
            ("a &>b", "a command in the background (`&`)"),
            ("a & b", "a command in the background (`&`)"),
            ("a |& b", "misread: `|&`"),
            ("a || || b", "misread: an operator without a command"),
            ("a |", "misread: an operator without a command"),
            ("a &&", "misread: an operator without a command"),
            ("| a", "misread: an operator without a command"),
            ("a ;; b", "misread: `;;`"),
            ("a ; ; b", "misread: `;` without a command"),
            ("f() { a; }", "misread: a compound command (`if`, `for`, ...)"),
            ("for i in a; do b; done", "misread: a compound command (`if`, `for`, ...)"),
            ("! a", "misread: a compound command (`if`, `for`, ...)"),
            ("a !b", "`!`"),
            ("a \"!b\"", "`!`, which a shell may take for its history"),
            ("a 'b", "misread: a quote that is not closed"),
            ("a \"b", "misread: a quote that is not closed"),
            ("a <pod>", "a placeholder"),
            ("a $x {b,c}", "misread: a brace outside of quotes"),
            (">/dev/null", "misread: an operator without a command"),
        ] {
            assert_eq!(shown(text), wanted, "{text}");
        }
    }
}
