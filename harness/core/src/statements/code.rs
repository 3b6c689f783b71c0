//! Reads on where commands stand: operators, redirects, parentheses and expansions.

use super::lexer::{Command, Frame, HereDocument, Lexer, Paren};
use super::words::assigned;
use std::mem::take;

/// The longest name of a placeholder, in bytes.
const PLACEHOLDER_BYTES_MAX: usize = 64;

impl<'t> Lexer<'t> {
    /// Reads on where commands stand.
    pub(super) fn code(&mut self, at: usize, end: usize) -> usize {
        let next = if at + 1 < end { self.byte(at + 1) } else { 0 };
        if self.command.in_test && matches!(self.byte(at), b'&' | b'|' | b'<' | b'>' | b';') {
            self.begin_word(at);
            return at + 1;
        }
        match self.byte(at) {
            b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.end_word(at),
            b'\\' => {
                self.begin_quoted(at);
                return at + 2;
            }
            b'\'' => {
                self.begin_quoted(at);
                self.frames.push(Frame::Single);
            }
            b'"' => {
                self.begin_quoted(at);
                self.frames.push(Frame::Double);
            }
            b'`' => return self.backquote(at),
            b'$' => {
                self.begin_quoted(at);
                return self.dollar(at, end);
            }
            b';' => {
                self.end_word(at);
                self.end_command(next != b';' && self.byte(at.saturating_sub(1)) != b';');
            }
            b'&' if next == b'>' => {
                self.end_word(at);
                self.command.is_redirect = true;
                return at + if self.byte(at + 2) == b'>' { 3 } else { 2 };
            }
            b'&' | b'|' => {
                let is_pair = next == self.byte(at) || (self.byte(at) == b'|' && next == b'&');
                self.end_word(at);
                let is_pattern = matches!(self.frames.last(), Some(Frame::Block("esac")));
                self.end_command(!is_pattern);
                self.after_operator = is_pair || self.byte(at) == b'|';
                return at + if is_pair { 2 } else { 1 };
            }
            b'<' | b'>' => return self.redirect(at, end),
            b'(' => return self.open_paren(at, next),
            b')' => self.close_at(at),
            _ => self.begin_word(at),
        }
        at + 1
    }

    pub(super) fn redirect(&mut self, at: usize, end: usize) -> usize {
        let rest = &self.text[at..end];
        if let Some(length) = placeholder(rest) {
            self.begin_quoted(at);
            return at + length;
        }
        // A number right before it belongs to it.
        let is_number = |start: usize| self.text[start..at].bytes().all(|byte| byte.is_ascii_digit());
        match self.command.word {
            Some(start) if is_number(start) => {
                self.command.word = None;
                self.command.is_quoted = false;
            }
            _ => self.end_word(at),
        }
        self.after_operator = false;
        if rest[1..].starts_with('(') {
            self.begin_quoted(at);
            self.open(Paren::Commands);
            return at + 2;
        }
        self.command.is_redirect = true;
        if rest.starts_with("<<<") {
            return at + 3;
        }
        if rest.starts_with("<<") {
            return self.here_document(at, end);
        }
        at + 1 + usize::from(rest[1..].starts_with(['>', '&', '|']))
    }

    pub(super) fn here_document(&mut self, at: usize, end: usize) -> usize {
        let strips_tabs = self.byte(at + 2) == b'-';
        let mut at = at + 2 + usize::from(strips_tabs);
        while at < end && matches!(self.byte(at), b' ' | b'\t') {
            at += 1;
        }
        let (mut word, mut quote, mut is_literal) = (String::new(), None, false);
        let start = at;
        for (offset, c) in self.text[start..end].char_indices() {
            at = start + offset;
            match quote {
                Some(open) if c == open => quote = None,
                Some(_) => word.push(c),
                None if matches!(c, '\'' | '"') => {
                    is_literal = true;
                    quote = Some(c);
                }
                None if c == '\\' => is_literal = true,
                None if c.is_whitespace() || matches!(c, ';' | '|' | '&' | '<' | '>' | '(' | ')') => break,
                None => word.push(c),
            }
            at += c.len_utf8();
        }
        self.command.is_redirect = false;
        self.statement.is_odd |= word.is_empty() || quote.is_some();
        if !word.is_empty() {
            self.here_documents.push(HereDocument { end: word, strips_tabs, is_literal });
        }
        at
    }

