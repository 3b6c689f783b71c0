//! The commands of Markdown: statements in the blocks of shells, and lines of other blocks that begin with a prompt or a
//! known program.

use super::claims::{claims, statements, trimmed};
use super::sure::{begins_with_shell_program, opens_session, why_not};
use super::{Claim, ClaimKind, Language, NotRead, Written};
use crate::scenario::Step;
use crate::scenario::runbook::{events, steps};
use crate::statements::{Joint, Open, Statement, block_lines, next};
use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// Languages whose every statement is a command.
const SHELLS: [&str; 5] = ["sh", "bash", "zsh", "ksh", "shell"];
/// Languages of what a terminal shows: commands and what they print.
const TERMINALS: [&str; 6] = ["console", "shell-session", "shellsession", "sh-session", "terminal", "bash-session"];
/// Languages whose lines may be anything.
const TEXTS: [&str; 5] = ["", "text", "txt", "plaintext", "plain"];
/// Languages of other shells, whose words are not read.
const FOREIGN: [&str; 11] = ["powershell", "pwsh", "ps1", "posh", "cmd", "bat", "batch", "dos", "fish", "csh", "tcsh"];
/// How much of a heading names the section of a command, in bytes. A longer one is cut.
const SECTION_BYTES_MAX: usize = 1024;
/// The longest prompt, in bytes.
const PROMPT_BYTES_MAX: usize = 80;

/// All commands, and what was not read.
pub(super) fn commands(text: &str) -> (Vec<Written>, Vec<NotRead>) {
    let steps: HashMap<usize, Step> =
        steps(text).into_iter().map(|step| (usize::try_from(step.line).unwrap_or_default(), step)).collect();
    let mut reader = Reader { text, found: Vec::new(), not_read: Vec::new() };
    let (mut section, mut in_heading) = (String::new(), false);
    let mut block: Option<(String, Vec<Range<usize>>)> = None;
    let (mut line, mut counted) = (1, 0);
    for (event, range) in events(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => {
                section.clear();
                in_heading = true;
            }
            Event::End(TagEnd::Heading(_)) => {
                in_heading = false;
                section.truncate(section.floor_char_boundary(SECTION_BYTES_MAX));
            }
            Event::Text(part) | Event::Code(part) if in_heading => section.push_str(&part),
            Event::Start(Tag::CodeBlock(kind)) => {
                let info = match &kind {
                    CodeBlockKind::Fenced(info) => language(info),
                    CodeBlockKind::Indented => String::new(),
                };
                block = Some((info, Vec::new()));
            }
            Event::Text(_) => block.iter_mut().for_each(|(_, parts)| parts.push(range.clone())),
            Event::End(TagEnd::CodeBlock) => {
                let Some((language, parts)) = block.take() else { continue };
                let from = reader.found.len();
                reader.block(&language, &block_lines(text, &parts));
                for command in &mut reader.found[from..] {
                    command.section.clone_from(&section);
                    let start = command.span().start;
                    line += text.get(counted..start).map_or(0, |between| between.matches('\n').count());
                    counted = start.max(counted);
                    if let Some(step) = steps.get(&line) {
                        add_step(command, step);
                    }
                }
            }
            _ => {}
        }
    }
    (reader.found, reader.not_read)
}

/// The language that a block's first line names, in lower case: `sh`, `Bash`, `{.bash}`, `bash,copy`.
fn language(info: &str) -> String {
    let word = info.split_whitespace().next().unwrap_or_default().trim_start_matches(['{', '.']);
    let word = word.split([',', ';', ':', '?', '=', '{', '}']).next().unwrap_or_default();
    word.strip_prefix("language-").unwrap_or(word).to_ascii_lowercase()
}

/// What the block's own first line says of its commands, where it is a drill's.
fn add_step(command: &mut Written, step: &Step) {
    command.any_exit = step.exit != Some(0);
    if let Some(expect) = &step.expect {
        let claim = Claim { span: command.span(), kind: ClaimKind::Expects(expect.clone()) };
        command.claims.insert(0, claim);
    }
}

