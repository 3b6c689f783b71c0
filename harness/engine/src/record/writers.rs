//! Who may write undo records: the records are trusted only where nobody but the runner and the cluster's own administrators can.
//!
//! Rights by which somebody can become another one are not looked at: `impersonate`, `escalate`, `bind`, and pods or tokens with the
//! runner's service account. Who has these across the cluster is an administrator in all but name.

use crate::cluster::{Cluster, ClusterError};
use firedrill_core::event::SYSTEM_NAMESPACE;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{Api, ListParams, PostParams};

/// The service account of the runner, in [`SYSTEM_NAMESPACE`].
pub const RUNNER: &str = "firedrill-runner";
/// Groups of the control plane's own and of its administrators.
const ADMINISTRATORS: [&str; 3] = ["system:masters", "kubeadm:cluster-admins", "system:serviceaccounts:kube-system"];

/// Who may write undo records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Nobody but those who are trusted.
    Trusted,
    /// Others, one a line, with what gives them the right.
    Others(Vec<String>),
    /// That cannot be read, with the reason.
    Unknown(String),
}

/// Who may write undo records on a cluster, by its roles and what binds them.
pub async fn of_records(cluster: &Cluster) -> Writers {
    match Rights::read(cluster).await {
        Err(error) => Writers::Unknown(error.to_string()),
        Ok(rights) => match rights.others() {
            others if others.is_empty() => Writers::Trusted,
            others => Writers::Others(others),
        },
    }
}

/// What decides who may do what in [`SYSTEM_NAMESPACE`].
#[derive(Clone, Debug, Default)]
struct Rights {
    cluster_roles: Vec<ClusterRole>,
    roles: Vec<Role>,
    cluster_bindings: Vec<ClusterRoleBinding>,
    bindings: Vec<RoleBinding>,
    /// The name by which the API server knows this user.
    own: Option<String>,
}

impl Rights {
    async fn read(cluster: &Cluster) -> Result<Self, ClusterError> {
        let all = ListParams::default();
        let cluster_roles: Api<ClusterRole> = Api::all(cluster.client());
        let cluster_bindings: Api<ClusterRoleBinding> = Api::all(cluster.client());
        let roles: Api<Role> = Api::namespaced(cluster.client(), SYSTEM_NAMESPACE);
        let bindings: Api<RoleBinding> = Api::namespaced(cluster.client(), SYSTEM_NAMESPACE);
        Ok(Self {
            cluster_roles: cluster.ask("cluster roles", cluster_roles.list(&all)).await?.items,
            cluster_bindings: cluster.ask("cluster role bindings", cluster_bindings.list(&all)).await?.items,
            roles: cluster.ask(format!("roles of {SYSTEM_NAMESPACE}"), roles.list(&all)).await?.items,
            bindings: cluster.ask(format!("role bindings of {SYSTEM_NAMESPACE}"), bindings.list(&all)).await?.items,
            own: own_name(cluster).await,
        })
    }

    /// Those who may write records and are not trusted.
    fn others(&self) -> Vec<String> {
        let mut others = Vec::new();
        let mut add = |subjects: &Option<Vec<Subject>>, role: &RoleRef, kind: &str, name: Option<&String>| {
            if !self.may_write(role) {
                return;
            }
            let name = name.map(String::as_str).unwrap_or_default();
            for subject in subjects.iter().flatten().filter(|subject| !self.is_trusted(subject)) {
                let namespace = subject.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
                others.push(format!("{} {namespace}{} by {kind} {name}", subject.kind, subject.name));
            }
        };
        for binding in &self.cluster_bindings {
            add(&binding.subjects, &binding.role_ref, "ClusterRoleBinding", binding.metadata.name.as_ref());
        }
        for binding in &self.bindings {
            add(&binding.subjects, &binding.role_ref, "RoleBinding", binding.metadata.name.as_ref());
        }
        others.sort();
        others.dedup();
        others
    }

    fn may_write(&self, role: &RoleRef) -> bool {
        let named = |name: &Option<String>| name.as_ref() == Some(&role.name);
        let rules = match role.kind.as_str() {
            "ClusterRole" => {
                self.cluster_roles.iter().find(|one| named(&one.metadata.name)).and_then(|one| one.rules.as_ref())
            }
            _ => self.roles.iter().find(|one| named(&one.metadata.name)).and_then(|one| one.rules.as_ref()),
        };
        // What an aggregated role gathers is in its rules already.
        rules.into_iter().flatten().any(writes_records)
    }

    fn is_trusted(&self, subject: &Subject) -> bool {
        let of_account = |account: &str| match account.split_once(':') {
            Some(("kube-system", _)) => true,
            Some((namespace, name)) => namespace == SYSTEM_NAMESPACE && name == RUNNER,
            None => false,
        };
        let is_own = |name: &str| self.own.as_deref() == Some(name);
        match (subject.kind.as_str(), subject.name.as_str()) {
            ("Group", name) => ADMINISTRATORS.contains(&name),
            ("ServiceAccount", name) => {
                let account = format!("{}:{name}", subject.namespace.as_deref().unwrap_or_default());
                of_account(&account) || is_own(&format!("system:serviceaccount:{account}"))
            }
            ("User", name) if is_own(name) => true,
            ("User", name) => match name.strip_prefix("system:") {
                Some(rest) => match rest.strip_prefix("serviceaccount:") {
                    Some(account) => of_account(account),
                    // A node is a tenant's as soon as one of its pods breaks out.
                    None => !rest.starts_with("node:") && rest != "anonymous",
                },
                None => false,
            },
            _ => false,
        }
    }
}

