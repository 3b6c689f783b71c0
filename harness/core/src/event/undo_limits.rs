//! What an undo may touch, and which undos are never carried out from a record on the cluster.

use super::undo::{Undo, UndoKind};
use crate::scenario::ObjectRef;

/// The namespace of the undo records and of the lease.
pub const SYSTEM_NAMESPACE: &str = "firedrill-system";

impl Undo {
    /// What it may touch at most, and by what that is told from another object of the same name.
    pub fn may_touch(&self) -> String {
        if let Some(kind) = self.kind() {
            return kind.may_touch();
        }
        match self {
            Undo::DeleteObject { kind, name, .. } => {
                format!("{kind} {name}, if it carries the label of this run; deleted by its UID")
            }
            Undo::RemoveNode { node } => {
                format!(
                    "machine {node}, if it carries the labels of this cluster and of this run, and the node of that name"
                )
            }
            Undo::RollBackUnfinished { namespace, release, .. } => {
                format!(
                    "Helm release {release} in {namespace}, if it is failed or pending and its record of that revision has the recorded UID"
                )
            }
            Undo::PurgeSubject { stream, subject, .. } => format!("messages of {subject} in stream {stream}"),
            Undo::DropTable { cluster, database, table } => {
                format!("table {table} in database {database} of {cluster}")
            }
            // What heals by itself; the others are kinds of their own.
            _ => "nothing".to_owned(),
        }
    }

    /// Why an undo of this run must not be carried out from a record on the cluster: it is of a form that firedrill never writes.
    /// `None` where nothing is wrong. The record itself may be trusted; this bounds what a mistake in it can do.
    pub fn refusal(&self, run_id: &str) -> Option<String> {
        if let Some(kind) = self.kind() {
            return kind.refusal(run_id);
        }
        let refuse = |why: &str| Some(why.to_owned());
        match self {
            Undo::DeleteObject { api_version, kind, namespace, name } => {
                let (kind, namespaced) = (kind.as_str(), namespace.is_some());
                match (api_version.as_str(), kind, namespaced) {
                    ("v1", "Namespace", false) if *name == format!("firedrill-{run_id}") => None,
                    ("v1", "Pod" | "Service", true) => None,
                    _ => refuse("a run makes no such object"),
                }
            }
            Undo::PurgeSubject { subject, .. } => match is_of_run(subject, run_id) {
                true => None,
                false => refuse("its subject is not of this run"),
            },
            Undo::DropTable { table, .. } => {
                let prefix = format!("firedrill_{run_id}_").replace('-', "_");
                let is_name = table.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                match table.starts_with(&prefix) && is_name {
                    true => None,
                    false => refuse("its table is not of this run"),
                }
            }
            Undo::RemoveNode { .. } => None,
            Undo::RollBackUnfinished { uid, .. } => match uid.is_empty() {
                true => refuse("it has no UID of the release's record"),
                false => None,
            },
            // What heals by itself; the others are kinds of their own.
            _ => refuse("there is nothing to undo"),
        }
    }

    /// What cannot be checked before this undo, since an older version did not record it.
    pub fn unchecked(&self) -> Option<&'static str> {
        self.kind().and_then(UndoKind::unchecked)
    }
}

/// Whether a UID or an id was recorded.
pub(crate) fn is_known(uid: &Option<String>) -> bool {
    uid.as_ref().is_some_and(|uid| !uid.is_empty())
}

/// Whether a subject has the run's id as one of its parts.
pub(crate) fn is_of_run(subject: &str, run_id: &str) -> bool {
    subject.split('.').any(|part| part == run_id)
}

/// Why an undo that does not know its volume is refused; `None` where it knows it.
pub(crate) fn unknown_volume(volume_uid: &Option<String>) -> Option<String> {
    (!is_known(volume_uid)).then(|| "it has no UID of the volume".to_owned())
}

/// What is not checked where an older version did not record the volume's UID.
pub(crate) fn unchecked_volume(volume_uid: &Option<String>) -> Option<&'static str> {
    volume_uid.is_none().then_some("the UID of the volume was not recorded")
}

