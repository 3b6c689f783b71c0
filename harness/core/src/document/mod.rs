//! The commands of any runbook with their places in the file, and what was found to be wrong with them.
//!
//! [`read`] takes Markdown, where commands stand in code blocks, and plain text, also where its line breaks were lost on
//! the way, so that a command runs into the sentence or the command after it.

mod claims;
mod markdown;
mod plain;
mod report;

pub use report::{Corrected, Finding, FindingKind, Report, Unchecked, position};

use std::ops::Range;

/// A runbook as a text with commands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The file, as its reader named it.
    pub file: String,
    /// All of it.
    pub text: String,
    /// Its commands, in the order of the file.
    pub commands: Vec<Written>,
    /// Commands that are named in the middle of a sentence: where they end cannot be known.
    pub mentions: Vec<Range<usize>>,
}

/// What a command is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A shell.
    Shell,
    /// What an operator types into psql.
    Sql,
}

/// A command as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What it is written in.
    pub language: Language,
    /// The heading it stands under; empty in plain text.
    pub section: String,
    /// The command, its lines joined by one space.
    pub text: String,
    /// Where each of its pieces stands: the offset in [`Written::text`], and the place in the file.
    pieces: Vec<(usize, Range<usize>)>,
    /// Whether an exit code other than 0 is as good, as the runbook says.
    pub any_exit: bool,
    /// What the runbook says that it shows.
    pub claims: Vec<Claim>,
}

impl Written {
    fn new(language: Language, file: &str, lines: &[Range<usize>]) -> Self {
        let mut written = Self {
            language,
            section: String::new(),
            text: String::new(),
            pieces: Vec::new(),
            any_exit: false,
            claims: Vec::new(),
        };
        for line in lines.iter().filter(|line| !line.is_empty()) {
            if !written.text.is_empty() {
                written.text.push(' ');
            }
            written.pieces.push((written.text.len(), line.clone()));
            written.text.push_str(&file[line.clone()]);
        }
        written
    }

    /// The place in the file of a piece of [`Written::text`].
    pub fn place(&self, piece: Range<usize>) -> Range<usize> {
        let at = |offset: usize, is_end: bool| {
            let before = |(start, _): &&(usize, Range<usize>)| *start < offset || (*start == offset && !is_end);
            let (start, place) = self.pieces.iter().rev().find(before).or(self.pieces.first())?;
            Some((place.start + offset.saturating_sub(*start)).min(place.end))
        };
        let start = at(piece.start, false).unwrap_or_default();
        start..at(piece.end, true).unwrap_or_default().max(start)
    }

    /// Where it stands in the file, from its first character to its last.
    pub fn span(&self) -> Range<usize> {
        self.place(0..self.text.len())
    }

    /// The same with another text, which is in no file: all of it is at this one's place.
    #[must_use]
    pub fn replaced(&self, text: &str, expect: Option<&str>) -> Self {
        let shows = expect.map(|text| Claim { span: self.span(), kind: ClaimKind::Expects(text.to_owned()) });
        let pieces = vec![(0, self.span())];
        Self { text: text.to_owned(), pieces, any_exit: false, claims: shows.into_iter().collect(), ..self.clone() }
    }

    /// Whether each of its words has a place of its own.
    pub fn is_in_file(&self) -> bool {
        self.pieces.iter().map(|(_, place)| place.len()).sum::<usize>() + self.pieces.len() == self.text.len() + 1
    }
}

/// What a runbook says that a command shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where it says so.
    pub span: Range<usize>,
    /// What.
    pub kind: ClaimKind,
}

/// What a command shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimKind {
    /// What a step expects: it may be something that only a fault brings about.
    Expects(String),
    /// What all is well with.
    Shows(String),
    /// What is shown while it is not.
    ShowsFirst(String),
    /// A field and its value.
    Equals(String, String),
}

/// Programs that a line of a block without a language may begin with to be a command.
const PROGRAMS: [&str; 13] = [
    "kubectl",
    "helm",
    "ironflow",
    "hcloud",
    "terraform",
    "psql",
    "nats",
    "curl",
    "cilium",
    "talosctl",
    "jq",
    "docker",
    "kind",
];

/// Finds the commands of a runbook. A file whose name ends in `.md` or `.markdown` is Markdown, any other plain text.
pub fn read(file: &str, text: &str) -> Document {
    let lower = file.to_ascii_lowercase();
    let (commands, mentions) = match lower.ends_with(".md") || lower.ends_with(".markdown") {
        true => (markdown::commands(text), Vec::new()),
        false => plain::commands(text),
    };
    Document { file: file.to_owned(), text: text.to_owned(), commands, mentions }
}

