//! What can be said of a shell command without running it.

use super::kubectl::object_to_kubectl;
use crate::shell::{placeholders, simple_commands};
use crate::statements::{self, Statement};

/// The simple commands of a shell command, as words. `None` where a quote or a parenthesis is not closed.
fn commands(text: &str) -> Option<Vec<Vec<String>>> {
    let words = |command: crate::shell::SimpleCommand| command.words.into_iter().map(|word| word.text).collect();
    Some(simple_commands(text)?.into_iter().map(words).collect())
}

/// Something that a command may not do.
pub(super) struct Objection {
    pub(super) message: String,
    pub(super) hint: &'static str,
}

/// Says what keeps a command from being a step: it would wait for a person, run for ever or act on a namespace by chance.
pub(super) fn object_to_step(text: &str) -> Option<Objection> {
    let statements = statements::all(text);
    if let Some(keyword) = statements.iter().find_map(|statement| statement.keyword) {
        return Some(match keyword {
            "function" => Objection { message: "defines a function".to_owned(), hint: OWN_SHELL_HINT },
            keyword => Objection {
                message: format!("`{keyword}` begins a block"),
                hint: "a step is one command, so that it can be timed",
            },
        });
    }
    let Some(commands) = commands(&heads(text, &statements)) else {
        return Some(Objection {
            message: "a quote or a parenthesis is not closed".to_owned(),
            hint: "close it in this block; a line that goes on ends with `\\`",
        });
    };
    commands.iter().find_map(|words| {
        let program = program(words)?;
        (program == "kubectl").then(|| object_to_kubectl(words)).flatten()
    })
}

/// Why nothing that a step does to its shell reaches the next one, for people.
pub(super) const OWN_SHELL_HINT: &str =
    "each step runs in a shell of its own: write it and the command that needs it on one line, joined by `&&`";

/// Whether a variable is set in the shell of every step: by a drill, or by bash itself.
pub(super) fn is_set(variable: &str) -> bool {
    const SET: [&str; 36] = [
        "PATH",
        "HOME",
        "KUBECONFIG",
        "PWD",
        "OLDPWD",
        "SHELL",
        "SHLVL",
        "IFS",
        "UID",
        "EUID",
        "PPID",
        "GROUPS",
        "HOSTNAME",
        "HOSTTYPE",
        "OSTYPE",
        "MACHTYPE",
        "RANDOM",
        "SRANDOM",
        "SECONDS",
        "EPOCHSECONDS",
        "EPOCHREALTIME",
        "LINENO",
        "PIPESTATUS",
        "FUNCNAME",
        "DIRSTACK",
        "OPTARG",
        "OPTIND",
        "OPTERR",
        "PS4",
        "REPLY",
        "MAPFILE",
        "TERM",
        "SHELLOPTS",
        "HISTCMD",
        "COPROC",
        "COPROC_PID",
    ];
    SET.contains(&variable) || variable.starts_with("BASH") || variable == "_"
}

/// A variable that a command uses without having set it, if it has one.
pub(super) fn unset_variable(text: &str) -> Option<String> {
    let mut known: Vec<&str> = Vec::new();
    for statement in statements::all(text) {
        let unset =
            statement.uses.iter().map(|name| &text[name.clone()]).find(|name| !is_set(name) && !known.contains(name));
        if let Some(name) = unset {
            return Some(name.to_owned());
        }
        known.extend(statement.sets.iter().map(|name| &text[name.clone()]));
    }
    None
}

/// A command without the lines of its here-documents.
fn heads(text: &str, statements: &[Statement]) -> String {
    statements.iter().map(|statement| statement.head(text)).collect::<Vec<_>>().join("\n")
}

