//! The format of what is looked at: effects, detectors, conditions.

use super::super::text::Rule;
use super::{Kind, M, MS, NAMESPACE, PODS, Shape, default, of_stack, optional, required};

pub(super) static PODS_FAILING: Shape = Shape {
    keys: &[
        PODS,
        NAMESPACE,
        required(
            "reason",
            Kind::Text(Rule::Word),
            "why a container waits or ended, in Kubernetes' word: `OOMKilled`, `CrashLoopBackOff`",
        ),
    ],
};

pub(super) static EVENT: Shape = Shape {
    keys: &[
        required("reason", Kind::Text(Rule::Word), "the Kubernetes event's reason: `FailedCreate`"),
        NAMESPACE,
        optional("contains", Kind::Text(Rule::Output), "what its message must contain"),
    ],
};

pub(super) static ROWS: Shape = Shape {
    keys: &[
        required("cluster", Kind::Text(Rule::Kubernetes), "the CNPG cluster whose primary is asked"),
        NAMESPACE,
        of_stack("database", "database", Kind::Text(Rule::Word), "the database"),
        required("select", Kind::Text(Rule::Select), "one query, in a transaction that cannot write"),
        required("what", Kind::Text(Rule::Line), "what its rows are, for people"),
    ],
};

pub(in crate::scenario) static PODS_ONLY: Shape = Shape { keys: &[PODS, NAMESPACE] };
pub(super) static IN_NAMESPACE: Shape = Shape { keys: &[NAMESPACE] };
pub(super) static CNPG: Shape =
    Shape { keys: &[required("cluster", Kind::Text(Rule::Kubernetes), "the CNPG cluster"), NAMESPACE] };
pub(super) static NATS_CURRENT: Shape =
    Shape { keys: &[PODS, NAMESPACE, required("servers", Kind::Whole { min: 1, max: 99 }, "how many servers")] };

pub(super) static EFFECT: Shape = Shape {
    keys: &[
        optional("down", Kind::Text(Rule::Name), "the probe that must fail; with its `control`"),
        default(
            "failing",
            "all",
            Kind::OneOf { what: "number of connections", words: &["all", "any"] },
            "for `down`: every kind of connection must fail, from every place, or one; `any` where a reused connection may be to what was not hit",
        ),
        optional(
            "seen",
            Kind::Choice {
                what: "symptom",
                words: &[],
                tables: &[("pods-failing", &PODS_FAILING), ("event", &EVENT), ("rows", &ROWS), ("alert", &ALERT_NAME)],
            },
            "what must be seen instead, where the service goes on; it must not have been there before",
        ),
        default(
            "within",
            "20s",
            Kind::Duration { min_ms: 100 * MS, max_ms: 10 * M },
            "how long after the injection it may take to fail",
        ),
        optional(
            "control",
            Kind::Text(Rule::Name),
            "for `down`: a probe from the same place that must still succeed, so that down does not mean that the prober is cut off",
        ),
    ],
};

pub(super) static ALERT_NAME: Shape = Shape {
    keys: &[required(
        "name",
        Kind::Text(Rule::Line),
        "an alert of Prometheus: seen where it is pending or fires, over where it does neither",
    )],
};
