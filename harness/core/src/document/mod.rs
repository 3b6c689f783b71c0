//! The commands of any runbook with their places in the file, and what was found to be wrong with them.
//!
//! [`read`] takes Markdown, where commands stand in code blocks, and plain text, also where its line breaks were lost on
//! the way, so that a command runs into the sentence or the command after it.

mod claims;
mod markdown;
mod plain;
mod report;
mod sure;

pub use report::{Corrected, Finding, FindingKind, Lines, Report, Unchecked, position};

use crate::statements::Joint;
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
    /// What may be commands and was not read as such, in the order of the file.
    pub not_read: Vec<NotRead>,
}

/// A piece of a runbook of which it is not sure whether it is a command, or what it is as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRead {
    /// Where it is, in bytes of the file.
    pub span: Range<usize>,
    /// Why it was not read, as a lower-case fragment.
    pub reason: String,
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
    /// The command, its lines joined as a shell joins them.
    pub text: String,
    /// Where each of its pieces stands: the offset in [`Written::text`], and the place in the file.
    pieces: Vec<(usize, Range<usize>)>,
    is_in_file: bool,
    /// Whether an exit code other than 0 is as good, as the runbook says.
    pub any_exit: bool,
    /// What the runbook says that it shows.
    pub claims: Vec<Claim>,
}

impl Written {
    fn new(language: Language, file: &str, lines: &[Range<usize>]) -> Self {
        let lines = lines.iter().filter(|line| !line.is_empty());
        Self::of_pieces(language, file, lines.map(|line| (Joint::Space, line.clone())))
    }

    fn of_pieces(language: Language, file: &str, pieces: impl Iterator<Item = (Joint, Range<usize>)>) -> Self {
        let mut written = Self {
            language,
            section: String::new(),
            text: String::new(),
            pieces: Vec::new(),
            is_in_file: true,
            any_exit: false,
            claims: Vec::new(),
        };
        for (joint, piece) in pieces {
            if !written.pieces.is_empty() {
                written.text.push_str(match joint {
                    Joint::None => "",
                    Joint::Space => " ",
                    Joint::Newline => "\n",
                });
            }
            written.pieces.push((written.text.len(), piece.clone()));
            written.text.push_str(&file[piece]);
        }
        written
    }

