//! What can be said of a shell command without running it.
//!
//! Two readers: [`simple_commands`] finds words and their places in any text, for reports. [`literal_pipelines`] says what
//! may be run, and refuses whatever it does not know for certain.

mod literal;

pub use literal::{After, LiteralCommand, NotLiteral, Pipeline, Sink, literal_pipelines};

use std::ops::Range;

/// A word of a command, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What the program gets.
    pub text: String,
    /// Where it stands, with its quotes, in bytes.
    pub span: Range<usize>,
    /// Whether the shell passes it on as it stands: it holds no variable and no substitution.
    pub is_literal: bool,
}

/// How a simple command comes after the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// After it, whatever joins them: `;`, `&&`, `||`, a new line; or it is the first.
    #[default]
    Then,
    /// It reads the other's output.
    Pipe,
}

/// A program with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimpleCommand {
    /// The program and its arguments.
    pub words: Vec<Word>,
    /// `2>&1`, `>file` and the like, each one word.
    pub redirects: Vec<Word>,
    /// How it comes after the one before.
    pub join: Join,
    /// Whether it stands in parentheses: `$(...)`, backquotes, a subshell.
    pub is_inside: bool,
}

/// The simple commands of a shell command; those inside `$(...)` are listed for themselves, before the one that holds them.
/// `None` where a quote or a parenthesis is not closed. A placeholder, `<name>`, is a part of its word.
pub fn simple_commands(text: &str) -> Option<Vec<SimpleCommand>> {
    let mut done = Vec::new();
    let mut frames = vec![Frame::default()];
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let span = at..at + c.len_utf8();
        let depth = frames.len();
        let frame = frames.last_mut()?;
        match c {
            '\\' if frame.in_quotes && !matches!(next, Some('$' | '"' | '\\' | '`' | '\n')) => frame.push(span, "\\"),
            '\\' => {
                let (at, escaped) = chars.next()?;
                if escaped != '\n' {
                    frame.push(span.start..at + escaped.len_utf8(), escaped.encode_utf8(&mut [0; 4]));
                }
            }
            '\'' if !frame.in_quotes => {
                let length = text[at + 1..].find('\'')?;
                frame.push(at..at + length + 2, &text[at + 1..at + 1 + length]);
                while chars.next_if(|(inner, _)| *inner < at + length + 2).is_some() {}
            }
            '"' => {
                frame.in_quotes = !frame.in_quotes;
                frame.push(span, "");
            }
            '$' if next == Some('(') => {
                chars.next();
                frame.push_computed(at..at + 2, "$()");
                frames.push(Frame::closed_at(')'));
            }
            '`' if frame.closes_at == '`' => close(&mut frames, &mut done, span.end)?,
            '`' => {
                frame.push_computed(span, "$()");
                frames.push(Frame::closed_at('`'));
            }
            '$' if next.is_some_and(|next| next == '{' || next == '_' || next.is_ascii_alphanumeric()) => {
                frame.push_computed(span, "$");
            }
            _ if frame.in_quotes => frame.push(span, c.encode_utf8(&mut [0; 4])),
            '(' => {
                frame.end_command(&mut done, Join::Then, depth);
                frames.push(Frame::closed_at(')'));
            }
            ')' if frame.closes_at == ')' => close(&mut frames, &mut done, span.end)?,
            ')' => return None,
            '|' => {
                let is_or = chars.next_if(|(_, next)| *next == '|').is_some();
                frame.end_command(&mut done, if is_or { Join::Then } else { Join::Pipe }, depth);
            }
            '&' | ';' | '\n' => frame.end_command(&mut done, Join::Then, depth),
            '<' if placeholder(&text[at..]).is_some() => {
                let length = placeholder(&text[at..]).unwrap_or_default().len() + 2;
                frame.push(at..at + length, &text[at..at + length]);
                while chars.next_if(|(inner, _)| *inner < at + length).is_some() {}
            }
            '>' | '<' => {
                frame.begin_redirect(span, c);
                while let Some((at, more)) = chars.next_if(|(_, next)| matches!(next, '>' | '<' | '&')) {
                    frame.push(at..at + 1, more.encode_utf8(&mut [0; 4]));
                }
                while chars.next_if(|(_, next)| *next == ' ').is_some() {}
            }
            '#' if frame.word.is_none() => while chars.next_if(|(_, next)| *next != '\n').is_some() {},
            c if c.is_whitespace() => frame.end_word(),
            c => frame.push(span, c.encode_utf8(&mut [0; 4])),
        }
    }
    let mut last = frames.pop()?;
    if !frames.is_empty() || last.in_quotes {
        return None;
    }
    last.end_command(&mut done, Join::Then, 1);
    Some(done)
}

#[derive(Default)]
struct Frame {
    command: SimpleCommand,
    word: Option<Word>,
    in_quotes: bool,
    in_redirect: bool,
    closes_at: char,
}

