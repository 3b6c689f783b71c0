//! helm: releases, files, values that the chart knows, and what the API server says to the upgrade.

use super::ask::{Answer, Asker, Trouble};
use super::call::{self, Call, open_word};
use super::found::Found;
use super::{Way, objects, webhooks};
use firedrill_core::document::FindingKind;
use firedrill_core::scenario::closest;
use firedrill_core::shell::Word;
use serde_json::Value;
use std::ops::Range;
use std::path::Path;

/// A chart that shows its values, so that helm itself says what `--set` and `--values` mean.
pub(super) const SHOW: &str = ".firedrill-values";
const FLAGS: [&str; 5] = ["set", "set-string", "set-json", "set-literal", "set-file"];

/// Writes [`SHOW`] into the folder in which programs run.
pub(super) fn write_show(directory: &Path) -> std::io::Result<()> {
    let chart = directory.join(SHOW);
    std::fs::create_dir_all(chart.join("templates"))?;
    std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: values\nversion: 0.0.1\n")?;
    std::fs::write(chart.join("templates/values.yaml"), "values: {{ .Values | toJson }}\n")
}

/// Checks a call of helm.
///
/// # Errors
/// Where helm cannot be run or the API server does not answer.
pub(super) async fn check(asker: &mut Asker, words: &[Word], found: &mut Found) -> Result<Way, Trouble> {
    let Some(call) = call::understand(asker, words, found).await? else { return Ok(Way::Left) };
    let others = ["kube-context", "kubeconfig", "kube-apiserver", "kube-token", "kube-as-user", "repo"];
    if let Some(name) = others.iter().find(|name| call.has(name)) {
        found.skip(call.span.clone(), format!("`--{name}` leads elsewhere"));
        return Ok(Way::Left);
    }
    let is_upgrade = call.verb() == "upgrade";
    let place = match objects::namespace(asker, &call, found).await? {
        Some(place) => place,
        None => {
            if is_upgrade {
                values(asker, &call, found).await?;
            }
            return Ok(Way::Left);
        }
    };
    let of_release = is_upgrade
        || matches!(call.verb().as_str(), "rollback" | "uninstall" | "status" | "history" | "test")
        || call.path[0] == "get";
    if let (true, Some(release)) = (of_release && !call.has("install"), call.args.first()) {
        let mut question: Vec<&str> = vec!["helm", "status", &release.text];
        question.extend(place.iter().map(String::as_str));
        if let Some(reason) = open_word(&[release]) {
            found.skip(release.span.clone(), reason);
        } else if !asker.ask(&question).await?.ok() {
            let message = format!("there is no release `{}`{}", release.text, objects::within(&place));
            found.add(FindingKind::MissingObject, release.span.clone(), message, None);
        }
    }
    if !is_upgrade {
        return Ok(match asker.judge().read(&call.words()) {
            Ok(_) => Way::Read,
            Err(reason) => {
                found.skip(call.span.clone(), reason);
                Way::Left
            }
        });
    }
    values(asker, &call, found).await?;
    if let Some(reason) = open_word(&call.rest.iter().collect::<Vec<_>>()) {
        found.skip(call.span.clone(), reason);
    }
    if found.findings.iter().any(|finding| finding.kind != FindingKind::UnknownValue) || !found.unchecked.is_empty() {
        return Ok(Way::Left);
    }
    upgrade(asker, &call, found).await
}

/// The chart, the files of values and the values themselves.
async fn values(asker: &mut Asker, call: &Call, found: &mut Found) -> Result<(), Trouble> {
    let chart = call.args.get(1);
    let files = call.given.iter().filter(|given| given.name == "values").filter_map(|given| given.value.as_ref());
    let before = found.findings.len() + found.unchecked.len();
    for word in chart.into_iter().chain(files) {
        file(asker, word, found);
    }
    let Some(chart) = chart.filter(|_| found.findings.len() + found.unchecked.len() == before) else { return Ok(()) };
    let sets: Vec<_> = call.given.iter().filter(|given| FLAGS.contains(&given.name.as_str())).collect();
    if sets.is_empty() {
        return Ok(());
    }
    let folder = asker.directory().join(&chart.text);
    let (mut known, templates) = (vec![folder.join("values.yaml")], templates(&folder));
    let listed = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    known.extend(listed.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("values-") && name.ends_with(".yaml")
    }));
    let mut question: Vec<String> = ["helm", "template", "values", SHOW].map(str::to_owned).into();
    question.extend(known.iter().flat_map(|path| ["--values".to_owned(), path.display().to_string()]));
    let Some(known) = shown(&asker.ask(&question).await?) else {
        found.skip(call.span.clone(), "helm does not say which values the chart has");
        return Ok(());
    };
    for set in sets {
        let Some(value) = &set.value else { continue };
        let question = ["helm", "template", "values", SHOW, &format!("--{}", set.name), &value.text];
        let answer = asker.ask(&question).await?;
        let Some(given) = shown(&answer) else {
            found.add(FindingKind::Fails, value.span.clone(), answer.why(), None);
            continue;
        };
        for path in paths(&given) {
            if is_known(&known, &path) || templates.contains(&format!(".Values.{}", path.join("."))) {
                continue;
            }
            let all = paths(&known);
            let dotted = path.join(".");
            let names: Vec<String> = all.iter().map(|path| path.join(".")).collect();
            let hint =
                closest(&dotted, names.iter().map(String::as_str)).map(|close| format!("did you mean `{close}`?"));
            found.add(
                FindingKind::UnknownValue,
                value.span.clone(),
                format!("the chart knows no value `{dotted}`"),
                hint,
            );
        }
    }
    Ok(())
}

