//! What stands between two commands: what the first is said to show, and statements for psql.

use super::{Claim, ClaimKind, Language, Written};
use std::ops::Range;

/// Words that a statement in a remark begins with.
const STATEMENTS: [&str; 5] = ["SELECT ", "UPDATE ", "INSERT ", "DELETE ", "WITH "];

/// What the remark at `range` says that the command before it shows.
pub(super) fn claims(text: &str, range: Range<usize>) -> Vec<Claim> {
    let remark = &text[range.clone()];
    let mut found = Vec::new();
    let mut add = |span: Range<usize>, kind| {
        found.push(Claim { span: range.start + span.start..range.start + span.end, kind });
    };
    let owned = |span: &Range<usize>| remark[span.clone()].to_owned();
    if let Some(at) = remark.find("\" should equal ") {
        let key = remark[..at].rfind('"').map(|start| start + 1..at);
        let start = at + "\" should equal ".len();
        let length = remark[start..].find(|c: char| c.is_whitespace() || c == ',').unwrap_or(remark.len() - start);
        let value = remark[start..start + length].trim_end_matches('.');
        if let (Some(key), false) = (key, value.is_empty()) {
            add(key.start..start + value.len(), ClaimKind::Equals(owned(&key), value.to_owned()));
        }
    } else if let (true, Some((first, then))) = (remark.contains("should"), from_to(remark)) {
        add(first.clone(), ClaimKind::ShowsFirst(owned(&first)));
        add(then.clone(), ClaimKind::Shows(owned(&then)));
    } else if let Some(at) = remark.find("should show ") {
        let start = at + "should show ".len();
        let length = remark[start..].find(char::is_whitespace).unwrap_or(remark.len() - start);
        let word = remark[start..start + length].trim_end_matches(['.', ',']);
        let (ready, all) = word.split_once('/').unwrap_or_default();
        let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        if is_number(ready) && is_number(all) {
            add(start..start + word.len(), ClaimKind::Shows(word.to_owned()));
        }
    }
    found
}

/// The two quoted texts of `from "A" to "B"`.
fn from_to(remark: &str) -> Option<(Range<usize>, Range<usize>)> {
    let from = remark.find("from \"")? + "from \"".len();
    let first = from..from + remark[from..].find('"')?;
    let rest = remark[first.end..].strip_prefix("\" to \"")?;
    let start = first.end + "\" to \"".len();
    (!first.is_empty()).then_some((first, start..start + rest.find('"')?))
}

/// The statements for psql that stand as remarks in `range`: from `# SELECT` or the like to its semicolon.
pub(super) fn statements(text: &str, range: Range<usize>) -> Vec<Written> {
    let mut found = Vec::new();
    let mut at = range.start;
    // Up to where lines are remarks, and up to where no statement ends.
    let (mut remark_to, mut open_to) = (range.start, range.start);
    while let Some(start) = text[at..range.end].find("# ").map(|found| at + found + 2) {
        at = start;
        if start < open_to || !STATEMENTS.iter().any(|word| text[start..range.end].starts_with(word)) {
            continue;
        }
        if start >= remark_to {
            remark_to = remark_end(text, start, range.end);
        }
        let Some(end) = text[start..remark_to].find(';').map(|found| start + found) else {
            open_to = remark_to;
            continue;
        };
        // Its lines: each begins as a remark, and where line breaks were lost only that tells them apart.
        let mut lines = Vec::new();
        let mut line = start;
        for (mark, _) in text[start..end].match_indices("# ").map(|(found, piece)| (start + found, piece)) {
            lines.push(trimmed(text, line..mark));
            line = mark + 2;
        }
        lines.push(trimmed(text, line..end));
        found.push(Written::new(Language::Sql, text, &lines));
        at = end;
    }
    found
}

/// Where the remark ends that reaches from `start` over all lines that are remarks, at `limit` at most.
fn remark_end(text: &str, start: usize, limit: usize) -> usize {
    let mut end = start;
    for (number, line) in text[start..limit].split_inclusive('\n').enumerate() {
        if number > 0 && !line.trim_start().starts_with('#') {
            break;
        }
        end += line.len();
    }
    end
}

/// A range without the spaces at its ends.
pub(super) fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let piece = &text[range.clone()];
    let start = range.start + (piece.len() - piece.trim_start().len());
    start..start + piece.trim().len()
}
