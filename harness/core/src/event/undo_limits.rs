//! What an undo may touch, and which undos are never carried out from a record on the cluster.

use super::undo::Undo;
use crate::plan::Target;
use crate::scenario::ObjectRef;

/// The namespace of the undo records and of the lease.
pub const SYSTEM_NAMESPACE: &str = "firedrill-system";
/// The name of the file by which a fault fills a volume.
pub const FILLER_FILE: &str = "firedrill-filler";

impl Undo {
    /// What it may touch at most, and by what that is told from another object of the same name.
    pub fn may_touch(&self) -> String {
        match self {
            Undo::DeleteObject { kind, name, .. } => {
                format!("{kind} {name}, if it carries the label of this run; deleted by its UID")
            }
            Undo::Thaw { target } => format!("processes of the container with the id in {target}: SIGCONT"),
            Undo::MendFiles { directory, .. } => {
                format!(
                    "files in {directory} of the volume with the recorded UID, where their originals are kept beside them"
                )
            }
            Undo::RemoveFiller { file, .. } => {
                format!(
                    "{file} in the volume with the recorded UID, and a pod with that volume that is not ready afterwards"
                )
            }
            Undo::EmptyStream { stream, subject, .. } => format!(
                "messages of {subject} in stream {stream}, and its configuration if the stream has the recorded creation time"
            ),
            Undo::LetDetach { .. } | Undo::LetAttach { .. } => {
                "the setting of the volume driver for the volume with the recorded UID".to_owned()
            }
            Undo::PowerOn { node, .. } => {
                format!("container {node} of this cluster, if it has the recorded id: docker start")
            }
            Undo::RemoveNode { node } => {
                format!(
                    "container {node}, if it carries the labels of this cluster and of this run, and the node of that name"
                )
            }
            Undo::RollBack { namespace, release, .. } => {
                format!("Helm release {release} in {namespace}, if its record of that revision has the recorded UID")
            }
            Undo::RollBackUnfinished { namespace, release, .. } => {
                format!(
                    "Helm release {release} in {namespace}, if it is failed or pending and its record of that revision has the recorded UID"
                )
            }
            Undo::Restore { object, merge, .. } => {
                format!("{object}, if it has the recorded UID: the fields of {merge}")
            }
            Undo::PurgeSubject { stream, subject, .. } => format!("messages of {subject} in stream {stream}"),
            Undo::DropTable { cluster, database, table } => {
                format!("table {table} in database {database} of {cluster}")
            }
            Undo::HealsItself { .. } => "nothing".to_owned(),
        }
    }

    /// Why an undo of this run must not be carried out from a record on the cluster: it is of a form that firedrill never writes.
    /// `None` where nothing is wrong. The record itself may be trusted; this bounds what a mistake in it can do.
    pub fn refusal(&self, run_id: &str) -> Option<String> {
        let refuse = |why: &str| Some(why.to_owned());
        let of_run = |text: &str| text.split('.').any(|part| part == run_id);
        let known = |uid: &Option<String>| uid.as_ref().is_some_and(|uid| !uid.is_empty());
        match self {
            Undo::DeleteObject { api_version, kind, namespace, name } => {
                let (kind, namespaced) = (kind.as_str(), namespace.is_some());
                match (api_version.as_str(), kind, namespaced) {
                    ("v1", "Namespace", false) if *name == format!("firedrill-{run_id}") => None,
                    ("v1", "Pod" | "Service", true) => None,
                    _ => refuse("a run makes no such object"),
                }
            }
            Undo::Thaw { target: Target::Container { container_id, .. } } if !container_id.is_empty() => None,
            Undo::Thaw { .. } => refuse("it names no container id"),
            Undo::MendFiles { volume_uid, .. }
            | Undo::LetDetach { volume_uid, .. }
            | Undo::LetAttach { volume_uid, .. }
                if !known(volume_uid) =>
            {
                refuse("it has no UID of the volume")
            }
            Undo::MendFiles { directory, .. } => {
                match directory.starts_with('/') && !directory.split('/').any(|part| part == "..") {
                    true => None,
                    false => refuse("its directory is not an absolute path"),
                }
            }
            Undo::RemoveFiller { volume_uid, file, .. } => match known(volume_uid) && file == FILLER_FILE {
                true => None,
                false => refuse("it has no UID of the volume, or another file than a fault makes"),
            },
            Undo::LetDetach { .. } | Undo::LetAttach { .. } => None,
            Undo::EmptyStream { subject, .. } | Undo::PurgeSubject { subject, .. } => match of_run(subject) {
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
            Undo::PowerOn { container, .. } if !known(container) => refuse("it has no id of the node's container"),
            Undo::PowerOn { .. } | Undo::RemoveNode { .. } => None,
            Undo::RollBack { uid, .. } if !known(uid) => refuse("it has no UID of the release's record"),
            Undo::RollBackUnfinished { uid, .. } if uid.is_empty() => refuse("it has no UID of the release's record"),
            Undo::RollBack { .. } | Undo::RollBackUnfinished { .. } => None,
            Undo::Restore { object, uid, merge } => match uid.is_empty() {
                true => refuse("it has no UID of the object"),
                false => patch_refusal(object, merge),
            },
            Undo::HealsItself { .. } => refuse("there is nothing to undo"),
        }
    }

    /// What cannot be checked before this undo, since an older version did not record it.
    pub fn unchecked(&self) -> Option<&'static str> {
        match self {
            Undo::MendFiles { volume_uid: None, .. }
            | Undo::RemoveFiller { volume_uid: None, .. }
            | Undo::LetDetach { volume_uid: None, .. }
            | Undo::LetAttach { volume_uid: None, .. } => Some("the UID of the volume was not recorded"),
            Undo::PowerOn { container: None, .. } => Some("the id of the node's container was not recorded"),
            Undo::RollBack { uid: None, .. } => Some("the UID of the release's record was not recorded"),
            _ => None,
        }
    }
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
        let restore =
            |uid: &str| Undo::Restore { object: apps.clone(), uid: uid.into(), merge: "{}".into() }.refusal("r1");
        assert!(restore("").is_some() && restore("u").is_none());
    }
}
