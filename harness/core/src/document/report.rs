//! What a check of a runbook found.

use serde::Serialize;
use std::ops::Range;

/// What kind of thing cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A flag that the program does not know, or a value that it does not take.
    UnknownFlag,
    /// A subcommand that the program does not know.
    UnknownSubcommand,
    /// A program that is not where the command runs.
    MissingProgram,
    /// An object, or a kind of object, that the cluster does not have.
    MissingObject,
    /// A label selector that matches nothing.
    NoMatch,
    /// A container that the pod does not have.
    MissingContainer,
    /// SQL that the database does not understand: no such table or column.
    WrongSql,
    /// A stream that JetStream does not have.
    MissingStream,
    /// A value that the chart does not know.
    UnknownValue,
    /// A file that is not there.
    MissingFile,
    /// A field that cannot be changed.
    Unchangeable,
    /// A login that fails.
    FailedLogin,
    /// A text that the command does not show on a healthy cluster.
    NotShown,
    /// A command that fails for another reason.
    Fails,
    /// A correction of a command that works.
    #[serde(rename = "correction-not-needed")]
    NotNeeded,
}

impl FindingKind {
    /// All of them.
    pub const ALL: [FindingKind; 15] = [
        FindingKind::UnknownFlag,
        FindingKind::UnknownSubcommand,
        FindingKind::MissingProgram,
        FindingKind::MissingObject,
        FindingKind::NoMatch,
        FindingKind::MissingContainer,
        FindingKind::WrongSql,
        FindingKind::MissingStream,
        FindingKind::UnknownValue,
        FindingKind::MissingFile,
        FindingKind::Unchangeable,
        FindingKind::FailedLogin,
        FindingKind::NotShown,
        FindingKind::Fails,
        FindingKind::NotNeeded,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::UnknownFlag => "unknown-flag",
            FindingKind::UnknownSubcommand => "unknown-subcommand",
            FindingKind::MissingProgram => "missing-program",
            FindingKind::MissingObject => "missing-object",
            FindingKind::NoMatch => "no-match",
            FindingKind::MissingContainer => "missing-container",
            FindingKind::WrongSql => "wrong-sql",
            FindingKind::MissingStream => "missing-stream",
            FindingKind::UnknownValue => "unknown-value",
            FindingKind::MissingFile => "missing-file",
            FindingKind::Unchangeable => "unchangeable",
            FindingKind::FailedLogin => "failed-login",
            FindingKind::NotShown => "not-shown",
            FindingKind::Fails => "fails",
            FindingKind::NotNeeded => "correction-not-needed",
        }
    }

    /// What it means, in a sentence.
    pub fn about(self) -> &'static str {
        match self {
            FindingKind::UnknownFlag => "the program does not know the flag, or does not take its value",
            FindingKind::UnknownSubcommand => "the program does not know the subcommand",
            FindingKind::MissingProgram => "the program is not where the command runs",
            FindingKind::MissingObject => "the cluster does not have the object or its kind",
            FindingKind::NoMatch => "the label selector matches nothing on a healthy cluster",
            FindingKind::MissingContainer => "the pod does not have the container",
            FindingKind::WrongSql => "the database does not understand the statement",
            FindingKind::MissingStream => "JetStream does not have the stream",
            FindingKind::UnknownValue => "the chart does not know the value, and helm ignores it without a word",
            FindingKind::MissingFile => "the file is not there",
            FindingKind::Unchangeable => "the field cannot be changed",
            FindingKind::FailedLogin => "the login fails",
            FindingKind::NotShown => "a healthy cluster does not show the text",
            FindingKind::Fails => "the command fails on a healthy cluster",
            FindingKind::NotNeeded => "the corrected command works as documented",
        }
    }
}

/// Something in a runbook that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind.
    pub kind: FindingKind,
    /// The piece meant, in bytes of the file.
    pub span: Range<usize>,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to do about it, where that can be said.
    pub hint: Option<String>,
    /// The scenario's correction of the command, where it has one: then this is known drift and no failure.
    pub corrected: Option<Corrected>,
}

/// What a scenario runs instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Corrected {
    /// The command.
    pub instead: String,
    /// Why.
    pub because: String,
}

/// A command, or a part of it, that could not be checked. It counts neither as right nor as wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unchecked {
    /// The piece meant, in bytes of the file.
    pub span: Range<usize>,
    /// Why, as a lower-case fragment.
    pub reason: String,
    /// What stands in for it, where something does.
    pub stand_in: Option<String>,
}

/// What a check of one file found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file, as its reader named it.
    pub file: String,
    /// How many commands it has.
    pub commands: usize,
    /// Of those, the ones without a finding of which nothing is left unchecked.
    pub checked: usize,
    /// What cannot work, in the order of the file.
    pub findings: Vec<Finding>,
    /// What could not be checked, in the order of the file.
    pub unchecked: Vec<Unchecked>,
}

impl Report {
    /// The findings that no correction covers.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.corrected.is_none())
    }
}

/// Where the lines of a text begin, for many questions about places in it.
#[derive(Clone, Debug)]
pub struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    /// Those of `text`.
    pub fn of(text: &str) -> Self {
        let behind = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(behind).collect() }
    }

    /// The line of an offset, from 1.
    pub fn number(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }
}

/// The line and the column of an offset, both from 1; columns count characters. An offset beyond the end is the end's.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let text = "a\néb\n";
        assert_eq!(
            [0, 1, 2, 4, 5, 6, 99].map(|at| position(text, at)),
            [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1), (3, 1)]
        );
        assert_eq!(position(text, 3), (2, 1));
    }

    #[test]
    fn lines_know_their_numbers() {
        let text = "a\néb\n";
        let lines = Lines::of(text);
        for offset in 0..=text.len() {
            assert_eq!(lines.number(offset), position(text, offset).0);
        }
    }

    #[test]
    fn every_kind_is_named_as_it_is_written_in_json() {
        for kind in FindingKind::ALL {
            let named = serde_json::to_value(kind).unwrap() == kind.name();
            assert!(named, "{kind:?}");
        }
    }
}
