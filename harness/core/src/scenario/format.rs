//! The scenario file's format: every key, once. The reader checks files against it and the schema is made from it.

mod probes;
mod signs;

use super::fault::TABLES as FAULTS;
use super::text::Rule;
use crate::stack::DEFAULT_LAYOUT;
pub(super) use probes::PROBE;
pub(super) use signs::PODS_ONLY;
use signs::{ALERT_NAME, CNPG, EFFECT, EVENT, IN_NAMESPACE, NATS_CURRENT, PODS_FAILING, ROWS};

/// A table: the keys that it may have.
pub(crate) struct Shape {
    pub(crate) keys: &'static [Key],
}

/// One key of a table.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) presence: Presence,
    pub(crate) kind: Kind,
    /// What it says, for people.
    pub(crate) about: &'static str,
}

/// Whether a key must be there.
#[derive(Clone, Copy)]
pub(crate) enum Presence {
    Required,
    Optional,
    /// What it is where it is not there; words of a list joined by spaces.
    Default(&'static str),
    /// Where it is not there it is this default of the stack. It must be there where the stack has none.
    Stack(&'static str),
}

/// What stands behind a key.
pub(crate) enum Kind {
    /// Text of a certain form.
    Text(Rule),
    /// One of some words.
    OneOf { what: &'static str, words: &'static [&'static str] },
    /// The version of the file's format. Of another version nothing else is read.
    Format { known: u64 },
    /// A whole number within bounds.
    Whole { min: u64, max: u64 },
    /// A duration within bounds.
    Duration { min_ms: u64, max_ms: u64 },
    /// A list, whose items differ from each other.
    List { of: &'static Kind, min: usize, max: usize },
    /// A table.
    Table(&'static Shape),
    /// A table of tables, each with a name.
    Named { what: &'static str, shape: &'static Shape, max: usize },
    /// `[[...]]`
    Tables { shape: &'static Shape, min: usize, max: usize },
    /// A word, or one of some tables by its name: `x = "word"`, `x.name = {...}`.
    Choice { what: &'static str, words: &'static [&'static str], tables: &'static [(&'static str, &'static Shape)] },
    /// A table whose keys are words or texts themselves.
    Map { keys: &'static Kind, of: &'static Kind },
    /// One value for all variants, or a table by variant (with the reason beside them where `because`).
    PerVariant { of: &'static Kind, because: bool },
}

const MS: u64 = 1;
pub(super) const S: u64 = 1_000;
pub(super) const M: u64 = 60 * S;
const H: u64 = 60 * M;

pub(crate) const fn required(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, presence: Presence::Required, kind, about }
}

pub(crate) const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, presence: Presence::Optional, kind, about }
}

pub(crate) const fn default(name: &'static str, value: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, presence: Presence::Default(value), kind, about }
}

/// A key that the stack has a default for.
pub(crate) const fn of_stack(name: &'static str, default: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, presence: Presence::Stack(default), kind, about }
}

pub(super) const NAMESPACE: Key = of_stack("namespace", "namespace", Kind::Text(Rule::Kubernetes), "its namespace");
pub(super) const PORT: Kind = Kind::Whole { min: 1, max: 65_535 };
pub(super) const PODS: Key = required("pods", Kind::Text(Rule::Selector), "label selector of the pods");
const LAYOUT: Kind = Kind::Text(Rule::Name);
pub(super) const COUNT: Key = default("count", "1", Kind::Whole { min: 1, max: 100 }, "how many of them");
pub(super) const CONTAINER: Key = required("container", Kind::Text(Rule::Kubernetes), "the container in each pod");

/// The whole file.
pub(super) static SCENARIO: Shape = Shape {
    keys: &[
        default("format", "1", Kind::Format { known: 1 }, "the version of this file's format"),
        required("title", Kind::Text(Rule::Line), "one line for people"),
        required("needs", Kind::Table(&NEEDS), "what the cluster must have"),
        required("steady-state", Kind::Table(&STEADY_STATE), "what must hold before anything is broken"),
        required("probe", Kind::Named { what: "probe", shape: &PROBE, max: 16 }, "what is measured, by name"),
        required("variant", Kind::Named { what: "variant", shape: &VARIANT, max: 16 }, "the ways to break it, by name"),
        optional(
            "layout",
            Kind::Map { keys: &LAYOUT, of: &Kind::Map { keys: &Kind::Text(Rule::Part), of: &Kind::Text(Rule::Place) } },
            "by layout, what is elsewhere or has another name there: a name or a label, and `NAMESPACE/NAME` or `NAMESPACE/LABEL`",
        ),
        required(
            "objective",
            Kind::Tables { shape: &OBJECTIVE, min: 1, max: 64 },
            "limits of the measured times; each variant needs one that decides its verdict",
        ),
        optional("data", Kind::Table(&DATA), "how many acknowledged writes may be lost; without it, none"),
        optional(
            "correction",
            Kind::Tables { shape: &CORRECTION, min: 0, max: 64 },
            "documented commands that cannot work, and what runs after them instead",
        ),
    ],
};

static NEEDS: Shape = Shape {
    keys: &[
        required("template", Kind::Text(Rule::Name), "the template that the stack is made from, one of its layout"),
        of_stack("layout", DEFAULT_LAYOUT, LAYOUT, "the layout of the stack that the names in this file are of"),
        optional("nats-servers", Kind::Whole { min: 1, max: 99 }, "how many NATS servers must be there"),
        optional("postgres-instances", Kind::Whole { min: 1, max: 99 }, "how many PostgreSQL instances must be there"),
    ],
};

static STEADY_STATE: Shape = Shape {
    keys: &[
        default("hold", "30s", Kind::Duration { min_ms: S, max_ms: 10 * M }, "how long it must hold without a gap"),
        default("within", "120s", Kind::Duration { min_ms: S, max_ms: 30 * M }, "how long to wait for it"),
        required(
            "probes",
            Kind::List { of: &Kind::Text(Rule::Name), min: 1, max: 16 },
            "the probes that must succeed all that time",
        ),
        required(
            "load-min",
            Kind::Text(Rule::Rate),
            "the least rate of successes of these probes together; less is too little load for a verdict",
        ),
    ],
};

/// The key that names another table of the same kind, which has every key that is left out beside it.
pub(super) const LIKE: &str = "like";
/// What a table that is like another must say all the same.
pub(super) const NEVER_LIKE: &str = "about";

static VARIANT: Shape = Shape {
    keys: &[
        optional(LIKE, Kind::Text(Rule::Name), "another variant, which has every key that is left out here"),
        optional("layout", LAYOUT, "the layout of the stack that it runs in, where it is not the one needed"),
        required("about", Kind::Text(Rule::Line), "one line for people"),
        required(
            "expected",
            Kind::Duration { min_ms: S, max_ms: 4 * H },
            "how long the whole drill is expected to take",
        ),
        required(
            "fault",
            Kind::Choice { what: "fault", words: &["noop"], tables: FAULTS },
            "what is done; `noop` is the control, which must end as unknown",
        ),
        optional(
            "then",
            Kind::List { of: &Kind::Choice { what: "fault", words: &[], tables: FAULTS }, min: 0, max: 4 },
            "what is done after that, in order, each once the one before is proven at its targets",
        ),
        default(
            "then-after",
            "0s",
            Kind::Duration { min_ms: 0, max_ms: 60 * S },
            "how long the one before is left to work first",
        ),
        required("effect", Kind::Table(&EFFECT), "how the fault's effect is proven at the service"),
        required(
            "detect",
            Kind::Choice {
                what: "detector",
                words: &["pod-not-ready", "node-not-ready", "nothing"],
                tables: &[
                    ("cnpg-phase", &CNPG),
                    ("nats-quorum", &PODS_ONLY),
                    ("pods-failing", &PODS_FAILING),
                    ("event", &EVENT),
                    ("rows", &ROWS),
                ],
            },
            "what shows that the system itself has noticed",
        ),
        required(
            "recovery",
            Kind::Choice { what: "recovery", words: &["unattended", "stays-broken"], tables: &[("runbook", &RUNBOOK)] },
            "how the stack recovers: by a runbook, by itself (`unattended`), or not at all until the deadline (`stays-broken`)",
        ),
        required(
            "redundancy",
            Kind::List {
                of: &Kind::Choice {
                    what: "condition",
                    words: &["nodes-ready"],
                    tables: &[
                        ("nats-current", &NATS_CURRENT),
                        ("cnpg-healthy", &CNPG),
                        ("pods-ready", &PODS_ONLY),
                        ("no-rows", &ROWS),
                        ("alert-over", &ALERT_NAME),
                        ("policies-as-before", &IN_NAMESPACE),
                    ],
                },
                min: 0,
                max: 8,
            },
            "what says that redundancy is back, all of it; empty only where a node stays off until the undo",
        ),
        required(
            "deadline",
            Kind::Duration { min_ms: S, max_ms: 2 * H },
            "how long after the effect everything may take before the run stops waiting",
        ),
        default(
            "sustained",
            "5s",
            Kind::Duration { min_ms: 100 * MS, max_ms: 10 * M },
            "length of the window of unbroken success that ends an outage",
        ),
        optional(
            "alerts",
            Kind::Tables { shape: &ALERT, min: 1, max: 8 },
            "the alerts that must fire and be resolved again; where one does not, that is a finding",
        ),
        optional(
            "irreversible",
            Kind::OneOf { what: "change", words: &["volumes-grow"] },
            "what stays when all else is clean; a suite takes a fresh cluster after it",
        ),
    ],
};

static ALERT: Shape = Shape {
    keys: &[
        required("fires", Kind::Text(Rule::Word), "the alert's name, as Prometheus's rules have it"),
        required(
            "within",
            Kind::Duration { min_ms: S, max_ms: 2 * H },
            "how long after the effect it may take to fire",
        ),
        default(
            "resolves",
            "60s",
            Kind::Duration { min_ms: S, max_ms: 30 * M },
            "how long after everything is back to normal it may take to be resolved",
        ),
    ],
};

static RUNBOOK: Shape = Shape {
    keys: &[
        required("file", Kind::Text(Rule::File), "the Markdown file beside the scenario"),
        required(
            "start",
            Kind::Text(Rule::Start),
            "when its first command runs: `detected`, `alert` (one that the variant expects), or `after 30s`",
        ),
    ],
};

/// Every moment's name, in the order of a run.
pub(super) const MOMENTS: [&str; 12] = [
    "inject",
    "effect",
    "first-failure",
    "detected",
    "alert",
    "runbook-start",
    "runbook-end",
    "first-success",
    "sustained-ok",
    "redundancy",
    "backlog-drained",
    "clean",
];

static OBJECTIVE: Shape = Shape {
    keys: &[
        required("name", Kind::Text(Rule::Line), "its name in reports"),
        optional("probe", Kind::Text(Rule::Name), "the probe whose moments are meant; every series of it must hold"),
        required("from", Kind::OneOf { what: "moment", words: &MOMENTS }, "from when"),
        required("to", Kind::OneOf { what: "moment", words: &MOMENTS }, "until when"),
        default(
            "measure",
            "time",
            Kind::OneOf { what: "measure", words: &["time", LONGEST_OUTAGE] },
            "the time from the one moment to the other, or the longest of the probe's outages in that time",
        ),
        optional("documented", LIMIT, "the runbook's figure; beyond it is a finding"),
        optional(
            "accepted",
            Kind::PerVariant { of: &LIMIT, because: true },
            "the limit that decides the verdict: one figure, or a table by variant",
        ),
        optional("because", Kind::Text(Rule::Prose), "why the accepted figures are what they are"),
    ],
};

/// The measure of an objective that bounds each outage, and not the time until the last one's end.
pub(super) const LONGEST_OUTAGE: &str = "longest-outage";

const LIMIT: Kind = Kind::Duration { min_ms: MS, max_ms: 2 * H };
const WRITES: Kind = Kind::Whole { min: 0, max: 1_000_000 };

static DATA: Shape = Shape {
    keys: &[
        default(
            "lost-acked-max",
            "0",
            Kind::PerVariant { of: &WRITES, because: false },
            "how many acknowledged writes may be lost: one figure, or a table by variant",
        ),
        optional(
            "lost-acked-of",
            Kind::List { of: &Kind::Text(Rule::Word), min: 1, max: 16 },
            "the probes whose writes those may be; without it any",
        ),
        default(
            "lost-acked-which",
            "any",
            Kind::OneOf { what: "choice of writes", words: &["any", "oldest"] },
            "which of a series' writes those may be; oldest: none that is newer than one that is still there",
        ),
        default(
            "duplicated-max",
            "0",
            Kind::PerVariant { of: &WRITES, because: false },
            "how many writes may be there more than once: one figure, or a table by variant",
        ),
        optional("because", Kind::Text(Rule::Prose), "why, where that is not zero"),
    ],
};

static CORRECTION: Shape = Shape {
    keys: &[
        required("section", Kind::Text(Rule::Line), "heading of the runbook's section"),
        required(
            "documented",
            Kind::Text(Rule::Command),
            "the documented command, as the runbook has it; it runs first and its output is kept",
        ),
        optional("instead", Kind::Text(Rule::Command), "what runs after it; neither firedrill nor a script"),
        optional(
            "provider",
            Kind::OneOf { what: "step of a provider", words: &["replace-node", "detach-volume"] },
            "what the cluster's provider does after it, where no command can stand in",
        ),
        optional("expect", Kind::Text(Rule::Output), "what the output of that must contain"),
        optional(
            "needed",
            Kind::OneOf { what: "time", words: &["at-times"] },
            "`at-times`: whether the documented command works is chance, or what the cluster went through before",
        ),
        required("because", Kind::Text(Rule::Prose), "why the documented command cannot work"),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Moment;

    #[test]
    fn moments_are_named_as_in_reports() {
        assert_eq!(MOMENTS, Moment::ALL.map(Moment::name));
    }
}
