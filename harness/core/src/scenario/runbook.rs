//! Reads a runbook: its fenced `sh` blocks are its steps, one command a line, and all else is for people.
//!
//! What the harness needs to know of a step stands behind the fence's language:
//! `sh expect='text' timeout=90s within=60s exit=any variants=hung,killed layout=separate only-if-down='probe after 60s'
//! manual='why it is left to people'`.

use super::command::{bound, object_to_step, volumes_named};
use super::mistake::Mistakes;
use super::read::Placed;
use super::text;
use super::{Layout, Step, StepCondition};
use crate::shell::placeholders;
use crate::time::parse_duration;
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use std::ops::Range;
use std::time::Duration;

/// Bytes of a runbook, at most.
const BYTES_MAX: usize = 256 * 1024;
/// Steps of a runbook, at most.
const STEPS_MAX: usize = 100;
/// A step's limit where the runbook states none.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The bounds of a step's limit.
const TIMEOUT_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30 * 60));
/// The attributes of a step.
const ATTRIBUTES: [&str; 8] = ["expect", "timeout", "within", "exit", "variants", "layout", "only-if-down", "manual"];
/// Names of languages that mean a shell.
const OTHER_SHELLS: [&str; 6] = ["bash", "shell", "console", "zsh", "shell-session", "terminal"];

/// A runbook with what its scenario has yet to confirm.
pub(super) struct Draft {
    pub(super) steps: Vec<DraftStep>,
}

/// A step whose references are not yet checked.
pub(super) struct DraftStep {
    pub(super) step: Step,
    pub(super) variants: Vec<Placed<String>>,
    pub(super) layout: Option<Placed<Layout>>,
    /// The probe of its condition.
    pub(super) probe: Option<Placed<String>>,
    /// The greatest number of a target that it names, and where.
    pub(super) target: Option<Placed<usize>>,
    /// The greatest number of a volume that it names, and where it is.
    pub(super) volume: Option<Placed<usize>>,
}

/// The steps of a Markdown text that is no scenario's: what is wrong with it as a drill's runbook is of no matter.
pub(crate) fn steps(text: &str) -> Vec<Step> {
    read(text, &mut Mistakes::of("")).steps.into_iter().map(|draft| draft.step).collect()
}

/// Reads a runbook.
pub(super) fn read(text: &str, mistakes: &mut Mistakes) -> Draft {
    let mut draft = Draft { steps: Vec::new() };
    if text.len() > BYTES_MAX {
        mistakes.add(0..0, format!("{} bytes, {BYTES_MAX} at most", text.len()));
        return draft;
    }
    let mut sections: Vec<String> = Vec::new();
    let mut heading: Option<(String, Range<usize>)> = None;
    let mut block: Option<Block> = None;
    for (event, range) in Parser::new(text).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some((String::new(), range)),
            Event::End(TagEnd::Heading(_)) => {
                if let Some((title, span)) = heading.take() {
                    if sections.contains(&title) {
                        mistakes.add_hint(
                            span,
                            "a second section of this name",
                            "corrections and reports name sections",
                        );
                    }
                    sections.push(title);
                }
            }
            Event::Text(part) | Event::Code(part) if heading.is_some() => {
                if let Some((title, _)) = &mut heading {
                    title.push_str(&part);
                }
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                block =
                    Some(Block { is_fenced: matches!(kind, CodeBlockKind::Fenced(_)), span: range, parts: Vec::new() });
            }
            Event::Text(_) => {
                if let Some(block) = &mut block {
                    block.parts.push(range);
                }
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some(block) = block.take() {
                    read_block(text, &block, sections.last(), &mut draft, mistakes);
                }
            }
            _ => {}
        }
    }
    if draft.steps.len() > STEPS_MAX {
        mistakes.add(0..0, format!("{} steps, {STEPS_MAX} at most", draft.steps.len()));
        draft.steps.truncate(STEPS_MAX);
    }
    draft
}

struct Block {
    is_fenced: bool,
    span: Range<usize>,
    /// Its text, in pieces where it is indented.
    parts: Vec<Range<usize>>,
}

