//! What keeps a call of kubectl from being a step of a drill.

use super::command::Objection;
use super::kinds::{Scope, scope};

/// Verbs that act on no namespace, or on none of their own.
const WITHOUT: [&str; 17] = [
    "version",
    "config",
    "cluster-info",
    "api-resources",
    "api-versions",
    "auth",
    "cordon",
    "uncordon",
    "drain",
    "taint",
    "certificate",
    "completion",
    "explain",
    "plugin",
    "options",
    "help",
    "kustomize",
];
/// Verbs whose first argument is a kind, or a kind and a name.
const TYPED: [&str; 9] = ["get", "describe", "delete", "edit", "label", "annotate", "patch", "wait", "scale"];
/// What `kubectl create` makes that is in no namespace.
const CREATED: [&str; 5] = ["namespace", "ns", "clusterrole", "clusterrolebinding", "priorityclass"];
/// Flags whose value is a word of its own.
const WITH_VALUE: [&str; 64] = [
    "--as",
    "--as-group",
    "--as-uid",
    "--cache-dir",
    "--certificate-authority",
    "--chunk-size",
    "--client-certificate",
    "--client-key",
    "--cluster",
    "--clusterrole",
    "--container",
    "--context",
    "--cpu-percent",
    "--current-replicas",
    "--env",
    "--field-manager",
    "--field-selector",
    "--filename",
    "--for",
    "--from-file",
    "--from-literal",
    "--grace-period",
    "--image",
    "--kubeconfig",
    "--kustomize",
    "--label-columns",
    "--limit-bytes",
    "--max",
    "--min",
    "--name",
    "--namespace",
    "--output",
    "--password",
    "--patch",
    "--patch-file",
    "--pod-running-timeout",
    "--port",
    "--profile",
    "--replicas",
    "--request-timeout",
    "--resource-version",
    "--role",
    "--selector",
    "--server",
    "--since",
    "--since-time",
    "--sort-by",
    "--subresource",
    "--tail",
    "--template",
    "--timeout",
    "--tls-server-name",
    "--token",
    "--type",
    "--user",
    "--username",
    "-L",
    "-c",
    "-f",
    "-k",
    "-l",
    "-n",
    "-o",
    "-s",
];

/// Says what is wrong with a call of kubectl, `words` with the program.
pub(super) fn object_to_kubectl(words: &[String]) -> Option<Objection> {
    let before_dashes = || words.iter().map(String::as_str).skip(1).take_while(|word| *word != "--");
    if before_dashes().any(|word| matches!(word, "-w" | "--watch" | "--watch=true" | "--watch-only")) {
        return Some(Objection {
            message: "`--watch` never ends".to_owned(),
            hint: "a step ends by itself; `kubectl wait` waits",
        });
    }
    let arguments = arguments(before_dashes());
    let is_logs = arguments.contains(&"logs");
    if is_logs && before_dashes().any(|word| matches!(word, "-f" | "--follow" | "--follow=true")) {
        return Some(Objection {
            message: "`--follow` never ends".to_owned(),
            hint: "a step ends by itself; use `--tail`",
        });
    }
    if before_dashes().any(|word| matches!(word, "-it" | "-ti" | "-t" | "--tty")) {
        return Some(Objection {
            message: "asks for a terminal, and a drill has none".to_owned(),
            hint: "leave `-it` out",
        });
    }
    let is_placed = before_dashes().any(|word| {
        word.starts_with("-A")
            || word.starts_with("--all-namespaces")
            || word.starts_with("--namespace")
            || word.starts_with("-n")
            || word.starts_with("--raw")
            || matches!(word, "-h" | "--help")
    });
    (!is_placed && needs_namespace(&arguments)).then(|| Objection {
        message: "kubectl without a namespace".to_owned(),
        hint: "say which: `-n ironflow` (a drill's kubeconfig sets none)",
    })
}

/// The words that are neither flags nor values of flags.
fn arguments<'w>(words: impl Iterator<Item = &'w str>) -> Vec<&'w str> {
    let mut found: Vec<&str> = Vec::new();
    let mut is_value = false;
    for word in words {
        if std::mem::take(&mut is_value) {
            continue;
        }
        if word.starts_with('-') {
            let is_patch = word == "-p" && found.first() == Some(&"patch");
            let is_verbosity = matches!(word, "-v" | "--v");
            is_value = WITH_VALUE.contains(&word) || is_patch || is_verbosity;
        } else {
            found.push(word);
        }
    }
    found
}

/// Whether a call acts on a namespace, as far as that is known. A kind that only the cluster knows may be in none.
fn needs_namespace(arguments: &[&str]) -> bool {
    let Some((&verb, rest)) = arguments.split_first() else { return true };
    let first = rest.first().copied().unwrap_or_default();
    match verb {
        _ if WITHOUT.contains(&verb) => false,
        "create" => !CREATED.contains(&first),
        "top" => scope(first) != Scope::Cluster,
        "debug" => !first.split_once('/').is_some_and(|(kind, _)| scope(kind) == Scope::Cluster),
        _ if !TYPED.contains(&verb) => true,
        _ if first.is_empty() => true,
        // `kubectl get node/a pv/b`
        _ if first.contains('/') => {
            rest.iter().filter_map(|word| word.split_once('/')).any(|(kind, _)| scope(kind) == Scope::Namespaced)
        }
        // `kubectl get pv,pvc`
        _ => first.split(',').any(|kind| scope(kind) == Scope::Namespaced),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(text: &str) -> bool {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        object_to_kubectl(&words).is_some()
    }

    #[test]
    fn what_is_in_no_namespace_needs_none() {
        for good in [
            "kubectl delete volumeattachment csi-1",
            "kubectl get crds",
            "kubectl get csinodes",
            "kubectl get clusterroles",
            "kubectl get clusterroles.rbac.authorization.k8s.io",
            "kubectl get pv x",
            "kubectl get pv/x node/y",
            "kubectl get --raw /readyz",
            "kubectl get --raw=/readyz",
            "kubectl --context x get nodes",
            "kubectl -v 6 get sc",
            "kubectl describe node/x",
            "kubectl label node x a=b",
            "kubectl patch -p {} pv x",
            "kubectl top nodes",
            "kubectl create namespace x",
            "kubectl get pv,nodes",
            "kubectl wait --for=condition=Ready node x",
            "kubectl wait --for condition=Ready nodes --all",
            "kubectl get clusterissuers",
            "kubectl get --help",
            "kubectl explain pods",
        ] {
            assert!(!is_refused(good), "{good}");
        }
        for bad in [
            "kubectl get pods",
            "kubectl get pv,pvc",
            "kubectl get pv/x pod/y",
            "kubectl delete pod node",
            "kubectl delete pod no",
            "kubectl get -l pv pods",
            "kubectl logs nodes-0",
            "kubectl exec ns -- ls",
            "kubectl apply -f x.yaml",
            "kubectl rollout status deployment/x",
            "kubectl top pods",
            "kubectl create secret generic x",
            "kubectl get cluster db",
            "kubectl get",
        ] {
            assert!(is_refused(bad), "{bad}");
        }
    }
}
