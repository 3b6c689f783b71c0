//! Namespaces, objects, labels and containers that a call of kubectl names.

use super::api::LABELS;
use super::ask::{Asker, Trouble};
use super::call::{Call, open_word};
use super::found::Found;
use firedrill_core::document::FindingKind;
use firedrill_core::scenario::closest;
use firedrill_core::shell::Word;
use std::collections::BTreeMap;

/// Names that a hint lists, at most.
const LISTED_MAX: usize = 6;

/// What a call acts on.
#[derive(Debug)]
pub(super) struct Subject {
    /// `-n NAMESPACE`, or nothing.
    pub(super) place: Vec<String>,
    /// A pod, or what leads to one, where the call needs one and it is there.
    pub(super) pod: Option<String>,
}

/// Looks up everything that a call names. `None` where the namespace is not known: then nothing in it is.
///
/// # Errors
/// Where the API server does not answer.
pub(super) async fn check(asker: &mut Asker, call: &Call, found: &mut Found) -> Result<Option<Subject>, Trouble> {
    let Some(place) = namespace(asker, call, found).await? else { return Ok(None) };
    let mut subject = Subject { place, pod: None };
    let args = &call.args;
    match (call.path[0].as_str(), call.path.get(1).map(String::as_str)) {
        ("exec" | "logs" | "attach" | "port-forward" | "debug", _) => pod(asker, call, &mut subject, found).await?,
        ("cordon" | "uncordon" | "drain", _) => {
            for node in args {
                object(asker, &subject.place, "node", node, found).await?;
            }
        }
        ("top", Some(kind)) => {
            for name in args {
                object(asker, &subject.place, kind, name, found).await?;
            }
            selector(asker, call, kind, &subject.place, found).await?;
        }
        (
            "get" | "describe" | "delete" | "patch" | "label" | "annotate" | "scale" | "edit" | "wait" | "autoscale"
            | "expose" | "taint" | "rollout" | "set",
            _,
        ) => resources(asker, call, &subject.place, found).await?,
        _ => {}
    }
    container(asker, call, &subject, found).await?;
    Ok(Some(subject))
}

pub(super) async fn namespace(
    asker: &mut Asker,
    call: &Call,
    found: &mut Found,
) -> Result<Option<Vec<String>>, Trouble> {
    let Some(word) = call.value("namespace") else {
        return Ok(Some(Vec::new()));
    };
    if let Some(reason) = open_word(&[word]) {
        found.skip(word.span.clone(), reason);
        return Ok(None);
    }
    let listed = asker.ask(&["kubectl", "get", "namespaces", "-o", "name"]).await?.stdout;
    let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_prefix("namespace/")).collect();
    if !names.contains(&word.text.as_str()) {
        let hint = near(&word.text, &names);
        found.add(
            FindingKind::MissingObject,
            word.span.clone(),
            format!("there is no namespace `{}`", word.text),
            hint,
        );
        return Ok(None);
    }
    Ok(Some(vec!["-n".to_owned(), word.text.clone()]))
}

/// `TYPE/NAME ...`, `TYPE NAME ...`, `TYPE -l ...`
async fn resources(asker: &mut Asker, call: &Call, place: &[String], found: &mut Found) -> Result<(), Trouble> {
    // What stands behind the objects of these is a change.
    let is_change = |word: &Word| {
        matches!(call.path[0].as_str(), "label" | "annotate" | "taint" | "set")
            && (word.text.contains('=') || word.text.ends_with('-'))
    };
    let args: Vec<&Word> = call.args.iter().filter(|&word| !is_change(word)).collect();
    let Some(first) = args.first().copied() else { return Ok(()) };
    if let Some(reason) = open_word(&[first]) {
        found.skip(first.span.clone(), reason);
        return Ok(());
    }
    if first.text.contains('/') {
        for word in args {
            if let Some((kind, name)) = word.text.split_once('/') {
                let name = Word { text: name.to_owned(), ..word.clone() };
                object(asker, place, kind, &name, found).await?;
            }
        }
        return Ok(());
    }
    // With a name or without, the server says whether it knows the kind.
    let known =
        asker.ask(&kubectl(&["get", &first.text, "-o", "name", "--ignore-not-found"], &place_of(place))).await?;
    if known.stderr.contains("the server doesn't have a resource type") {
        found.add(
            FindingKind::MissingObject,
            first.span.clone(),
            format!("the cluster knows no kind `{}`", first.text),
            None,
        );
        return Ok(());
    }
    for name in &args[1..] {
        object(asker, place, &first.text, name, found).await?;
    }
    if args.len() == 1 {
        selector(asker, call, &first.text, place, found).await?;
    }
    Ok(())
}

