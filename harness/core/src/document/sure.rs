//! Whether a statement is surely a command. What is found wrong with a command is a claim, so what may as well be a part of a
//! file or what a program prints is not read.

use crate::shell::{SimpleCommand, Word, simple_commands};

/// Programs that runbooks use, and that no word of a sentence or of another program's output is likely to be.
const SHELL_PROGRAMS: [&str; 62] = [
    "amtool",
    "ansible",
    "ansible-playbook",
    "argocd",
    "aws",
    "az",
    "calicoctl",
    "ceph",
    "cilium",
    "cmctl",
    "crictl",
    "ctr",
    "curl",
    "dig",
    "docker",
    "etcdctl",
    "etcdutl",
    "flux",
    "gcloud",
    "git",
    "gsutil",
    "hcloud",
    "helm",
    "helmfile",
    "ironflow",
    "istioctl",
    "journalctl",
    "jq",
    "k9s",
    "kind",
    "kubeadm",
    "kubectl",
    "kustomize",
    "linkerd",
    "mongosh",
    "mysql",
    "nats",
    "nerdctl",
    "nslookup",
    "oc",
    "odf",
    "openssl",
    "pg_dump",
    "pg_isready",
    "podman",
    "promtool",
    "psql",
    "rabbitmqctl",
    "redis-cli",
    "rosa",
    "ssh",
    "scp",
    "rsync",
    "stern",
    "sudo",
    "systemctl",
    "talosctl",
    "terraform",
    "velero",
    "virtctl",
    "wget",
    "yq",
];
/// Other programs and builtins of the shell, whose names are words of a language as well.
const COMMON: [&str; 62] = [
    "alias", "awk", "base64", "bash", "cat", "cd", "chmod", "chown", "cp", "cut", "date", "df", "dmesg", "du", "echo",
    "egrep", "env", "exit", "export", "false", "find", "free", "grep", "gunzip", "gzip", "head", "hostname", "iostat",
    "ip", "iptables", "kill", "less", "ls", "lsblk", "lsof", "make", "mkdir", "mount", "mv", "nc", "netstat", "ping",
    "printf", "ps", "python3", "pwd", "read", "rm", "sed", "set", "sh", "sleep", "sort", "source", "ss", "tail", "tar",
    "tee", "top", "tr", "uniq", "wc",
];
/// Verbs of SQL, in a block of a shell.
const SQL: [&str; 12] =
    ["alter", "begin", "commit", "create", "delete", "drop", "explain", "insert", "select", "show", "update", "vacuum"];
/// Endings of scripts.
const SCRIPTS: [&str; 6] = [".sh", ".bash", ".py", ".pl", ".rb", ".js"];
/// How many words a line must have at least to be a sentence.
const SENTENCE_WORDS_MIN: usize = 4;

/// Whether a line begins with a program that runbooks use.
pub(super) fn begins_with_shell_program(line: &str) -> bool {
    let line = line.trim_start();
    let length = line.find(char::is_whitespace).unwrap_or(line.len());
    SHELL_PROGRAMS.contains(&&line[..length]) && line.len() > length
}

/// Why a statement is not surely a command, if it is not. A line behind a prompt is nobody's output.
pub(super) fn why_not(text: &str, is_prompted: bool) -> Option<&'static str> {
    let Some(commands) = simple_commands(text) else { return Some("a quote or a parenthesis is not closed") };
    if commands.iter().all(|command| program(command).is_none()) {
        return Some("it names no program");
    }
    if has_spaced_placeholder(text) {
        return Some("a placeholder in it has spaces, which a shell reads as a file's name");
    }
    if commands.iter().flat_map(|command| &command.words).any(|word| is_left_out(text, word)) {
        return Some("a part of it is left out or stands for something else");
    }
    commands.iter().find_map(|command| why_no_program(text, command, is_prompted))
}

/// The program of a command, behind its assignments.
fn program(command: &SimpleCommand) -> Option<&Word> {
    let is_assignment = |word: &&Word| {
        let name = word.text.split('=').next().unwrap_or_default();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '[' | ']');
        word.text.len() > name.len() && !name.is_empty() && name.chars().all(is_name)
    };
    command.words.iter().find(|word| !is_assignment(word))
}

fn why_no_program(text: &str, command: &SimpleCommand, is_prompted: bool) -> Option<&'static str> {
    let word = program(command)?;
    let name = word.text.as_str();
    if !word.is_literal || name.contains(['<', '>', '{', '}', '$']) {
        return Some("which program it runs is not written there");
    }
    if SHELL_PROGRAMS.contains(&name) || COMMON.contains(&name) {
        return None;
    }
    let arguments = &command.words[command.words.iter().position(|other| other == word).map_or(0, |at| at + 1)..];
    if name.ends_with(':')
        || arguments.first().is_some_and(|next| matches!(next.text.as_str(), "=" | ":" | "=>" | ":="))
    {
        return Some("it looks like a setting, not like a command");
    }
    if SQL.contains(&name.to_ascii_lowercase().as_str()) {
        return Some("it looks like SQL, not like a command");
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-/~".contains(c);
    let is_path = ["/", "./", "../", "~/"].iter().any(|start| name.starts_with(start));
    let is_script = SCRIPTS.iter().any(|end| name.ends_with(end));
    let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase()) || matches!(name, "." | "[" | "[[" | ":");
    let is_dotted = name.contains('.')
        && !is_script
        && !name.trim_start_matches(|c: char| c != '.')[1..].starts_with(|c: char| c.is_ascii_digit());
    let has_letters = name.contains(|c: char| c.is_ascii_alphanumeric());
    if matches!(name, "." | "[" | "[[" | ":" | "!") || is_path && has_letters && name.chars().all(is_plain) {
        return None;
    }
    if !begins_well || !name.chars().all(is_plain) || (name.contains('/') || is_dotted) && !is_script {
        return Some("its first word is not the name of a program");
    }
    if is_prompted {
        return None;
    }
    if command.words.len() == 1 && command.redirects.is_empty() {
        return Some("a single word may not be a program");
    }
    let words: Vec<&str> = command.words.iter().map(|word| word.text.as_str()).collect();
    let is_word = |word: &&str| word.trim_end_matches(['.', ',', ':', ';', '!']).chars().all(char::is_alphabetic);
    if words.len() >= SENTENCE_WORDS_MIN && words.iter().all(is_word) {
        return Some("it looks like a sentence, not like a command");
    }
    let gap = |pair: &[Word]| text.get(pair[0].span.end..pair[1].span.start).is_some_and(|gap| gap.len() > 1);
    if command.words.windows(2).filter(|pair| gap(pair)).count() > 1 {
        return Some("it looks like the row of a table, not like a command");
    }
    None
}

