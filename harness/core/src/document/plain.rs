//! The commands of plain text, also of one whose line breaks were lost: `...--tail=50Look at the reasons`,
//! `...pod-1kubectl get ...`, `... \ --set a=b`.

use super::claims::{claims, statements, trimmed};
use super::{Language, NotRead, Written, begins_with_program};
use crate::statements::{lines, next};
use std::ops::Range;

/// What a command may begin with in the middle of a line: a program and the beginning of a subcommand.
const BEGINNINGS: [(&str, &[&str]); 5] = [
    ("kubectl", &[]),
    (
        "helm",
        &[
            "upgrade",
            "install",
            "uninstall",
            "get",
            "rollback",
            "status",
            "list",
            "history",
            "template",
            "show",
            "repo",
            "dependency",
            "test",
            "pull",
        ],
    ),
    ("ironflow", &["deploy upgrade", "deploy install", "deploy status", "provision create", "provision destroy"]),
    ("hcloud", &["server", "volume", "network", "load-balancer", "context"]),
    ("terraform", &["plan", "apply", "destroy", "init", "import", "state", "output"]),
];
/// The longest word that is looked at as one, in bytes.
const WORD_BYTES_MAX: usize = 64;
/// How much of a command in the middle of a sentence is shown, in bytes.
const MENTION_BYTES_MAX: usize = 200;
/// Units of sizes, whose capital begins no sentence.
const UNITS: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// All commands, where others are mentioned in a sentence, and what was not read.
pub(super) fn commands(text: &str) -> (Vec<Written>, Vec<Range<usize>>, Vec<NotRead>) {
    let (mut found, mut mentions, mut not_read) = (Vec::<Written>::new(), Vec::new(), Vec::new());
    let mut all_lines = lines(text, 0..text.len());
    let mut at = 0;
    // The end of the last command: what stands between it and the next is about it.
    let mut said_from: Option<usize> = None;
    let mut statements_found = Vec::new();
    while let Some((start, is_command)) = next_beginning(text, at) {
        if !is_command {
            let piece = &text[start..text.floor_char_boundary(start + MENTION_BYTES_MAX)];
            let end = start + piece.find(['\n', '.', ',', ')']).unwrap_or(piece.len());
            mentions.push(trimmed(text, start..end));
            at = start + 1;
            continue;
        }
        remark(text, said_from, start, &mut found, &mut statements_found);
        let (lines, end) = command_lines(text, start);
        let written = Written::new(Language::Shell, text, &lines);
        said_from = Some(end);
        at = end.max(start + 1);
        // The lines of a here-document are the input of a program, whatever they begin with.
        match here_document(text, start..end, &mut all_lines) {
            Some(end) => {
                let reason = "a here-document: its lines are the input of a program".to_owned();
                not_read.push(NotRead { span: trimmed(text, start..end), reason });
                said_from = None;
                at = end.max(at);
            }
            None => found.push(written),
        }
    }
    remark(text, said_from, text.len(), &mut found, &mut statements_found);
    found.extend(statements_found);
    found.sort_by_key(|command| command.span().start);
    // Of a command that ends where a mention begins, the mention is a part.
    mentions.retain(|mention: &Range<usize>| {
        let behind = found.partition_point(|command| command.span().start < mention.end);
        behind == 0 || found[behind - 1].span().end <= mention.start
    });
    (found, mentions, not_read)
}

/// Where the here-document of the command at `place` ends, if it has one. `lines` are those of the text.
fn here_document(text: &str, place: Range<usize>, lines: &mut [Range<usize>]) -> Option<usize> {
    if !text[place.clone()].contains("<<") {
        return None;
    }
    let at = lines.partition_point(|line| line.start <= place.start).saturating_sub(1);
    let first = lines.get_mut(at)?;
    *first = place.start..place.end.min(first.end).max(place.start);
    let statement = next(text, &lines[at..])?;
    statement.has_here_document.then(|| statement.span().end)
}

fn remark(text: &str, from: Option<usize>, to: usize, found: &mut [Written], statements_found: &mut Vec<Written>) {
    let from_or_start = from.unwrap_or_default().min(to);
    statements_found.extend(statements(text, from_or_start..to));
    if let (Some(last), Some(from)) = (found.last_mut(), from) {
        let line_end = text[from.min(to)..to].find('\n').map_or(to, |length| from + length);
        last.claims.extend(claims(text, from.min(to)..line_end));
    }
}

/// The next place where a command begins, or is mentioned.
fn next_beginning(text: &str, from: usize) -> Option<(usize, bool)> {
    let mut at = from;
    let line_start = text[..at].rfind('\n').map_or(0, |found| found + 1);
    // Whether nothing but spaces and one prompt stands in the line up to here.
    let mut is_line_start = matches!(text[line_start..at].trim(), "" | "$" | "#");
    let mut has_prompt = !text[line_start..at].trim().is_empty();
    let mut before = text[..at].chars().next_back();
    while at < text.len() {
        let rest = &text[at..];
        if is_line_start && before.is_none_or(|before| matches!(before, '\n' | ' ' | '\t')) && begins_with_program(rest)
        {
            return Some((at, true));
        }
        if begins(rest) {
            let in_remark = text[..at].ends_with("# ");
            if in_remark || is_line_start || is_glue(before) {
                return Some((at, true));
            }
            if before.is_some_and(char::is_whitespace) {
                return Some((at, false));
            }
        }
        let c = rest.chars().next()?;
        (is_line_start, has_prompt) = match c {
            '\n' => (true, false),
            '$' | '#' if is_line_start && !has_prompt => (true, true),
            c => (is_line_start && c.is_whitespace(), has_prompt),
        };
        before = Some(c);
        at += c.len_utf8();
    }
    None
}

