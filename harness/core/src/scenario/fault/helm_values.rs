//! Values of a Helm release changed.

use super::{Declared, FaultKind, Right};
use crate::event::{UndoKind, is_known};
use crate::fidelity::{ByProvider, real};
use crate::scenario::format::{Kind, NAMESPACE, Shape, of_stack, optional, required};
use crate::scenario::read::Tab;
use crate::scenario::text::Rule;
use serde::{Deserialize, Serialize};
use std::fmt;

pub(super) static DECLARED: Declared = Declared {
    about: "changes values of a Helm release by `helm upgrade --reuse-values`",
    undone: "`helm rollback`",
    example: r#"{ release = "ironflow", namespace = "ironflow", set = ["server.replicas=0"], set-json = ["server.env=[]"] }"#,
    fidelity: ByProvider::everywhere(real("Helm upgrades the release, as an operator would")),
    shape: Shape {
        keys: &[
            of_stack("release", "release", Kind::Text(Rule::Kubernetes), "the Helm release"),
            NAMESPACE,
            required(
                "set",
                Kind::List { of: &Kind::Text(Rule::Setting), min: 1, max: 16 },
                "values as for `helm upgrade --reuse-values --set`; undone by `helm rollback`",
            ),
            optional(
                "set-json",
                Kind::List { of: &Kind::Text(Rule::JsonSetting), min: 1, max: 16 },
                "values as for `--set-json`: a list or a table in JSON",
            ),
        ],
    },
};

/// Values of a Helm release changed by `helm upgrade --reuse-values`; undone by `helm rollback`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelmValuesFault {
    /// The release's namespace.
    pub namespace: String,
    /// The release.
    pub release: String,
    /// `key=value` each, as for `--set`.
    pub set: Vec<String>,
    /// `key=JSON` each, as for `--set-json`.
    #[serde(default)]
    pub set_json: Vec<String>,
}

impl FaultKind for HelmValuesFault {
    fn read(tab: &Tab<'_>) -> Option<Self> {
        let texts = |key| tab.texts(key).into_iter().map(|set| set.value).collect();
        Some(Self {
            namespace: tab.text("namespace")?.value,
            release: tab.text("release")?.value,
            set: texts("set"),
            set_json: texts("set-json"),
        })
    }

    fn namespace(&self) -> Option<&str> {
        Some(&self.namespace)
    }

    fn rights(&self) -> Vec<Right> {
        // An upgrade may change whatever the chart has.
        let namespace = Some(self.namespace.clone());
        vec![Right { namespace, group: "*".to_owned(), resource: "*", verbs: &["*"], name: None }]
    }

    fn left_behind(&self) -> &'static str {
        "a dead run leaves the release changed: firedrill sweep rolls it back"
    }
}

/// Roll a Helm release back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollBackUndo {
    /// Its namespace.
    pub namespace: String,
    /// The release.
    pub release: String,
    /// The revision that it had.
    pub revision: u32,
    /// The UID of Helm's record of that revision: a release that was installed since under the same name is not
    /// touched. `None` in runs from before it was looked at.
    #[serde(default)]
    pub uid: Option<String>,
}

impl fmt::Display for RollBackUndo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "roll release {} in {} back to revision {}", self.release, self.namespace, self.revision)
    }
}

impl UndoKind for RollBackUndo {
    fn may_touch(&self) -> String {
        format!(
            "Helm release {} in {}, if its record of that revision has the recorded UID",
            self.release, self.namespace
        )
    }

    fn refusal(&self, _: &str) -> Option<String> {
        (!is_known(&self.uid)).then(|| "it has no UID of the release's record".to_owned())
    }

    fn unchecked(&self) -> Option<&'static str> {
        self.uid.is_none().then_some("the UID of the release's record was not recorded")
    }
}
