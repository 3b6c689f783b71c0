//! Fields of an object changed by a JSON merge patch, and put back as they were.

use super::choose::Choice;
use super::kind::{FaultKind, Site, UndoKind, not_a_target};
use super::undo::objects;
use super::{FaultError, Injected, Proof, Tools};
use crate::cluster::{Cluster, ClusterError, MANAGED_BY};
use async_trait::async_trait;
use firedrill_core::event::{RestoreUndo, Undo, patch_refusal};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{ObjectRef, PatchFault};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Map, Value};
use tokio::time::Instant;

#[async_trait]
impl FaultKind for PatchFault {
    /// The object with what its fields are now.
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        let (object, merge) = (&self.object, &self.merge);
        let found = read(choice.cluster, object).await?.ok_or_else(|| FaultError::TooFewTargets {
            selector: format!("{}/{}", object.namespace, object.name),
            wanted: format!("1 {}", object.kind),
            found: "found none".to_owned(),
        })?;
        if let Some(why) = patch_refusal(object, merge) {
            return Err(FaultError::Mismatch(format!("{object} cannot be patched: {why}")));
        }
        let uid = found.metadata.uid.clone().unwrap_or_default();
        let restore = restoring(&fields(merge)?, &whole(&found)?).to_string();
        Ok(vec![Target::Object { object: object.clone(), uid, restore }])
    }

    fn preview(&self, target: &Target) -> String {
        let merge = &self.merge;
        match target {
            Target::Object { restore, .. } => format!("patch {target} with {merge}; undone by {restore}"),
            _ => format!("patch {target} with {merge}"),
        }
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        let Target::Object { object, uid, restore } = target else { return Err(not_a_target(target)) };
        let (object, uid, merge) = (object.clone(), uid.clone(), restore.clone());
        Ok(Some(Undo::Restore(RestoreUndo { object, uid, merge })))
    }

    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        let Target::Object { object, uid, .. } = site.target else { return Err(not_a_target(site.target)) };
        write(site.tools, object, uid, &self.merge).await?;
        Ok(Injected::of(site.target))
    }

    /// A fresh look shows the fields as the patch has them.
    async fn prove(&self, site: &mut Site<'_>, _: &Injected, _: Instant) -> Result<Vec<Proof>, FaultError> {
        let (object, merge) = (&self.object, &self.merge);
        let (held, evidence) = match read(&site.tools.cluster, object).await? {
            None => (false, "it is gone".to_owned()),
            Some(found) => match holds(&fields(merge)?, &whole(&found)?) {
                true => (true, format!("read back, generation {}: {merge}", found.metadata.generation.unwrap_or(0))),
                false => (false, "its fields are not as patched".to_owned()),
            },
        };
        Ok(vec![Proof { subject: object.to_string(), evidence, held, at: site.tools.clock.now() }])
    }
}

#[async_trait]
impl UndoKind for RestoreUndo {
    async fn undo(&self, tools: &Tools, deadline: Instant) -> Result<(), FaultError> {
        match self.is_clean(tools, deadline).await? {
            true => Ok(()),
            false => write(tools, &self.object, &self.uid, &self.merge).await,
        }
    }

    /// Whether the fields are as they were. An object that is gone, or was made anew, is the listing's to show.
    async fn is_clean(&self, tools: &Tools, _: Instant) -> Result<bool, FaultError> {
        match read(&tools.cluster, &self.object).await? {
            Some(found) if found.metadata.uid.as_ref() == Some(&self.uid) => {
                Ok(holds(&fields(&self.merge)?, &whole(&found)?))
            }
            Some(_) | None => Ok(true),
        }
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
    serde_json::from_str(merge)
        .map_err(|error| FaultError::Mismatch(format!("`{merge}` is not a JSON object: {error}")))
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