/// How the commands of a block are told from what else stands there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Every statement is one.
    Shell,
    /// They stand behind prompts.
    Prompted,
    /// They begin with a known program.
    Known,
}

struct Reader<'t> {
    text: &'t str,
    found: Vec<Written>,
    not_read: Vec<NotRead>,
}

impl Reader<'_> {
    fn block(&mut self, language: &str, lines: &[Range<usize>]) {
        let trimmed_lines =
            || lines.iter().map(|line| trimmed(self.text, line.clone())).filter(|line| !line.is_empty());
        let (Some(first), Some(last)) = (trimmed_lines().next(), trimmed_lines().next_back()) else { return };
        let whole = first.start..last.end;
        if language == "sql" {
            return self.sql(lines);
        }
        if FOREIGN.contains(&language) {
            return self.skip(whole, format!("a block of `{language}`"));
        }
        let is_terminal = TERMINALS.contains(&language);
        if !is_terminal && !SHELLS.contains(&language) && !TEXTS.contains(&language) {
            return;
        }
        let is_prompted = lines.iter().any(|line| self.prompt(line, false).is_some());
        // `# ` is root's prompt only where no other prompt is there and it cannot be a comment.
        let is_root = is_terminal && !is_prompted;
        let kind = match SHELLS.contains(&language) {
            _ if is_prompted => Kind::Prompted,
            true => Kind::Shell,
            false => Kind::Known,
        };
        let (commands, skipped) = (self.found.len(), self.not_read.len());
        self.shell(kind, is_root, lines);
        if kind == Kind::Known && language.is_empty() && (commands, skipped) == (self.found.len(), self.not_read.len())
        {
            self.skip(whole, "no language says what the block is, and no line begins with a prompt or a known program");
        }
    }

    /// How long the prompt is that a line begins with, spaces before it and behind it counted.
    fn prompt(&self, line: &Range<usize>, with_root: bool) -> Option<usize> {
        let line = &self.text[line.clone()];
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let behind = |length: usize| {
            let rest = &body[length..];
            let command = rest.trim_start();
            (!command.is_empty() && rest.len() > command.len()).then(|| indent + body.len() - command.len())
        };
        if body.starts_with("$ ") {
            return behind(1);
        }
        if body.starts_with("# ") {
            return behind(1).filter(|start| with_root && begins_with_shell_program(&line[*start..]));
        }
        // `user@host:~$ `, `[root@host ~]# `, `sh-5.1# `
        let end = body[..body.floor_char_boundary(PROMPT_BYTES_MAX)].find(['$', '#'])?;
        let name = &body[..end];
        let is_name = |c: char| c.is_ascii_alphanumeric() || "@.-_:~/[] ".contains(c);
        let is_host = name.contains('@') && (name.starts_with('[') || !name.contains(' '));
        let is_shell = (name.starts_with("sh-") || name.starts_with("bash-")) && name.len() < 10;
        if name.chars().all(is_name) && (is_host || is_shell) { behind(end + 1) } else { None }
    }

    fn shell(&mut self, kind: Kind, is_root: bool, lines: &[Range<usize>]) {
        let from = self.found.len();
        // The line of a command after which others run elsewhere.
        let mut session = false;
        let mut at = 0;
        while at < lines.len() {
            let line = trimmed(self.text, lines[at].clone());
            let prompt = self.prompt(&lines[at], is_root);
            let piece = &self.text[line.clone()];
            if prompt.is_none() && piece.starts_with('#') {
                // A comment is about the command before it.
                if let Some(last) = self.found[from..].last_mut().filter(|last| last.language == Language::Shell) {
                    last.claims.extend(claims(self.text, line.clone()));
                }
                self.found.extend(statements(self.text, line));
                at += 1;
                continue;
            }
            let is_command = match kind {
                Kind::Shell => !piece.is_empty(),
                Kind::Prompted => prompt.is_some(),
                Kind::Known => prompt.is_some() || begins_with_shell_program(piece),
            };
            if !is_command {
                at += 1;
                continue;
            }
            let rest = match prompt {
                Some(length) => Cow::Owned(self.continued(lines, at, length)),
                None => Cow::Borrowed(&lines[at..]),
            };
            let Some(statement) = next(self.text, &rest) else {
                at += 1;
                continue;
            };
            at += statement.lines;
            let text = statement.text(self.text);
            if session {
                session = text.trim() != "exit";
                if session {
                    self.skip(statement.span(), "it runs in the session that a command before it opens");
                }
                continue;
            }
            session = self.statement(&statement, text, kind);
        }
    }

    /// The lines from `at` to the next prompt, without the prompts of the first and of those that go on with it.
    fn continued(&self, lines: &[Range<usize>], at: usize, length: usize) -> Vec<Range<usize>> {
        let first = lines[at].start + length..lines[at].end;
        let mut rest = vec![first];
        for line in &lines[at + 1..] {
            if self.prompt(line, false).is_some() {
                break;
            }
            let is_next = self.text[line.clone()].trim_start().starts_with("> ");
            let start = self.text[line.clone()].find("> ").filter(|_| is_next).map_or(0, |found| found + 2);
            rest.push(line.start + start..line.end);
        }
        rest
    }

    /// Takes a statement for a command, or says why not. Returns whether it opens a session.
    fn statement(&mut self, statement: &Statement, text: String, kind: Kind) -> bool {
        let reason = match statement.open {
            Some(Open::Quote) => Some("a quote is not closed in this block"),
            Some(Open::Parenthesis) => Some("a parenthesis is not closed in this block"),
            Some(Open::HereDocument) => Some("a here-document is not closed in this block"),
            Some(Open::Block) => Some("`if`, `for` or the like is not closed in this block"),
            Some(Open::Operator) => Some("the last line goes on into nothing"),
            Some(Open::Backslash) | None => None,
        };
        let reason = reason
            .or(statement.has_here_document.then_some("a here-document: its lines are the input of a program"))
            .or(statement.keyword.map(|_| "`if`, `for` or the like: which of its commands run is not known"))
            .or(statement.is_odd.then_some("no shell reads it as a command"))
            .or_else(|| why_not(&text, kind == Kind::Prompted));
        if let Some(reason) = reason {
            self.skip(statement.span(), reason);
            return false;
        }
        let opens_session = opens_session(&text);
        let pieces = statement.pieces.iter().map(|piece| (piece.joint, piece.place.clone()));
        self.found.push(Written::of_pieces(Language::Shell, self.text, pieces));
        opens_session
    }

    fn skip(&mut self, span: Range<usize>, reason: impl Into<String>) {
        let reason = reason.into();
        match self.not_read.last_mut() {
            // Lines one after the other are one place.
            Some(last) if last.reason == reason && self.text[last.span.end..span.start].trim().is_empty() => {
                last.span.end = span.end;
            }
            _ => self.not_read.push(NotRead { span, reason }),
        }
    }

    /// Statements end with a semicolon.
    fn sql(&mut self, lines: &[Range<usize>]) {
        let mut parts: Vec<(Joint, Range<usize>)> = Vec::new();
        for line in lines {
            let line = trimmed(self.text, line.clone());
            if self.text[line.clone()].starts_with("--") {
                continue;
            }
            let mut start = line.start;
            for (at, _) in self.text[line.clone()].match_indices(';') {
                parts.push((Joint::Space, trimmed(self.text, start..line.start + at)));
                self.push_sql(std::mem::take(&mut parts));
                start = line.start + at + 1;
            }
            parts.push((Joint::Space, trimmed(self.text, start..line.end)));
        }
        self.push_sql(parts);
    }

    fn push_sql(&mut self, parts: Vec<(Joint, Range<usize>)>) {
        let parts = parts.into_iter().filter(|(_, part)| !part.is_empty());
        let written = Written::of_pieces(Language::Sql, self.text, parts);
        if !written.text.is_empty() {
            self.found.push(written);
        }
    }
}