    pub(super) fn open_paren(&mut self, at: usize, next: u8) -> usize {
        if self.command.in_test {
            self.open(Paren::Test);
            self.command.in_test = true;
            return at + 1;
        }
        if let Some(start) = self.command.word {
            let word = &self.text[start..at];
            if word.ends_with('=') && assigned(word).is_some() {
                self.open(Paren::Words);
                return at + 1;
            }
            if next == b')' && !self.command.has_program {
                return self.function(at);
            }
            self.statement.is_odd = true;
            self.open(Paren::Commands);
            return at + 1;
        }
        self.after_operator = false;
        if next == b')' && self.command.words == 1 {
            return self.function(at);
        }
        let is_loop = self.command.words == 1 && matches!(self.frames.last(), Some(Frame::Block("done")));
        if next == b'(' && (!self.command.has_program || is_loop) {
            self.is_lost = true;
            self.open(Paren::Numbers);
            self.open(Paren::Numbers);
            return at + 2;
        }
        self.statement.is_odd |= self.command.has_program;
        self.open(Paren::Subshell);
        at + 1
    }

    /// `NAME()`, whose body follows.
    pub(super) fn function(&mut self, at: usize) -> usize {
        self.statement.keyword.get_or_insert("function");
        self.command = Command::default();
        self.wants_body = true;
        at + 2
    }

    pub(super) fn open(&mut self, kind: Paren) {
        if kind == Paren::Subshell {
            self.wants_body = false;
        }
        self.frames.push(Frame::Paren { kind, outer: take(&mut self.command) });
    }

    pub(super) fn close_at(&mut self, at: usize) {
        self.end_word(at);
        match self.frames.last() {
            Some(Frame::Paren { .. }) => {
                self.end_command(false);
                self.close_paren();
            }
            // The end of a pattern.
            Some(Frame::Block("esac")) => self.command = Command::default(),
            _ => {
                self.statement.is_odd = true;
                self.command.has_program = true;
            }
        }
    }

    pub(super) fn close_paren(&mut self) {
        if let Some(Frame::Paren { kind, outer }) = self.frames.pop() {
            self.statement.is_odd |= self.after_operator;
            self.after_operator = false;
            self.command = outer;
            if matches!(kind, Paren::Subshell | Paren::Numbers) && self.command.word.is_none() {
                self.command.has_program = true;
                self.command.words = self.command.words.max(1);
            }
        }
    }

    pub(super) fn backquote(&mut self, at: usize) -> usize {
        match self.backquote.take() {
            Some(index) => {
                self.end_word(at);
                self.end_command(false);
                self.statement.is_odd |= self.frames.len() > index + 1;
                self.frames.truncate(index + 1);
                if let Some(Frame::Backquote { outer }) = self.frames.pop() {
                    self.command = outer;
                }
            }
            None => {
                if !matches!(
                    self.frames.last(),
                    Some(
                        Frame::Double | Frame::Braces { .. } | Frame::Paren { kind: Paren::Numbers | Paren::Words, .. }
                    )
                ) {
                    self.begin_quoted(at);
                }
                self.backquote = Some(self.frames.len());
                self.frames.push(Frame::Backquote { outer: take(&mut self.command) });
            }
        }
        at + 1
    }

    /// `$` and what belongs to it.
    pub(super) fn dollar(&mut self, at: usize, end: usize) -> usize {
        let in_quotes = matches!(self.frames.last(), Some(Frame::Double | Frame::Braces { in_quotes: true }));
        let rest = &self.text[at..end];
        if rest.starts_with("$((") {
            self.open(Paren::Numbers);
            self.open(Paren::Numbers);
            return at + 3;
        }
        if rest.starts_with("$(") {
            self.open(Paren::Commands);
            return at + 2;
        }
        if rest.starts_with("$'") && !in_quotes {
            self.frames.push(Frame::Ansi);
            return at + 2;
        }
        let (behind, is_braced) = self.parameter(at, end);
        if is_braced {
            self.frames.push(Frame::Braces { in_quotes });
        }
        behind
    }
}

/// How long the placeholder is that `text` begins with: `<name>`, without spaces.
pub(super) fn placeholder(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let limit = bytes.len().min(PLACEHOLDER_BYTES_MAX + 2);
    if !bytes.get(1)?.is_ascii_alphabetic() || bytes[0] != b'<' {
        return None;
    }
    let length =
        bytes[1..limit].iter().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')))?;
    (bytes[length + 1] == b'>').then_some(length + 2)
}
