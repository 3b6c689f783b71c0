//! Which kinds of Kubernetes objects belong to a namespace, as far as that is known without asking a cluster.

/// Where objects of a kind are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// In a namespace.
    Namespaced,
    /// In no namespace.
    Cluster,
    /// Only the cluster's API can tell.
    Unknown,
}

/// Built-in kinds of Kubernetes 1.34 without a namespace: API group, plural, singular, short names.
const CLUSTER: [(&str, &str, &str, &[&str]); 34] = [
    ("", "componentstatuses", "componentstatus", &["cs"]),
    ("", "namespaces", "namespace", &["ns"]),
    ("", "nodes", "node", &["no"]),
    ("", "persistentvolumes", "persistentvolume", &["pv"]),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies", "mutatingadmissionpolicy", &[]),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", "mutatingadmissionpolicybinding", &[]),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "mutatingwebhookconfiguration", &[]),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", "validatingadmissionpolicy", &[]),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", "validatingadmissionpolicybinding", &[]),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", "validatingwebhookconfiguration", &[]),
    ("apiextensions.k8s.io", "customresourcedefinitions", "customresourcedefinition", &["crd", "crds"]),
    ("apiregistration.k8s.io", "apiservices", "apiservice", &[]),
    ("authentication.k8s.io", "selfsubjectreviews", "selfsubjectreview", &[]),
    ("authentication.k8s.io", "tokenreviews", "tokenreview", &[]),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectaccessreview", &[]),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "selfsubjectrulesreview", &[]),
    ("authorization.k8s.io", "subjectaccessreviews", "subjectaccessreview", &[]),
    ("certificates.k8s.io", "certificatesigningrequests", "certificatesigningrequest", &["csr"]),
    ("certificates.k8s.io", "clustertrustbundles", "clustertrustbundle", &[]),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", "flowschema", &[]),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "prioritylevelconfiguration", &[]),
    ("internal.apiserver.k8s.io", "storageversions", "storageversion", &[]),
    ("metrics.k8s.io", "nodes", "node", &[]),
    ("networking.k8s.io", "ingressclasses", "ingressclass", &[]),
    ("networking.k8s.io", "ipaddresses", "ipaddress", &["ip"]),
    ("networking.k8s.io", "servicecidrs", "servicecidr", &[]),
    ("node.k8s.io", "runtimeclasses", "runtimeclass", &[]),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "clusterrolebinding", &[]),
    ("rbac.authorization.k8s.io", "clusterroles", "clusterrole", &[]),
    ("resource.k8s.io", "deviceclasses", "deviceclass", &[]),
    ("resource.k8s.io", "devicetaintrules", "devicetaintrule", &[]),
    ("resource.k8s.io", "resourceslices", "resourceslice", &[]),
    ("scheduling.k8s.io", "priorityclasses", "priorityclass", &["pc"]),
    ("storagemigration.k8s.io", "storageversionmigrations", "storageversionmigration", &[]),
];

/// The same of `storage.k8s.io`.
const CLUSTER_STORAGE: [(&str, &str, &str, &[&str]); 5] = [
    ("storage.k8s.io", "csidrivers", "csidriver", &[]),
    ("storage.k8s.io", "csinodes", "csinode", &[]),
    ("storage.k8s.io", "storageclasses", "storageclass", &["sc"]),
    ("storage.k8s.io", "volumeattachments", "volumeattachment", &[]),
    ("storage.k8s.io", "volumeattributesclasses", "volumeattributesclass", &["vac"]),
];

