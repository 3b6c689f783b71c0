//! The format of faults.

use super::super::parts::NEW_NODE;
use super::super::text::Rule;
use super::signs::PODS_ONLY;
use super::{CONTAINER, COUNT, Kind, M, NAMESPACE, PODS, S, Shape, default, of_stack, optional, required};

/// Faults that take more than a word.
pub(super) const FAULTS: &[(&str, &Shape)] = &[
    ("signal", &SIGNAL),
    ("freeze", &FREEZE),
    ("corrupt", &CORRUPT),
    ("fill", &FILL),
    ("fill-stream", &FILL_STREAM),
    ("hold-detach", &HOLD_DETACH),
    ("slow-attach", &SLOW_ATTACH),
    ("delete-pods", &OF_PODS),
    ("node-off", &NODE_OFF),
    ("helm-values", &HELM_VALUES),
    ("patch", &PATCH),
    ("end-connections", &END_CONNECTIONS),
];

static HELM_VALUES: Shape = Shape {
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
};

static END_CONNECTIONS: Shape = Shape {
    keys: &[
        PODS,
        NAMESPACE,
        required("peers", Kind::Text(Rule::Selector), "label selector of the pods at the other end"),
        of_stack("peers-namespace", "namespace", Kind::Text(Rule::Kubernetes), "their namespace"),
    ],
};

static PATCH: Shape = Shape {
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
};

static SIGNAL: Shape = Shape {
    keys: &[
        PODS,
        NAMESPACE,
        CONTAINER,
        COUNT,
        required(
            "signal",
            Kind::OneOf { what: "signal", words: &["KILL", "TERM", "QUIT", "INT", "HUP"] },
            "the signal to the container's first process",
        ),
    ],
};

static FREEZE: Shape = Shape {
    keys: &[
        PODS,
        NAMESPACE,
        CONTAINER,
        COUNT,
        optional(
            "lasts",
            Kind::Duration { min_ms: S, max_ms: 10 * M },
            "how long they stay stopped; until the undo without it",
        ),
    ],
};
static CORRUPT: Shape = Shape {
    keys: &[
        PODS,
        NAMESPACE,
        CONTAINER,
        COUNT,
        required(
            "directory",
            Kind::Text(Rule::Path),
            "a directory of a volume, as the container sees it: a byte of every file in it is flipped",
        ),
    ],
};
static FILL: Shape = Shape {
    keys: &[
        PODS,
        NAMESPACE,
        CONTAINER,
        COUNT,
        required("path", Kind::Text(Rule::Path), "where the container has the volume mounted: `/data`"),
        default("leave-mib", "0", Kind::Whole { min: 0, max: 1_000_000 }, "what is left free of it, in MiB"),
    ],
};
static FILL_STREAM: Shape = Shape {
    keys: &[
        PODS,
        NAMESPACE,
        CONTAINER,
        COUNT,
        required("path", Kind::Text(Rule::Path), "where the container has the volume mounted: `/data`"),
        required(
            "leave-mib",
            Kind::Whole { min: 32, max: 1_000_000 },
            "what is left free of it, in MiB: a stream without space cannot be purged",
        ),
        required(
            "stream",
            Kind::Text(Rule::Word),
            "the stream that is filled, with a replica on each of these volumes",
        ),
        required("subject", Kind::Text(Rule::Subject), "what the messages' subject begins with; the run's id follows"),
    ],
};
static HOLD_DETACH: Shape = Shape {
    keys: &[
        PODS,
        NAMESPACE,
        CONTAINER,
        COUNT,
        required("path", Kind::Text(Rule::Path), "where the container has the volume mounted: `/data`"),
        required(
            "lasts",
            Kind::Duration { min_ms: S, max_ms: 60 * M },
            "how long the volume is not detached; it ends by itself, and with the undo",
        ),
    ],
};
static SLOW_ATTACH: Shape = Shape {
    keys: &[
        PODS,
        NAMESPACE,
        CONTAINER,
        COUNT,
        required("path", Kind::Text(Rule::Path), "where the container has the volume mounted: `/data`"),
        required("takes", Kind::Duration { min_ms: S, max_ms: 30 * M }, "how long an attach takes at least"),
        required(
            "lasts",
            Kind::Duration { min_ms: S, max_ms: 60 * M },
            "how long attaching is slow; it ends by itself, and with the undo",
        ),
    ],
};
static OF_PODS: Shape = Shape { keys: &[PODS, NAMESPACE, COUNT] };
static NODE_OFF: Shape = Shape {
    keys: &[
        PODS,
        NAMESPACE,
        COUNT,
        default(
            "node",
            "theirs",
            Kind::OneOf { what: "node", words: &["theirs", NEW_NODE] },
            "the pods' own, or a new one without volumes: it is made for the drill, and one of the pods started on it before",
        ),
        optional(
            "with",
            Kind::Table(&PODS_ONLY),
            "pods that must be on that node as well, all of them, before it is powered off",
        ),
    ],
};
