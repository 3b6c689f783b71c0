//! Calls of kubectl that change nothing: reads, and changes that the API server is asked to try with `--dry-run=server`.

use super::Judge;
use super::flags::Kind::{Dropped, Input, Optional, Output, Switch, Text, Word};
use super::flags::{self, Leaf, Parsed, Row};

/// Flags of all subcommands.
const GLOBAL: &[Row] = &[("namespace", 'n', Word), ("request-timeout", ' ', Word)];

/// What only reads. Not `--subresource`: a request to `proxy` is passed on to a pod, whatever it does there.
const READS: &[Leaf] = &[
    Leaf {
        path: "get",
        args_max: usize::MAX,
        rows: &[
            ("selector", 'l', Text),
            ("output", 'o', Output),
            ("all-namespaces", 'A', Switch),
            ("field-selector", ' ', Text),
            ("show-labels", ' ', Switch),
            ("sort-by", ' ', Text),
            ("no-headers", ' ', Switch),
            ("ignore-not-found", ' ', Switch),
            ("label-columns", 'L', Text),
            ("show-kind", ' ', Switch),
            ("chunk-size", ' ', Word),
        ],
    },
    Leaf {
        path: "describe",
        args_max: usize::MAX,
        rows: &[
            ("selector", 'l', Text),
            ("all-namespaces", 'A', Switch),
            ("show-events", ' ', Switch),
            ("chunk-size", ' ', Word),
        ],
    },
    Leaf {
        path: "logs",
        args_max: 2,
        rows: &[
            ("container", 'c', Word),
            ("previous", 'p', Switch),
            ("tail", ' ', Word),
            ("since", ' ', Word),
            ("since-time", ' ', Word),
            ("timestamps", ' ', Switch),
            ("prefix", ' ', Switch),
            ("all-containers", ' ', Switch),
            ("selector", 'l', Text),
            ("max-log-requests", ' ', Word),
            ("ignore-errors", ' ', Switch),
            ("limit-bytes", ' ', Word),
            ("pod-running-timeout", ' ', Word),
        ],
    },
    Leaf {
        path: "events",
        args_max: 0,
        rows: &[
            ("all-namespaces", 'A', Switch),
            ("for", ' ', Word),
            ("types", ' ', Word),
            ("no-headers", ' ', Switch),
            ("output", 'o', Output),
        ],
    },
    Leaf { path: "version", args_max: 0, rows: &[("client", ' ', Switch), ("output", 'o', Output)] },
    Leaf { path: "cluster-info", args_max: 0, rows: &[] },
    Leaf {
        path: "api-resources",
        args_max: 0,
        rows: &[
            ("namespaced", ' ', Switch),
            ("api-group", ' ', Word),
            ("verbs", ' ', Word),
            ("categories", ' ', Word),
            ("no-headers", ' ', Switch),
            ("sort-by", ' ', Word),
            ("output", 'o', Output),
        ],
    },
    Leaf { path: "api-versions", args_max: 0, rows: &[] },
    Leaf { path: "explain", args_max: 1, rows: &[("recursive", ' ', Switch), ("api-version", ' ', Word)] },
    Leaf { path: "options", args_max: 0, rows: &[] },
    Leaf { path: "top pod", args_max: 1, rows: TOP },
    Leaf { path: "top pods", args_max: 1, rows: TOP },
    Leaf { path: "top po", args_max: 1, rows: TOP },
    Leaf { path: "top node", args_max: 1, rows: TOP },
    Leaf { path: "top nodes", args_max: 1, rows: TOP },
    Leaf { path: "top no", args_max: 1, rows: TOP },
    Leaf { path: "rollout status", args_max: usize::MAX, rows: ROLLOUT },
    Leaf { path: "rollout history", args_max: usize::MAX, rows: ROLLOUT },
    Leaf {
        path: "auth can-i",
        args_max: 3,
        rows: &[
            ("quiet", 'q', Switch),
            ("list", ' ', Switch),
            ("all-namespaces", 'A', Switch),
            ("no-headers", ' ', Switch),
            ("subresource", ' ', Word),
        ],
    },
];
const TOP: &[Row] = &[
    ("containers", ' ', Switch),
    ("selector", 'l', Text),
    ("field-selector", ' ', Text),
    ("all-namespaces", 'A', Switch),
    ("sort-by", ' ', Word),
    ("no-headers", ' ', Switch),
    ("sum", ' ', Switch),
    ("show-capacity", ' ', Switch),
];
const ROLLOUT: &[Row] = &[("timeout", ' ', Word), ("revision", ' ', Word), ("selector", 'l', Text)];

