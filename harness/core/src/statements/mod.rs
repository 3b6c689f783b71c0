//! Cuts the text of a shell block into statements. Nothing is run or expanded.
//!
//! A statement is what a shell reads before it acts: one line, or several lines that a `\`, an operator, a quote, a
//! parenthesis, a here-document or a block holds together. The work is linear in the length of the text.

mod code;
mod lexer;
mod words;

use lexer::Lexer;
use std::ops::Range;

/// How a piece of a statement follows the piece before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joint {
    /// Nothing stands between them: a `\` at the end of a line joins them.
    None,
    /// One space.
    Space,
    /// A line break that has a meaning: inside quotes, parentheses, blocks and here-documents.
    Newline,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its place in the text.
    pub(crate) place: Range<usize>,
    /// How it follows the piece before it.
    pub(crate) joint: Joint,
    /// Whether it is a line of a here-document, or the end of one.
    pub(crate) is_body: bool,
}

/// What a statement lacks at the end of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    /// The last line ends with `\`.
    Backslash,
    /// The last line ends with `|`, `&&` or `||`.
    Operator,
    /// The end of a quote.
    Quote,
    /// The end of a parenthesis, of backquotes or of braces.
    Parenthesis,
    /// The end of a here-document.
    HereDocument,
    /// The end of a block such as `for` or `if`.
    Block,
}

/// What a shell reads before it acts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Its parts.
    pub(crate) pieces: Vec<Piece>,
    /// How many lines it takes.
    pub(crate) lines: usize,
    /// The word that begins a block in it: `for`, `if`, `while`, `until`, `case`, `select` or `function`.
    pub(crate) keyword: Option<&'static str>,
    /// Whether it has a here-document.
    pub(crate) has_here_document: bool,
    /// What is missing at the end of the block.
    pub(crate) open: Option<Open>,
    /// Whether a shell would refuse it, as far as that was looked at.
    pub(crate) is_odd: bool,
    /// The names of variables that it uses and does not set before; a use with a default value is none.
    pub(crate) uses: Vec<Range<usize>>,
    /// The names of variables that it sets.
    pub(crate) sets: Vec<Range<usize>>,
    /// Whether all that it does is to change its own shell: variables, the working directory, options.
    pub(crate) only_sets: bool,
}

impl Statement {
    /// From its first character to its last.
    pub(crate) fn span(&self) -> Range<usize> {
        let start = self.pieces.first().map_or(0, |piece| piece.place.start);
        start..self.pieces.last().map_or(start, |piece| piece.place.end)
    }

    /// What a shell is given.
    pub(crate) fn text(&self, source: &str) -> String {
        join(source, self.pieces.iter().map(|piece| (piece.place.clone(), piece.joint)))
    }

    /// The same without the lines of here-documents, which are another program's input.
    pub(crate) fn head(&self, source: &str) -> String {
        let mut after_body = false;
        let mut pieces = Vec::new();
        for piece in &self.pieces {
            if piece.is_body {
                after_body = true;
                continue;
            }
            // What follows a here-document goes on with the line that names it.
            let joint = if std::mem::take(&mut after_body) { Joint::Space } else { piece.joint };
            pieces.push((piece.place.clone(), joint));
        }
        join(source, pieces.into_iter())
    }
}

fn join(source: &str, pieces: impl Iterator<Item = (Range<usize>, Joint)>) -> String {
    let mut text = String::new();
    for (at, (place, joint)) in pieces.enumerate() {
        match joint {
            _ if at == 0 => {}
            Joint::None => {}
            Joint::Space => text.push(' '),
            Joint::Newline => text.push('\n'),
        }
        text.push_str(&source[place]);
    }
    text
}

/// Reads the statement that begins in the first of `lines`, the lines of a block without their line ends. `None` where
/// that line is empty or a comment.
pub(crate) fn next(text: &str, lines: &[Range<usize>]) -> Option<Statement> {
    let first = text[lines.first()?.clone()].trim_start();
    if first.trim_end().is_empty() || first.starts_with('#') {
        return None;
    }
    Some(Lexer::new(text, lines).read())
}

/// The statements of a text that is a shell's as a whole.
pub(crate) fn all(text: &str) -> Vec<Statement> {
    let lines = lines(text, 0..text.len());
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        match next(text, &lines[at..]) {
            Some(statement) => {
                at += statement.lines;
                found.push(statement);
            }
            None => at += 1,
        }
    }
    found
}

/// The lines of `part`, without their ends.
pub(crate) fn lines(text: &str, part: Range<usize>) -> Vec<Range<usize>> {
    let mut at = part.start;
    let line = |raw: &str| {
        let start = at;
        at += raw.len();
        start..start + raw.trim_end_matches(['\n', '\r']).len()
    };
    text[part].split_inclusive('\n').map(line).collect()
}

/// The lines of a block whose text a Markdown parser gave in pieces: a piece ends at a line break, or before a carriage
/// return, or where an indentation was cut out.
pub(crate) fn block_lines(text: &str, parts: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut is_open = false;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        for (at, line) in lines(text, part.clone()).into_iter().enumerate() {
            match found.last_mut() {
                Some(last) if is_open && at == 0 => last.end = line.end.max(last.end),
                _ => found.push(line),
            }
        }
        is_open = !text[part.clone()].ends_with('\n');
    }
    for line in &mut found {
        line.end = line.start + text[line.clone()].trim_end_matches(['\n', '\r']).len();
    }
    found
}

#[cfg(test)]
mod tests;
