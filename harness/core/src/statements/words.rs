//! What the words of a command say: the blocks that they begin and end, and the variables that they set and use.

use super::lexer::{Command, Frame, Lexer};
use std::mem::take;
use std::ops::Range;

/// Builtins that change nothing but their own shell.
const STATE: [&str; 18] = [
    "cd", "pushd", "popd", "export", "declare", "typeset", "readonly", "local", "alias", "unalias", "set", "shopt",
    "umask", "ulimit", "source", ".", "unset", "hash",
];
/// Builtins whose arguments are names of variables that they set.
const SETTERS: [&str; 10] =
    ["export", "declare", "typeset", "readonly", "local", "read", "mapfile", "readarray", "getopts", "let"];

impl<'t> Lexer<'t> {
    pub(super) fn uses_of_body(&mut self, place: Range<usize>) {
        let mut at = place.start;
        while at < place.end {
            match self.byte(at) {
                b'\\' => at += 2,
                b'$' => at = self.parameter(at, place.end).0,
                _ => at += 1,
            }
        }
    }

    pub(super) fn begin_word(&mut self, at: usize) {
        self.command.word.get_or_insert(at);
        self.after_operator = false;
    }

    pub(super) fn begin_quoted(&mut self, at: usize) {
        self.begin_word(at);
        self.command.is_quoted = true;
    }

    pub(super) fn end_word(&mut self, at: usize) {
        let Some(start) = self.command.word.take() else { return };
        let is_plain = !take(&mut self.command.is_quoted);
        let raw = &self.text[start..at.max(start)];
        if take(&mut self.command.is_redirect) {
            return;
        }
        if self.command.in_test {
            self.command.in_test = raw != "]]";
            return;
        }
        if self.wants_body {
            if is_plain && raw == "{" {
                self.wants_body = false;
                self.frames.push(Frame::Block("}"));
                self.command = Command::default();
                return;
            }
            // `function NAME`: the name itself.
            self.statement.is_odd |= self.command.words != 1;
        }
        if !self.command.has_program {
            if is_plain && self.keyword(raw) {
                return;
            }
            if let Some(name) = assigned(raw) {
                self.command.assigned.push(start..start + name);
                return;
            }
            self.command.has_program = true;
            self.command.words = 1;
            self.command.changes_state = STATE.contains(&raw);
            self.command.sets_arguments = SETTERS.contains(&raw);
            self.is_lost |= matches!(raw, "eval" | "source" | ".");
            return;
        }
        self.command.words += 1;
        if raw == "in" {
            self.command.sets_arguments = false;
        }
        if self.command.sets_arguments {
            let name = name_length(raw);
            if name > 0 && (name == raw.len() || raw[name..].starts_with(['=', '+', '['])) {
                self.set(start..start + name);
            }
        }
    }

    /// Takes a word that begins or ends a block, or stands in one.
    pub(super) fn keyword(&mut self, word: &str) -> bool {
        let (begins, ends): (&'static str, &'static str) = match word {
            "if" => ("if", "fi"),
            "while" => ("while", "done"),
            "until" => ("until", "done"),
            "for" => ("for", "done"),
            "select" => ("select", "done"),
            "case" => ("case", "esac"),
            "{" => ("", "}"),
            "!" | "time" | "coproc" => {
                // What a coprocess is read from is named by it or by `COPROC`.
                self.has_other_commands |= word == "coproc";
                return true;
            }
            "[[" => {
                self.command.in_test = true;
                self.command.has_program = true;
                self.command.words = 1;
                return true;
            }
            "function" => {
                self.statement.keyword.get_or_insert("function");
                self.wants_body = true;
                self.command.has_program = true;
                self.command.words = 1;
                return true;
            }
            "then" | "do" | "else" | "elif" => {
                self.statement.is_odd |= !matches!(self.frames.last(), Some(Frame::Block("fi" | "done")));
                return true;
            }
            "fi" | "done" | "esac" | "}" => {
                match self.frames.last() {
                    Some(Frame::Block(end)) if *end == word => {
                        self.frames.pop();
                    }
                    _ => self.statement.is_odd = true,
                }
                self.command.has_program = true;
                self.command.words = 1;
                return true;
            }
            _ => return false,
        };
        if !begins.is_empty() {
            self.statement.keyword.get_or_insert(begins);
        }
        self.frames.push(Frame::Block(ends));
        if matches!(begins, "for" | "select" | "case") {
            self.command.has_program = true;
            self.command.words = 1;
            self.command.sets_arguments = begins != "case";
        }
        true
    }

    /// Ends a simple command; `is_odd_empty` where there must be one.
    pub(super) fn end_command(&mut self, is_odd_empty: bool) {
        let command = take(&mut self.command);
        let is_empty = !command.has_program && command.assigned.is_empty();
        self.statement.is_odd |= is_empty && is_odd_empty && !command.is_redirect;
        if !command.has_program {
            for name in command.assigned {
                self.set(name);
            }
        }
        let is_outside =
            !self.frames.iter().any(|frame| matches!(frame, Frame::Paren { .. } | Frame::Backquote { .. }));
        if !is_empty && is_outside {
            match command.changes_state || !command.has_program {
                true => self.has_state_commands = true,
                false => self.has_other_commands = true,
            }
        }
    }

    pub(super) fn set(&mut self, name: Range<usize>) {
        if self.known.insert(&self.text[name.clone()]) {
            self.statement.sets.push(name);
        }
    }

    /// Notes the variable that the `$` at `at` names; returns where it ends, and whether braces are open there.
    pub(super) fn parameter(&mut self, at: usize, end: usize) -> (usize, bool) {
        let rest = &self.text[at + 1..end];
        let is_braced = rest.starts_with('{');
        let mut start = at + 1 + usize::from(is_braced);
        if is_braced
            && matches!(self.byte(start), b'#' | b'!')
            && name_length(&self.text[(start + 1).min(end)..end]) > 0
        {
            start += 1;
        }
        let length = name_length(&self.text[start.min(end)..end]);
        if length == 0 {
            // `$?`, `$1` and the like; of braces the inside is still to be read.
            let is_special =
                !is_braced && matches!(self.byte(at + 1), b'?' | b'$' | b'!' | b'#' | b'@' | b'*' | b'0'..=b'9');
            return ((start + usize::from(is_special)).min(end), is_braced);
        }
        let name = start..start + length;
        let behind = self.text[name.end..end].trim_start_matches(':');
        let has_default = is_braced && behind.starts_with(['-', '=', '+', '?']);
        if has_default && behind.starts_with('=') {
            self.set(name.clone());
        }
        if !has_default && !self.known.contains(&self.text[name.clone()]) {
            self.statement.uses.push(name.clone());
        }
        (name.end, is_braced)
    }
}

/// How long the name of a variable is that `text` begins with.
fn name_length(text: &str) -> usize {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        true => text.find(|c| !is_name(c)).unwrap_or(text.len()),
        false => 0,
    }
}

/// How long the name is that a word assigns to: `NAME=`, `NAME+=`, `NAME[...]=`.
pub(super) fn assigned(word: &str) -> Option<usize> {
    let name = name_length(word);
    let rest = &word[name..];
    let rest = match rest.strip_prefix('[') {
        Some(index) => index.split_once(']')?.1,
        None => rest,
    };
    (name > 0 && rest.trim_start_matches('+').starts_with('=')).then_some(name)
}
