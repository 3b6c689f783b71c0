//! The help of kubectl and helm: which flags and subcommands there are.

use super::ask::{Asker, Trouble};
use crate::cluster::ClusterError;
use std::collections::{BTreeMap, BTreeSet};

/// Flags of kubectl whose value, where they have one, stands behind an equals sign alone.
const OPTIONAL: [&str; 3] = ["dry-run", "cascade", "validate"];

/// What a program says of itself or of one of its subcommands.
#[derive(Clone, Debug, Default)]
pub(super) struct Help {
    /// Flags by their long names: whether the next word is their value.
    pub(super) flags: BTreeMap<String, bool>,
    /// Long names of one-letter flags.
    letters: BTreeMap<String, String>,
    /// Long names of flags that take any text, so that no value of them is a mistake.
    texts: BTreeSet<String>,
    /// Subcommands, where it has them.
    pub(super) commands: BTreeSet<String>,
    /// Whether a subcommand may follow.
    pub(super) has_commands: bool,
    /// How many subcommands its line of usage begins with.
    pub(super) depth: usize,
    /// Whether `_` in a flag's name reads as `-`.
    pub(super) folds: bool,
}

impl Help {
    /// Asks for it. A subcommand that is not known has a depth of 0, or that of what is known.
    ///
    /// # Errors
    /// Where the program cannot be run.
    pub(super) async fn of(asker: &mut Asker, program: &str, path: &[String]) -> Result<Self, Trouble> {
        let judged = asker.judge().help(program, path, &[]).map_err(Trouble::Refused)?;
        let answer = asker.run(&judged).await?;
        if answer.code.is_none() || answer.code == Some(127) {
            return Err(ClusterError::Other(format!("{program} cannot be asked: {}", answer.why())).into());
        }
        if !answer.ok() {
            return Ok(Self::default());
        }
        let mut help = Self::parse(program, &answer.stdout);
        if program == "kubectl" {
            let globals = Self::parse(program, &asker.ask(&["kubectl", "options"]).await?.stdout);
            help.flags.extend(globals.flags);
            help.letters.extend(globals.letters);
            help.texts.extend(globals.texts);
        }
        help.has_commands |= path.is_empty();
        help.folds = program == "kubectl";
        Ok(help)
    }

    fn parse(program: &str, text: &str) -> Self {
        let mut help = Self::default();
        let mut in_commands = false;
        for line in text.lines() {
            let body = line.trim_start();
            if !line.starts_with(' ') && !line.is_empty() {
                in_commands = line.contains("Commands");
                help.has_commands |= line.starts_with("Available Commands");
            } else if body.starts_with('-') {
                help.add_flag(body);
            } else if let Some(usage) = body.strip_prefix(program).filter(|_| help.depth == 0) {
                let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                if text.contains(&format!("Usage:\n{line}")) {
                    help.depth = usage.split_whitespace().take_while(is_name).count();
                }
            } else if in_commands {
                help.commands.extend(body.split_once("  ").map(|(name, _)| name.to_owned()));
            }
        }
        help
    }

    /// kubectl: `-l, --selector='':`; helm: `-n, --namespace string   scope`.
    fn add_flag(&mut self, line: &str) {
        let (letter, long) = match line.split_once(", --") {
            Some((letter, long)) if letter.len() == 2 => (Some(&letter[1..]), long),
            _ => match line.strip_prefix("--") {
                Some(long) => (None, long),
                None => return,
            },
        };
        let length = long.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(long.len());
        let (name, after) = long.split_at(length);
        let takes_value = match after.strip_prefix('=') {
            Some(default) => !default.starts_with("false") && !default.starts_with("true") && !OPTIONAL.contains(&name),
            None => {
                let kind = after.strip_prefix(' ').filter(|kind| !kind.starts_with(' '));
                kind.is_some_and(|kind| !kind.split("  ").next().unwrap_or_default().contains("[="))
            }
        };
        // kubectl quotes the default of a text alone; helm names the type.
        let is_text = after.starts_with("='") || ["string", "stringArray"].iter().any(|kind| is_of_type(after, kind));
        if is_text {
            self.texts.insert(name.to_owned());
        }
        self.flags.insert(name.to_owned(), takes_value);
        if let Some(letter) = letter {
            self.letters.insert(letter.to_owned(), name.to_owned());
        }
    }