/// What runs a program in a container; what it may be is in [`super::inside`]. Nothing is ever sent to its input.
const EXEC: &[Leaf] = &[Leaf {
    path: "exec",
    args_max: 1,
    rows: &[
        ("container", 'c', Word),
        ("quiet", 'q', Switch),
        ("pod-running-timeout", ' ', Word),
        ("stdin", 'i', Dropped),
        ("tty", 't', Dropped),
    ],
}];

/// Which objects a change means.
const CHOSEN: &[Row] = &[
    ("selector", 'l', Text),
    ("field-selector", ' ', Text),
    ("all", ' ', Switch),
    ("all-namespaces", 'A', Switch),
    ("output", 'o', Output),
    ("field-manager", ' ', Word),
];
/// What the API server can be asked to only try.
const TRIED: &[Leaf] = &[
    Leaf {
        path: "delete",
        args_max: usize::MAX,
        rows: &[
            ("grace-period", ' ', Word),
            ("force", ' ', Switch),
            ("now", ' ', Switch),
            ("wait", ' ', Switch),
            ("timeout", ' ', Word),
            ("ignore-not-found", ' ', Switch),
            ("cascade", ' ', Optional),
        ],
    },
    Leaf { path: "patch", args_max: usize::MAX, rows: &[("patch", 'p', Text), ("type", ' ', Word)] },
    Leaf {
        path: "scale",
        args_max: usize::MAX,
        rows: &[
            ("replicas", ' ', Word),
            ("current-replicas", ' ', Word),
            ("resource-version", ' ', Word),
            ("timeout", ' ', Word),
        ],
    },
    Leaf {
        path: "label",
        args_max: usize::MAX,
        rows: &[("overwrite", ' ', Switch), ("resource-version", ' ', Word), ("list", ' ', Switch)],
    },
    Leaf {
        path: "annotate",
        args_max: usize::MAX,
        rows: &[("overwrite", ' ', Switch), ("resource-version", ' ', Word), ("list", ' ', Switch)],
    },
    Leaf {
        path: "run",
        args_max: usize::MAX,
        rows: &[
            ("image", ' ', Word),
            ("restart", ' ', Word),
            ("env", ' ', Text),
            ("labels", 'l', Text),
            ("annotations", ' ', Text),
            ("port", ' ', Word),
            ("command", ' ', Switch),
            ("image-pull-policy", ' ', Word),
            ("quiet", 'q', Switch),
            ("pod-running-timeout", ' ', Word),
            ("stdin", 'i', Dropped),
            ("tty", 't', Dropped),
            ("rm", ' ', Dropped),
            ("attach", ' ', Dropped),
        ],
    },
    Leaf { path: "taint", args_max: usize::MAX, rows: &[("overwrite", ' ', Switch)] },
    Leaf { path: "cordon", args_max: usize::MAX, rows: &[] },
    Leaf { path: "uncordon", args_max: usize::MAX, rows: &[] },
    Leaf {
        path: "drain",
        args_max: usize::MAX,
        rows: &[
            ("ignore-daemonsets", ' ', Switch),
            ("delete-emptydir-data", ' ', Switch),
            ("force", ' ', Switch),
            ("grace-period", ' ', Word),
            ("timeout", ' ', Word),
            ("pod-selector", ' ', Text),
            ("disable-eviction", ' ', Switch),
        ],
    },
    Leaf {
        path: "autoscale",
        args_max: usize::MAX,
        rows: &[("min", ' ', Word), ("max", ' ', Word), ("cpu-percent", ' ', Word), ("name", ' ', Word)],
    },
    Leaf {
        path: "expose",
        args_max: usize::MAX,
        rows: &[
            ("port", ' ', Word),
            ("target-port", ' ', Word),
            ("type", ' ', Word),
            ("name", ' ', Word),
            ("protocol", ' ', Word),
            ("labels", ' ', Text),
            ("cluster-ip", ' ', Word),
        ],
    },
    Leaf { path: "set image", args_max: usize::MAX, rows: &[] },
    Leaf {
        path: "set env",
        args_max: usize::MAX,
        rows: &[("containers", 'c', Text), ("env", 'e', Text), ("overwrite", ' ', Switch)],
    },
    Leaf {
        path: "set resources",
        args_max: usize::MAX,
        rows: &[("containers", 'c', Text), ("limits", ' ', Word), ("requests", ' ', Word)],
    },
    Leaf { path: "set selector", args_max: usize::MAX, rows: &[] },
    Leaf { path: "set serviceaccount", args_max: usize::MAX, rows: &[] },
    Leaf { path: "rollout undo", args_max: usize::MAX, rows: &[("to-revision", ' ', Word)] },
    Leaf {
        path: "create deployment",
        args_max: 1,
        rows: &[("image", ' ', Word), ("replicas", 'r', Word), ("port", ' ', Word)],
    },
    Leaf { path: "create namespace", args_max: 1, rows: &[] },
    Leaf { path: "create configmap", args_max: 1, rows: &[("from-literal", ' ', Text)] },
    Leaf { path: "create serviceaccount", args_max: 1, rows: &[] },
    Leaf { path: "create job", args_max: 1, rows: &[("image", ' ', Word), ("from", ' ', Word)] },
];
/// The manifests of an upgrade, from this program's own pipe.
const APPLY: &[Leaf] = &[Leaf {
    path: "apply",
    args_max: 0,
    rows: &[
        ("server-side", ' ', Switch),
        ("force-conflicts", ' ', Switch),
        ("field-manager", ' ', Word),
        ("filename", 'f', Input),
    ],
}];
/// These alone may have something behind `--`: it is what a container runs.
const WITH_INNER: [&str; 4] = ["exec", "run", "create deployment", "create job"];

