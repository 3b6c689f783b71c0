//! The stack file's format: every key, once.

use crate::scenario::format::{Kind, Shape, optional, required};
use crate::scenario::text::Rule;

/// The format that is read.
pub(super) const FORMAT: u64 = 1;
/// What stands for the template's name in names of the chart's values files.
pub(super) const TEMPLATE: &str = "{template}";
/// What stands for the value in a Secret that is handed over.
pub(super) const VALUE: &str = "{value}";

const PATHS: Kind = Kind::List { of: &Kind::Text(Rule::LocalPath), min: 1, max: 16 };
const NAMESPACE: Kind = Kind::Text(Rule::Kubernetes);

pub(super) static STACK: Shape = Shape {
    keys: &[
        required("format", Kind::Format { known: FORMAT }, "the version of this file's format: 1"),
        required("title", Kind::Text(Rule::Line), "one line for people"),
        required("chart", Kind::Text(Rule::LocalPath), "the chart of every release that names none"),
        optional("defaults", Kind::Table(&DEFAULTS), "what scenarios mean where they leave a key out"),
        optional("watch", Kind::Table(&WATCH), "what is watched beside the objects that a scenario names"),
        optional("runbooks", Kind::Table(&RUNBOOKS), "what runbooks assume"),
        optional(
            "image",
            Kind::Named { what: "image", shape: &IMAGE, max: 16 },
            "the images that releases take, by name: `--image NAME=IMAGE`, or `FIREDRILL_NAME_IMAGE` in the environment",
        ),
        optional("operator", Kind::Tables { shape: &OPERATOR, min: 1, max: 8 }, "the operators, in order"),
        optional("monitoring", Kind::Table(&MONITORING), "what watches the stack"),
        required(
            "template",
            Kind::Named { what: "template", shape: &TEMPLATE_OF, max: 16 },
            "the sizes of the stack, by name",
        ),
        required(
            "layout",
            Kind::Named { what: "layout", shape: &LAYOUT, max: 8 },
            "where the parts of the stack are, by name; the first is the default",
        ),
    ],
};

pub(super) static DEFAULTS: Shape = Shape {
    keys: &[
        optional("namespace", NAMESPACE, "the namespace of an object"),
        optional("release", NAMESPACE, "the Helm release"),
        optional("service", NAMESPACE, "the Service of the stack's own server"),
        optional("port", Kind::Whole { min: 1, max: 65_535 }, "its port"),
        optional("nats-service", NAMESPACE, "the Service for NATS clients"),
        optional("postgres-cluster", NAMESPACE, "the CNPG cluster"),
        optional("database", Kind::Text(Rule::Word), "the database"),
    ],
};

static WATCH: Shape = Shape {
    keys: &[
        optional("nats", Kind::Text(Rule::Selector), "the label selector of NATS servers"),
        optional("work-queue", Kind::Text(Rule::Word), "the stream whose messages are work that nobody has done yet"),
    ],
};

static RUNBOOKS: Shape = Shape {
    keys: &[
        optional("chart", Kind::Text(Rule::LocalPath), "where their commands find the chart"),
        optional(
            "not-asked",
            Kind::Named { what: "program", shape: &NOT_ASKED, max: 16 },
            "programs that `runbook check` does not ask, by name",
        ),
    ],
};

static NOT_ASKED: Shape = Shape {
    keys: &[
        required("because", Kind::Text(Rule::Line), "why it is not asked"),
        required("instead", Kind::Text(Rule::Line), "what a drill does in its place"),
    ],
};

static IMAGE: Shape = Shape {
    keys: &[
        required("repository", Kind::Text(Rule::Word), "the chart's value for all before the tag"),
        required("tag", Kind::Text(Rule::Word), "the chart's value for the tag"),
    ],
};

static OPERATOR: Shape = Shape {
    keys: &[
        required(
            "name",
            Kind::Text(Rule::Name),
            "its name; its manifest is `--manifest NAME=FILE`, or `FIREDRILL_NAME_MANIFEST` in the environment",
        ),
        required("title", Kind::Text(Rule::Line), "what people call it"),
        required("namespace", NAMESPACE, "its namespace"),
        required("deployment", NAMESPACE, "its Deployment"),
        optional("webhook", Kind::Table(&WEBHOOK), "a request that only its webhook can answer"),
    ],
};