/// Kinds of Kubernetes 1.34 in a namespace, and those of the operators that the stack installs.
const NAMESPACED: [(&str, &str, &[&str]); 48] = [
    ("all", "all", &[]),
    ("backups", "backup", &[]),
    ("bindings", "binding", &[]),
    ("ciliumendpoints", "ciliumendpoint", &["cep", "ciliumep"]),
    ("ciliumnetworkpolicies", "ciliumnetworkpolicy", &["cnp", "ciliumnp"]),
    ("clusters", "cluster", &[]),
    ("configmaps", "configmap", &["cm"]),
    ("controllerrevisions", "controllerrevision", &[]),
    ("cronjobs", "cronjob", &["cj"]),
    ("csistoragecapacities", "csistoragecapacity", &[]),
    ("daemonsets", "daemonset", &["ds"]),
    ("databases", "database", &[]),
    ("deployments", "deployment", &["deploy"]),
    ("endpoints", "endpoints", &["ep"]),
    ("endpointslices", "endpointslice", &[]),
    ("events", "event", &["ev"]),
    ("horizontalpodautoscalers", "horizontalpodautoscaler", &["hpa"]),
    ("imagecatalogs", "imagecatalog", &[]),
    ("ingresses", "ingress", &["ing"]),
    ("jobs", "job", &[]),
    ("leasecandidates", "leasecandidate", &[]),
    ("leases", "lease", &[]),
    ("limitranges", "limitrange", &["limits"]),
    ("localsubjectaccessreviews", "localsubjectaccessreview", &[]),
    ("networkpolicies", "networkpolicy", &["netpol"]),
    ("persistentvolumeclaims", "persistentvolumeclaim", &["pvc"]),
    ("podcertificaterequests", "podcertificaterequest", &[]),
    ("poddisruptionbudgets", "poddisruptionbudget", &["pdb"]),
    ("podmonitors", "podmonitor", &["pmon"]),
    ("pods", "pod", &["po"]),
    ("podtemplates", "podtemplate", &[]),
    ("poolers", "pooler", &[]),
    ("prometheusrules", "prometheusrule", &["promrule"]),
    ("publications", "publication", &[]),
    ("replicasets", "replicaset", &["rs"]),
    ("replicationcontrollers", "replicationcontroller", &["rc"]),
    ("resourceclaims", "resourceclaim", &[]),
    ("resourceclaimtemplates", "resourceclaimtemplate", &[]),
    ("resourcequotas", "resourcequota", &["quota"]),
    ("rolebindings", "rolebinding", &[]),
    ("roles", "role", &[]),
    ("scheduledbackups", "scheduledbackup", &[]),
    ("secrets", "secret", &[]),
    ("serviceaccounts", "serviceaccount", &["sa"]),
    ("servicemonitors", "servicemonitor", &["smon"]),
    ("services", "service", &["svc"]),
    ("statefulsets", "statefulset", &["sts"]),
    ("subscriptions", "subscription", &["subs"]),
];

/// Where the objects of a kind are, named as kubectl takes it: `pv`, `PersistentVolume`, `nodes.v1`,
/// `clusterroles.rbac.authorization.k8s.io`.
pub(super) fn scope(kind: &str) -> Scope {
    let kind = kind.to_ascii_lowercase();
    let (name, group) = kind.split_once('.').unwrap_or((&kind, ""));
    let is_version =
        |text: &str| text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    // `kind.version.group` is allowed as well.
    let group = match group.split_once('.') {
        Some((version, group)) if is_version(version) => group,
        None if is_version(group) => "",
        _ => group,
    };
    let is_named =
        |plural: &str, singular: &str, short: &[&str]| name == plural || name == singular || short.contains(&name);
    let is_cluster = |(of, plural, singular, short): &&(&str, &str, &str, &[&str])| {
        (group.is_empty() || group == *of) && is_named(plural, singular, short)
    };
    if CLUSTER.iter().chain(&CLUSTER_STORAGE).find(is_cluster).is_some() {
        return Scope::Cluster;
    }
    // A custom kind may have the name of a built-in one; its group then is a full domain name.
    let is_builtin_group =
        group.is_empty() || !group.contains('.') || group.ends_with(".k8s.io") || group.ends_with("cnpg.io");
    match NAMESPACED.iter().any(|(plural, singular, short)| is_builtin_group && is_named(plural, singular, short)) {
        true => Scope::Namespaced,
        false => Scope::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_each_of_their_names() {
        for kind in [
            "pv",
            "PersistentVolume",
            "nodes",
            "nodes.v1",
            "crds",
            "clusterroles.rbac.authorization.k8s.io",
            "csinodes",
            "volumeattachment",
            "volumeattachments.v1.storage.k8s.io",
            "clusterroles.v1.rbac.authorization.k8s.io",
            "flowschemas",
            "nodes.metrics.k8s.io",
            "sc",
            "csr",
        ] {
            assert_eq!(scope(kind), Scope::Cluster, "{kind}");
        }
        for kind in [
            "pods",
            "po",
            "Pod",
            "deployments.apps",
            "deployments.v1.apps",
            "cluster",
            "clusters.postgresql.cnpg.io",
            "all",
            "events.events.k8s.io",
        ] {
            assert_eq!(scope(kind), Scope::Namespaced, "{kind}");
        }
        for kind in ["nodes.example.com", "clusterissuers", "services.serving.knative.dev", "", "ciliumnodes"] {
            assert_eq!(scope(kind), Scope::Unknown, "{kind}");
        }
    }
}