fn parsed(words: &[String], leaves: &[&'static [Leaf]], more: &[Row]) -> Result<(&'static Leaf, Parsed), String> {
    let (leaf, rest) = flags::leaf(words, leaves, GLOBAL, true)?;
    let parsed = flags::parse(&rest, &[GLOBAL, leaf.rows, more], true)?;
    if parsed.args.len() > leaf.args_max {
        return Err(format!("`kubectl {}` with more arguments than are on the list", leaf.path));
    }
    if parsed.inner.is_some() && !WITH_INNER.contains(&leaf.path) {
        return Err("`--` in front of something else than a container's command".to_owned());
    }
    Ok((leaf, parsed))
}

/// A call that only reads. `is_ours` says that this program composed what runs in the container.
pub(super) fn read(judge: &Judge, words: &[String], is_ours: bool) -> Result<Vec<String>, String> {
    let (leaf, parsed) = parsed(words, &[READS, EXEC], &[])?;
    if leaf.path == "exec" {
        let inner = parsed.inner.as_deref().unwrap_or_default();
        if parsed.args.len() != 1 {
            return Err("`kubectl exec` without a pod".to_owned());
        }
        super::inside::judge(judge, inner, is_ours)?;
    }
    // A report may show a value that a command prints, so nothing prints those of Secrets.
    let shows_content = parsed.values("output").any(|format| !matches!(format, "name" | "wide"))
        || parsed.has("sort-by")
        || parsed.has("label-columns");
    if leaf.path == "get" && shows_content && parsed.args.iter().any(|arg| names_secrets(arg)) {
        return Err("it would print what is in a Secret".to_owned());
    }
    Ok(parsed.argv(leaf.path, &[]))
}

/// `secret`, `pods,secrets`, `secret/NAME`, `secrets.v1.`
fn names_secrets(arg: &str) -> bool {
    arg.to_ascii_lowercase().split([',', '/']).any(|kind| kind.starts_with("secret"))
}

/// A change that the API server is asked to try without making it.
pub(super) fn dry_run(words: &[String]) -> Result<Vec<String>, String> {
    let (leaf, parsed) = parsed(words, &[TRIED], CHOSEN)?;
    Ok(parsed.argv(leaf.path, &["--dry-run=server"]))
}

/// Manifests on the standard input that the API server is asked to try.
pub(super) fn apply(words: &[String]) -> Result<Vec<String>, String> {
    let (leaf, parsed) = parsed(words, &[APPLY], &[])?;
    match parsed.has("filename") {
        true => Ok(parsed.argv(leaf.path, &["--dry-run=server"])),
        false => Err("`kubectl apply` without manifests".to_owned()),
    }
}