/// Says what keeps a command from being a correction: it would hide what is done from whoever reads the report.
pub(super) fn object_to_correction(text: &str) -> Option<Objection> {
    const SHELLS: [&str; 16] = [
        "sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "source", ".", "eval", "perl", "ruby", "node", "make",
        "just", "php",
    ];
    const SCRIPTS: [&str; 5] = [".sh", ".bash", ".py", ".pl", ".rb"];
    commands(&heads(text, &statements::all(text)))?.iter().find_map(|words| {
        let program = program(words)?;
        let name = program.rsplit('/').next().unwrap_or_default();
        let is_module = words.iter().any(|word| word == "json.tool");
        if name == "firedrill" {
            return Some(Objection {
                message: "a correction may not call firedrill".to_owned(),
                hint: "an operator must be able to type it in the middle of the night",
            });
        }
        let is_script = program.contains('/')
            || SCRIPTS.iter().any(|ending| program.ends_with(ending))
            || SHELLS.contains(&name)
            || (name.starts_with("python") && !is_module);
        is_script.then(|| Objection {
            message: format!("a correction may not run a script (`{program}`)"),
            hint: "write the commands themselves, so that the report shows what was done",
        })
    })
}

/// The program that a simple command runs, past assignments and wrappers.
fn program(words: &[String]) -> Option<String> {
    const WRAPPERS: [&str; 9] = ["env", "sudo", "nohup", "time", "exec", "command", "xargs", "timeout", "!"];
    let is_assignment = |word: &str| {
        word.split_once('=')
            .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    };
    let mut wrapped = false;
    for word in words {
        let is_amount = wrapped && word.starts_with(|c: char| c.is_ascii_digit());
        if WRAPPERS.contains(&word.as_str()) {
            wrapped = true;
        } else if !(is_assignment(word) || is_amount || wrapped && word.starts_with('-')) {
            return Some(word.clone());
        }
    }
    None
}

/// The targets of a fault that a placeholder stands for: all of them, or one by its number from 1.
pub(super) enum Bound {
    All,
    One(usize),
}

/// How the placeholder of a volume begins.
const VOLUME: &str = "target-volume";

/// What placeholders stand for, for people.
pub(super) const BOUND_HINT: &str = "`<target-pods>` stands for the targets, `<target-pod-1>` for the first, `<target-node>` for its node, `<target-volume>` for its volume";

/// What a placeholder stands for; `None` where it is none of those known.
pub(super) fn bound(placeholder: &str) -> Option<Bound> {
    let number = |text: &str| text.strip_prefix('-')?.parse().ok().filter(|number| *number > 0).map(Bound::One);
    let one = placeholder.strip_prefix("target-node").or_else(|| placeholder.strip_prefix(VOLUME));
    match (placeholder.strip_prefix("target-pod"), one) {
        (Some("s"), _) => Some(Bound::All),
        (_, Some("")) => Some(Bound::One(1)),
        (Some(text), _) | (_, Some(text)) => number(text),
        (None, None) => None,
    }
}

/// The greatest number of a volume that a command names.
pub(super) fn volumes_named(command: &str) -> Option<usize> {
    let of_volumes = placeholders(command).into_iter().filter(|(_, name)| name.starts_with(VOLUME));
    let number = |bound| if let Bound::One(number) = bound { number } else { 1 };
    of_volumes.filter_map(|(_, name)| bound(name).map(number)).max()
}

/// Names of what a fault hits, for placeholders.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetNames<'a> {
    /// Its pods, and the pods by which its nodes were chosen.
    pub pods: &'a [&'a str],
    /// Its nodes, and the nodes of its pods, each once.
    pub nodes: &'a [&'a str],
    /// Its volumes, by their PersistentVolumes.
    pub volumes: &'a [&'a str],
}

