//! The gate: says of a program with its arguments whether it may be run, because it changes nothing.
//!
//! Every program that a check runs goes through here, no matter who composed its arguments. Only this module can make an
//! [`AllowedCall`], and nothing else can be run. Programs get the arguments as they were judged, and no shell reads them. A program
//! that is on no list is not run. The lists name subcommands, flags and allowed values.

mod filters;
mod flags;
mod helm;
mod inside;
mod known;
mod kubectl;

pub(super) use inside::{PREPARE, READ_ONLY, WHERE};

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program with the arguments that it may be run with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AllowedCall {
    name: &'static str,
    program: Option<PathBuf>,
    argv: Vec<String>,
}

impl AllowedCall {
    /// What it is called in a runbook.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Where it is; `None` where this machine does not have it.
    pub(super) fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    /// Its arguments.
    pub(super) fn argv(&self) -> &[String] {
        &self.argv
    }

    /// Whether it talks to the cluster; otherwise it only filters.
    pub(super) fn asks_cluster(&self) -> bool {
        matches!(self.name, "kubectl" | "helm")
    }
}

/// A part of a command that only reads.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// What `echo` prints.
    Echo(String),
    /// A program.
    Run(AllowedCall),
}

/// What the judgement stands on.
#[derive(Debug)]
pub(super) struct Judge {
    programs: BTreeMap<&'static str, PathBuf>,
    /// Folders in which programs are looked for.
    path: Vec<PathBuf>,
    directory: PathBuf,
    /// The chart, without symbolic links.
    chart: Option<PathBuf>,
    /// Namespaces that the cluster has.
    pub(super) namespaces: BTreeSet<String>,
}

impl Judge {
    /// Looks up every program once, in the folders of `path`. Commands run in `directory`, in which the chart is.
    pub(super) fn new(path: &OsStr, directory: &Path, chart: Option<&str>) -> Self {
        let path: Vec<PathBuf> = std::env::split_paths(path).filter(|folder| folder.is_absolute()).collect();
        let names = ["kubectl", "helm"].into_iter().chain(filters::PROGRAMS);
        let programs = names.filter_map(|name| Some((name, find(&path, name)?))).collect();
        let chart = chart.and_then(|chart| directory.join(chart).canonicalize().ok());
        Self { programs, path, directory: directory.to_owned(), chart, namespaces: BTreeSet::new() }
    }