    /// The place in the file of a piece of [`Written::text`].
    pub fn place(&self, piece: Range<usize>) -> Range<usize> {
        let at = |offset: usize, is_end: bool| {
            let before = |(start, _): &(usize, Range<usize>)| *start < offset || (*start == offset && !is_end);
            let (start, place) = self.pieces.get(self.pieces.partition_point(before).saturating_sub(1))?;
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
        Self {
            text: text.to_owned(),
            pieces,
            is_in_file: false,
            any_exit: false,
            claims: shows.into_iter().collect(),
            ..self.clone()
        }
    }

    /// Whether each of its words has a place of its own.
    pub fn is_in_file(&self) -> bool {
        self.is_in_file
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
    let (commands, mentions, not_read) = match lower.ends_with(".md") || lower.ends_with(".markdown") {
        true => {
            let (commands, not_read) = markdown::commands(text);
            (commands, Vec::new(), not_read)
        }
        false => plain::commands(text),
    };
    Document { file: file.to_owned(), text: text.to_owned(), commands, mentions, not_read }
}

/// Whether a line begins with the name of a program that runbooks use.
fn begins_with_program(text: &str) -> bool {
    let length = text.find(char::is_whitespace).unwrap_or(text.len());
    PROGRAMS.contains(&&text[..length]) && !text[length..].starts_with(['\n', '\r']) && length < text.len()
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

    fn texts(document: &Document) -> Vec<&str> {
        document.commands.iter().map(|command| command.text.as_str()).collect()
    }

    fn skipped(document: &Document) -> Vec<(usize, usize, &str)> {
        let line = |offset| position(&document.text, offset).0;
        document
            .not_read
            .iter()
            .map(|piece| (line(piece.span.start), line(piece.span.end), piece.reason.as_str()))
            .collect()
    }

    #[test]
    fn carriage_returns_change_no_command_and_no_place() {
        let markdown = "# Book\n\n## Look\n\n```sh expect='2/2'\nkubectl get pods \\\n  -n a # all\n# should show 2/2\n\nkubectl apply -f - <<EOF\nkind: Pod\nEOF\ndate\n```\n\n- in a list:\n\n  ```console\n  $ helm list \\\n  > -n a\n  NAME\n  ```\n\n```sql\nSELECT a\nFROM b;\n```\n";
        let plain = "Look first.\nkubectl get pods -n a \\\n  --tail=5\n# should show 1/1\nhelm list\n";
        for (name, text) in [("a.md", markdown), ("a.txt", plain), ("glued.txt", GLUED)] {
            let windows = text.replace('\n', "\r\n");
            let (unix, windows) = (read(name, text), read(name, &windows));
            let places = |document: &Document| {
                let place = |command: &Written| {
                    (position(&document.text, command.span().start), position(&document.text, command.span().end))
                };
                document.commands.iter().map(place).collect::<Vec<_>>()
            };
            assert_eq!(texts(&windows), texts(&unix), "{name}");
            assert_eq!(places(&windows), places(&unix), "{name}");
            assert_eq!(skipped(&windows), skipped(&unix), "{name}");
            let claims =
                |document: &Document| document.commands.iter().map(|command| command.claims.len()).collect::<Vec<_>>();
            assert_eq!(claims(&windows), claims(&unix), "{name}");
        }
    }

    #[test]
    fn what_is_not_surely_a_command_is_not_read() {
        let text = "# Pods are lost\n\n```bash\nkubectl get pods -n a\nNAME     READY   STATUS\nnats-0   1/1     Running\n\ncat <<EOF | kubectl apply -f -\napiVersion: v1\nkind: Pod\nEOF\nfor a in 1 2; do\n  kubectl delete pod $a\ndone\npsql -c \"SELECT a\n  FROM b\"\nkind: Pod\nSELECT 1;\nkubectl logs <name of the pod> -n a\n```\n\n```\n$ oc get pods\nNAME   READY\n$ oc debug node/x\n# top -b\nchroot /host\n$ df -h\n$ exit\n$ oc get nodes\n```\n\n```\nsome words of a log\n```\n\n```yaml\nkind: Pod\n```\n";
        let document = read("a.md", text);
        assert_eq!(
            texts(&document),
            [
                "kubectl get pods -n a",
                "psql -c \"SELECT a\n  FROM b\"",
                "oc get pods",
                "oc debug node/x",
                "oc get nodes"
            ]
        );
        assert_eq!(
            skipped(&document),
            [
                (5, 5, "its first word is not the name of a program"),
                (6, 6, "it looks like the row of a table, not like a command"),
                (8, 11, "a here-document: its lines are the input of a program"),
                (12, 14, "`if`, `for` or the like: which of its commands run is not known"),
                (17, 17, "it looks like a setting, not like a command"),
                (18, 18, "it looks like SQL, not like a command"),
                (19, 19, "a placeholder in it has spaces, which a shell reads as a file's name"),
                (28, 28, "it runs in the session that a command before it opens"),
                (34, 34, "no language says what the block is, and no line begins with a prompt or a known program"),
            ]
        );
        let plain = read("a.txt", "kubectl apply -f - <<EOF\nkubectl is no command here\nEOF\nkubectl get pods -n a\n");
        assert_eq!(texts(&plain), ["kubectl get pods -n a"]);
        assert_eq!(skipped(&plain), [(1, 3, "a here-document: its lines are the input of a program")]);
    }

    /// Texts that make a reader go over the same characters again and again, unless it takes care not to.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a bound on the time is what is tested")]
    fn a_large_file_is_read_in_no_time() {
        let of = |piece: &str, bytes: usize| piece.repeat(bytes / piece.len());
        let fenced = |piece: &str, bytes: usize| format!("# B\n\n```sh\n{}\n```\n", of(piece, bytes));
        let pieces = [
            "a ",
            "aA",
            "kubectl get ",
            "kubectl get pods -n a\n",
            "'",
            "$(",
            "<",
            "<<EOF\n",
            "`",
            "# SELECT a\n",
            "# SELECT a;\n",
            "# SELECT ",
            "\\\n",
            "cat <<E\nE\n",
            "$ kubectl get x\n",
            "a |\n",
            "{",
            "(",
            "${a",
            "\n",
            "kubectl x '<<' ",
            "    ",
            "case a in\n",
            "# ",
            "\\ ",
            "x <a>",
        ];
        for piece in pieces {
            for (name, text) in
                [("a.txt", of(piece, 1 << 17)), ("a.md", fenced(piece, 1 << 17)), ("b.md", of(piece, 1 << 17))]
            {
                let began = std::time::Instant::now();
                read(name, &text);
                let took = began.elapsed();
                assert!(took < std::time::Duration::from_secs(5), "{name} of {piece:?}: {took:?}");
            }
        }
        let fences = "```sh\nkubectl get pods -n a\n```\n\n".repeat(1 << 13);
        assert_eq!(read("a.md", &fences).commands.len(), 1 << 13);
    }
}
