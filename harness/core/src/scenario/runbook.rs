//! Reads a runbook: each statement of its fenced `sh` blocks is a step, and all else is for people.
//!
//! What the harness needs to know of a step stands behind the fence's language:
//! `sh expect='text' timeout=90s within=60s exit=any variants=hung,killed layout=separate only-if-down='probe after 60s'
//! manual='why it is left to people'`.

mod references;

use super::attributes::{attribute, words};
use super::command::{object_to_step, volumes_named};
use super::mistake::Mistakes;
use super::read::Placed;
use super::{Layout, Step};
use crate::statements::{self, Open, Statement};
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use references::{check_placeholders, check_variables};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

/// Bytes of a runbook, at most.
const BYTES_MAX: usize = 256 * 1024;
/// Steps of a runbook, at most.
const STEPS_MAX: usize = 100;
/// A step's limit where the runbook states none.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How many times reading goes on in a block behind the line of a quote that is not closed.
const RESUMED_MAX: usize = 10;
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
    let mut reader = Reader { text, lines: Lines { offset: 0, number: 1 }, set_in: HashMap::new(), steps: 0 };
    let mut section: Option<String> = None;
    let mut sections: HashSet<String> = HashSet::new();
    let mut heading: Option<(String, Range<usize>)> = None;
    let mut block: Option<Block> = None;
    for (event, range) in events(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some((String::new(), range)),
            Event::End(TagEnd::Heading(_)) => {
                if let Some((title, span)) = heading.take() {
                    if !sections.insert(title.clone()) {
                        mistakes.add_hint(
                            span,
                            "a second section of this name",
                            "corrections and reports name sections",
                        );
                    }
                    section = Some(title);
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
                    reader.block(&block, section.as_ref(), &mut draft, mistakes);
                }
            }
            _ => {}
        }
    }
    if reader.steps > STEPS_MAX {
        mistakes.add(0..0, format!("{} steps, {STEPS_MAX} at most", reader.steps));
    }
    draft
}

/// What a Markdown parser finds. A byte order mark in front, which some editors write, belongs to no heading.
pub(crate) fn events(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let skipped = text.len() - body.len();
    Parser::new(body).into_offset_iter().map(move |(event, range)| (event, range.start + skipped..range.end + skipped))
}

/// What is kept from block to block.
struct Reader<'t> {
    text: &'t str,
    lines: Lines,
    /// Variables that steps set for themselves, and in which line.
    set_in: HashMap<&'t str, u32>,
    steps: usize,
}

/// Numbers of lines, for offsets that grow.
struct Lines {
    offset: usize,
    number: u32,
}

impl Lines {
    fn number(&mut self, text: &str, offset: usize) -> u32 {
        if let Some(between) = text.get(self.offset..offset) {
            self.number += u32::try_from(between.matches('\n').count()).unwrap_or_default();
            self.offset = offset;
        }
        self.number
    }
}

struct Block {
    is_fenced: bool,
    span: Range<usize>,
    /// Its text, in pieces where it is indented.
    parts: Vec<Range<usize>>,
}