    /// Whether this machine has a program. `None` where that is not looked for: it is named by a path.
    pub(super) fn has(&self, name: &str) -> Option<bool> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        name.chars().all(is_name).then(|| BUILTINS.contains(&name) || find(&self.path, name).is_some())
    }

    fn judged(&self, name: &'static str, argv: Vec<String>) -> AllowedCall {
        AllowedCall { name, program: self.programs.get(name).cloned(), argv }
    }

    /// A part of a runbook's command that only reads.
    pub(super) fn read(&self, words: &[String]) -> Result<Stage, String> {
        let Some((program, args)) = words.split_first() else { return Err("no program".to_owned()) };
        match program.as_str() {
            "kubectl" => Ok(Stage::Run(self.judged("kubectl", kubectl::read(self, args, false)?))),
            "helm" => Ok(Stage::Run(self.judged("helm", helm::read(self, args)?))),
            "echo" => Ok(Stage::Echo(filters::echo(args)?)),
            _ => filters::judge(words).map(|(name, argv)| Stage::Run(self.judged(name, argv))),
        }
    }

    /// A question that this program composes, with a stranger's names in it.
    pub(super) fn question(&self, words: &[String]) -> Result<AllowedCall, String> {
        match words.split_first().map(|(program, args)| (program.as_str(), args)) {
            Some(("kubectl", args)) => Ok(self.judged("kubectl", kubectl::read(self, args, true)?)),
            Some(("helm", args)) if args.first().is_some_and(|verb| verb == "template") => {
                Ok(self.judged("helm", helm::show(self, args)?))
            }
            Some(("helm", args)) => Ok(self.judged("helm", helm::read(self, args)?)),
            _ => Err("neither kubectl nor helm".to_owned()),
        }
    }

    /// A change of a runbook's that the API server is asked to only try.
    pub(super) fn dry_run(&self, words: &[String]) -> Result<AllowedCall, String> {
        match words.split_first().map(|(program, args)| (program.as_str(), args)) {
            Some(("kubectl", args)) => Ok(self.judged("kubectl", kubectl::dry_run(args)?)),
            Some(("helm", args)) => Ok(self.judged("helm", helm::dry_run(self, args)?)),
            _ => Err("neither kubectl nor helm".to_owned()),
        }
    }

    /// Manifests that the API server is asked to only try.
    pub(super) fn apply(&self, args: &[String]) -> Result<AllowedCall, String> {
        Ok(self.judged("kubectl", kubectl::apply(args)?))
    }

    /// The help of a program or of its subcommand, with flags that it is to read before: with `--help` it does nothing else,
    /// unless a later flag takes that back.
    pub(super) fn help(
        &self,
        program: &str,
        path: &[String],
        given: &[(String, Option<String>)],
    ) -> Result<AllowedCall, String> {
        let name = match program {
            "kubectl" => "kubectl",
            "helm" => "helm",
            _ => return Err(format!("`{program}` is not asked for its help")),
        };
        if !known::is_known(name, path) {
            return Err(format!("`{name} {}` is not a part of {name}", path.join(" ")));
        }
        let mut argv = path.to_vec();
        argv.push("--help".to_owned());
        for (flag, value) in given {
            if !is_flag(flag) || matches!(flag.as_str(), "help" | "h") {
                return Err(format!("`--{flag}` is not put to {name}"));
            }
            let dashes = if flag.len() == 1 { "-" } else { "--" };
            argv.push(match value {
                Some(value) if flag.len() > 1 => format!("--{flag}={}", flags::plain(value)?),
                _ => format!("{dashes}{flag}"),
            });
        }
        Ok(self.judged(name, argv))
    }

    /// Whether a file is one of the chart's. Symbolic links that lead out of it are followed here, and refused.
    fn file_of_chart(&self, file: &str) -> Result<(), String> {
        let found = self.within(file)?;
        let is_inside = self.chart.as_ref().is_some_and(|chart| found.starts_with(chart));
        match is_inside && found.is_file() {
            true => Ok(()),
            false => Err(format!("`{file}` is not a file of the chart")),
        }
    }

    /// Whether a path is that of the chart.
    fn is_chart(&self, path: &str) -> Result<(), String> {
        match Some(self.within(path)?) == self.chart {
            true => Ok(()),
            false => Err(format!("`{path}` is not the chart in the folder that commands run in")),
        }
    }

    fn within(&self, path: &str) -> Result<PathBuf, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let leaves = path.split('/').any(|part| part == "..");
        let absolute = path.starts_with('/') && !path.starts_with(&format!("{}/", self.directory.display()));
        if path.is_empty() || path.starts_with('-') || !path.chars().all(is_plain) || leaves || absolute {
            return Err(format!("`{path}` is outside of the folder that commands run in"));
        }
        self.directory.join(path).canonicalize().map_err(|_| format!("there is no `{path}`"))
    }
}

/// Whether a text may be a flag's name, without its dashes.
pub(super) fn is_flag(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Whether a subcommand is a part of a program, and no plugin.
pub(super) fn is_subcommand(program: &str, path: &[String]) -> bool {
    known::is_known(program, path)
}

/// Commands that a shell has without a program.
const BUILTINS: [&str; 38] = [
    "alias", "bg", "break", "builtin", "cd", "command", "continue", "declare", "dirs", "disown", "echo", "eval",
    "exec", "exit", "export", "false", "fg", "getopts", "hash", "history", "jobs", "kill", "let", "local", "popd",
    "printf", "pushd", "pwd", "read", "return", "set", "shift", "source", "test", "trap", "true", "unset", "wait",
];

fn find(path: &[PathBuf], name: &str) -> Option<PathBuf> {
    path.iter().map(|folder| folder.join(name)).find(|file| {
        std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests;