impl Frame {
    fn closed_at(closes_at: char) -> Self {
        Self { closes_at, ..Self::default() }
    }

    fn push(&mut self, span: Range<usize>, text: &str) {
        let start = span.start;
        let word = self.word.get_or_insert_with(|| Word { text: String::new(), span: start..start, is_literal: true });
        word.text.push_str(text);
        word.span.end = span.end;
    }

    fn push_computed(&mut self, span: Range<usize>, text: &str) {
        self.push(span, text);
        if let Some(word) = &mut self.word {
            word.is_literal = false;
        }
    }

    /// A number right before it belongs to it: `2>&1`.
    fn begin_redirect(&mut self, span: Range<usize>, c: char) {
        let is_number =
            |word: &Word| word.text.chars().all(|c| c.is_ascii_digit()) && word.span.len() == word.text.len();
        if !self.word.as_ref().is_some_and(is_number) {
            self.end_word();
        }
        self.in_redirect = true;
        self.push(span, c.encode_utf8(&mut [0; 4]));
    }

    fn end_word(&mut self) {
        match std::mem::take(&mut self.in_redirect) {
            true => self.command.redirects.extend(self.word.take()),
            false => self.command.words.extend(self.word.take()),
        }
    }

    fn end_command(&mut self, done: &mut Vec<SimpleCommand>, next: Join, depth: usize) {
        self.end_word();
        let is_empty = self.command.words.is_empty() && self.command.redirects.is_empty();
        let ended = std::mem::replace(&mut self.command, SimpleCommand { join: next, ..SimpleCommand::default() });
        if !is_empty {
            done.push(SimpleCommand { is_inside: depth > 1, ..ended });
        }
    }
}

fn close(frames: &mut Vec<Frame>, done: &mut Vec<SimpleCommand>, end: usize) -> Option<()> {
    let depth = frames.len();
    let mut frame = frames.pop()?;
    if frame.in_quotes {
        return None;
    }
    frame.end_command(done, Join::Then, depth);
    // The word that holds a substitution reaches to its end.
    if let Some(word) = &mut frames.last_mut()?.word {
        word.span.end = end;
    }
    Some(())
}

/// The name of the placeholder that `text` begins with.
pub(crate) fn placeholder(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('<')?;
    let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(rest.len());
    let is_one = rest.starts_with(|c: char| c.is_ascii_alphabetic()) && rest[length..].starts_with('>');
    is_one.then(|| &rest[..length])
}

/// The placeholders of a text, `<name>` without spaces, with where they stand.
pub fn placeholders(text: &str) -> Vec<(Range<usize>, &str)> {
    let opened = text.match_indices('<').map(|(at, _)| at);
    opened.filter_map(|at| placeholder(&text[at..]).map(|name| (at..at + name.len() + 2, name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_know_their_places() {
        let text = "kubectl exec <pod> -- sh -c 'a b'\"c\" 2>&1 | grep -i \"x\\|y\" >> out && echo $(date +\"%s\")z";
        let all = simple_commands(text).unwrap();
        let shown: Vec<_> = all
            .iter()
            .map(|one| one.words.iter().map(|word| &text[word.span.clone()]).collect::<Vec<_>>().join("_"))
            .collect();
        assert_eq!(
            shown,
            ["kubectl_exec_<pod>_--_sh_-c_'a b'\"c\"", "grep_-i_\"x\\|y\"", "date_+\"%s\"", "echo_$(date +\"%s\")z"]
        );
        assert_eq!(all[0].words[6].text, "a bc");
        assert_eq!(all[1].words[2].text, "x\\|y");
        assert_eq!((all[0].join, all[1].join, all[3].join), (Join::Then, Join::Pipe, Join::Then));
        assert_eq!((all[0].redirects[0].text.as_str(), all[1].redirects[0].text.as_str()), ("2>&1", ">>out"));
        assert!(all[2].is_inside && !all[3].is_inside && !all[3].words[1].is_literal && all[3].words[0].is_literal);
    }

    #[test]
    fn placeholders_are_no_redirects() {
        let found: Vec<_> = placeholders("a <pod-name> <<EOF <x y> <ok>").into_iter().map(|(_, name)| name).collect();
        assert_eq!(found, ["pod-name", "ok"]);
        assert_eq!(simple_commands("sort <in >out").unwrap()[0].redirects.len(), 2);
    }

    proptest! {
        #[test]
        fn places_lie_in_the_text(text in "[a-z é<>|&;$()`'\"\\\\#\n-]{0,60}") {
            for command in simple_commands(&text).into_iter().flatten() {
                for word in command.words.iter().chain(&command.redirects) {
                    prop_assert!(text.get(word.span.clone()).is_some(), "{word:?}");
                    prop_assert!(!word.span.is_empty());
                }
                for pair in command.words.windows(2) {
                    prop_assert!(pair[0].span.end <= pair[1].span.start);
                }
            }
        }
    }
}