/// Whether a line begins with the name of a program that runbooks use.
fn begins_with_program(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    PROGRAMS.contains(&word) && line.len() > word.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A text in the manner of a page whose line breaks were lost.
    const GLUED: &str = include_str!("../../../../fixtures/runbooks/glued.txt");

    proptest! {
        #[test]
        fn places_lie_in_the_text(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "kubectl get pods -n a", "# ", "```sh\n", "```", "\n", " \\\n", "\\ --set x=1Gi", "If so, ", "é—",
                "helm upgrade a ./b", "'", "\"", "SELECT a FROM b;", " | grep x", "$ ", "<pod>", "## Head\n", "# SELECT 1;",
                "should equal 2", "from \"A\" to \"B\"", "--tail=50", "psql -c \"", ". ", "    ",
            ]), 0..24),
            name in prop::sample::select(vec!["a.md", "a.txt"]),
        ) {
            let text = pieces.concat();
            let document = read(name, &text);
            for command in &document.commands {
                prop_assert!(text.get(command.span()).is_some());
                prop_assert!(!command.text.trim().is_empty());
                for claim in &command.claims {
                    prop_assert!(text.get(claim.span.clone()).is_some());
                }
                for word in crate::shell::simple_commands(&command.text).into_iter().flatten().flat_map(|one| one.words) {
                    let place = command.place(word.span.clone());
                    prop_assert!(text.get(place.clone()).is_some());
                    if !command.text[word.span.clone()].contains(' ') {
                        prop_assert_eq!(&text[place], &command.text[word.span]);
                    }
                }
            }
            for pair in document.commands.windows(2) {
                prop_assert!(pair[0].span().end <= pair[1].span().start, "{:?}", pair);
            }
            for mention in &document.mentions {
                prop_assert!(text.get(mention.clone()).is_some());
            }
        }

        #[test]
        fn commands_that_run_into_each_other_are_taken_apart(
            count in 1usize..6,
            ends in prop::collection::vec(prop::sample::select(vec![
                "", "Look at the reasons first. ", "# 2. Then the next", "If that helps, go on: ", "Option B: ",
            ]), 6),
        ) {
            let all = ["kubectl get pods -n a --tail=50", "helm upgrade a ./b --set x.y=5Gi", "kubectl describe pod a-1"];
            let wanted: Vec<_> = (0..count).map(|at| all[at % all.len()]).collect();
            let text: String = wanted.iter().zip(&ends).map(|(command, end)| format!("{command}{end}")).collect();
            // A space before a command is the middle of a sentence.
            let text = text.replace(": kubectl", ":kubectl").replace(": helm", ":helm");
            let text = text.replace(". kubectl", ".kubectl").replace(". helm", ".helm");
            let found: Vec<_> = read("a.txt", &text).commands.into_iter().map(|command| command.text).collect();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn a_text_without_line_breaks_is_read_as_it_was_meant() {
        let document = read("glued.txt", GLUED);
        let mut shown = String::new();
        for command in &document.commands {
            let (line, column) = position(GLUED, command.span().start);
            shown.push_str(&format!("{line}:{column} {:?} {}\n", command.language, command.text));
            for claim in &command.claims {
                shown.push_str(&format!("    {:?}\n", claim.kind));
            }
        }
        for mention in &document.mentions {
            let (line, column) = position(GLUED, mention.start);
            shown.push_str(&format!("{line}:{column} mentioned: {}\n", &GLUED[mention.clone()]));
        }
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn markdown_has_its_commands_in_blocks() {
        let text = "# Book\n\n## 1. Look\n\n```sh expect='2/2' exit=any\nkubectl get pods \\\n  -n a # all\n# STATUS should go from \"A b\" to \"C d\"\n```\n\n```console\n$ helm list\nNAME\n```\n\n```text\nkubectl delete pvc x\nnot this\n```\n\n```sql\nSELECT 1;\nSELECT a\nFROM b;\n```\n";
        let found = read("a.md", text).commands;
        let texts: Vec<_> = found.iter().map(|command| command.text.as_str()).collect();
        assert_eq!(
            texts,
            ["kubectl get pods -n a # all", "helm list", "kubectl delete pvc x", "SELECT 1", "SELECT a FROM b"]
        );
        assert_eq!((found[0].section.as_str(), found[0].any_exit), ("1. Look", true));
        let kinds: Vec<_> = found[0].claims.iter().map(|claim| claim.kind.clone()).collect();
        let said = |text: &str| text.to_owned();
        assert_eq!(
            kinds,
            [ClaimKind::Expects(said("2/2")), ClaimKind::ShowsFirst(said("A b")), ClaimKind::Shows(said("C d"))]
        );
        let word = found[0].text.find("-n").unwrap();
        assert_eq!(&text[found[0].place(word..word + 4)], "-n a");
        assert!(found[0].is_in_file() && !found[0].replaced("date", None).is_in_file());
    }
}
