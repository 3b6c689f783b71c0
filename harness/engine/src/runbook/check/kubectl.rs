//! Commands of kubectl.

use super::ask::{Asker, Trouble};
use super::found::Found;
use super::sql::Database;
use super::{Way, call, chart, inside, objects, webhooks};
use firedrill_core::document::FindingKind;
use firedrill_core::shell::Word;

/// Subcommands of kubectl that the API server can be asked to only try.
const TRIED: [&str; 14] = [
    "delete",
    "patch",
    "scale",
    "label",
    "annotate",
    "apply",
    "create",
    "run",
    "taint",
    "cordon",
    "uncordon",
    "drain",
    "autoscale",
    "expose",
];
/// Flags of kubectl that lead to another cluster, to a file, or past a dry run.
const ELSEWHERE: [&str; 15] = [
    "kubeconfig",
    "context",
    "cluster",
    "server",
    "token",
    "user",
    "as",
    "as-group",
    "as-uid",
    "raw",
    "dry-run",
    "edit",
    "kustomize",
    "cache-dir",
    "profile",
];

/// Whether a word of a command means claims of volumes, which go only once no pod uses them.
fn is_claim(word: &Word) -> bool {
    let kind = word.text.split('/').next().unwrap_or_default();
    matches!(kind, "pvc" | "persistentvolumeclaim" | "persistentvolumeclaims")
}

/// Checks one command of kubectl: its words, what it acts on, and as far as it can be tried without being done, whether it is taken.
///
/// # Errors
/// Where the cluster does not answer any more.
pub(super) async fn check(
    asker: &mut Asker,
    words: &[Word],
    database: &mut Option<Database>,
    found: &mut Found,
) -> Result<Way, Trouble> {
    let Some(call) = call::understand(asker, words, found).await? else { return Ok(Way::Left) };
    if let Some(name) = ELSEWHERE.iter().find(|name| call.has(name)) {
        found.skip(call.span.clone(), format!("with `--{name}` it is not tried"));
        return Ok(Way::Left);
    }
    let Some(subject) = objects::check(asker, &call, found).await? else { return Ok(Way::Left) };
    let verb = call.verb();
    if verb == "exec" {
        return inside::check(asker, &call, &subject, database, found).await;
    }
    if !found.is_empty() {
        return Ok(Way::Left);
    }
    if let Some(reason) = call::open_word(&call.rest.iter().collect::<Vec<_>>()) {
        found.skip(call.span.clone(), reason);
        return Ok(Way::Left);
    }
    let can_try = (TRIED.contains(&call.path[0].as_str()) || call.path[0] == "set" || verb == "rollout undo")
        && call.help.flag("dry-run").is_some()
        && !call.has("filename");
    if can_try {
        return try_it(asker, &call, found).await;
    }
    if ["watch", "watch-only", "follow"].iter().any(|name| call.has(name)) {
        found.skip(call.span.clone(), "it never ends by itself; only the objects that it names were checked");
        return Ok(Way::Left);
    }
    match asker.judge().read(&call.words()) {
        Ok(_) => Ok(Way::Read),
        Err(_) if TRIED.contains(&call.path[0].as_str()) => {
            found.skip(call.span.clone(), "the file that it reads is not in the folder that commands run in");
            Ok(Way::Left)
        }
        Err(_) if verb.starts_with("rollout ") || verb == "edit" => {
            found.skip(call.span.clone(), format!("`kubectl {verb}` has no dry run; its target exists"));
            Ok(Way::Left)
        }
        Err(reason) => {
            found.skip(call.span.clone(), reason);
            Ok(Way::Left)
        }
    }
}

/// The kinds that a change is made to, and those that follow from it.
fn kinds(call: &call::Call) -> Vec<&str> {
    let first = call.args.first().map_or("", |word| word.text.as_str());
    match call.path[0].as_str() {
        "run" => vec!["pods"],
        "create" => vec![call.path.get(1).map_or("", String::as_str)],
        "expose" => vec!["services"],
        "autoscale" => vec!["horizontalpodautoscalers"],
        "cordon" | "uncordon" => vec!["nodes"],
        "drain" => vec!["nodes", "pods"],
        _ if first.contains('/') => {
            let args = call.args.iter().filter_map(|word| word.text.split_once('/'));
            args.flat_map(|(kind, _)| kind.split(',')).collect()
        }
        _ => first.split(',').collect(),
    }
}

/// Has the API server try a change without making it.
async fn try_it(asker: &mut Asker, call: &call::Call, found: &mut Found) -> Result<Way, Trouble> {
    let judged = match asker.judge().dry_run(&call.words()) {
        Ok(judged) => judged,
        Err(reason) => {
            found.skip(call.span.clone(), reason);
            return Ok(Way::Left);
        }
    };
    let kinds = kinds(call);
    if let Some(reason) = webhooks::with_side_effects(asker, &kinds).await? {
        found.skip(call.span.clone(), reason);
        return Ok(Way::Left);
    }
    let answer = asker.run(&judged).await?;
    if !answer.ok() {
        let why = answer.why();
        let kind = if chart::is_unchangeable(&why) { FindingKind::Unchangeable } else { FindingKind::Fails };
        found.add(kind, call.span.clone(), why, None);
    } else if call.path[0] == "run" {
        found.skip(call.span.clone(), "the pod would be admitted; its image and its output were not checked");
    } else if call.path[0] == "delete" && !call.has("wait") && call.args.first().is_some_and(is_claim) {
        found.skip(call.span.clone(), "it would be marked for deletion; a pod that uses it may delay that");
    }
    Ok(Way::Tried)
}