/// Why a merge patch must not be put onto an object: it changes more than the fields, labels and annotations that a fault may change.
/// `None` where nothing is wrong.
pub fn patch_refusal(object: &ObjectRef, merge: &str) -> Option<String> {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(merge) else {
        return Some(format!("`{merge}` is not a JSON object"));
    };
    if object.api_version.split('/').next() == Some("rbac.authorization.k8s.io") {
        return Some("rights are not a fault's to change".to_owned());
    }
    if object.namespace == SYSTEM_NAMESPACE {
        return Some(format!("namespace {SYSTEM_NAMESPACE} is not a fault's to change"));
    }
    if let Some(key) = ["apiVersion", "kind", "status"].into_iter().find(|key| fields.contains_key(*key)) {
        return Some(format!("a patch must not change `{key}`"));
    }
    match fields.get("metadata") {
        None => None,
        Some(serde_json::Value::Object(metadata)) => {
            let other = metadata.keys().find(|key| !matches!(key.as_str(), "labels" | "annotations"));
            other.map(|key| format!("a patch must not change `metadata.{key}`"))
        }
        Some(_) => Some("a patch must not replace `metadata`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RestoreUndo;
    use crate::plan::Target;
    use crate::scenario::ServiceRef;

    fn container() -> Target {
        let of = str::to_owned;
        Target::Container {
            namespace: of("n"),
            pod: of("p"),
            uid: of("u"),
            container: of("c"),
            container_id: of("id"),
            node: of("w"),
        }
    }

    fn object(api_version: &str, namespace: &str) -> ObjectRef {
        let of = str::to_owned;
        ObjectRef { api_version: of(api_version), kind: of("Role"), namespace: of(namespace), name: of("x") }
    }

    #[test]
    fn undos_of_older_versions_are_read_and_say_what_cannot_be_checked() {
        let target = serde_json::to_string(&container()).unwrap();
        for (text, unchecked) in [
            (r#"{"power_on":{"node":"w1"}}"#.to_owned(), true),
            (r#"{"remove_node":{"node":"w1"}}"#.to_owned(), false),
            (format!(r#"{{"mend_files":{{"target":{target},"directory":"/data"}}}}"#), true),
            (format!(r#"{{"remove_filler":{{"target":{target},"file":"firedrill-filler"}}}}"#), true),
            (format!(r#"{{"let_detach":{{"target":{target}}}}}"#), true),
            (format!(r#"{{"thaw":{{"target":{target}}}}}"#), false),
            (r#"{"roll_back":{"namespace":"n","release":"r","revision":3}}"#.to_owned(), true),
        ] {
            let undo: Undo = serde_json::from_str(&text).unwrap();
            assert_eq!(undo.unchecked().is_some(), unchecked, "{undo}");
            // A record on the cluster is never that old.
            assert!(!unchecked || undo.refusal("r1").is_some(), "{undo}");
        }
    }

    #[test]
    fn only_what_a_run_makes_is_deleted_from_a_record() {
        let delete = |api_version: &str, kind: &str, namespace: Option<&str>, name: &str| {
            let (api_version, kind, name) = (api_version.to_owned(), kind.to_owned(), name.to_owned());
            Undo::DeleteObject { api_version, kind, namespace: namespace.map(str::to_owned), name }.refusal("r1")
        };
        assert_eq!(delete("v1", "Namespace", None, "firedrill-r1"), None);
        assert_eq!(delete("v1", "Pod", Some("n"), "agent"), None);
        assert!(delete("v1", "Namespace", None, "kube-system").is_some());
        assert!(delete("v1", "Namespace", None, "firedrill-system").is_some());
        assert!(delete("v1", "Node", None, "w1").is_some());
        assert!(delete("apps/v1", "Deployment", Some("n"), "d").is_some());
        assert!(delete("v1", "PersistentVolume", None, "pv").is_some());
    }

    #[test]
    fn what_probes_wrote_is_of_the_run() {
        let table = |table: &str| {
            let of = str::to_owned;
            Undo::DropTable { cluster: of("n/c"), database: of("d"), table: of(table) }.refusal("11-hung-7c")
        };
        assert_eq!(table("firedrill_11_hung_7c_rows"), None);
        assert!(table("accounts").is_some());
        assert!(table("firedrill_11_hung_7c_rows; drop table accounts").is_some());
        let service = ServiceRef { namespace: "n".into(), name: "s".into(), port: 1 };
        let subject = |subject: &str| {
            let (service, stream) = (service.clone(), "S".to_owned());
            Undo::PurgeSubject { service, stream, subject: subject.to_owned() }.refusal("11-hung-7c")
        };
        assert_eq!(subject("probe.11-hung-7c.publish"), None);
        assert!(subject("orders.>").is_some() && subject(">").is_some());
    }

    #[test]
    fn a_patch_changes_fields_labels_and_annotations_alone() {
        let apps = object("apps/v1", "n");
        let refused = |merge: &str| patch_refusal(&apps, merge).is_some();
        assert!(!refused(r#"{"spec":{"replicas":0}}"#) && !refused(r#"{"metadata":{"annotations":{"a":"b"}}}"#));
        for merge in [
            r#"{"metadata":{"finalizers":[]}}"#,
            r#"{"metadata":{"ownerReferences":null}}"#,
            r#"{"metadata":null}"#,
            r#"{"metadata":{"uid":"other"}}"#,
            r#"{"kind":"Secret"}"#,
            r#"{"status":{}}"#,
            "[]",
            "x",
        ] {
            assert!(refused(merge), "{merge}");
        }
        let rights = object("rbac.authorization.k8s.io/v1", "n");
        assert!(patch_refusal(&rights, r#"{"rules":[]}"#).is_some());
        assert!(patch_refusal(&object("apps/v1", SYSTEM_NAMESPACE), r#"{"data":{}}"#).is_some());
        let restore = |uid: &str| {
            Undo::Restore(RestoreUndo { object: apps.clone(), uid: uid.into(), merge: "{}".into() }).refusal("r1")
        };
        assert!(restore("").is_some() && restore("u").is_none());
    }
}
