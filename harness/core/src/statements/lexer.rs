//! Follows quotes, parentheses, blocks and here-documents from line to line.

use super::{Joint, Open, Piece, Statement};
use std::collections::HashSet;
use std::mem::take;
use std::ops::Range;

/// How deep quotes, parentheses and blocks may stand in each other.
const DEPTH_MAX: usize = 200;

/// What a quote, a parenthesis or a block interrupts.
pub(super) enum Frame {
    Single,
    Ansi,
    Double,
    /// `${...}`; in double quotes a single quote means itself.
    Braces {
        in_quotes: bool,
    },
    Paren {
        kind: Paren,
        outer: Command,
    },
    Backquote {
        outer: Command,
    },
    /// A block, by the word that ends it.
    Block(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Paren {
    /// Holds commands: `(...)`, `$(...)`, `<(...)`.
    Commands,
    /// Stands in the place of a command.
    Subshell,
    /// Holds numbers: `((...))`, `$((...))`.
    Numbers,
    /// Holds words: `a=(...)`.
    Words,
    /// Holds a condition: `[[ (...) ]]`.
    Test,
}

/// The simple command that is being read.
#[derive(Default)]
pub(super) struct Command {
    /// Where the word that is being read begins, and whether it holds more than plain text.
    pub(super) word: Option<usize>,
    pub(super) is_quoted: bool,
    /// Whether the next word is an argument, not a program.
    pub(super) has_program: bool,
    pub(super) words: usize,
    /// Names of the assignments before the program.
    pub(super) assigned: Vec<Range<usize>>,
    pub(super) changes_state: bool,
    /// Whether arguments are names of variables that it sets.
    pub(super) sets_arguments: bool,
    pub(super) in_test: bool,
    pub(super) is_redirect: bool,
}

pub(super) struct HereDocument {
    pub(super) end: String,
    pub(super) strips_tabs: bool,
    pub(super) is_literal: bool,
}

/// How a line ends.
pub(super) enum LineEnd {
    /// With a `\` here that joins it with the next.
    Backslash(usize),
    /// With its last character; code ends here, and a comment may follow.
    Code(usize),
}

pub(super) struct Lexer<'t> {
    pub(super) text: &'t str,
    pub(super) lines: &'t [Range<usize>],
    pub(super) statement: Statement,
    pub(super) frames: Vec<Frame>,
    pub(super) command: Command,
    pub(super) here_documents: Vec<HereDocument>,
    /// The frame of backquotes, which do not stand in each other.
    pub(super) backquote: Option<usize>,
    pub(super) after_operator: bool,
    /// After `name()` or `function name`: its body is missing yet.
    pub(super) wants_body: bool,
    pub(super) known: HashSet<&'t str>,
    /// Whether variables may be set in ways that are not followed.
    pub(super) is_lost: bool,
    pub(super) has_other_commands: bool,
    pub(super) has_state_commands: bool,
    pub(super) is_too_deep: bool,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str, lines: &'t [Range<usize>]) -> Self {
        Self {
            text,
            lines,
            statement: Statement::default(),
            frames: Vec::new(),
            command: Command::default(),
            here_documents: Vec::new(),
            backquote: None,
            after_operator: false,
            wants_body: false,
            known: HashSet::new(),
            is_lost: false,
            has_other_commands: false,
            has_state_commands: false,
            is_too_deep: false,
        }
    }

    pub(super) fn read(mut self) -> Statement {
        let mut joint = Joint::Space;
        let mut at = 0;
        let open = loop {
            let Some(line) = self.lines.get(at).cloned() else { break self.what_is_open() };
            at += 1;
            let end = self.scan(line.clone());
            if self.is_too_deep {
                at = self.lines.len();
                self.push(line, joint, false);
                break Some(Open::Parenthesis);
            }
            // A line break in quotes or before it keeps its spaces.
            let start = if joint == Joint::Space { trim_start(self.text, line.clone()) } else { line.start };
            if let LineEnd::Backslash(backslash) = end {
                let next = self.lines.get(at).map(|next| &self.text[next.clone()]);
                let in_quotes = matches!(self.frames.last(), Some(Frame::Double));
                let before = &self.text[start.min(backslash)..backslash];
                let is_spaced = before.ends_with([' ', '\t']) || next.is_some_and(|next| next.starts_with([' ', '\t']));
                let cut = if in_quotes { before.len() } else { before.trim_end().len() };
                let is_empty = cut == 0;
                self.push(start..start + cut, joint, !in_quotes);
                joint = match in_quotes {
                    true => Joint::None,
                    false if is_spaced || is_empty => Joint::Space,
                    false => Joint::None,
                };
                if next.is_none() {
                    break Some(Open::Backslash);
                }
                continue;
            }
            let LineEnd::Code(code_end) = end else { continue };
            let in_quotes = matches!(self.frames.last(), Some(Frame::Single | Frame::Ansi | Frame::Double));
            if in_quotes {
                self.push(start..line.end, joint, false);
                joint = Joint::Newline;
                continue;
            }
            self.end_word(line.end);
            let operator = self.after_operator && self.here_documents.is_empty();
            if operator {
                let code = start..trim_end(self.text, start..code_end.max(start));
                if !code.is_empty() {
                    self.push(code, joint, true);
                    joint = Joint::Space;
                }
                continue;
            }
            let goes_on = !self.frames.is_empty() || self.after_operator || self.wants_body;
            if !self.after_operator
                && !matches!(
                    self.frames.last(),
                    Some(Frame::Paren { kind: Paren::Words | Paren::Numbers, .. } | Frame::Braces { .. })
                )
            {
                self.end_command(false);
            }
            let place = if goes_on { start..line.end } else { start..trim_end(self.text, start..line.end.max(start)) };
            self.push(place, joint, joint != Joint::Newline);
            joint = Joint::Newline;
            for here_document in take(&mut self.here_documents) {
                at = self.body(&here_document, at);
            }
            if self.statement.open.is_some() || !goes_on {
                break self.statement.open;
            }
        };
        self.statement.lines = at;
        self.statement.open = open;
        self.statement.only_sets = self.has_state_commands && !self.has_other_commands;
        if self.is_lost {
            self.statement.uses.clear();
        }
        self.statement
    }