fn read_block(text: &str, block: &Block, section: Option<&String>, draft: &mut Draft, mistakes: &mut Mistakes) {
    let first_line = block.span.start..line_end(text, block.span.start);
    if !block.is_fenced {
        mistakes.add_hint(first_line, "indented code is no step", "fence it: ```sh to run it, ```text to show it only");
        return;
    }
    let fence = text[first_line.clone()].chars().take_while(|c| matches!(c, '`' | '~')).count();
    let info = first_line.start + fence..first_line.end;
    let mut words = words(text, info.clone(), mistakes);
    if words.is_empty() {
        mistakes.add_hint(first_line, "a block without a language", "```sh to run it, ```text to show it only");
        return;
    }
    let language = words.remove(0);
    let name = &text[language.clone()];
    if OTHER_SHELLS.contains(&name) {
        mistakes.add_hint(language, format!("`{name}` blocks are not run"), "did you mean `sh`? `text` shows it only");
        return;
    }
    if name != "sh" {
        return;
    }
    let mut pattern = DraftStep {
        step: Step {
            section: section.cloned().unwrap_or_default(),
            line: 0,
            command: String::new(),
            expect: None,
            timeout: TIMEOUT,
            exit: Some(0),
            variants: Vec::new(),
            layout: None,
            within: None,
            only_if: None,
            manual: None,
        },
        variants: Vec::new(),
        layout: None,
        probe: None,
        target: None,
        volume: None,
    };
    let mut seen: Vec<&str> = Vec::new();
    for word in words {
        let key = text[word.clone()].split('=').next().unwrap_or_default();
        if seen.contains(&key) {
            mistakes.add(word.clone(), format!("`{key}` is there twice"));
        }
        seen.push(key);
        attribute(text, word, &mut pattern, mistakes);
    }
    if section.is_none() {
        mistakes.add_hint(
            first_line.clone(),
            "a step before the first heading",
            "a step is named by its section's heading",
        );
    }
    let commands = commands(text, &block.parts, mistakes);
    if commands.is_empty() {
        mistakes.add_hint(first_line, "an empty step", "write the command, or take the block out");
    }
    for (command, span) in commands {
        // What is not run may never end, and leave to people what they put in.
        let is_run = pattern.step.manual.is_none();
        if let Some(objection) = object_to_step(&command).filter(|_| is_run) {
            mistakes.add_hint(span.clone(), objection.message, objection.hint);
        }
        let target = if is_run { check_placeholders(text, &span, mistakes) } else { None };
        let volume = volumes_named(&command).filter(|_| is_run).map(|value| Placed { value, span: span.clone() });
        let line = u32::try_from(text[..span.start].matches('\n').count() + 1).unwrap_or(u32::MAX);
        draft.steps.push(DraftStep {
            step: Step { line, command, ..pattern.step.clone() },
            variants: pattern.variants.clone(),
            layout: pattern.layout.clone(),
            probe: pattern.probe.clone(),
            target,
            volume,
        });
    }
}

/// Notes placeholders that nothing is put in the place of; returns the greatest number of a target that is named.
fn check_placeholders(text: &str, span: &Range<usize>, mistakes: &mut Mistakes) -> Option<Placed<usize>> {
    let mut greatest: Option<Placed<usize>> = None;
    for (at, name) in placeholders(&text[span.clone()]) {
        let at = span.start + at.start..span.start + at.end;
        match bound(name) {
            None => {
                mistakes.add_hint(at, format!("nothing is put in the place of `<{name}>`"), super::command::BOUND_HINT)
            }
            Some(super::command::Bound::One(number)) if greatest.as_ref().is_none_or(|g| g.value < number) => {
                greatest = Some(Placed { value: number, span: at });
            }
            Some(_) if greatest.is_none() => greatest = Some(Placed { value: 1, span: at }),
            Some(_) => {}
        }
    }
    greatest
}

fn attribute(text: &str, word: Range<usize>, to: &mut DraftStep, mistakes: &mut Mistakes) {
    let Some(equals) = text[word.clone()].find('=') else {
        let name = &text[word.clone()];
        mistakes.add_unknown(word, "attribute", name, ATTRIBUTES);
        return;
    };
    let key = word.start..word.start + equals;
    let mut span = key.end + 1..word.end;
    let quoted = text[span.clone()].starts_with(['\'', '"']) && span.len() >= 2;
    if quoted {
        span = span.start + 1..span.end - 1;
    }
    let value = &text[span.clone()];
    if value.trim().is_empty() {
        mistakes.add(word, format!("`{}` has no value", &text[key]));
        return;
    }
    match &text[key.clone()] {
        "expect" => to.step.expect = Some(value.to_owned()),
        "manual" => to.step.manual = Some(value.to_owned()),
        name @ ("timeout" | "within") => match text::duration(value, TIMEOUT_BOUNDS.0, TIMEOUT_BOUNDS.1) {
            Ok(limit) if name == "within" => to.step.within = Some(limit),
            Ok(limit) => to.step.timeout = limit,
            Err(wrong) => match wrong.hint {
                Some(hint) => mistakes.add_hint(span, wrong.message, hint),
                None => mistakes.add(span, wrong.message),
            },
        },
        "exit" if value == "any" => to.step.exit = None,
        "exit" => match value.parse::<u8>() {
            Ok(code) => to.step.exit = Some(i32::from(code)),
            Err(_) => mistakes.add_hint(span, format!("`{value}` is no exit code"), "`any`, or 0 to 255"),
        },
        "variants" => {
            let mut at = span.start;
            for name in value.split(',') {
                let start = at + (name.len() - name.trim_start().len());
                let name_span = start..start + name.trim().len();
                to.step.variants.push(name.trim().to_owned());
                to.variants.push(Placed { value: name.trim().to_owned(), span: name_span });
                at += name.len() + 1;
            }
        }
        "layout" => match Layout::of_name(value) {
            Some(layout) => {
                to.step.layout = Some(layout);
                to.layout = Some(Placed { value: layout, span });
            }
            None => mistakes.add_unknown(span, "layout", value, Layout::ALL.map(Layout::name)),
        },
        "only-if-down" => match value.split_once(" after ").map(|(probe, after)| (probe, parse_duration(after))) {
            Some((probe, Ok(after))) => {
                to.step.only_if = Some(StepCondition::StillDown { probe: probe.to_owned(), after });
                to.probe = Some(Placed { value: probe.to_owned(), span: span.start..span.start + probe.len() });
            }
            Some((_, Err(wrong))) => mistakes.add(span, wrong),
            None => mistakes.add_hint(span, "not a condition", "`only-if-down='PROBE after 60s'`"),
        },
        other => mistakes.add_unknown(key, "attribute", other, ATTRIBUTES),
    }
}

