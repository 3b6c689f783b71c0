//! The commands of Markdown: every line of a shell's block, and lines of other blocks that begin with a known program.

use super::claims::{claims, statements, trimmed};
use super::{Claim, ClaimKind, Language, Written, begins_with_program, position};
use crate::scenario::Step;
use crate::scenario::runbook::steps;
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use std::ops::Range;

/// Languages whose every line is a command.
const SHELLS: [&str; 3] = ["sh", "bash", "zsh"];
/// Languages whose lines are commands or what these print.
const MIXED: [&str; 7] = ["", "text", "txt", "console", "shell", "shell-session", "terminal"];

/// All commands.
pub(super) fn commands(text: &str) -> Vec<Written> {
    let steps = steps(text);
    let mut found = Vec::new();
    let (mut section, mut in_heading) = (String::new(), false);
    let mut block: Option<(String, Vec<Range<usize>>)> = None;
    for (event, range) in Parser::new(text).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. }) => {
                section.clear();
                in_heading = true;
            }
            Event::End(TagEnd::Heading(_)) => in_heading = false,
            Event::Text(part) | Event::Code(part) if in_heading => section.push_str(&part),
            Event::Start(Tag::CodeBlock(kind)) => {
                let info = match &kind {
                    CodeBlockKind::Fenced(info) => info.split_whitespace().next().unwrap_or_default(),
                    CodeBlockKind::Indented => "",
                };
                block = Some((info.to_owned(), Vec::new()));
            }
            Event::Text(_) => block.iter_mut().for_each(|(_, parts)| parts.push(range.clone())),
            Event::End(TagEnd::CodeBlock) => {
                if let Some((language, parts)) = block.take() {
                    let lines: Vec<_> = parts.iter().flat_map(|part| lines(text, part.clone())).collect();
                    let from = found.len();
                    read_block(text, &language, &lines, &mut found);
                    for command in &mut found[from..] {
                        command.section.clone_from(&section);
                        add_step(text, command, &steps);
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// What the block's own first line says of its commands, where it is a drill's.
fn add_step(text: &str, command: &mut Written, steps: &[Step]) {
    let line = position(text, command.span().start).0;
    let Some(step) = steps.iter().find(|step| usize::try_from(step.line).is_ok_and(|number| number == line)) else {
        return;
    };
    command.any_exit = step.exit != Some(0);
    if let Some(expect) = &step.expect {
        let claim = Claim { span: command.span(), kind: ClaimKind::Expects(expect.clone()) };
        command.claims.insert(0, claim);
    }
}

/// The lines of a piece, without the spaces at their ends.
fn lines(text: &str, part: Range<usize>) -> Vec<Range<usize>> {
    let mut at = part.start;
    let line = |raw: &str| {
        at += raw.len();
        trimmed(text, at - raw.len()..at)
    };
    text[part].split_inclusive('\n').map(line).collect()
}

fn read_block(text: &str, language: &str, lines: &[Range<usize>], found: &mut Vec<Written>) {
    if language == "sql" {
        return read_sql(text, lines, found);
    }
    let is_shell = SHELLS.contains(&language);
    if !is_shell && !MIXED.contains(&language) {
        return;
    }
    let is_prompted = lines.iter().any(|line| text[line.clone()].starts_with("$ "));
    let mut parts: Vec<Range<usize>> = Vec::new();
    let from = found.len();
    for line in lines {
        let mut line = line.clone();
        let is_prompt = text[line.clone()].starts_with("$ ");
        let goes_on = !parts.is_empty();
        if is_prompt && !goes_on {
            line = trimmed(text, line.start + 2..line.end);
        }
        let is_command =
            goes_on || if is_prompted { is_prompt } else { is_shell || begins_with_program(&text[line.clone()]) };
        if !goes_on && text[line.clone()].starts_with('#') {
            // A remark is about the command before it.
            if let Some(last) = found[from..].last_mut().filter(|last| last.language == Language::Shell) {
                last.claims.extend(claims(text, line.clone()));
            }
            found.extend(statements(text, line));
            continue;
        }
        if !is_command || line.is_empty() {
            continue;
        }
        match text[line.clone()].strip_suffix('\\') {
            Some(body) => parts.push(line.start..line.start + body.trim_end().len()),
            None => {
                parts.push(line);
                push(text, Language::Shell, &std::mem::take(&mut parts), found);
            }
        }
    }
    push(text, Language::Shell, &parts, found);
}

/// Statements end with a semicolon.
fn read_sql(text: &str, lines: &[Range<usize>], found: &mut Vec<Written>) {
    let mut parts: Vec<Range<usize>> = Vec::new();
    for line in lines.iter().filter(|line| !text[(*line).clone()].starts_with("--")) {
        let mut start = line.start;
        for (at, _) in text[line.clone()].match_indices(';') {
            parts.push(trimmed(text, start..line.start + at));
            push(text, Language::Sql, &std::mem::take(&mut parts), found);
            start = line.start + at + 1;
        }
        parts.push(trimmed(text, start..line.end));
    }
    push(text, Language::Sql, &parts, found);
}

fn push(text: &str, language: Language, parts: &[Range<usize>], found: &mut Vec<Written>) {
    let written = Written::new(language, text, parts);
    if !written.text.is_empty() {
        found.push(written);
    }
}