    fn what_is_open(&self) -> Option<Open> {
        Some(match self.frames.last() {
            _ if !self.here_documents.is_empty() => Open::HereDocument,
            Some(Frame::Single | Frame::Ansi | Frame::Double) => Open::Quote,
            Some(Frame::Paren { .. } | Frame::Backquote { .. } | Frame::Braces { .. }) => Open::Parenthesis,
            Some(Frame::Block(_)) => Open::Block,
            None if self.wants_body => Open::Block,
            None => Open::Operator,
        })
    }

    fn push(&mut self, place: Range<usize>, joint: Joint, only_if_any: bool) {
        if !(only_if_any && place.is_empty()) {
            self.statement.pieces.push(Piece { place, joint, is_body: false });
        }
    }

    /// Takes the lines of a here-document from line `at`; returns the line behind its end.
    fn body(&mut self, here_document: &HereDocument, mut at: usize) -> usize {
        self.statement.has_here_document = true;
        while let Some(place) = self.lines.get(at).cloned() {
            at += 1;
            let line = &self.text[place.clone()];
            self.statement.pieces.push(Piece { place: place.clone(), joint: Joint::Newline, is_body: true });
            let content = if here_document.strips_tabs { line.trim_start_matches('\t') } else { line };
            if content == here_document.end {
                return at;
            }
            if !here_document.is_literal {
                self.uses_of_body(place);
            }
        }
        self.statement.open = Some(Open::HereDocument);
        at
    }

    pub(super) fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or_default()
    }

    /// Reads one line.
    fn scan(&mut self, line: Range<usize>) -> LineEnd {
        let mut at = line.start;
        while at < line.end && !self.is_too_deep {
            self.is_too_deep = self.frames.len() > DEPTH_MAX;
            let byte = self.byte(at);
            at = match self.frames.last() {
                Some(Frame::Single) => match self.text[at..line.end].find('\'') {
                    Some(length) => {
                        self.frames.pop();
                        at + length + 1
                    }
                    None => line.end,
                },
                Some(Frame::Ansi | Frame::Double) if byte == b'\\' => {
                    if at + 1 == line.end && matches!(self.frames.last(), Some(Frame::Double)) {
                        return LineEnd::Backslash(at);
                    }
                    at + 2
                }
                Some(Frame::Ansi) => {
                    if byte == b'\'' {
                        self.frames.pop();
                    }
                    at + 1
                }
                Some(Frame::Double) => match byte {
                    b'"' => {
                        self.frames.pop();
                        at + 1
                    }
                    b'$' => self.dollar(at, line.end),
                    b'`' => self.backquote(at),
                    _ => at + 1,
                },
                Some(Frame::Braces { .. } | Frame::Paren { kind: Paren::Numbers | Paren::Words, .. }) => {
                    if byte == b'\\' && self.text[at + 1..line.end].trim_start().is_empty() {
                        return LineEnd::Backslash(at);
                    }
                    self.inner(at, line.end)
                }
                _ => {
                    if byte == b'\\' && self.text[at + 1..line.end].trim_start().is_empty() {
                        return LineEnd::Backslash(at);
                    }
                    if byte == b'#' && self.command.word.is_none() {
                        return LineEnd::Code(at);
                    }
                    self.code(at, line.end)
                }
            };
        }
        LineEnd::Code(line.end)
    }

    /// Reads on in `${...}`, numbers or the words of an array.
    pub(super) fn inner(&mut self, at: usize, end: usize) -> usize {
        match (self.byte(at), self.frames.last()) {
            (b'\\', _) => return at + 2,
            (b'$', _) => return self.dollar(at, end),
            (b'`', _) => return self.backquote(at),
            (b'"', _) => self.frames.push(Frame::Double),
            (b'\'', Some(Frame::Braces { in_quotes: true })) => {}
            (b'\'', _) => self.frames.push(Frame::Single),
            (b'}', Some(Frame::Braces { .. })) => {
                self.frames.pop();
            }
            (b'(', Some(Frame::Paren { kind, .. })) => {
                let kind = *kind;
                self.open(kind);
            }
            (b')', Some(Frame::Paren { .. })) => self.close_paren(),
            _ => {}
        }
        at + 1
    }
}

fn trim_start(text: &str, line: Range<usize>) -> usize {
    line.start + (line.len() - text[line.clone()].trim_start().len())
}

fn trim_end(text: &str, line: Range<usize>) -> usize {
    line.start + text[line.clone()].trim_end().len()
}
