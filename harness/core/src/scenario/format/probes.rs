//! The format of probes.

use super::super::text::Rule;
use super::{Kind, M, MS, NAMESPACE, PORT, Shape, default, of_stack, optional, required};

pub(super) static PROBE: Shape = Shape {
    keys: &[
        optional("http", Kind::Table(&HTTP), "GET over HTTP"),
        optional("jetstream", Kind::Table(&JETSTREAM), "a JetStream publish, acknowledged"),
        optional("postgres", Kind::Table(&POSTGRES), "a PostgreSQL insert, committed"),
        optional("ironflow", Kind::Table(&IRONFLOW), "an Ironflow run, triggered and completed end to end"),
        optional("tcp", Kind::Table(&TCP), "a TCP connection, opened and closed"),
        default(
            "every",
            "50ms",
            Kind::Duration { min_ms: MS, max_ms: M },
            "time between two attempts, kept whatever the answers take",
        ),
        default("timeout", "1s", Kind::Duration { min_ms: MS, max_ms: M }, "each attempt's own limit"),
        optional(
            "connections",
            Kind::List { of: &Kind::OneOf { what: "kind of connection", words: &["new", "reused"] }, min: 1, max: 2 },
            "new connections, reused ones, or both, each a series of its own; both by default, for tcp new ones",
        ),
        default(
            "from",
            "inside",
            Kind::List { of: &Kind::OneOf { what: "place", words: &["inside", "outside"] }, min: 1, max: 2 },
            "from an agent pod (inside), from the runner's machine (outside), or both, each a series of its own",
        ),
        optional(
            "agent-namespace",
            Kind::Text(Rule::Kubernetes),
            "where that agent pod is, with the policies and the quota of that place; in a namespace of the run's own where left out",
        ),
        optional(
            "blocked-while",
            Kind::Text(Rule::Name),
            "it must not come through: good is a connection that is not made, bad one that is; the probe of the same Service that is let in, without whose success this proves nothing",
        ),
    ],
};

/// The keys of a probe that say what it does.
pub(in crate::scenario) const PROBE_KINDS: [&str; 5] = ["http", "jetstream", "postgres", "ironflow", "tcp"];

static HTTP: Shape = Shape {
    keys: &[
        required("service", Kind::Text(Rule::Kubernetes), "the Service asked"),
        NAMESPACE,
        of_stack("port", "port", PORT, "its port"),
        required("path", Kind::Text(Rule::Path), "path and query"),
        default("status", "200", Kind::Whole { min: 100, max: 599 }, "the status expected"),
        optional("body", Kind::Text(Rule::Output), "what the body must contain"),
    ],
};

static JETSTREAM: Shape = Shape {
    keys: &[
        of_stack("service", "nats-service", Kind::Text(Rule::Kubernetes), "the Service for NATS clients"),
        NAMESPACE,
        default("port", "4222", PORT, "its port"),
        required("stream", Kind::Text(Rule::Word), "the stream that must acknowledge"),
        required(
            "subject",
            Kind::Text(Rule::Subject),
            "prefix of the subject; the run's id and the probe's name are appended",
        ),
    ],
};

static POSTGRES: Shape = Shape {
    keys: &[
        of_stack(
            "cluster",
            "postgres-cluster",
            Kind::Text(Rule::Kubernetes),
            "the CNPG cluster whose read-write Service is asked",
        ),
        NAMESPACE,
        of_stack("database", "database", Kind::Text(Rule::Word), "the database"),
    ],
};

static IRONFLOW: Shape = Shape {
    keys: &[
        of_stack("service", "service", Kind::Text(Rule::Kubernetes), "the Ironflow Service"),
        NAMESPACE,
        of_stack("port", "port", PORT, "its port"),
        required("event", Kind::Text(Rule::Word), "the event that triggers the run"),
        default(
            "payload-kib",
            "0",
            Kind::Whole { min: 0, max: 700 },
            "KiB of filler in the event's data, which a server holds in memory while the run is active",
        ),
    ],
};

static TCP: Shape = Shape {
    keys: &[
        required("service", Kind::Text(Rule::Kubernetes), "the Service asked"),
        NAMESPACE,
        required("port", PORT, "its port"),
    ],
};