static WEBHOOK: Shape = Shape {
    keys: &[
        required("api-version", Kind::Text(Rule::ApiVersion), "the API version of an object that is not stored"),
        required("kind", Kind::Text(Rule::Word), "its kind"),
        required("object", Kind::Text(Rule::JsonObject), "the rest of it, in JSON"),
        required("defaulted", Kind::Text(Rule::Path), "a JSON pointer to an object that the webhook fills in"),
    ],
};

static MONITORING: Shape = Shape {
    keys: &[
        required("title", Kind::Text(Rule::Line), "what people call it"),
        required("folder", Kind::Text(Rule::LocalPath), "the folder of its kustomization"),
        required("namespace", NAMESPACE, "its namespace"),
        required(
            "deployments",
            Kind::List { of: &Kind::Text(Rule::Object), min: 1, max: 16 },
            "the Deployments that must be complete, `NAMESPACE/NAME`",
        ),
    ],
};

static TEMPLATE_OF: Shape = Shape {
    keys: &[
        optional("values", PATHS, "values files of drills, after those of the chart; `--values` replaces them"),
        optional("nats-servers", Kind::Whole { min: 1, max: 99 }, "how many NATS servers it has"),
        optional("postgres-instances", Kind::Whole { min: 1, max: 99 }, "how many PostgreSQL instances it has"),
    ],
};

static LAYOUT: Shape = Shape {
    keys: &[
        required(
            "templates",
            Kind::List { of: &Kind::Text(Rule::Name), min: 1, max: 16 },
            "the templates that it is made from; the first is the usual one",
        ),
        required("release", Kind::Tables { shape: &RELEASE, min: 1, max: 16 }, "its Helm releases, in order"),
    ],
};

static RELEASE: Shape = Shape {
    keys: &[
        required("name", NAMESPACE, "its name"),
        required("namespace", NAMESPACE, "its namespace"),
        optional(
            "after",
            Kind::List { of: &NAMESPACE, min: 1, max: 16 },
            "releases before it that must be healthy before it is installed",
        ),
        optional("chart", Kind::Text(Rule::LocalPath), "its chart, where it is not the stack's"),
        optional(
            "chart-values",
            PATHS,
            "values files in the chart's folder; with `{template}` in a name, the template's own values follow",
        ),
        optional("values", PATHS, "values files after all these"),
        optional("images", Kind::List { of: &Kind::Text(Rule::Name), min: 1, max: 16 }, "the images that it takes"),
        optional("set", Kind::List { of: &Kind::Text(Rule::Setting), min: 1, max: 16 }, "values, none of them secret"),
        optional(
            "secret",
            Kind::Tables { shape: &SECRET, min: 1, max: 8 },
            "Secrets that are written before it is installed; no value and no argument holds their content",
        ),
        optional(
            "ready",
            Kind::List {
                of: &Kind::Choice { what: "condition", words: &["cnpg-healthy"], tables: &[("http", &HTTP)] },
                min: 1,
                max: 8,
            },
            "when it works, beside its complete workloads",
        ),
    ],
};

static SECRET: Shape = Shape {
    keys: &[
        required("name", NAMESPACE, "its name, in the release's namespace"),
        required("key", Kind::Text(Rule::Word), "its key"),
        required("from", Kind::Text(Rule::Object), "the Secret that holds the value, `NAMESPACE/NAME`"),
        required("from-key", Kind::Text(Rule::Word), "the key of that one"),
        required("text", Kind::Text(Rule::Line), "what is written; `{value}` stands for the value as part of a URL"),
    ],
};

static HTTP: Shape = Shape {
    keys: &[
        required("service", NAMESPACE, "the Service; its first port is asked, by way of the API server"),
        required("path", Kind::Text(Rule::Path), "the path that must answer"),
    ],
};
