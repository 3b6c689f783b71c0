//! `firedrill plan NAME --rbac`: what an administrator applies before drills can run on a cluster that firedrill did not make.

use firedrill_core::event::SYSTEM_NAMESPACE;
use firedrill_core::scenario::{Fault, Right, Scenario, Variant};
use firedrill_engine::cluster::{MARKER, system_labels};
use firedrill_engine::record::writers::RUNNER;
use firedrill_engine::run::{Drill, planned_steps};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// The manifests, as YAML. Needs no cluster.
pub(crate) fn manifests(drill: &Drill) -> String {
    let (scenario, variant) = (&drill.scenario, &drill.variant);
    let mut out = String::new();
    let mut comment = |text: &str| {
        let _ = writeln!(out, "# {}", one_line(text));
    };
    comment(&format!("What the drill {}/{variant} needs on a cluster that firedrill did not make.", scenario.name));
    comment("Apply it as an administrator: firedrill plan NAME --rbac | kubectl apply -f -");
    comment("The consent that drills may break this cluster is not included. Its owner gives it by itself:");
    comment(&format!("  kubectl create configmap {MARKER} --namespace kube-system"));
    let steps = planned_steps(drill, &[]);
    if !steps.is_empty() {
        comment("The commands of the runbook run with the same rights. Add what they need beyond the rules below:");
        for step in &steps {
            comment(&format!("  {}", step.step.command));
        }
    }
    for object in objects(scenario, variant) {
        out.push_str("---\n");
        yaml(&object, 0, &mut out);
    }
    out.truncate(out.trim_end().len());
    out
}

fn objects(scenario: &Scenario, variant: &str) -> Vec<Value> {
    let rights = "rbac.authorization.k8s.io";
    let subjects = json!([{"kind": "ServiceAccount", "name": RUNNER, "namespace": SYSTEM_NAMESPACE}]);
    let labels = json!({"app.kubernetes.io/managed-by": "firedrill"});
    let metadata = |name: &str, namespace: Option<&str>| match namespace {
        Some(namespace) => json!({"name": name, "namespace": namespace, "labels": labels}),
        None => json!({"name": name, "labels": labels}),
    };
    let bind = |kind: &str, name: &str, namespace: Option<&str>| {
        json!({"apiVersion": format!("{rights}/v1"), "kind": format!("{kind}Binding"),
            "metadata": metadata(name, namespace),
            "roleRef": {"apiGroup": rights, "kind": kind, "name": name}, "subjects": subjects})
    };
    let role = |kind: &str, name: &str, namespace: Option<&str>, rules: Value| json!({"apiVersion": format!("{rights}/v1"), "kind": kind, "metadata": metadata(name, namespace), "rules": rules});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": SYSTEM_NAMESPACE, "labels": system_labels()}});
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(RUNNER, Some(SYSTEM_NAMESPACE))});
    let own = json!([
        rule("apps", "controllerrevisions", &["create", "delete"]),
        rule("coordination.k8s.io", "leases", &["create", "update", "delete"]),
    ]);
    let mut objects = vec![
        namespace,
        account,
        role("Role", RUNNER, Some(SYSTEM_NAMESPACE), own),
        bind("Role", RUNNER, Some(SYSTEM_NAMESPACE)),
        role("ClusterRole", RUNNER, None, Value::Array(cluster_rules(scenario, variant))),
        bind("ClusterRole", RUNNER, None),
    ];
    for (index, (namespace, rule)) in local_rules(scenario, variant).into_iter().enumerate() {
        let name = format!("{RUNNER}-{}", index + 1);
        objects.push(role("Role", &name, Some(&namespace), json!([rule])));
        objects.push(bind("Role", &name, Some(&namespace)));
    }
    objects
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
}

fn rule_of(right: &Right) -> Value {
    let mut rule = rule(&right.group, right.resource, right.verbs);
    if let Some(name) = &right.name {
        rule["resourceNames"] = json!([name]);
    }
    rule
}

/// The rights that the faults of a variant need.
fn rights(scenario: &Scenario, variant: &str) -> impl Iterator<Item = Right> {
    scenario.variants.get(variant).into_iter().flat_map(Variant::faults).flat_map(Fault::rights)
}

