//! Calls of helm that change nothing. Its templates run only where they are those of this checkout's own chart.

use super::super::chart::SHOW;
use super::Judge;
use super::flags::Kind::{File, Output, Switch, Text, Values, Word};
use super::flags::{self, Kind, Leaf, Parsed, Row};

/// Flags of all subcommands.
const GLOBAL: &[Row] = &[("namespace", 'n', Word)];

const GET: &[Row] = &[("output", 'o', Output), ("revision", ' ', Word), ("all", 'a', Switch)];
const LIST: &[Row] = &[
    ("output", 'o', Output),
    ("all", 'a', Switch),
    ("all-namespaces", 'A', Switch),
    ("filter", 'f', Text),
    ("max", 'm', Word),
    ("deployed", ' ', Switch),
    ("failed", ' ', Switch),
    ("pending", ' ', Switch),
    ("short", 'q', Switch),
    ("time-format", ' ', Text),
];
/// What only reads.
const READS: &[Leaf] = &[
    Leaf { path: "get values", args_max: 1, rows: GET },
    Leaf { path: "get manifest", args_max: 1, rows: &[("revision", ' ', Word)] },
    Leaf { path: "get notes", args_max: 1, rows: &[("revision", ' ', Word)] },
    Leaf { path: "get metadata", args_max: 1, rows: &[("output", 'o', Output), ("revision", ' ', Word)] },
    Leaf { path: "get all", args_max: 1, rows: &[("revision", ' ', Word)] },
    Leaf { path: "status", args_max: 1, rows: &[("output", 'o', Output), ("revision", ' ', Word)] },
    Leaf { path: "history", args_max: 1, rows: &[("output", 'o', Output), ("max", ' ', Word)] },
    Leaf { path: "list", args_max: 0, rows: LIST },
    Leaf { path: "ls", args_max: 0, rows: LIST },
    Leaf { path: "version", args_max: 0, rows: &[("short", ' ', Switch)] },
    Leaf { path: "show values", args_max: 1, rows: &[] },
];
/// An upgrade that helm and the API server are asked to only try.
const UPGRADE: &[Leaf] = &[Leaf {
    path: "upgrade",
    args_max: 2,
    rows: &[
        ("set", ' ', Values),
        ("set-string", ' ', Values),
        ("set-json", ' ', Values),
        ("set-literal", ' ', Values),
        ("values", 'f', File),
        ("install", 'i', Switch),
        ("reuse-values", ' ', Switch),
        ("reset-values", ' ', Switch),
        ("reset-then-reuse-values", ' ', Switch),
        ("timeout", ' ', Word),
        ("atomic", ' ', Switch),
        ("cleanup-on-fail", ' ', Switch),
        ("force", ' ', Switch),
        ("history-max", ' ', Word),
        ("no-hooks", ' ', Switch),
        ("skip-crds", ' ', Switch),
        ("description", ' ', Text),
    ],
}];
/// What `--set` and `--values` mean, shown by a chart of this program's own.
const TEMPLATE: &[Leaf] = &[Leaf {
    path: "template",
    args_max: 2,
    rows: &[
        ("set", ' ', Values),
        ("set-string", ' ', Values),
        ("set-json", ' ', Values),
        ("set-literal", ' ', Values),
        ("values", 'f', File),
    ],
}];

fn parsed(judge: &Judge, words: &[String], leaves: &[&'static [Leaf]]) -> Result<(&'static Leaf, Parsed), String> {
    let (leaf, rest) = flags::leaf(words, leaves, GLOBAL, false)?;
    let parsed = flags::parse(&rest, &[GLOBAL, leaf.rows], false)?;
    if parsed.args.len() > leaf.args_max {
        return Err(format!("`helm {}` with more arguments than are on the list", leaf.path));
    }
    if parsed.inner.is_some() {
        return Err("`--` in a call of helm".to_owned());
    }
    for (.., value) in parsed.flags.iter().filter(|(_, kind, _)| *kind == Kind::File) {
        judge.file_of_chart(value.as_deref().unwrap_or_default())?;
    }
    Ok((leaf, parsed))
}

/// A call that only reads.
pub(super) fn read(judge: &Judge, words: &[String]) -> Result<Vec<String>, String> {
    let (leaf, parsed) = parsed(judge, words, &[READS])?;
    if leaf.path == "show values" {
        judge.is_chart(parsed.args.first().map_or("", String::as_str))?;
    }
    Ok(parsed.argv(leaf.path, &[]))
}

/// An upgrade to this checkout's chart that is only tried.
pub(super) fn dry_run(judge: &Judge, words: &[String]) -> Result<Vec<String>, String> {
    let (leaf, parsed) = parsed(judge, words, &[UPGRADE])?;
    judge.is_chart(parsed.args.get(1).map_or("", String::as_str))?;
    Ok(parsed.argv(leaf.path, &["--hide-notes", "--dry-run=server"]))
}

/// The chart that shows its values.
pub(super) fn show(judge: &Judge, words: &[String]) -> Result<Vec<String>, String> {
    let (leaf, parsed) = parsed(judge, words, &[TEMPLATE])?;
    match parsed.args.get(1).map(String::as_str) {
        Some(SHOW) => Ok(parsed.argv(leaf.path, &[])),
        _ => Err("a template of another chart".to_owned()),
    }
}
