//! Subcommands that are a part of kubectl and helm. Only these are ever asked for their help: kubectl takes any other word
//! for the name of a plugin, `kubectl-NAME`, and would run it.

/// What stands below a subcommand, or at the top.
type Below = (&'static str, &'static str);

const KUBECTL: &[Below] = &[
    (
        "",
        "create expose run set explain get edit delete rollout scale autoscale certificate cluster-info top cordon uncordon \
         drain taint describe logs attach exec port-forward proxy cp auth debug events diff apply patch replace wait \
         kustomize label annotate completion api-resources api-versions config version options",
    ),
    (
        "create",
        "deployment deploy namespace ns configmap cm secret service svc job cronjob cj serviceaccount sa role rolebinding \
         clusterrole clusterrolebinding ingress ing token quota resourcequota poddisruptionbudget pdb priorityclass pc",
    ),
    ("create secret", "generic tls docker-registry"),
    ("create service", "clusterip externalname loadbalancer nodeport"),
    ("create svc", "clusterip externalname loadbalancer nodeport"),
    ("set", "image env resources selector serviceaccount sa subject"),
    ("rollout", "status history undo restart pause resume"),
    ("certificate", "approve deny"),
    ("cluster-info", "dump"),
    ("top", "pod pods po node nodes no"),
    ("auth", "can-i whoami reconcile"),
    ("apply", "view-last-applied edit-last-applied set-last-applied"),
    (
        "config",
        "view current-context get-contexts use-context use set-context get-clusters get-users set set-cluster \
         set-credentials delete-cluster delete-context delete-user rename-context rename unset",
    ),
];

const HELM: &[Below] = &[
    (
        "",
        "install upgrade rollback uninstall delete del un list ls status history hist template lint test version env pull \
         fetch push package create verify completion get show inspect repo dependency dep dependencies search registry plugin",
    ),
    ("get", "values manifest notes hooks metadata all"),
    ("show", "values chart readme crds all"),
    ("inspect", "values chart readme crds all"),
    ("repo", "add list ls update up remove rm index"),
    ("dependency", "build update up list ls"),
    ("dep", "build update up list ls"),
    ("dependencies", "build update up list ls"),
    ("search", "hub repo"),
    ("registry", "login logout"),
    ("plugin", "install add list ls uninstall rm remove update up"),
];

/// Whether `path` is a subcommand of the program itself. The empty path is the program.
pub(super) fn is_known(program: &str, path: &[String]) -> bool {
    let all = match program {
        "kubectl" => KUBECTL,
        "helm" => HELM,
        _ => return false,
    };
    let Some((last, before)) = path.split_last() else { return true };
    let before = before.join(" ");
    all.iter().any(|(above, below)| *above == before && below.split_whitespace().any(|name| name == last))
}
