//! Commands of kubectl.

use super::ask::Asker;
use super::found::Found;
use super::sql::Database;
use super::{Way, call, chart, inside, objects, reads};
use crate::cluster::ClusterError;
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
) -> Result<Way, ClusterError> {
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
    match reads::kubectl(&call) {
        Ok(()) => Ok(Way::Read),
        Err(_) if TRIED.contains(&call.path[0].as_str()) => {
            found.skip(call.span.clone(), "what it reads is not among the files that stand where commands run");
            Ok(Way::Left)
        }
        Err(_) if verb.starts_with("rollout ") || verb == "edit" => {
            found.skip(
                call.span.clone(),
                format!("`kubectl {verb}` cannot be tried without being done; what it acts on is there"),
            );
            Ok(Way::Left)
        }
        Err(reason) => {
            found.skip(call.span.clone(), reason);
            Ok(Way::Left)
        }
    }
}

/// Has the API server try a change without making it.
async fn try_it(asker: &mut Asker, call: &call::Call, found: &mut Found) -> Result<Way, ClusterError> {
    // The flag stands before all others, so that none of them can take it for its value.
    let mut question: Vec<&str> = vec!["kubectl"];
    question.extend(call.path.iter().map(String::as_str));
    question.push("--dry-run=server");
    let is_attached = |word: &&Word| {
        matches!(word.text.as_str(), "-i" | "-t" | "-it" | "-ti" | "--rm" | "--stdin" | "--tty" | "--attach")
    };
    let ends = call.rest.iter().position(|word| word.text == "--").unwrap_or(call.rest.len());
    let (before, behind) = call.rest.split_at(ends);
    question.extend(before.iter().filter(|word| !is_attached(word)).chain(behind).map(|word| word.text.as_str()));
    let answer = asker.ask(&question).await?;
    if !answer.ok() {
        let why = answer.why();
        let kind = if chart::is_unchangeable(&why) { FindingKind::Unchangeable } else { FindingKind::Fails };
        found.add(kind, call.span.clone(), why, None);
    } else if call.path[0] == "run" {
        found.skip(
            call.span.clone(),
            "the pod would be admitted; whether its image can be had and what it shows is not known",
        );
    } else if call.path[0] == "delete" && !call.has("wait") && call.args.first().is_some_and(is_claim) {
        found.skip(
            call.span.clone(),
            "it would be marked as deleted; how long a pod that uses it holds it is not known",
        );
    }
    Ok(Way::Tried)
}
