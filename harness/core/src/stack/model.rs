//! A checked stack. A value of these types has no mistake that can be seen without a cluster or the files that it names.

use crate::scenario::Layout;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A stack file, checked. Paths begin at the file's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The folder's name.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// The chart of every release that names none.
    pub chart: String,
    /// What scenarios mean where they leave a key out, by the key of `[defaults]`.
    pub defaults: BTreeMap<String, String>,
    /// What is watched beside the objects that a scenario names.
    pub watch: Watch,
    /// What runbooks assume.
    pub runbooks: Runbooks,
    /// The images that releases take, by name.
    pub images: BTreeMap<String, Image>,
    /// The operators, in the order of their installation.
    pub operators: Vec<Operator>,
    /// What watches the stack.
    pub monitoring: Option<Monitoring>,
    /// The templates, by name.
    pub templates: BTreeMap<String, Template>,
    /// The layouts, in the order of the file. The first is the default.
    pub layouts: Vec<StackLayout>,
}

/// What is watched beside the objects that a scenario names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The label selector of NATS servers, where the stack has some.
    pub nats: Option<String>,
    /// The stream whose messages are work that nobody has done yet.
    pub work_queue: Option<String>,
}

/// Of journals that are older than `stack.toml`.
impl Default for Watch {
    fn default() -> Self {
        Self { nats: Some("app.kubernetes.io/name=nats".to_owned()), work_queue: Some("STEPS".to_owned()) }
    }
}

/// What runbooks assume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runbooks {
    /// Where their commands find the chart.
    pub chart: Option<String>,
    /// Programs that `runbook check` does not ask, by name.
    pub not_asked: BTreeMap<String, NotAsked>,
}

/// Why a program is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAsked {
    /// The reason.
    pub because: String,
    /// What a drill does in its place.
    pub instead: String,
}

/// The values of the chart that name an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The value for all before the tag.
    pub repository: String,
    /// The value for the tag.
    pub tag: String,
}

/// An operator: its own release manifest, and how it is known to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its name, by which its manifest is given.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Its namespace.
    pub namespace: String,
    /// Its Deployment.
    pub deployment: String,
    /// A request that only its webhook can answer.
    pub webhook: Option<Webhook>,
}

/// An object that the API server admits without storing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The object's API version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// The rest of it.
    pub object: serde_json::Value,
    /// A JSON pointer to an object that the webhook fills in.
    pub defaulted: String,
}

/// What watches the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitoring {
    /// What people call it.
    pub title: String,
    /// The folder of its kustomization.
    pub folder: String,
    /// Its namespace.
    pub namespace: String,
    /// The Deployments that must be complete.
    pub deployments: Vec<Place>,
}

/// A namespace, and a name in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A size of the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// The values files that drills add.
    pub values: Vec<String>,
    /// How many NATS servers it has.
    pub nats_servers: Option<u32>,
    /// How many PostgreSQL instances it has.
    pub postgres_instances: Option<u32>,
}

/// Where the parts of the stack are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackLayout {
    /// Its name.
    pub name: Layout,
    /// The templates that it is made from. The first is the usual one.
    pub templates: Vec<String>,
    /// Its Helm releases, in the order of their installation.
    pub releases: Vec<Release>,
}

/// One Helm release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The releases that must be healthy before it is installed.
    pub after: Vec<String>,
    /// Its chart, where it is not the stack's.
    pub chart: Option<String>,
    /// Values files of the chart. `{template}` stands for the template's name.
    pub chart_values: Vec<String>,
    /// Values files that come after those of the template.
    pub values: Vec<String>,
    /// The images that it takes.
    pub images: Vec<String>,
    /// Values, `key=value`.
    pub set: Vec<String>,
    /// The Secrets that are written before it is installed.
    pub secrets: Vec<Handover>,
    /// When it works, beside its complete workloads.
    pub ready: Vec<Ready>,
}

/// A Secret that is made from another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Handover {
    /// Its name, in the release's namespace.
    pub name: String,
    /// Its key.
    pub key: String,
    /// The Secret that holds the value.
    pub from: Place,
    /// The key of that one.
    pub from_key: String,
    /// What is written. `{value}` stands for the value as part of a URL.
    pub text: String,
}

/// What must hold until a release works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ready {
    /// It has a CNPG cluster, and each one is healthy.
    CnpgHealthy,
    /// A Service answers.
    Http {
        /// The Service; its first port is asked.
        service: String,
        /// The path.
        path: String,
    },
}

impl Stack {
    /// A layout of it.
    pub fn layout(&self, name: &Layout) -> Option<&StackLayout> {
        self.layouts.iter().find(|layout| layout.name == *name)
    }

    /// The names of its layouts, the default one first.
    pub fn layout_names(&self) -> impl Iterator<Item = &str> {
        self.layouts.iter().map(|layout| layout.name.name())
    }

    /// The layout where none is named.
    pub fn default_layout(&self) -> Layout {
        self.layouts.first().map(|layout| layout.name.clone()).unwrap_or_default()
    }

    /// The template where none is named.
    pub fn usual_template(&self, layout: &Layout) -> Option<&str> {
        self.layout(layout)?.templates.first().map(String::as_str)
    }

    /// The releases of a layout, in the order of their installation.
    pub fn releases(&self, layout: &Layout) -> &[Release] {
        self.layout(layout).map_or(&[], |layout| &layout.releases)
    }

    /// Every namespace that some layout uses.
    pub fn namespaces(&self) -> BTreeSet<&str> {
        self.layouts.iter().flat_map(|layout| &layout.releases).map(|release| release.namespace.as_str()).collect()
    }

    /// What scenarios mean where they leave out a key that has this default.
    pub(crate) fn default(&self, key: &str) -> Option<&str> {
        match key {
            DEFAULT_LAYOUT => self.layouts.first().map(|layout| layout.name.name()),
            key => self.defaults.get(key).map(String::as_str),
        }
    }
}

/// The default that is the first layout.
pub(crate) const DEFAULT_LAYOUT: &str = "layout";

impl Handover {
    /// What is written, with the value as part of a URL in its place.
    pub fn written(&self, escaped: &str) -> String {
        self.text.replace(super::VALUE, escaped)
    }
}

impl Release {
    /// Its values files in the chart's folder, for a template.
    pub fn chart_values(&self, template: &str) -> impl Iterator<Item = String> {
        self.chart_values.iter().map(move |file| file.replace(super::TEMPLATE, template))
    }

    /// Whether it has a CNPG cluster.
    pub fn has_cnpg(&self) -> bool {
        self.ready.contains(&Ready::CnpgHealthy)
    }

    /// Whether the template decides about its values.
    pub fn is_of_template(&self) -> bool {
        self.chart_values.iter().any(|file| file.contains(super::TEMPLATE))
    }
}
