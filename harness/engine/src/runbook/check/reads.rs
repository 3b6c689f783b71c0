//! The lists of what is run as it is, because it only reads. What is on none of them is never run.

use super::call::Call;
use firedrill_core::shell::Word;

/// Subcommands of kubectl.
const KUBECTL: [&str; 12] = [
    "get",
    "describe",
    "logs",
    "events",
    "version",
    "cluster-info",
    "api-resources",
    "api-versions",
    "explain",
    "top pod",
    "rollout status",
    "rollout history",
];
/// Their other names.
const KUBECTL_ALIASES: [&str; 6] = ["top pods", "top po", "top node", "top nodes", "top no", "auth can-i"];
/// Flags of these.
const KUBECTL_FLAGS: [&str; 34] = [
    "namespace",
    "selector",
    "output",
    "all-namespaces",
    "field-selector",
    "container",
    "previous",
    "tail",
    "since",
    "since-time",
    "timestamps",
    "prefix",
    "all-containers",
    "show-labels",
    "sort-by",
    "no-headers",
    "timeout",
    "max-log-requests",
    "containers",
    "ignore-not-found",
    "label-columns",
    "show-kind",
    "chunk-size",
    "show-events",
    "ignore-errors",
    "limit-bytes",
    "revision",
    "request-timeout",
    "for",
    "types",
    "quiet",
    "stdin",
    "tty",
    "pod-running-timeout",
];
/// Subcommands of helm.
const HELM: [&str; 11] = [
    "get values",
    "get manifest",
    "get notes",
    "get metadata",
    "get all",
    "status",
    "list",
    "ls",
    "history",
    "version",
    "show values",
];
/// Flags of these.
const HELM_FLAGS: [&str; 12] = [
    "namespace",
    "output",
    "all",
    "revision",
    "all-namespaces",
    "filter",
    "max",
    "deployed",
    "failed",
    "pending",
    "short",
    "time-format",
];
/// Programs that only show what is in their container, whatever their arguments.
const INSIDE: [&str; 13] =
    ["df", "du", "ls", "cat", "id", "ps", "uptime", "nslookup", "getent", "pg_isready", "whoami", "uname", "head"];
/// What `wget` may be given.
const WGET: [&str; 9] = ["-q", "-qO-", "-O-", "-O", "-", "-S", "--spider", "-T", "-t"];
/// Programs that only change what runs through them.
const FILTERS: [&str; 11] = ["grep", "egrep", "jq", "tail", "head", "wc", "cut", "tr", "echo", "sort", "uniq"];

/// Why a call of kubectl (but of `exec`) is not run as it is; `Ok` where it is.
pub(super) fn kubectl(call: &Call) -> Result<(), String> {
    let verb = call.verb();
    if !KUBECTL.contains(&verb.as_str()) && !KUBECTL_ALIASES.contains(&verb.as_str()) {
        return Err(format!("`kubectl {verb}` is not on the list of what only reads"));
    }
    if call.has("watch") || call.has("watch-only") || call.has("follow") {
        return Err("it never ends by itself: what it names was looked at".to_owned());
    }
    known_flags(call, &KUBECTL_FLAGS)
}

/// Why a call of helm is not run as it is; `Ok` where it is.
pub(super) fn helm(call: &Call) -> Result<(), String> {
    match HELM.contains(&call.verb().as_str()) {
        true => known_flags(call, &HELM_FLAGS),
        false => Err(format!("`helm {}` is not on the list of what only reads", call.verb())),
    }
}

/// Why the command inside of a `kubectl exec` is not run as it is; `Ok` where it is.
pub(super) fn inside(call: &Call) -> Result<(), String> {
    known_flags(call, &KUBECTL_FLAGS)?;
    let mut words = call.inner.iter().map(|word| word.text.as_str());
    let program = words.next().unwrap_or_default();
    let is_read = match program {
        "wget" => {
            let args: Vec<&str> = words.collect();
            let (urls, flags): (Vec<&str>, Vec<&str>) = args.iter().partition(|arg| arg.starts_with("http"));
            let is_flag = |flag: &&str| {
                WGET.contains(flag) || flag.chars().all(|c| c.is_ascii_digit()) || flag.starts_with("--timeout=")
            };
            let to_output = flags.windows(2).any(|pair| pair == ["-O", "-"])
                || flags.iter().any(|flag| matches!(*flag, "-qO-" | "-O-" | "--spider"));
            to_output && urls.len() == 1 && flags.iter().all(is_flag)
        }
        "cilium" => words.eq(["status"]),
        "nats-server" => words.eq(["--version"]),
        "nc" => words.all(|word| matches!(word, "-z" | "-v" | "-zv" | "-vz") || !word.starts_with('-')),
        other => INSIDE.contains(&other),
    };
    match is_read {
        true => Ok(()),
        false => Err(format!("`{program}` with these arguments is not on the list of what only reads")),
    }
}