/// `...`, `{{ name }}`, `[options]`.
fn is_left_out(text: &str, word: &Word) -> bool {
    let raw = text.get(word.span.clone()).unwrap_or_default();
    matches!(raw, "..." | "…") || raw.starts_with("{{") || raw.ends_with("...") && raw.starts_with('[')
}

/// `<name of the pod>`: a redirect to a shell, and a blank to be filled in for people.
fn has_spaced_placeholder(text: &str) -> bool {
    const BYTES_MAX: usize = 60;
    let is_inside = |c: char| c.is_ascii_alphanumeric() || " -_'/.,".contains(c);
    text.match_indices('<').any(|(at, _)| {
        let rest = &text[at + 1..];
        let rest = &rest[..rest.floor_char_boundary(BYTES_MAX)];
        let length = rest.find(|c| !is_inside(c)).unwrap_or(rest.len());
        rest.starts_with(|c: char| c.is_ascii_alphabetic())
            && rest[..length].contains(' ')
            && rest[length..].starts_with('>')
    })
}

/// Whether what follows a command is typed into what it opens: a shell in a pod, on a node or on another machine.
pub(super) fn opens_session(text: &str) -> bool {
    const SHELLS: [&str; 4] = ["sh", "bash", "ash", "zsh"];
    let Some(command) = simple_commands(text).and_then(|mut commands| commands.pop()) else { return false };
    let words: Vec<&str> = command.words.iter().map(|word| word.text.as_str()).collect();
    let is_shell = |word: &&str| SHELLS.contains(&word.rsplit('/').next().unwrap_or_default());
    let ends_in_shell = words.last().is_some_and(is_shell);
    let arguments = || words.iter().skip(1).filter(|word| !word.starts_with('-'));
    match words.first().copied().unwrap_or_default() {
        "kubectl" | "oc" => match arguments().next().copied() {
            Some("rsh") => arguments().count() == 2,
            Some("debug") => ends_in_shell || !words.contains(&"--"),
            _ => ends_in_shell && words.iter().any(|word| matches!(*word, "exec" | "run" | "debug" | "rsh")),
        },
        "docker" | "podman" | "nerdctl" | "crictl" => ends_in_shell && words.contains(&"exec"),
        "ssh" => arguments().count() == 1,
        "sudo" => matches!(words.get(1..), Some(["-i" | "-s"] | ["su", ..])),
        "su" | "chroot" | "nsenter" => !words.contains(&"-c"),
        _ => words.len() == 1 && ends_in_shell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_a_command_is_one() {
        for good in [
            "kubectl get pods -n a | grep -v x",
            "oc get pods",
            "NS=a kubectl get pods",
            "POD=$(kubectl get pods -o name)",
            "natz stream ls",
            "./mend.sh now",
            "/usr/local/bin/x",
            "scripts/mend.sh -f",
            "python3.11 -m json.tool",
            "kubectl get pods -o go-template='{{.x}}' <pod>",
            "cd deploy && ls",
            ". ./env",
            "kubectl get pods   # all   of   them",
            "kubectl logs $POD",
        ] {
            assert_eq!(why_not(good, false), None, "{good}");
        }
        for bad in [
            "EOF",
            "name: x",
            "apiVersion: v1",
            "SELECT 1",
            "select count(1) from a",
            "update steps set a",
            "NAME READY STATUS",
            "nats-0   1/1   Running   0   5m",
            "pod/nats-0 deleted",
            "deployment.apps/x restarted",
            "2024-01-01 started",
            "fs.file-max = 1597016",
            "Error from server",
            "- name",
            "--from-file x",
            "<path>/mend x",
            "$KUBECTL get pods",
            "then restart the pods again.",
            "kubectl get pods -n {{ namespace }}",
            "kubectl ... get",
            "oc logs <name of the pod> -n a",
            "\"status\": 1",
            "A=1",
            "or",
            "// for one node",
        ] {
            assert!(why_not(bad, false).is_some(), "{bad}");
        }
    }

    #[test]
    fn what_follows_an_open_session_is_elsewhere() {
        for opens in [
            "oc debug node/a",
            "kubectl exec -it a -- bash",
            "kubectl exec -it a -n b -- /bin/sh",
            "oc rsh a",
            "ssh core@node",
            "sudo -i",
            "chroot /host",
        ] {
            assert!(opens_session(opens), "{opens}");
        }
        for not in [
            "oc debug node/a -- chroot /host df",
            "kubectl exec a -- sh -c 'x'",
            "ssh core@node df",
            "kubectl get pods",
            "kubectl delete pod bash",
            "bash x.sh",
        ] {
            assert!(!opens_session(not), "{not}");
        }
    }
}