/// Puts the names of the fault's targets in the place of `<target-pods>`, `<target-pod-1>`, `<target-pod-2>` and so on, and
/// of its nodes in that of `<target-node>`, which is `<target-node-1>`, and so on; its volumes likewise. A placeholder for which there is no
/// target stays as it is.
pub fn bind_targets(command: &str, targets: TargetNames<'_>) -> String {
    let mut text = command.to_owned();
    for (span, name) in placeholders(command).into_iter().rev() {
        let names = match name {
            _ if name.starts_with("target-node") => targets.nodes,
            _ if name.starts_with(VOLUME) => targets.volumes,
            _ => targets.pods,
        };
        let value = match bound(name) {
            Some(Bound::All) if !names.is_empty() => names.join(" "),
            Some(Bound::One(number)) if number <= names.len() => names[number - 1].to_owned(),
            _ => continue,
        };
        text.replace_range(span, &value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_cut_as_a_shell_cuts_them() {
        let cut = |text| commands(text).map(|all| all.iter().map(|words| words.join("_")).collect::<Vec<_>>());
        assert_eq!(cut("a b | c -d").unwrap(), ["a_b", "c_-d"]);
        assert_eq!(cut("a \"$(b 'x | y')\" c").unwrap(), ["b_x | y", "a_$()_c"]);
        assert_eq!(cut("a 2>&1 || b").unwrap(), ["a", "b"]);
        assert_eq!(cut("grep -i \"x\\|y\" # z").unwrap(), ["grep_-i_x\\|y"]);
        assert_eq!(cut("a 'b"), None);
        assert_eq!(cut("a $(b"), None);
    }

    #[test]
    fn a_correction_runs_no_script_however_it_is_wrapped() {
        for bad in [
            "./mend.sh",
            "bash mend.sh",
            "python3 mend.py",
            "sudo -n ./x",
            "FOO=1 firedrill sweep",
            "a | sh",
            "/usr/bin/firedrill",
            "echo $(~/bin/mend)",
            "env A=b timeout 5 bash -c true",
            "mend.sh",
            ". ./env",
        ] {
            assert!(object_to_correction(bad).is_some(), "{bad}");
        }
        for good in [
            "kubectl exec -n a b -- sh -c 'x'",
            "kubectl get x -n a | python3 -m json.tool",
            "grep -c firedrill x.sh",
            "kubectl get pod -n a -o name | xargs kubectl delete -n a",
        ] {
            assert!(object_to_correction(good).is_none(), "{good}");
        }
    }

    #[test]
    fn a_step_ends_and_names_its_namespace() {
        for bad in [
            "kubectl get pods -n a -w",
            "kubectl logs -f x -n a",
            "kubectl exec -it -n a b -- psql",
            "kubectl get pods",
            "kubectl exec x -- ls -n",
            "for i in 1 2; do x; done",
            "echo 'open",
            "f() { date; }",
            "kubectl get pods <<EOF\nx\nEOF",
        ] {
            assert!(object_to_step(bad).is_some(), "{bad}");
        }
        for good in [
            "kubectl get nodes -o wide",
            "kubectl get pods -A",
            "kubectl exec -n a b -- wget -qO- -t 1 x",
            "kubectl describe node/x",
            "kubectl exec -i -n a x -- sh <<'EOF'\nkubectl get pods\nfor it's\nEOF",
            "kubectl get pods --namespace=a",
            "wget -w 1 x",
        ] {
            assert!(object_to_step(good).is_none(), "{good}");
        }
    }

    #[test]
    fn targets_take_the_place_of_placeholders() {
        let pods = TargetNames { pods: &["nats-0", "nats-2"], nodes: &["w2"], volumes: &["pv-1"] };
        assert_eq!(bind_targets("delete <target-pods>", pods), "delete nats-0 nats-2");
        assert_eq!(
            bind_targets("a <target-pod-2> <target-pod-1> <target-pod-3>", pods),
            "a nats-2 nats-0 <target-pod-3>"
        );
        assert_eq!(bind_targets("detach <target-volume>", pods), "detach pv-1");
        assert_eq!(bind_targets("a <target-node> <target-node-1> <target-node-2>", pods), "a w2 w2 <target-node-2>");
        assert_eq!(bind_targets("sort <in >out", pods), "sort <in >out");
    }
}
