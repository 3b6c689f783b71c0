//! `docs/scenario-keys.md` and `docs/suite-keys.md`: every key of the formats, from their JSON Schemas.

use super::{assert_current, head, row};
use firedrill_core::{scenario, suite};
use serde_json::Value;

/// A table of keys that is still to be written: its path and its schema.
type Table<'a> = (String, &'a Value);

/// What stands behind a key, and the tables of keys in it.
fn kind<'a>(schema: &'a Value, path: &str, tables: &mut Vec<Table<'a>>) -> String {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| format!("`\"{}\"`", word.as_str().unwrap())).collect::<Vec<_>>().join(", ");
    }
    if let Some(any) = schema["oneOf"].as_array() {
        return choice(any, path, tables);
    }
    match schema["type"].as_str() {
        Some("integer") => format!("integer, {} to {}", schema["minimum"], schema["maximum"]),
        Some("array") => {
            let inner = kind(&schema["items"], path, tables);
            if schema["items"]["type"] == "object" { "list of tables".to_owned() } else { format!("list of: {inner}") }
        }
        Some("object") if schema["properties"].is_object() => {
            tables.push((path.to_owned(), schema));
            "table".to_owned()
        }
        Some("object") => {
            let inner = kind(&schema["additionalProperties"], &format!("{path}.NAME"), tables);
            format!("by name: {inner}")
        }
        _ if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("(ms|s|m|h)")) => "duration".to_owned(),
        _ => "text".to_owned(),
    }
}

fn choice<'a>(any: &'a [Value], path: &str, tables: &mut Vec<Table<'a>>) -> String {
    let mut kinds = Vec::new();
    for one in any {
        let is_named = one["required"].is_array() && one["properties"].as_object().is_some_and(|keys| keys.len() == 1);
        match one["properties"].as_object() {
            Some(keys) if is_named => {
                for (name, inner) in keys {
                    kind(inner, &format!("{path}.{name}"), tables);
                    kinds.push(format!("`{name}`"));
                }
            }
            // One value for all variants, or a table by variant.
            _ if one["additionalProperties"].is_object() => kinds.push("a table by variant".to_owned()),
            _ if one["enum"].as_array().is_some_and(Vec::is_empty) => {}
            _ => kinds.push(kind(one, path, tables)),
        }
    }
    kinds.join(", ")
}

fn defaulted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`\"{text}\"`"),
        Value::Null => String::new(),
        value => format!("`{value}`"),
    }
}

fn table<'a>(schema: &'a Value, path: &str, tables: &mut Vec<Table<'a>>) -> String {
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|key| key == name));
    // Where a table may be like another one, what it must have otherwise stands apart.
    let unless_like = |name: &str| {
        let any = schema["anyOf"].as_array().into_iter().flatten();
        any.flat_map(|one| one["required"].as_array().into_iter().flatten()).any(|key| key == name && name != "like")
    };
    let mut text = head(&["key", "value", "default", "meaning"]);
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let default = if required(name) {
            "required".to_owned()
        } else if unless_like(name) {
            "required, or from `like`".to_owned()
        } else {
            defaulted(&inner["default"])
        };
        let about = inner["description"].as_str().unwrap_or_default().to_owned();
        text += &row(&[format!("`{name}`"), kind(inner, &path, tables), default, about]);
    }
    text
}

/// All tables of a format, each before those in it.
fn document(about: &str, schema: &Value) -> String {
    let mut text = about.to_owned();
    let mut tables: Vec<Table<'_>> = vec![(String::new(), schema)];
    let mut written = Vec::new();
    while !tables.is_empty() {
        let (path, schema) = tables.remove(0);
        let mut inner = Vec::new();
        let keys = table(schema, &path, &mut inner);
        let title = if path.is_empty() { "The file".to_owned() } else { format!("`{path}`") };
        // `then` takes what `fault` takes.
        if !path.contains(".then.") && !written.contains(&path) {
            text += &format!("\n## {title}\n\n{keys}");
            written.push(path);
        }
        tables.splice(0..0, inner);
    }
    text
}

#[test]
fn the_keys_of_scenarios_are_current() {
    let about = "\
# Keys of `scenario.toml`

<!-- Made from the format: UPDATE_DOCS=1 cargo test -p firedrill-core --test docs -->

Every key, from the same declarations that the parser uses. [scenarios.md](scenarios.md) explains them. `firedrill schema` prints
them as JSON Schema for editors. A duration is a number with `ms`, `s`, `m` or `h`, or several of these: `1m30s`. `NAME` stands
for the name that you choose. `then` takes the same tables as `fault`.
";
    assert_current("scenario-keys.md", &document(about, &scenario::schema()));
}

#[test]
fn the_keys_of_suites_are_current() {
    let about = "\
# Keys of a suite's file

<!-- Made from the format: UPDATE_DOCS=1 cargo test -p firedrill-core --test docs -->

Every key, from the same declarations that the parser uses. [suites.md](suites.md) explains them. `firedrill schema suite` prints
them as JSON Schema for editors.
";
    assert_current("suite-keys.md", &document(about, &suite::schema()));
}