/// Why a program behind a pipe is not run as it is; `Ok` where it is.
pub(super) fn filter(words: &[Word]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let Some((program, args)) = words.split_first() else { return Ok(()) };
    let has = |flags: &[&str]| args.iter().any(|arg| flags.iter().any(|flag| arg.starts_with(flag)));
    let is_filter = match *program {
        "python3" => args == ["-m", "json.tool"],
        "sort" => !has(&["-o", "--output", "-T", "--compress"]),
        "tail" => !has(&["-f", "-F", "--follow", "--retry"]),
        "uniq" => args.iter().all(|arg| arg.starts_with('-')),
        other => FILTERS.contains(&other),
    };
    match is_filter {
        true => Ok(()),
        false => Err(format!("`{program}` with these arguments is not on the list of what only reads")),
    }
}

/// Whether a redirect writes to no file.
pub(super) fn redirect(word: &Word) -> bool {
    matches!(word.text.as_str(), "2>&1" | "1>&2" | ">&2" | "2>/dev/null" | ">/dev/null")
}

fn known_flags(call: &Call, known: &[&str]) -> Result<(), String> {
    match call.given.iter().find(|given| !known.contains(&given.name.as_str())) {
        Some(given) => Err(format!("`--{}` is not on the list of flags that only read", given.name)),
        None if call.value("output").is_some_and(|word| word.text.contains("-file")) => {
            Err("its output is made by a file".to_owned())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::check::ask::Asker;
    use crate::runbook::check::call::understand;
    use crate::runbook::check::found::Found;
    use firedrill_core::shell::simple_commands;

    async fn is_read(text: &str) -> bool {
        let words = simple_commands(text).unwrap().remove(0).words;
        match words[0].text.as_str() {
            "kubectl" | "helm" => {
                let call =
                    understand(&mut Asker::without_cluster(), &words, &mut Found::default()).await.unwrap().unwrap();
                match call.verb().as_str() {
                    "exec" => inside(&call).is_ok(),
                    _ if call.program == "helm" => helm(&call).is_ok(),
                    _ => kubectl(&call).is_ok(),
                }
            }
            _ => filter(&words).is_ok(),
        }
    }

    #[tokio::test]
    async fn nothing_that_writes_is_on_a_list() {
        for text in [
            "kubectl delete pod a",
            "kubectl get --raw /api/x",
            "kubectl get pods -w",
            "kubectl logs -f a",
            "kubectl rollout restart deploy/a",
            "kubectl get pods --kubeconfig other",
            "kubectl get pods --context b",
            "kubectl cluster-info dump",
            "kubectl get pods -o go-template-file=x",
            "kubectl describe -f http://x/y",
            "kubectl exec a -- rm -rf /",
            "kubectl exec a -- wget http://x/y",
            "kubectl exec a -- wget -qO- --post-data=x http://x",
            "kubectl exec a -- wget -O /etc/x http://x",
            "kubectl exec a -- sh -c df",
            "kubectl exec a -- psql -c 'SELECT 1'",
            "kubectl exec a -- nc -l 80",
            "kubectl exec a -- nats stream purge b",
            "kubectl get pods --as=admin",
            "helm upgrade a b",
            "helm rollback a",
            "helm get values a --kube-context b",
            "helm uninstall a",
            "tee x",
            "sort -o x",
            "tail -f x",
            "uniq a b",
            "python3 x.py",
            "python3 -m json.tool a b",
            "xargs kubectl delete",
            "sed -i x",
        ] {
            assert!(!is_read(text).await, "{text}");
        }
    }

    #[tokio::test]
    async fn looks_are() {
        for text in [
            "kubectl get pods -n a -l b=c -o wide",
            "kubectl describe pod a -n b",
            "kubectl logs a -c b --previous --tail=5",
            "kubectl top pods -n a",
            "kubectl rollout status statefulset/a -n b --timeout=9s",
            "kubectl get pods -A",
            "kubectl exec -n a b -c c -- wget -qO- http://localhost:8222/jsz?streams=true",
            "kubectl exec a -- df -h /data",
            "kubectl exec deploy/a -- wget -qO- --timeout=3 http://b:9123/health",
            "helm get values a -n b",
            "helm ls -n a",
            "grep -A 10 x",
            "tail -30",
            "jq .",
            "python3 -m json.tool",
        ] {
            assert!(is_read(text).await, "{text}");
        }
    }
}
