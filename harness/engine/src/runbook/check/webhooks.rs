//! Admission webhooks that may act although a request is only tried. The API server refuses a dry run of what such a webhook
//! watches; asking first says so with the webhook's name, and not as a command that fails.

use super::ask::{Asker, Trouble};
use serde_json::Value;

/// Kinds by which the names in a command are told apart: plural, singular and short names, each with its API group.
type Kinds = Vec<(String, String)>;

/// Why a change to these kinds is not even tried: a webhook with side effects watches one of them, or nobody knows. The kinds
/// are as they stand in the command or in manifests.
///
/// # Errors
/// Where the API server does not answer.
pub(super) async fn with_side_effects(asker: &mut Asker, kinds: &[&str]) -> Result<Option<String>, Trouble> {
    let resources = ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"];
    let mut acting = Vec::new();
    for resource in resources {
        let answer = asker.ask(&["kubectl", "get", resource, "-o", "json"]).await?;
        match serde_json::from_str::<Value>(&answer.stdout) {
            Ok(listed) if answer.ok() => acting.extend(acting_of(&listed)),
            _ => return Ok(Some(format!("the webhooks of a dry run cannot be listed: {}", answer.why()))),
        }
    }
    if acting.is_empty() {
        return Ok(None);
    }
    let known = known_kinds(&asker.ask(&["kubectl", "api-resources", "--no-headers"]).await?.stdout);
    Ok(acting
        .into_iter()
        .find(|(_, rules)| kinds.iter().any(|kind| watches(rules, kind, &known)))
        .map(|(name, _)| format!("the webhook `{name}` does not declare that it has no side effects in a dry run")))
}

/// Webhooks that do not promise to leave a dry run alone, with their rules.
fn acting_of(listed: &Value) -> Vec<(String, Vec<Value>)> {
    let items = listed["items"].as_array().into_iter().flatten();
    let hooks = items.flat_map(|item| item["webhooks"].as_array().into_iter().flatten());
    let acting = hooks.filter(|hook| !matches!(hook["sideEffects"].as_str(), Some("None" | "NoneOnDryRun")));
    acting
        .map(|hook| {
            let name = hook["name"].as_str().unwrap_or_default().to_owned();
            (name, hook["rules"].as_array().cloned().unwrap_or_default())
        })
        .collect()
}

/// `NAME SHORTNAMES APIVERSION NAMESPACED KIND`, the short names left out where there are none: every name with its plural.
fn known_kinds(listed: &str) -> Kinds {
    let mut known = Vec::new();
    for line in listed.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [plural, shorts @ .., _version, _namespaced, kind] = columns.as_slice() else { continue };
        let names = shorts.iter().flat_map(|names| names.split(',')).chain([*plural, *kind]);
        known.extend(names.map(|name| (name.to_ascii_lowercase(), (*plural).to_owned())));
    }
    known
}

/// Whether rules match a kind, in any API group, version or operation. A kind that is not known matches every rule.
fn watches(rules: &[Value], kind: &str, known: &Kinds) -> bool {
    let name = kind.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let plurals: Vec<&str> =
        known.iter().filter(|(known, _)| *known == name).map(|(_, plural)| plural.as_str()).collect();
    let resources = rules.iter().flat_map(|rule| rule["resources"].as_array().into_iter().flatten());
    plurals.is_empty()
        || resources.filter_map(Value::as_str).any(|resource| {
            let watched = resource.split('/').next().unwrap_or_default();
            watched == "*" || plurals.contains(&watched)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn webhooks_that_act_are_found_by_what_they_watch() {
        let listed = json!({"items": [{"webhooks": [
            {"name": "safe", "sideEffects": "None", "rules": [{"resources": ["pods"]}]},
            {"name": "dry", "sideEffects": "NoneOnDryRun", "rules": [{"resources": ["*"]}]},
            {"name": "acts", "sideEffects": "Some", "rules": [{"resources": ["deployments/scale", "clusters"]}]},
            {"name": "silent", "rules": [{"resources": ["*/*"]}]},
        ]}, {}]});
        let acting = acting_of(&listed);
        assert_eq!(acting.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["acts", "silent"]);
        let known = known_kinds(
            "deployments   deploy   apps/v1   true   Deployment\npods   po   v1   true   Pod\nclusters   postgresql.cnpg.io/v1   true   Cluster\n",
        );
        for (kind, acts) in [("deploy", true), ("Deployment", true), ("pod", false), ("clusters", true), ("odd", true)]
        {
            assert_eq!(watches(&acting[0].1, kind, &known), acts, "{kind}");
        }
        assert!(watches(&acting[1].1, "pods", &known));
    }
}