/// A file relative to where commands run. Only the chart stands there; of what else an operator has, nothing is known.
fn file(asker: &Asker, word: &Word, found: &mut Found) {
    if let Some(reason) = open_word(&[word]) {
        found.skip(word.span.clone(), reason);
    } else if !asker.is_of_chart(&word.text) {
        found.skip(word.span.clone(), asker.outside_of_chart());
    } else if !asker.directory().join(&word.text).exists() {
        found.add(FindingKind::MissingFile, word.span.clone(), format!("there is no `{}`", word.text), None);
    }
}

/// The text of all templates of a chart.
fn templates(chart: &Path) -> String {
    let files = std::fs::read_dir(chart.join("templates")).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect()
}

/// What [`SHOW`] shows.
fn shown(answer: &Answer) -> Option<Value> {
    let line = answer.stdout.lines().find_map(|line| line.strip_prefix("values: "))?;
    serde_json::from_str(line).ok()
}

/// The paths of everything that is no table, or an empty one.
fn paths(value: &Value) -> Vec<Vec<String>> {
    match value {
        Value::Object(table) if !table.is_empty() => {
            let below = table.iter().map(|(key, value)| (key, paths(value)));
            below
                .flat_map(|(key, paths)| {
                    paths.into_iter().map(move |path| std::iter::once(key.clone()).chain(path).collect())
                })
                .collect()
        }
        _ => vec![Vec::new()],
    }
}

/// Whether a path is there; below an empty table anything may stand.
fn is_known(known: &Value, path: &[String]) -> bool {
    match (known, path.split_first()) {
        (_, None) => true,
        (Value::Object(table), Some(_)) if table.is_empty() => true,
        (Value::Object(table), Some((key, rest))) => table.get(key).is_some_and(|known| is_known(known, rest)),
        _ => false,
    }
}

/// Has helm make the manifests of the upgrade, and the API server say whether it would take them.
async fn upgrade(asker: &mut Asker, call: &Call, found: &mut Found) -> Result<Way, Trouble> {
    let unsafe_here = ["dry-run", "post-renderer", "output", "set-file", "wait", "dependency-update"];
    if let Some(name) = unsafe_here.iter().find(|name| call.has(name)) {
        found.skip(call.span.clone(), format!("an upgrade with `--{name}` is not tried"));
        return Ok(Way::Left);
    }
    let judged = match asker.judge().dry_run(&call.words()) {
        Ok(judged) => judged,
        Err(reason) => {
            found.skip(call.span.clone(), reason);
            return Ok(Way::Left);
        }
    };
    let answer = asker.run(&judged).await?;
    if !answer.ok() {
        found.add(FindingKind::Fails, call.span.clone(), answer.why(), None);
        return Ok(Way::Left);
    }
    let kinds: Vec<&str> = manifests(&answer.stdout).lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    if let Some(reason) = webhooks::with_side_effects(asker, &kinds).await? {
        found.skip(call.span.clone(), reason);
        return Ok(Way::Left);
    }
    let mut apply =
        ["apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-"].map(str::to_owned).to_vec();
    apply.extend(call.value("namespace").map(|word| format!("--namespace={}", word.text)));
    let judged = asker.judge().apply(&apply).map_err(Trouble::Refused)?;
    let answer = asker.run_with(&judged, manifests(&answer.stdout).into()).await?;
    if !answer.ok() {
        let why = answer.why();
        let kind = if is_unchangeable(&why) { FindingKind::Unchangeable } else { FindingKind::Fails };
        found.add(kind, blamed(call), why, None);
        return Ok(Way::Left);
    }
    Ok(Way::Tried)
}

/// What helm shows behind the line that begins with `MANIFEST:`.
fn manifests(shown: &str) -> &str {
    let at = if shown.starts_with("MANIFEST:") { Some(0) } else { shown.find("\nMANIFEST:").map(|at| at + 1) };
    let rest = at.map_or("", |at| &shown[at..]);
    rest.split_once('\n').map_or("", |(_, rest)| rest)
}

/// Whether the API server's refusal means that the field keeps its value for ever.
pub(super) fn is_unchangeable(why: &str) -> bool {
    ["immutable", "Forbidden: updates to", "may not be changed", "can be resized", "can not be less than"]
        .iter()
        .any(|said| why.contains(said))
}

/// The one value that is set, where it is one.
fn blamed(call: &Call) -> Range<usize> {
    let mut sets = call.given.iter().filter(|given| FLAGS.contains(&given.name.as_str()));
    match (sets.next(), sets.next()) {
        (Some(one), None) => one.value.as_ref().map_or(one.span.clone(), |value| value.span.clone()),
        _ => call.span.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_known_by_its_path() {
        let known = json!({"a": {"b": 1, "free": {}}, "list": []});
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        for (text, is) in [
            ("a.b", true),
            ("a.free.x.y", true),
            ("a", true),
            ("list", true),
            ("a.c", false),
            ("a.b.c", false),
            ("x", false),
        ] {
            assert_eq!(is_known(&known, &path(text)), is, "{text}");
        }
        assert_eq!(paths(&known), [path("a.b"), path("a.free"), path("list")]);
    }
}