/// The words of a question to kubectl.
fn kubectl<'w>(words: &[&'w str], place: &[&'w str]) -> Vec<&'w str> {
    ["kubectl"].iter().chain(words).chain(place).copied().collect()
}

fn place_of(place: &[String]) -> Vec<&str> {
    place.iter().map(String::as_str).collect()
}

async fn object(
    asker: &mut Asker,
    place: &[String],
    kind: &str,
    name: &Word,
    found: &mut Found,
) -> Result<bool, Trouble> {
    if let Some(reason) = open_word(&[name]) {
        found.skip(name.span.clone(), reason);
        return Ok(false);
    }
    let answer = asker.ask(&kubectl(&["get", kind, &name.text, "-o", "name"], &place_of(place))).await?;
    if answer.ok() {
        return Ok(true);
    }
    let why = answer.why();
    if why.contains("the server doesn't have a resource type") {
        found.add(FindingKind::MissingObject, name.span.clone(), format!("the cluster knows no kind `{kind}`"), None);
    } else if why.contains("NotFound") || why.contains("not found") {
        let listed = asker.ask(&kubectl(&["get", kind, "-o", "name"], &place_of(place))).await?.stdout;
        let names: Vec<&str> = listed.lines().filter_map(|line| line.split_once('/').map(|(_, name)| name)).collect();
        let message = format!("there is no {kind} `{}`{}", name.text, within(place));
        found.add(FindingKind::MissingObject, name.span.clone(), message, near(&name.text, &names));
    } else {
        found.add(FindingKind::Fails, name.span.clone(), why, None);
    }
    Ok(false)
}

pub(super) fn within(place: &[String]) -> String {
    place.get(1).map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default()
}

fn near(word: &str, names: &[&str]) -> Option<String> {
    match closest(word, names.iter().copied()) {
        Some(close) => Some(format!("did you mean `{close}`?")),
        None if names.is_empty() => Some("there is none".to_owned()),
        None => {
            let shown: Vec<String> = names.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
            let more = if names.len() > LISTED_MAX { ", ..." } else { "" };
            Some(format!("there are {}{more}", shown.join(", ")))
        }
    }
}

/// Whether the call's label selector, the last where several are given, matches anything; what it matches.
async fn selector(
    asker: &mut Asker,
    call: &Call,
    kind: &str,
    place: &[String],
    found: &mut Found,
) -> Result<Vec<String>, Trouble> {
    let Some(word) = call.value("selector") else { return Ok(Vec::new()) };
    if let Some(reason) = open_word(&[word]) {
        found.skip(word.span.clone(), reason);
        return Ok(Vec::new());
    }
    let place = if call.has("all-namespaces") { vec!["-A"] } else { place_of(place) };
    let matched = matches(asker, kind, &word.text, &place).await?;
    if matched.is_empty() {
        let mut message = format!("nothing of kind {kind} has the labels `{}`", word.text);
        if call.given.iter().filter(|given| given.name == "selector").count() > 1 {
            message.push_str("; of several `-l` only the last counts");
        }
        let hint = match likely(asker, kind, &word.text, &place).await {
            Err(Trouble::Refused(_)) => None,
            hint => hint?,
        };
        found.add(FindingKind::NoMatch, word.span.clone(), message, hint);
    }
    Ok(matched)
}

async fn matches(asker: &mut Asker, kind: &str, labels: &str, place: &[&str]) -> Result<Vec<String>, Trouble> {
    let answer = asker.ask(&kubectl(&["get", kind, "-l", labels, "-o", "name"], place)).await?;
    Ok(answer.stdout.lines().map(str::to_owned).collect())
}

/// Labels that were probably meant: others with the same value, or the part of the selector that does match.
async fn likely(asker: &mut Asker, kind: &str, labels: &str, place: &[&str]) -> Result<Option<String>, Trouble> {
    let listed = asker.ask(&kubectl(&["get", kind, "-o", LABELS], place)).await?.stdout;
    let all: Vec<BTreeMap<String, String>> =
        listed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if all.is_empty() {
        return Ok(Some(format!("there is no {kind}")));
    }
    for term in labels.split(',') {
        let Some((key, value)) = term.split_once('=').map(|(key, value)| (key, value.trim_start_matches('='))) else {
            continue;
        };
        if all.iter().any(|labels| labels.get(key).is_some_and(|held| held == value)) {
            continue;
        }
        let pairs = || all.iter().flatten();
        if let Some((known, _)) = pairs().find(|(_, held)| *held == value) {
            return Ok(Some(format!("did you mean `{known}={value}`?")));
        }
        if let Some((_, held)) = pairs().find(|(known, _)| *known == key) {
            return Ok(Some(format!("`{key}` is there with `{held}`")));
        }
        let close = closest(key, pairs().map(|(known, _)| known.as_str()));
        return Ok(Some(
            close.map_or_else(|| format!("nothing has a label `{key}`"), |close| format!("did you mean `{close}`?")),
        ));
    }
    Ok(None)
}

/// The pod of `exec`, `logs` and the like: by name, by what leads to it, or by labels.
async fn pod(asker: &mut Asker, call: &Call, subject: &mut Subject, found: &mut Found) -> Result<(), Trouble> {
    if let Some(word) = call.args.first() {
        let (kind, name) = word.text.split_once('/').unwrap_or(("pod", &word.text));
        let name = Word { text: name.to_owned(), ..word.clone() };
        if object(asker, &subject.place, kind, &name, found).await? {
            subject.pod = Some(word.text.clone());
        }
        return Ok(());
    }
    let place = subject.place.clone();
    let mut pods = selector(asker, call, "pod", &place, found).await?;
    // Whether the rest could work is asked of the pods that are meant: those of the labels that do match.
    for given in call.given.iter().filter(|given| given.name == "selector") {
        if let (true, Some(value)) = (pods.is_empty(), &given.value) {
            pods = matches(asker, "pod", &value.text, &place_of(&place)).await?;
        }
    }
    subject.pod = pods.first().map(|pod| pod.trim_start_matches("pod/").to_owned());
    Ok(())
}

async fn container(asker: &mut Asker, call: &Call, subject: &Subject, found: &mut Found) -> Result<(), Trouble> {
    let (Some(word), Some(pod)) = (call.value("container"), &subject.pod) else { return Ok(()) };
    if open_word(&[word]).is_some() {
        return Ok(());
    }
    let answer = asker.ask(&kubectl(&["logs", pod, "-c", &word.text, "--tail=1"], &place_of(&subject.place))).await?;
    let why = answer.why();
    if why.contains("is not valid for pod") || why.contains("not found in pod") {
        let hint = why.split_once("out of: ").map(|(_, names)| format!("it has {names}"));
        found.add(
            FindingKind::MissingContainer,
            word.span.clone(),
            format!("{pod} has no container `{}`", word.text),
            hint,
        );
    }
    Ok(())
}
