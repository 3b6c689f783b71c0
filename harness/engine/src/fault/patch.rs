//! Fields of an object changed by a JSON merge patch, and put back as they were.

use super::undo::objects;
use super::{FaultError, Proof, Tools};
use crate::cluster::{Cluster, ClusterError, MANAGED_BY};
use firedrill_core::event::{Undo, patch_refusal};
use firedrill_core::plan::Target;
use firedrill_core::scenario::ObjectRef;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Map, Value};

/// The object with what its fields are now.
pub(super) async fn target(cluster: &Cluster, object: &ObjectRef, merge: &str) -> Result<Target, FaultError> {
    let found = read(cluster, object).await?.ok_or_else(|| FaultError::TooFewTargets {
        selector: format!("{}/{}", object.namespace, object.name),
        wanted: format!("1 {}", object.kind),
        found: "found none".to_owned(),
    })?;
    if let Some(why) = patch_refusal(object, merge) {
        return Err(FaultError::Mismatch(format!("{object} cannot be patched: {why}")));
    }
    let uid = found.metadata.uid.clone().unwrap_or_default();
    let restore = restoring(&fields(merge)?, &whole(&found)?).to_string();
    Ok(Target::Object { object: object.clone(), uid, restore })
}

pub(super) fn undo_of(object: &ObjectRef, uid: &str, restore: &str) -> Undo {
    Undo::Restore { object: object.clone(), uid: uid.to_owned(), merge: restore.to_owned() }
}

pub(super) fn preview(target: &Target, merge: &str) -> String {
    match target {
        Target::Object { restore, .. } => format!("patch {target} with {merge}; undone by {restore}"),
        _ => format!("patch {target} with {merge}"),
    }
}

pub(super) async fn inject(tools: &Tools, object: &ObjectRef, uid: &str, merge: &str) -> Result<(), FaultError> {
    write(tools, object, uid, merge).await
}

/// A fresh look shows the fields as the patch has them.
pub(super) async fn prove(tools: &Tools, object: &ObjectRef, merge: &str) -> Result<Vec<Proof>, FaultError> {
    let (held, evidence) = match read(&tools.cluster, object).await? {
        None => (false, "it is gone".to_owned()),
        Some(found) => match holds(&fields(merge)?, &whole(&found)?) {
            true => (true, format!("read back, generation {}: {merge}", found.metadata.generation.unwrap_or(0))),
            false => (false, "its fields are not as patched".to_owned()),
        },
    };
    Ok(vec![Proof { subject: object.to_string(), evidence, held, at: tools.clock.now() }])
}

pub(super) async fn undo(tools: &Tools, object: &ObjectRef, uid: &str, restore: &str) -> Result<(), FaultError> {
    if is_clean(tools, object, uid, restore).await? {
        return Ok(());
    }
    write(tools, object, uid, restore).await
}

/// Whether the fields are as they were. An object that is gone, or was made anew, is the listing's to show.
pub(super) async fn is_clean(tools: &Tools, object: &ObjectRef, uid: &str, restore: &str) -> Result<bool, FaultError> {
    match read(&tools.cluster, object).await? {
        Some(found) if found.metadata.uid.as_deref() == Some(uid) => Ok(holds(&fields(restore)?, &whole(&found)?)),
        Some(_) | None => Ok(true),
    }
}

fn api(cluster: &Cluster, object: &ObjectRef) -> Result<Api<DynamicObject>, FaultError> {
    objects(cluster, &object.api_version, &object.kind, Some(&object.namespace))
}

async fn read(cluster: &Cluster, object: &ObjectRef) -> Result<Option<DynamicObject>, FaultError> {
    let found = api(cluster, object)?.get_opt(&object.name).await;
    Ok(found.map_err(ClusterError::api(format!("read {object}")))?)
}

/// Writes only onto the object of that UID: the API server refuses another one.
async fn write(tools: &Tools, object: &ObjectRef, uid: &str, merge: &str) -> Result<(), FaultError> {
    let refused = patch_refusal(object, merge).or_else(|| uid.is_empty().then(|| "its UID is not known".to_owned()));
    if let Some(why) = refused {
        return Err(FaultError::Mismatch(format!("{object} is not patched: {why}")));
    }
    let mut patch = fields(merge)?;
    let metadata = patch.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        metadata.insert("uid".to_owned(), Value::String(uid.to_owned()));
    }
    let params = PatchParams { field_manager: Some(MANAGED_BY.to_owned()), ..PatchParams::default() };
    let patched = api(&tools.cluster, object)?.patch(&object.name, &params, &Patch::Merge(Value::Object(patch))).await;
    patched.map_err(ClusterError::api(format!("patch {object}")))?;
    Ok(())
}

fn fields(merge: &str) -> Result<Map<String, Value>, FaultError> {
    serde_json::from_str(merge).map_err(|error| FaultError::Mismatch(format!("`{merge}` is no JSON object: {error}")))
}

fn whole(object: &DynamicObject) -> Result<Value, FaultError> {
    serde_json::to_value(object).map_err(|error| FaultError::Mismatch(error.to_string()))
}

/// The merge patch that takes `patch` back from an object that is `now`: what was there as it was, what was not as null.
fn restoring(patch: &Map<String, Value>, now: &Value) -> Value {
    let fields = patch.iter().map(|(key, new)| {
        let old = now.get(key);
        let back = match (new, old) {
            (Value::Object(new), Some(old @ Value::Object(_))) => restoring(new, old),
            (_, old) => old.cloned().unwrap_or(Value::Null),
        };
        (key.clone(), back)
    });
    Value::Object(fields.collect())
}

/// Whether an object has the fields of a merge patch; null is a field that it has not.
fn holds(patch: &Map<String, Value>, now: &Value) -> bool {
    patch.iter().all(|(key, wanted)| match (wanted, now.get(key)) {
        (Value::Null, found) => found.is_none_or(Value::is_null),
        (Value::Object(wanted), Some(found @ Value::Object(_))) => holds(wanted, found),
        (wanted, found) => found == Some(wanted),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_is_taken_back_exactly() {
        let before = json!({"metadata": {"annotations": {"a": "1"}}, "spec": {"replicas": 2, "list": [1, 2]}});
        let patch =
            json!({"metadata": {"annotations": {"b": "2"}}, "spec": {"replicas": 0, "list": []}, "data": {"x": 1}});
        let patch = patch.as_object().unwrap();
        let back = restoring(patch, &before);
        let expected =
            json!({"metadata": {"annotations": {"b": null}}, "spec": {"replicas": 2, "list": [1, 2]}, "data": null});
        assert_eq!(back, expected);
        assert!(holds(back.as_object().unwrap(), &before));
        assert!(!holds(patch, &before));
    }
}
