//! Fields of an object changed.

use super::{Declared, FaultKind, Right};
use crate::event::{UndoKind, patch_refusal};
use crate::fidelity::{ByProvider, real};
use crate::scenario::ObjectRef;
use crate::scenario::format::{Kind, NAMESPACE, Shape, required};
use crate::scenario::read::Tab;
use crate::scenario::text::Rule;
use serde::{Deserialize, Serialize};
use std::fmt;

pub(super) static DECLARED: Declared = Declared {
    about: "changes fields of one object by a JSON merge patch",
    undone: "the fields are put back as they were",
    example: r#"{ api-version = "apps/v1", kind = "Deployment", name = "ironflow", namespace = "ironflow", merge = '{"spec": {"replicas": 0}}' }"#,
    fidelity: ByProvider::everywhere(real("the API server changes the object, as for `kubectl patch`")),
    shape: Shape {
        keys: &[
            required("api-version", Kind::Text(Rule::ApiVersion), "the object's API version, such as `apps/v1`"),
            required("kind", Kind::Text(Rule::Word), "its kind"),
            required("name", Kind::Text(Rule::Kubernetes), "its name"),
            NAMESPACE,
            required(
                "merge",
                Kind::Text(Rule::JsonObject),
                "a JSON merge patch; the fields that it changes are put back as they were",
            ),
        ],
    },
};

/// Fields of an object changed by a JSON merge patch; undone by putting them back as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchFault {
    /// The object.
    pub object: ObjectRef,
    /// The patch: a JSON object.
    pub merge: String,
}

impl FaultKind for PatchFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        let text = |key| Some(tab.text(key)?.value);
        let (api_version, kind) = (text("api-version")?, text("kind")?);
        let object = ObjectRef { api_version, kind, namespace: text("namespace")?, name: text("name")? };
        Some(Self { object, merge: text("merge")? })
    }

    fn namespace(&self) -> Option<&str> {
        Some(&self.object.namespace)
    }

    fn rights(&self) -> Vec<Right> {
        let group = self.object.api_version.rsplit_once('/').map(|(group, _)| group).unwrap_or_default();
        // The plural of a kind is known to the cluster alone.
        vec![Right {
            namespace: Some(self.object.namespace.clone()),
            group: group.to_owned(),
            resource: "*",
            verbs: &["patch"],
            name: Some(self.object.name.clone()),
        }]
    }

    fn left_behind(&self) -> &'static str {
        "a dead run leaves the object changed: firedrill sweep puts it back"
    }
}

/// Put the fields of an object back as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreUndo {
    /// The object.
    pub object: ObjectRef,
    /// Its UID: one that was made since under the same name is not touched.
    pub uid: String,
    /// The JSON merge patch that does it.
    pub merge: String,
}

impl fmt::Display for RestoreUndo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "restore {}", self.object)
    }
}

impl UndoKind for RestoreUndo {
    fn may_touch(&self) -> String {
        format!("{}, if it has the recorded UID: the fields of {}", self.object, self.merge)
    }

    fn refusal(&self, _: &str) -> Option<String> {
        match self.uid.is_empty() {
            true => Some("it has no UID of the object".to_owned()),
            false => patch_refusal(&self.object, &self.merge),
        }
    }
}
