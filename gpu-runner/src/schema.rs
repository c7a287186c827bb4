//! The version's own schema, where the runner needs it: which strings are files, and the copy that Cog reads.

use protocol::VersionConfig;
use protocol::prediction::Errand;
use serde_json::Value;

use crate::weights::MadeFile;

/// Where Cog's worker looks for it, relative to its working directory.
const SCHEMA_PATH: &str = ".cog/openapi_schema.json";
/// A schema that refers to itself is not followed further.
const DEPTH_MAX: usize = 16;

/// Puts `change(string)` in place of every string of `value` that the schema says is a file.
pub fn map_files(document: &Value, schema: &Value, value: Value, change: &mut impl FnMut(String) -> Value) -> Value {
    map(document, schema, value, change, DEPTH_MAX)
}

fn map(document: &Value, schema: &Value, value: Value, change: &mut impl FnMut(String) -> Value, depth: usize) -> Value {
    if depth == 0 {
        return value;
    }
    let schema = resolved(document, schema);
    let variants = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let value = variants.fold(value, |value, variant| map(document, variant, value, change, depth - 1));
    match value {
        Value::String(text) if schema.get("format").and_then(Value::as_str) == Some("uri") => change(text),
        Value::Array(items) => match schema.get("items") {
            Some(item) => items.into_iter().map(|value| map(document, item, value, change, depth - 1)).collect(),
            None => Value::Array(items),
        },
        Value::Object(fields) => {
            let of = |name: &str| schema.get("properties").and_then(|p| p.get(name)).or_else(|| schema.get("additionalProperties"));
            let mut changed = |(name, value): (String, Value)| match of(&name) {
                Some(field) => {
                    let value = map(document, field, value, change, depth - 1);
                    (name, value)
                }
                None => (name, value),
            };
            fields.into_iter().map(&mut changed).collect()
        }
        other => other,
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    reference.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

/// Whether the output is a list of files.
pub fn is_list_of_files(config: &VersionConfig) -> bool {
    let items = &config.output_schema()["items"];
    resolved(&config.openapi_schema, items).get("format").and_then(Value::as_str) == Some("uri")
}

/// The schema as Cog reads it. Cog makes none at run time, and without one it validates nothing and streams nothing; with
/// `x-cog-streaming` it streams every predictor, those of older releases too. A trainer is streamed as well when it is asked as a predictor
/// is, and then Cog checks what it is given by the predictor's schemas: the trainer's stand in their place.
pub fn for_cog(config: &VersionConfig, errand: Errand) -> MadeFile {
    let mut schema = config.openapi_schema.clone();
    if errand == Errand::Train {
        set(&mut schema, &["components", "schemas", "Input"], config.input_schema_of(errand).clone());
        set(&mut schema, &["components", "schemas", "Output"], config.output_schema_of(errand).clone());
    }
    set(&mut schema, &["paths", "/predictions", "post", "x-cog-streaming"], Value::Bool(true));
    // What is not an object is refused: a stream that broke is joined again by a call that must not start another prediction.
    set(&mut schema, &["components", "schemas", "Input", "type"], Value::from("object"));
    let content = serde_json::to_vec(&schema).expect("a schema has only text, numbers and lists");
    MadeFile { path: SCHEMA_PATH.to_owned(), content }
}

fn set(document: &mut Value, path: &[&str], value: Value) {
    let place = path.iter().fold(document, |place, key| {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        &mut place[*key]
    });
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({"components": {"schemas": {
            "Input": {"type": "object", "properties": {
                "text": {"type": "string"},
                "image": {"type": "string", "format": "uri"},
                "images": {"type": "array", "items": {"type": "string", "format": "uri"}},
                "maybe": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/File"}]},
            }},
            "File": {"type": "string", "format": "uri"},
            "Loop": {"allOf": [{"$ref": "#/components/schemas/Loop"}]},
        }}})
    }

    #[test]
    fn only_what_the_schema_calls_a_file_is_changed() {
        let document = document();
        let input = json!({"text": "a", "image": "b", "images": ["c", "d"], "maybe": "e", "unknown": "f"});
        let schema = document["components"]["schemas"]["Input"].clone();
        let changed = map_files(&document, &schema, input, &mut |text| Value::String(text.to_uppercase()));
        assert_eq!(changed, json!({"text": "a", "image": "B", "images": ["C", "D"], "maybe": "E", "unknown": "f"}));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let document = document();
        let schema = document["components"]["schemas"]["Loop"].clone();
        assert_eq!(map_files(&document, &schema, json!("x"), &mut Value::String), json!("x"));
    }

    #[test]
    fn cog_finds_a_schema_that_lets_it_stream() {
        let config: VersionConfig = serde_json::from_value(json!({"protocol": "cog", "openapi_schema": document()})).unwrap();
        let written: Value = serde_json::from_slice(&for_cog(&config, Errand::Predict).content).unwrap();
        assert_eq!(written["paths"]["/predictions"]["post"]["x-cog-streaming"], true);
        assert_eq!(written["components"]["schemas"]["Input"], document()["components"]["schemas"]["Input"]);
    }

    #[test]
    fn cog_checks_a_training_by_the_trainers_schemas() {
        let schemas = json!({"Input": {}, "Output": {}, "TrainingInput": {"title": "TrainingInput"}, "TrainingOutput": {"type": "string"}});
        let config = json!({"protocol": "cog", "openapi_schema": {"components": {"schemas": schemas}}});
        let config: VersionConfig = serde_json::from_value(config).unwrap();
        let written: Value = serde_json::from_slice(&for_cog(&config, Errand::Train).content).unwrap();
        assert_eq!(written["components"]["schemas"]["Input"], json!({"title": "TrainingInput", "type": "object"}));
        assert_eq!(written["components"]["schemas"]["Output"], json!({"type": "string"}));
    }

    #[test]
    fn a_schema_that_is_no_object_still_gives_one() {
        let config: VersionConfig = serde_json::from_value(json!({"protocol": "cog", "openapi_schema": [1]})).unwrap();
        let written: Value = serde_json::from_slice(&for_cog(&config, Errand::Predict).content).unwrap();
        assert_eq!(written["components"]["schemas"]["Input"], json!({"type": "object"}));
    }
}