/// What every drill needs, and what its faults need where that is not in one namespace.
fn cluster_rules(scenario: &Scenario, variant: &str) -> Vec<Value> {
    let mut rules = vec![
        // The inventory lists objects of every kind before and after a run.
        rule("*", "*", &["get", "list", "watch"]),
        rule("", "namespaces", &["create", "delete"]),
        // In the run's own namespace, whose name is not known before, and pods that the fault or its undo deletes.
        rule("", "pods", &["create", "delete", "deletecollection"]),
        rule("", "pods/exec", &["create"]),
        rule("", "pods/portforward", &["create"]),
        // The ports by which probes outside the cluster reach a Service.
        rule("", "services", &["create", "delete"]),
    ];
    for right in rights(scenario, variant).filter(|right| right.namespace.is_none()) {
        let rule = rule_of(&right);
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

/// What faults need in one namespace.
fn local_rules(scenario: &Scenario, variant: &str) -> Vec<(String, Value)> {
    let of = |right: Right| Some((right.namespace.clone()?, rule_of(&right)));
    rights(scenario, variant).filter_map(of).collect()
}

/// A stranger's text as one line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Writes a value as YAML: maps and lists as blocks, text in quotes wherever it could be read as something else.
fn yaml(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) => entries(map, indent, out),
        Value::Array(list) => {
            for item in list {
                let _ = write!(out, "{:indent$}- ", "");
                let mut inner = String::new();
                yaml(item, indent + 2, &mut inner);
                // The first line goes on behind the dash.
                out.push_str(inner.trim_start());
            }
        }
        other => {
            let _ = writeln!(out, "{}", scalar(other));
        }
    }
}

fn entries(map: &Map<String, Value>, indent: usize, out: &mut String) {
    for (key, value) in map {
        let _ = write!(out, "{:indent$}{}:", "", scalar(&Value::String(key.clone())));
        match value {
            Value::Array(list) if list.iter().all(|item| !item.is_object() && !item.is_array()) => {
                let items = list.iter().map(scalar).collect::<Vec<_>>().join(", ");
                let _ = writeln!(out, " [{items}]");
            }
            Value::Object(_) | Value::Array(_) => {
                out.push('\n');
                yaml(value, indent + 2, out);
            }
            other => {
                let _ = writeln!(out, " {}", scalar(other));
            }
        }
    }
}

/// A scalar. JSON's form of a text is YAML too.
fn scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/'));
    let word = !matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if plain && word && begins { text.clone() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firedrill_core::scenario::parse;
    use std::path::Path;
    use std::sync::Arc;

    fn drill(name: &str, variant: &str) -> Drill {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(name);
        let text = include_str!("../../../../fixtures/stack/ironflow/stack.toml");
        let stack = firedrill_core::stack::parse("ironflow", ("stack.toml", text)).unwrap();
        let read = |file: &str| std::fs::read_to_string(folder.join(file));
        let scenario = parse(name, ("scenario.toml", &read("scenario.toml").unwrap()), read, &stack).unwrap();
        let (variant, agent_image) = (variant.to_owned(), String::new());
        Drill { scenario, stack: Arc::new(stack), variant, seed: None, noop: false, agent_image }
    }

    #[test]
    fn the_runner_alone_writes_in_the_namespace_that_no_run_deletes() {
        let text = manifests(&drill("postgres-primary-down", "node"));
        let is_of = |document: &str, kind: &str| document.lines().any(|line| line == format!("kind: {kind}"));
        let of = |kind: &str| text.split("---\n").filter(|document| is_of(document, kind)).count();
        assert_eq!((of("Namespace"), of("Role"), of("RoleBinding"), of("ClusterRole")), (1, 1, 1, 1), "{text}");
        let own = "rules:\n  - apiGroups: [apps]\n    resources: [controllerrevisions]\n    verbs: [create, delete]\n";
        assert!(text.contains(own), "{text}");
        assert_eq!(text.matches("controllerrevisions").count(), 1, "nobody else gets that right: {text}");
        assert!(text.contains("  name: firedrill-system\n") && !text.contains("kind: ConfigMap"), "{text}");
        assert!(text.contains("resources: [nodes]\n    verbs: [patch, delete]"), "what the fault needs: {text}");
    }

    #[test]
    fn nothing_from_a_scenario_leaves_its_scalar_or_comment() {
        assert_eq!(one_line("a\n---\nkind: Secret"), "a --- kind: Secret");
        let text = |text: &str| scalar(&Value::String(text.to_owned()));
        assert_eq!(text("apps/v1"), "apps/v1");
        for (hostile, quoted) in
            [("*", "\"*\""), ("", "\"\""), ("no", "\"no\""), ("a: b", "\"a: b\""), ("a\nb", "\"a\\nb\"")]
        {
            assert_eq!(text(hostile), quoted);
        }
    }
}
