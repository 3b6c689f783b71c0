//! Flags as kubectl and helm read them (pflag), against a list, and written again in the one form that has one meaning:
//! `--name=value`. The written form does not depend on whether the list and the installed program agree on which flags
//! take a value.

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, or `=true` and `=false`.
    Switch,
    /// Any text.
    Text,
    /// A name, a number, a time or a path without anything special.
    Word,
    /// A value only behind an equals sign.
    Optional,
    /// How kubectl prints what it got: not by a file.
    Output,
    /// A switch that is left out: it would read this side's input or ask for a terminal.
    Dropped,
    /// Values of a chart: not a template.
    Values,
    /// A file of the chart.
    File,
    /// The standard input, `-`.
    Input,
}

/// A flag: its long name, its letter or `' '`, what it takes.
pub(super) type Row = (&'static str, char, Kind);

/// A subcommand that may be run, with its flags and how many arguments it may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) path: &'static str,
    pub(super) rows: &'static [Row],
    pub(super) args_max: usize,
}

/// A call that has only flags of its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) flags: Vec<(&'static str, Kind, Option<String>)>,
    pub(super) args: Vec<String>,
    /// What stands behind `--`.
    pub(super) inner: Option<Vec<String>>,
}

/// Takes the subcommand off a call's words. Before it only `global` flags may stand.
pub(super) fn leaf(
    words: &[String],
    leaves: &[&'static [Leaf]],
    global: &[Row],
    folds: bool,
) -> Result<(&'static Leaf, Vec<String>), String> {
    let (mut rest, mut path) = (words.to_vec(), String::new());
    loop {
        let at = first_argument(&rest, global, folds)?;
        let name = rest.remove(at);
        path = if path.is_empty() { name } else { format!("{path} {name}") };
        let mut all = leaves.iter().copied().flatten();
        if let Some(leaf) = all.find(|leaf| leaf.path == path) {
            return Ok((leaf, rest));
        }
        let longer = format!("{path} ");
        if !leaves.iter().copied().flatten().any(|leaf| leaf.path.starts_with(&longer)) {
            return Err(format!("`{path}` is not on the list of read-only commands"));
        }
    }
}

fn first_argument(words: &[String], global: &[Row], folds: bool) -> Result<usize, String> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word == "--" || !word.starts_with('-') || word == "-" {
            break;
        }
        let mut parsed = Parsed { flags: Vec::new(), args: Vec::new(), inner: None };
        at = one(words, at, &[global], folds, &mut parsed)?;
    }
    match words.get(at) {
        Some(word) if word != "--" && word != "-" => Ok(at),
        _ => Err("there is no subcommand".to_owned()),
    }
}

/// Reads the words behind a subcommand. `folds` says that `_` in a flag's name reads as `-`.
pub(super) fn parse(words: &[String], rows: &[&[Row]], folds: bool) -> Result<Parsed, String> {
    let mut parsed = Parsed { flags: Vec::new(), args: Vec::new(), inner: None };
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word == "--" {
            parsed.inner = Some(words[at + 1..].to_vec());
            break;
        }
        if word == "-" {
            return Err("`-` reads the standard input".to_owned());
        }
        if word.starts_with('-') {
            at = one(words, at, rows, folds, &mut parsed)?;
        } else {
            parsed.args.push(plain(word)?.to_owned());
            at += 1;
        }
    }
    Ok(parsed)
}

/// Reads the flag or the letters at `at`; where the next word is.
fn one(words: &[String], at: usize, rows: &[&[Row]], folds: bool, parsed: &mut Parsed) -> Result<usize, String> {
    let word = plain(&words[at])?;
    let mut next = at + 1;
    let all = || rows.iter().copied().flatten();
    let mut following = |name: &str| {
        let value = words.get(next).ok_or_else(|| format!("`{name}` has no value"))?;
        next += 1;
        plain(value).map(str::to_owned)
    };
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let name = if folds { name.replace('_', "-") } else { name.to_owned() };
        let Some(row) = all().find(|row| row.0 == name) else { return Err(unlisted(&format!("--{name}"))) };
        let value = match (row.2, value) {
            (Kind::Switch | Kind::Dropped | Kind::Optional, value) => value,
            (_, None) => Some(following(word)?),
            (_, value) => value,
        };
        keep(row, value, parsed)?;
        return Ok(next);
    }
    for (offset, letter) in word[1..].char_indices() {
        let rest = &word[1 + offset + letter.len_utf8()..];
        let Some(row) = all().find(|row| row.1 == letter && letter != ' ') else {
            return Err(unlisted(&format!("-{letter}")));
        };
        let value = match rest.strip_prefix('=') {
            Some("") => return Err(format!("`{word}` has an empty value")),
            Some(value) => Some(value.to_owned()),
            None if matches!(row.2, Kind::Switch | Kind::Dropped | Kind::Optional) => {
                keep(row, None, parsed)?;
                continue;
            }
            None if rest.is_empty() => Some(following(word)?),
            None => Some(rest.to_owned()),
        };
        keep(row, value, parsed)?;
        break;
    }
    Ok(next)
}