/// Whether a program with a subcommand stands here.
fn begins(rest: &str) -> bool {
    let is_word_end = |rest: &str| rest.is_empty() || rest.starts_with(char::is_whitespace);
    if let Some(path) = rest.strip_prefix("cd ") {
        let word = path.split([' ', '\n', '\r']).next().unwrap_or_default();
        return word.contains('/') && !word.starts_with('/');
    }
    BEGINNINGS.iter().any(|(program, subcommands)| {
        let Some(rest) = rest.strip_prefix(program).and_then(|rest| rest.strip_prefix(' ')) else { return false };
        match subcommands {
            [] => {
                let word = &rest[..rest.floor_char_boundary(WORD_BYTES_MAX)];
                let length = word.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(word.len());
                length > 1 && is_word_end(&rest[length..])
            }
            known => known.iter().any(|word| rest.strip_prefix(word).is_some_and(is_word_end)),
        }
    })
}

/// Whether something that should stand on a line of its own may stand right behind this character.
fn is_glue(before: Option<char>) -> bool {
    before.is_none_or(|c| {
        c.is_alphanumeric() || matches!(c, '?' | '!' | '.' | ':' | ';' | ')' | ']' | '}' | '"' | '\'' | '>' | '’')
    })
}

/// The lines of the command that begins at `start`, and where it ends.
fn command_lines(text: &str, start: usize) -> (Vec<Range<usize>>, usize) {
    let mut lines = Vec::new();
    let (mut line, mut at) = (start, start);
    let mut quote: Option<char> = None;
    let mut before = ' ';
    while let Some(c) = text[at..].chars().next() {
        let next = at + c.len_utf8();
        let after = &text[next..];
        if c == '\n' {
            break;
        }
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some('"'), '\\') => {
                at = next + after.chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
                before = '\\';
                continue;
            }
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '\\') => {
                // It goes on, in the next line or where that was; as a remark where it is one as a whole.
                if let Some(goes_on) = continuation(after) {
                    lines.push(trimmed(text, line..at));
                    at = next + goes_on;
                    line = at;
                    before = ' ';
                    continue;
                }
                at = next + after.chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
                before = '\\';
                continue;
            }
            (None, '#') if before.is_whitespace() || after.starts_with([' ', '\n', '\r']) || after.is_empty() => break,
            (None, '—' | '←') => break,
            (None, '.') if is_sentence_end(before, after) => break,
            (None, _) if at > start && is_glue(Some(before)) && (begins(&text[at..]) || prose(before, &text[at..])) => {
                break;
            }
            (None, _) => {}
        }
        before = c;
        at = next;
    }
    lines.push(trimmed(text, line..at));
    (lines, at)
}

/// How much of the text behind a backslash joins it with what it goes on with.
fn continuation(after: &str) -> Option<usize> {
    let rest = after.trim_start_matches([' ', '\n', '\r', '\t']);
    let rest = if rest.len() < after.len() || rest.starts_with("# ") {
        rest.strip_prefix("# ").unwrap_or(rest)
    } else {
        return None;
    };
    let rest = rest.trim_start();
    (!rest.is_empty()).then(|| after.len() - rest.len())
}

fn is_sentence_end(before: char, after: &str) -> bool {
    let mut next = after.chars();
    !before.is_whitespace()
        && before != '.'
        && match next.next() {
            None | Some('\n' | '\r') => true,
            Some(' ') => next.next().is_some_and(|c| c.is_uppercase() || c == '-' || c == '—'),
            _ => false,
        }
}

/// Whether a sentence begins here, right behind a command's last word: a word with a capital, and another one after it.
fn prose(before: char, rest: &str) -> bool {
    if before.is_ascii_digit() && UNITS.iter().any(|unit| rest.starts_with(unit)) {
        return false;
    }
    let rest = &rest[..rest.floor_char_boundary(WORD_BYTES_MAX)];
    let length = rest.find(|c: char| !(c.is_ascii_alphabetic() || c == '’' || c == '\'')).unwrap_or(rest.len());
    let mut letters = rest.chars();
    let is_word = letters.next().is_some_and(|c| c.is_ascii_uppercase())
        && letters.next().is_some_and(|c| c.is_ascii_lowercase());
    let mut after = rest[length..].chars();
    is_word
        && match after.next() {
            Some(' ') => after.next().is_some_and(|c| c.is_ascii_alphabetic()),
            Some(':') => after.next().is_none_or(char::is_whitespace),
            Some('-') => after.next().is_some_and(|c| c.is_ascii_lowercase()),
            Some(',') => after.next() == Some(' '),
            _ => false,
        }
}