    /// Whether a flag with this value, or without one, is surely read: a text, or a switch that is set.
    pub(super) fn surely_reads(&self, name: &str, value: Option<&str>) -> bool {
        match (self.flags.get(name), value) {
            (Some(_), Some(_)) => self.texts.contains(name),
            (Some(takes_value), None) => !takes_value,
            (None, _) => false,
        }
    }

    /// A flag by its long or short name: its long name, and whether the next word is its value.
    pub(super) fn flag(&self, name: &str) -> Option<(String, bool)> {
        let long = self.letters.get(name).map_or(name, String::as_str);
        self.flags.get(long).map(|takes| (long.to_owned(), *takes))
    }
}

/// Whether the type that helm names behind a flag is this one.
fn is_of_type(after: &str, kind: &str) -> bool {
    after.strip_prefix(' ').and_then(|rest| rest.strip_prefix(kind)).is_some_and(|rest| rest.starts_with("  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_manners_of_help_are_read() {
        let kubectl = "Work.\n\nAvailable Commands:\n  status        Show it\n\nOptions:\n    -l, --selector='':\n\tText --with=dashes\n\n    --wait=true:\n\tx\n\n    --dry-run='none':\n\tx\n\nUsage:\n  kubectl rollout SUBCOMMAND [options]\n";
        let help = Help::parse("kubectl", kubectl);
        assert_eq!(help.flag("l"), Some(("selector".to_owned(), true)));
        assert_eq!([help.flag("wait"), help.flag("dry-run")].map(|flag| flag.unwrap().1), [false, false]);
        assert!(help.has_commands && help.commands.contains("status") && help.depth == 1);
        let helm = "Usage:\n  helm get values RELEASE_NAME [flags]\n\nFlags:\n  -a, --all             dump\n      --revision int    get\n      --wait WaitStrategy[=watcher]   wait\n\nGlobal Flags:\n  -n, --namespace string   scope\n";
        let help = Help::parse("helm", helm);
        assert_eq!(["a", "revision", "wait", "n"].map(|name| help.flag(name).unwrap().1), [false, true, false, true]);
        assert!(!help.has_commands && help.depth == 2);
    }

    #[test]
    fn only_what_no_program_can_refuse_is_surely_read() {
        let kubectl = "Options:\n    -l, --selector='':\n\tx\n\n    --tail=-1:\n\tx\n\n    --wait=true:\n\tx\n\n    --env=[]:\n\tx\n";
        let helm = "Flags:\n      --set stringArray   set\n      --devel string   x\n  -o, --output format   x\n      --revision int    get\n      --debug   x\n      --keys strings   x\n";
        let (kubectl, helm) = (Help::parse("kubectl", kubectl), Help::parse("helm", helm));
        for (help, name, value, is_sure) in [
            (&kubectl, "selector", Some("a b"), true),
            (&kubectl, "selector", None, false),
            (&kubectl, "tail", Some("5"), false),
            (&kubectl, "env", Some("a"), false),
            (&kubectl, "wait", None, true),
            (&kubectl, "wait", Some("maybe"), false),
            (&kubectl, "other", None, false),
            (&helm, "set", Some("a=b"), true),
            (&helm, "devel", Some("a"), true),
            (&helm, "debug", None, true),
            (&helm, "output", Some("x"), false),
            (&helm, "revision", Some("x"), false),
            (&helm, "keys", Some("x"), false),
        ] {
            assert_eq!(help.surely_reads(name, value), is_sure, "--{name} {value:?}");
        }
    }
}
