//! The JSON Schema of scenario files, made from the keys that the reader knows.

use super::format::{Kind, LIKE, NEVER_LIKE, Presence, SCENARIO, Shape};
use super::text::Rule;
use serde_json::{Map, Value, json};

/// The JSON Schema (2020-12) of scenario files, for editors. What several keys must be to each other is beyond it.
pub fn schema() -> Value {
    of_file(&SCENARIO, "firedrill scenario")
}

/// The JSON Schema of the files that have this shape.
pub(crate) fn of_file(shape: &Shape, title: &str) -> Value {
    let mut schema = of_shape(shape);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!(title));
    Value::Object(schema)
}

fn of_shape(shape: &Shape) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in shape.keys {
        let mut schema = of_kind(&key.kind);
        let about = match key.presence {
            Presence::Stack(default) => format!("{}; without it the stack's {default}", key.about),
            _ => key.about.to_owned(),
        };
        schema.insert("description".to_owned(), json!(about));
        match key.presence {
            Presence::Required => required.push(key.name),
            Presence::Optional | Presence::Stack(_) => {}
            Presence::Default(value) => {
                schema.insert("default".to_owned(), default(&key.kind, value));
            }
        }
        properties.insert(key.name.to_owned(), Value::Object(schema));
    }
    // Where another table may have the keys that are left out, only that one must have them all.
    let is_like = shape.keys.iter().any(|key| key.name == LIKE);
    let (always, unless_like): (Vec<_>, Vec<_>) = required.into_iter().partition(|key| !is_like || *key == NEVER_LIKE);
    let mut schema = into_map(
        json!({ "type": "object", "properties": properties, "required": always, "additionalProperties": false }),
    );
    if is_like {
        schema.insert("anyOf".to_owned(), json!([{ "required": [LIKE] }, { "required": unless_like }]));
    }
    schema
}

fn default(kind: &Kind, value: &str) -> Value {
    match kind {
        Kind::Whole { .. } | Kind::Format { .. } => json!(value.parse::<u64>().unwrap_or_default()),
        Kind::PerVariant { of, .. } => default(of, value),
        Kind::List { .. } => json!(value.split_whitespace().collect::<Vec<_>>()),
        _ => json!(value),
    }
}

fn of_kind(kind: &Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Text(rule) => match rule.pattern() {
            Some(pattern) => json!({ "type": "string", "pattern": pattern }),
            None => json!({ "type": "string", "minLength": 1 }),
        },
        Kind::OneOf { words, .. } => json!({ "enum": words }),
        Kind::Format { known } => json!({ "const": known }),
        Kind::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Duration { .. } => json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$" }),
        Kind::List { of, min, max } => {
            json!({ "type": "array", "items": of_kind(of), "minItems": min, "maxItems": max, "uniqueItems": true })
        }
        Kind::Table(shape) => Value::Object(of_shape(shape)),
        Kind::Named { shape, max, .. } => json!({
            "type": "object",
            "propertyNames": of_kind(&Kind::Text(Rule::Name)),
            "additionalProperties": of_shape(shape),
            "minProperties": 1,
            "maxProperties": max,
        }),
        Kind::Map { keys, of } => json!({
            "type": "object",
            "propertyNames": of_kind(keys),
            "additionalProperties": of_kind(of),
            "minProperties": 1,
        }),
        Kind::Tables { shape, min, max } => {
            json!({ "type": "array", "items": of_shape(shape), "minItems": min, "maxItems": max })
        }
        Kind::Choice { words, tables, .. } => {
            let mut any: Vec<Value> = vec![json!({ "enum": words })];
            any.extend(tables.iter().map(|(name, shape)| {
                json!({
                    "type": "object",
                    "properties": { *name: of_shape(shape) },
                    "required": [name],
                    "additionalProperties": false,
                })
            }));
            json!({ "oneOf": any })
        }
        Kind::PerVariant { of, because } => {
            let mut table = json!({ "type": "object", "additionalProperties": of_kind(of), "minProperties": 1 });
            if *because {
                table["properties"] = json!({ "because": of_kind(&Kind::Text(Rule::Prose)) });
            }
            json!({ "oneOf": [of_kind(of), table] })
        }
    };
    into_map(schema)
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
