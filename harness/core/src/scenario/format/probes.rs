//! The format of probes: the kinds' own keys, and those that all have.

use super::super::probe;
use super::super::text::Rule;
use super::{Key, Kind, M, MS, Shape, default, optional};

macro_rules! probe_shape {
    ($($name:literal => $module:ident::$variant:ident($kind:ident);)+) => {
        pub(in crate::scenario) static PROBE: Shape = Shape {
            keys: &[
                $(optional($name, Kind::Table(&probe::$module::DECLARED.shape), probe::$module::DECLARED.about),)+
                EVERY,
                TIMEOUT,
                CONNECTIONS,
                FROM,
                AGENT_NAMESPACE,
                BLOCKED_WHILE,
            ],
        };
    };
}

crate::with_probes!(probe_shape);

const EVERY: Key = default(
    "every",
    "50ms",
    Kind::Duration { min_ms: MS, max_ms: M },
    "time between two attempts, kept whatever the answers take",
);
const TIMEOUT: Key = default("timeout", "1s", Kind::Duration { min_ms: MS, max_ms: M }, "each attempt's own limit");
const CONNECTIONS: Key = optional(
    "connections",
    Kind::List { of: &Kind::OneOf { what: "kind of connection", words: &["new", "reused"] }, min: 1, max: 2 },
    "new connections, reused ones, or both, each a series of its own; both by default, for tcp new ones",
);
const FROM: Key = default(
    "from",
    "inside",
    Kind::List { of: &Kind::OneOf { what: "place", words: &["inside", "outside"] }, min: 1, max: 2 },
    "from an agent pod (inside), from the runner's machine (outside), or both, each a series of its own",
);
const AGENT_NAMESPACE: Key = optional(
    "agent-namespace",
    Kind::Text(Rule::Kubernetes),
    "where that agent pod is, with the policies and the quota of that place; in a namespace of the run's own where left out",
);
const BLOCKED_WHILE: Key = optional(
    "blocked-while",
    Kind::Text(Rule::Name),
    "it must not come through: good is a connection that is not made, bad one that is; the probe of the same Service that is let in, without whose success this proves nothing",
);