impl<'t> Reader<'t> {
    fn block(&mut self, block: &Block, section: Option<&String>, draft: &mut Draft, mistakes: &mut Mistakes) {
        let text = self.text;
        let first_line = block.span.start..line_end(text, block.span.start);
        if !block.is_fenced {
            mistakes.add_hint(
                first_line,
                "indented code is no step",
                "fence it: ```sh to run it, ```text to show it only",
            );
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
            mistakes.add_hint(
                language,
                format!("`{name}` blocks are not run"),
                "did you mean `sh`? `text` shows it only",
            );
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
        let lines = statements::block_lines(text, &block.parts);
        let (mut at, mut resumed, mut is_empty) = (0, 0, true);
        while at < lines.len() {
            let Some(statement) = statements::next(text, &lines[at..]) else {
                at += 1;
                continue;
            };
            is_empty = false;
            let is_unclosed = matches!(statement.open, Some(Open::Quote | Open::Parenthesis));
            let resumes = is_unclosed && resumed < RESUMED_MAX;
            resumed += usize::from(resumes);
            at += if resumes { 1 } else { statement.lines };
            self.statement(&statement, &pattern, draft, mistakes);
        }
        if is_empty {
            mistakes.add_hint(first_line, "an empty step", "write the command, or take the block out");
        }
    }

    fn statement(&mut self, statement: &Statement, pattern: &DraftStep, draft: &mut Draft, mistakes: &mut Mistakes) {
        let text = self.text;
        let span = statement.span();
        let first_line = span.start..line_end(text, span.start).min(span.end);
        let command = statement.text(text);
        let line = self.lines.number(text, span.start);
        // What is not run may never end, and leaves to people what they put in.
        let is_run = pattern.step.manual.is_none();
        match statement.open {
            Some(Open::Backslash | Open::Operator) => mistakes.add(span.clone(), "the last line goes on into nothing"),
            Some(Open::HereDocument) if is_run => mistakes.add_hint(
                first_line,
                "a here-document is not closed",
                "its last line is the word behind `<<`, alone and not indented",
            ),
            Some(Open::Block) if is_run && statement.keyword.is_none() => {
                mistakes.add_hint(first_line, "`{` is not closed", "close it in this block");
            }
            Some(Open::Quote | Open::Parenthesis) if is_run => mistakes.add_hint(
                first_line,
                "a quote or a parenthesis is not closed",
                "close it in this block; a line that goes on ends with `\\`",
            ),
            _ if is_run => {
                if let Some(objection) = object_to_step(&command) {
                    mistakes.add_hint(span.clone(), objection.message, objection.hint);
                }
            }
            _ => {}
        }
        if is_run {
            check_variables(text, statement, line, &mut self.set_in, mistakes);
        }
        let target = if is_run { check_placeholders(text, statement, mistakes) } else { None };
        let volume = volumes_named(&command).filter(|_| is_run).map(|value| Placed { value, span: span.clone() });
        self.steps += 1;
        if self.steps <= STEPS_MAX {
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
}

fn line_end(text: &str, from: usize) -> usize {
    let end = text[from..].find('\n').map_or(text.len(), |at| from + at);
    from + text[from..end].trim_end_matches('\r').len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::StepCondition;

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

    pub(super) fn mistakes_of(text: &str) -> Vec<String> {
        let mut mistakes = Mistakes::of("runbook.md");
        read(text, &mut mistakes);
        let place = |mistake: &crate::scenario::Mistake| text[..mistake.span.start].matches('\n').count() + 1;
        mistakes.into_sorted().iter().map(|mistake| format!("{}: {}", place(mistake), mistake.message)).collect()
    }

    #[test]
    fn carriage_returns_and_a_byte_order_mark_change_nothing() {
        let text = "# Book\n\n## Look\n\n```sh timeout=90s\nkubectl get pods -n a \\\n    -o wide\n\ncat <<'EOF'\nx\nEOF\ndate\n```\n";
        let unix: Vec<Step> = read_ok(text).into_iter().map(|draft| draft.step).collect();
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let windows: Vec<Step> = read_ok(&windows).into_iter().map(|draft| draft.step).collect();
        assert_eq!(windows, unix);
        assert_eq!(unix.iter().map(|step| step.line).collect::<Vec<_>>(), [6, 9, 12]);
        assert_eq!(unix[1].command, "cat <<'EOF'\nx\nEOF");
    }

    #[test]
    fn what_belongs_together_is_one_step() {
        let text = "# B\n```sh\nkubectl exec -i -n a <target-pod-1> -- sh <<'EOF'\nkubectl get pods\nfor i in <name>; do it's; done\nEOF\nkubectl get pods -n a |\n  grep x &&\n  date\npsql -c \"SELECT 1\n  FROM b\"\nPOD=$(kubectl get pods -n a -o name |\n  head -1); kubectl describe -n a $POD\n```\n";
        let steps = read_ok(text);
        let commands: Vec<_> = steps.iter().map(|draft| draft.step.command.as_str()).collect();
        assert_eq!(
            commands,
            [
                "kubectl exec -i -n a <target-pod-1> -- sh <<'EOF'\nkubectl get pods\nfor i in <name>; do it's; done\nEOF",
                "kubectl get pods -n a | grep x && date",
                "psql -c \"SELECT 1\n  FROM b\"",
                "POD=$(kubectl get pods -n a -o name | head -1); kubectl describe -n a $POD",
            ]
        );
        assert_eq!(steps[0].target.as_ref().map(|target| target.value), Some(1));
    }

    #[test]
    fn what_is_not_closed_is_refused_once() {
        let of = |lines: &str| mistakes_of(&format!("# B\n```sh\n{lines}\n```\n"));
        assert_eq!(of("cat <<EOF\nkubectl get pods\n EOF"), ["3: a here-document is not closed"]);
        assert_eq!(of("if true; then\n  kubectl get pods\nfi"), ["3: `if` begins a block"]);
        assert_eq!(of("f() {\n  kubectl get pods\n}"), ["3: defines a function"]);
        assert_eq!(of("echo a &&"), ["3: the last line goes on into nothing"]);
        assert_eq!(of("echo $(date"), ["3: a quote or a parenthesis is not closed"]);
    }
}