/// The words of a fence's first line; quotes hold a word together.
fn words(text: &str, span: Range<usize>, mistakes: &mut Mistakes) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start: Option<usize> = None;
    let mut quote: Option<char> = None;
    for (at, c) in text[span.clone()].char_indices().map(|(at, c)| (span.start + at, c)) {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c.is_whitespace() => words.extend(start.take().map(|start| start..at)),
            None => {
                start.get_or_insert(at);
                if matches!(c, '\'' | '"') {
                    quote = Some(c);
                }
            }
        }
    }
    if let Some(start) = start {
        if quote.is_some() {
            mistakes.add(start..span.end, "a quote is not closed");
        } else {
            words.push(start..span.end);
        }
    }
    words
}

/// The commands of a block: one a line, comments left out, a line that ends with `\` joined with the next by one space.
fn commands(text: &str, parts: &[Range<usize>], mistakes: &mut Mistakes) -> Vec<(String, Range<usize>)> {
    let mut found: Vec<(String, Range<usize>)> = Vec::new();
    let mut goes_on = false;
    for part in parts {
        let mut at = part.start;
        for raw in text[part.clone()].split_inclusive('\n') {
            let line = raw.trim();
            let start = at + (raw.len() - raw.trim_start().len());
            at += raw.len();
            if !goes_on && (line.is_empty() || line.starts_with('#')) {
                continue;
            }
            let (body, more) = match line.strip_suffix('\\') {
                Some(body) => (body.trim_end(), true),
                None => (line, false),
            };
            match found.last_mut() {
                Some((command, span)) if goes_on => {
                    command.push(' ');
                    command.push_str(body);
                    span.end = start + line.len();
                }
                _ => found.push((body.to_owned(), start..start + line.len())),
            }
            goes_on = more;
        }
    }
    if let (true, Some((_, span))) = (goes_on, found.last()) {
        mistakes.add(span.clone(), "the last line goes on into nothing");
    }
    found
}

fn line_end(text: &str, from: usize) -> usize {
    text[from..].find('\n').map_or(text.len(), |at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_ok(text: &str) -> Vec<DraftStep> {
        let mut mistakes = Mistakes::of("runbook.md");
        let draft = read(text, &mut mistakes);
        assert_eq!(mistakes.into_sorted(), []);
        draft.steps
    }

    #[test]
    fn a_block_is_one_step_a_line() {
        let steps = read_ok(
            "# Book\n\ntalk\n\n## 1. Look `here`\n\n```sh timeout=90s exit=any\n# a remark\nkubectl get pods -n a \\\n    -o wide\n\ndate\n```\n\n```text\nnot run\n```\n",
        );
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].step.command, "kubectl get pods -n a -o wide");
        assert_eq!((steps[0].step.line, steps[1].step.line), (9, 12));
        assert_eq!(steps[0].step.section, "1. Look here");
        assert_eq!(steps[1].step.timeout, Duration::from_secs(90));
        assert_eq!(steps[1].step.exit, None);
    }

    #[test]
    fn attributes_hold_quotes_and_lists() {
        let steps = read_ok(
            "# B\n- in a list:\n\n  ```sh expect='\"status\":\"ok\"' variants=hung,killed only-if-down='run after 60s' exit=3\n  one \\\n  two\n  three <target-pods>\n  ```\n",
        );
        assert_eq!(steps[0].step.expect.as_deref(), Some("\"status\":\"ok\""));
        assert_eq!(steps[0].step.variants, ["hung", "killed"]);
        assert_eq!(steps[0].step.exit, Some(3));
        assert_eq!(
            steps[0].step.only_if,
            Some(StepCondition::StillDown { probe: "run".to_owned(), after: Duration::from_secs(60) })
        );
        assert_eq!(steps[0].step.command, "one two");
        let by_hand =
            read_ok("# B\n```sh manual='the console'\nkubectl get pods -w\nhcloud server delete <server-name>\n```\n");
        assert_eq!(by_hand[1].step.manual.as_deref(), Some("the console"));
        assert_eq!(steps[1].target.as_ref().map(|target| target.value), Some(1));
    }
}