fn unlisted(flag: &str) -> String {
    format!("`{flag}` is not on the list of read-only flags")
}

fn keep(row: &Row, value: Option<String>, parsed: &mut Parsed) -> Result<(), String> {
    let (name, _, kind) = *row;
    let bad = |why: &str| Err(format!("`--{name}={}`: {why}", value.as_deref().unwrap_or_default()));
    match (kind, value.as_deref()) {
        (Kind::Dropped, None | Some("true" | "false")) => return Ok(()),
        (Kind::Switch, None | Some("true" | "false")) | (Kind::Optional, None) => {}
        (Kind::Switch | Kind::Dropped, _) => return bad("neither true nor false"),
        (Kind::Word | Kind::Optional, Some(text)) if text.chars().all(is_simple) => {}
        (Kind::Word | Kind::Optional, _) => return bad("not a simple word"),
        (Kind::Output, Some(text)) if !is_output(text) => return bad("this output format is not on the list"),
        (Kind::Values, Some(text)) if is_template(text) => {
            return bad("it may be a template, which the chart would run");
        }
        (Kind::Input, text) if text != Some("-") => return bad("a file"),
        _ => {}
    }
    parsed.flags.push((name, kind, value));
    Ok(())
}

/// A word that no program can take for something else than text.
pub(super) fn plain(word: &str) -> Result<&str, String> {
    match word.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("a control character ({})", c.escape_debug())),
        None => Ok(word),
    }
}

fn is_simple(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c)
}

fn is_output(text: &str) -> bool {
    const FORMATS: [&str; 5] = ["json", "yaml", "wide", "name", "table"];
    const TEMPLATES: [&str; 4] = ["jsonpath=", "jsonpath-as-json=", "custom-columns=", "go-template="];
    FORMATS.contains(&text) || TEMPLATES.iter().any(|begins| text.starts_with(begins))
}

/// Whether a chart that runs its values as templates (`tpl`) would find one, however the value is escaped.
fn is_template(text: &str) -> bool {
    text.replace('\\', "").contains("{{") || text.contains("\\u") || text.contains("\\x")
}

impl Parsed {
    pub(super) fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(known, ..)| *known == name)
    }

    /// The values of a flag, in their order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.flags.iter().filter(move |(known, ..)| *known == name).filter_map(|(.., value)| value.as_deref())
    }

    /// The arguments of the program: subcommand, flags, ours behind them, arguments, and what stands behind `--`.
    pub(super) fn argv(&self, path: &str, ours: &[&str]) -> Vec<String> {
        let mut argv: Vec<String> = path.split(' ').map(str::to_owned).collect();
        argv.extend(self.flags.iter().map(|(name, _, value)| match value {
            Some(value) => format!("--{name}={value}"),
            None => format!("--{name}"),
        }));
        argv.extend(ours.iter().map(|&flag| flag.to_owned()));
        argv.extend(self.args.iter().cloned());
        if let Some(inner) = &self.inner {
            argv.push("--".to_owned());
            argv.extend(inner.iter().cloned());
        }
        argv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &[Row] = &[
        ("namespace", 'n', Kind::Word),
        ("stdin", 'i', Kind::Dropped),
        ("quiet", 'q', Kind::Switch),
        ("output", 'o', Kind::Output),
        ("cascade", ' ', Kind::Optional),
    ];

    fn written(text: &str) -> Result<String, String> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        Ok(parse(&words, &[ROWS], true)?.argv("x", &["--ours"]).join(" "))
    }

    #[test]
    fn every_spelling_has_one_form() {
        for (text, wanted) in [
            ("-na b", "x --namespace=a --ours b"),
            ("b -n a", "x --namespace=a --ours b"),
            ("-n=a", "x --namespace=a --ours"),
            ("--namespace a", "x --namespace=a --ours"),
            ("-qina", "x --quiet --namespace=a --ours"),
            ("-q=false", "x --quiet=false --ours"),
            ("--cascade orphan", "x --cascade --ours orphan"),
            ("--cascade=orphan -- -n", "x --cascade=orphan --ours -- -n"),
            ("-n --quiet", "x --namespace=--quiet --ours"),
        ] {
            assert_eq!(written(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_not_listed_is_refused() {
        for text in [
            "--kubeconfig=x",
            "--help",
            "-h",
            "-h=false",
            "--help=false",
            "-qh",
            "--name_space=a",
            "--names=a",
            "-q=",
            "-q=1",
            "-",
            "-n",
            "--dry_run=none",
            "-o=go-template-file=x",
            "-ojsonpath-file=x",
            "-o custom-columns-file=x",
            "---n=a",
            "--=x",
            "-n a\u{7}",
            "-é",
        ] {
            assert!(written(text).is_err(), "{text}");
        }
    }
}