/// Whether a rule gives the right to make or change a record. A name that it is limited to may be that of a record.
fn writes_records(rule: &PolicyRule) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &[&str]| {
        list.iter().flatten().any(|one| one == "*" || wanted.contains(&one.as_str()))
    };
    let verbs = Some(rule.verbs.clone());
    has(&rule.api_groups, &["apps"])
        && has(&rule.resources, &["controllerrevisions"])
        && has(&verbs, &["create", "update", "patch"])
}

/// The name by which the API server knows this user; `None` where it does not say.
async fn own_name(cluster: &Cluster) -> Option<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(cluster.client());
    let (params, empty) = (PostParams::default(), SelfSubjectReview::default());
    let review = cluster.ask("this user's name", reviews.create(&params, &empty)).await.ok()?;
    review.status?.user_info?.username
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rights(rules: serde_json::Value, subjects: serde_json::Value) -> Rights {
        let role = json!({"metadata": {"name": "writer"}, "rules": rules});
        let binding = json!({"metadata": {"name": "b"}, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "writer"}});
        Rights {
            cluster_roles: vec![serde_json::from_value(role).unwrap()],
            cluster_bindings: vec![serde_json::from_value(binding).unwrap()],
            own: Some("jane".to_owned()),
            ..Rights::default()
        }
    }

    fn subject(kind: &str, namespace: Option<&str>, name: &str) -> serde_json::Value {
        match namespace {
            Some(namespace) => json!([{"kind": kind, "name": name, "namespace": namespace}]),
            None => json!([{"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"}]),
        }
    }

    #[test]
    fn a_right_to_write_records_is_seen_in_every_spelling() {
        let tenant = || subject("ServiceAccount", Some("tenant"), "default");
        for (groups, resources, verbs, may) in [
            ("apps", "controllerrevisions", "create", true),
            ("apps", "controllerrevisions", "update", true),
            ("apps", "controllerrevisions", "patch", true),
            ("*", "*", "*", true),
            ("*", "controllerrevisions", "create", true),
            ("apps", "*", "patch", true),
            ("apps", "controllerrevisions", "get", false),
            ("apps", "controllerrevisions", "delete", false),
            ("apps", "deployments", "*", false),
            ("", "configmaps", "*", false),
            ("", "controllerrevisions", "create", false),
        ] {
            let rules = json!([{"apiGroups": [groups], "resources": [resources], "verbs": [verbs]}]);
            assert_eq!(!rights(rules, tenant()).others().is_empty(), may, "{groups} {resources} {verbs}");
        }
        let limited = json!([{"apiGroups": ["apps"], "resources": ["controllerrevisions"], "verbs": ["create"],
            "resourceNames": ["undo-r1-1"]}]);
        assert!(!rights(limited, tenant()).others().is_empty(), "a name may be a record's");
    }

    #[test]
    fn who_is_trusted_with_records() {
        let all = || json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
        let trusted = |kind: &str, namespace: Option<&str>, name: &str| {
            rights(all(), subject(kind, namespace, name)).others().is_empty()
        };
        for (kind, namespace, name) in [
            ("Group", None, "system:masters"),
            ("Group", None, "kubeadm:cluster-admins"),
            ("User", None, "system:kube-controller-manager"),
            ("ServiceAccount", Some("kube-system"), "statefulset-controller"),
            ("ServiceAccount", Some("firedrill-system"), "firedrill-runner"),
            ("User", None, "system:serviceaccount:firedrill-system:firedrill-runner"),
            ("User", None, "jane"),
        ] {
            assert!(trusted(kind, namespace, name), "{kind} {name}");
        }
        for (kind, namespace, name) in [
            ("Group", None, "system:authenticated"),
            ("Group", None, "system:unauthenticated"),
            ("Group", None, "system:serviceaccounts"),
            ("Group", None, "system:serviceaccounts:tenant"),
            ("Group", None, "system:nodes"),
            ("Group", None, "developers"),
            ("User", None, "system:anonymous"),
            ("User", None, "system:node:w1"),
            ("User", None, "system:serviceaccount:tenant:default"),
            ("User", None, "john"),
            ("ServiceAccount", Some("tenant"), "firedrill-runner"),
            ("ServiceAccount", Some("firedrill-system"), "default"),
        ] {
            assert!(!trusted(kind, namespace, name), "{kind} {name}");
        }
    }

    #[test]
    fn a_binding_in_the_namespace_counts_as_well() {
        let role = json!({"metadata": {"name": "writer", "namespace": SYSTEM_NAMESPACE},
            "rules": [{"apiGroups": ["apps"], "resources": ["controllerrevisions"], "verbs": ["create"]}]});
        let binding = json!({"metadata": {"name": "b"}, "subjects": subject("User", None, "john"),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer"}});
        let rights = Rights {
            roles: vec![serde_json::from_value(role).unwrap()],
            bindings: vec![serde_json::from_value(binding).unwrap()],
            ..Rights::default()
        };
        assert_eq!(rights.others(), ["User john by RoleBinding b"]);
    }
}
