//! An `OpenAPI` 3.0 input schema as one JSON Schema: references written out, `nullable` and the boolean bounds translated, its size bounded.

use serde_json::{Map, Value, json};

/// Schemas in one document once every reference is written out. A schema that refers to itself, or doubles itself by references, would let
/// a small input take the gateway's time.
const NODES_MAX: usize = 5_000;
const LOCAL: &str = "#/components/schemas/";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchema {
    #[error("has no object components.schemas.{name}")]
    Absent { name: &'static str },
    #[error("refers to {reference:?}; only {LOCAL}NAME can be referred to, and it must be there")]
    BadReference { reference: String },
    #[error("refers to itself by {reference:?}")]
    Circular { reference: String },
    #[error("has more than {NODES_MAX} parts when its references are written out")]
    TooLarge,
    #[error("is not a valid schema: {why}")]
    DoesNotCompile { why: String },
}

/// The schema of a prediction's input, free of references.
pub(super) fn input_of(openapi: &Value) -> Result<Value, BadSchema> {
    let schemas = schemas_of(openapi, "Input")?;
    if !schemas.get("Output").is_some_and(Value::is_object) {
        return Err(BadSchema::Absent { name: "Output" });
    }
    written_out(schemas, "Input")
}

/// The schema of a training's input, free of references.
pub(super) fn training_input_of(openapi: &Value) -> Result<Value, BadSchema> {
    written_out(schemas_of(openapi, "TrainingInput")?, "TrainingInput")
}

fn schemas_of<'s>(openapi: &'s Value, name: &'static str) -> Result<&'s Map<String, Value>, BadSchema> {
    openapi["components"]["schemas"].as_object().ok_or(BadSchema::Absent { name })
}

fn written_out(schemas: &Map<String, Value>, name: &'static str) -> Result<Value, BadSchema> {
    let absent = || BadSchema::Absent { name };
    let mut writer = Writer { schemas, open: Vec::new(), nodes: 0 };
    let written = writer.write(schemas.get(name).filter(|input| input.is_object()).ok_or_else(absent)?)?;
    let Value::Object(mut input) = written else {
        return Err(absent());
    };
    // An input is an object even where its schema says that it may be null.
    if let Some(Value::Object(otherwise)) = input.remove("else") {
        input = otherwise;
    }
    input.insert("type".to_owned(), json!("object"));
    // Unknown keys are dropped before the check.
    input.remove("additionalProperties");
    Ok(Value::Object(input))
}

/// The default of every property, null where there is none.
pub(super) fn defaults_of(input: &Value) -> Map<String, Value> {
    let properties = input["properties"].as_object().into_iter().flatten();
    properties.map(|(name, property)| (name.clone(), default_of(property).clone())).collect()
}

/// What is nullable has its own schema under `else`.
fn default_of(property: &Value) -> &Value {
    match &property["default"] {
        Value::Null => &property["else"]["default"],
        default => default,
    }
}

struct Writer<'s> {
    schemas: &'s Map<String, Value>,
    /// The references that are being written out, outermost first.
    open: Vec<&'s str>,
    nodes: usize,
}

impl<'s> Writer<'s> {
    fn write(&mut self, schema: &'s Value) -> Result<Value, BadSchema> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(BadSchema::TooLarge);
        }
        let Value::Object(schema) = schema else {
            return Ok(schema.clone());
        };
        let mut written = Map::new();
        let mut all_of = Vec::new();
        for (keyword, value) in schema {
            match keyword.as_str() {
                "$ref" => all_of.push(self.write_reference(value)?),
                "allOf" if value.is_array() => all_of.extend(self.write_list(value)?),
                "anyOf" | "oneOf" | "prefixItems" if value.is_array() => {
                    written.insert(keyword.clone(), Value::Array(self.write_list(value)?));
                }
                "properties" | "patternProperties" => {
                    written.insert(keyword.clone(), self.write_map(value)?);
                }
                "items" | "additionalProperties" | "not" | "contains" | "propertyNames" => {
                    written.insert(keyword.clone(), self.write(value)?);
                }
                // What else a validator would act on is no part of `OpenAPI` 3.0.
                _ if keyword.starts_with('$') || is_foreign(keyword) => {}
                _ => {
                    written.insert(keyword.clone(), value.clone());
                }
            }
        }
        translate_bound(&mut written, "minimum", "exclusiveMinimum");
        translate_bound(&mut written, "maximum", "exclusiveMaximum");
        let is_nullable = take_nullable(&mut written, &mut all_of);
        if !all_of.is_empty() {
            written.insert("allOf".to_owned(), Value::Array(all_of));
        }
        // "Null, or else": what is wrong with a value that is not null is then told by its own rule and not as "none of two".
        Ok(if is_nullable { json!({"if": {"type": "null"}, "then": true, "else": written}) } else { Value::Object(written) })
    }

    fn write_reference(&mut self, reference: &'s Value) -> Result<Value, BadSchema> {
        let name = reference.as_str().and_then(|reference| reference.strip_prefix(LOCAL));
        let target = name.and_then(|name| Some((name, self.schemas.get(name)?)));
        let Some((name, target)) = target else {
            return Err(BadSchema::BadReference { reference: shown(reference) });
        };
        if self.open.contains(&name) {
            return Err(BadSchema::Circular { reference: shown(reference) });
        }
        self.open.push(name);
        let written = self.write(target)?;
        self.open.pop();
        Ok(written)
    }

    fn write_map(&mut self, schemas: &'s Value) -> Result<Value, BadSchema> {
        let Some(schemas) = schemas.as_object() else {
            return Ok(schemas.clone());
        };
        schemas.iter().map(|(name, schema)| Ok((name.clone(), self.write(schema)?))).collect()
    }

    fn write_list(&mut self, schemas: &'s Value) -> Result<Vec<Value>, BadSchema> {
        schemas.as_array().into_iter().flatten().map(|schema| self.write(schema)).collect()
    }
}

fn is_foreign(keyword: &str) -> bool {
    matches!(
        keyword,
        "if" | "then"
            | "else"
            | "definitions"
            | "dependencies"
            | "dependentSchemas"
            | "unevaluatedItems"
            | "unevaluatedProperties"
            | "contentSchema"
            | "discriminator"
    )
}

/// `minimum: 0, exclusiveMinimum: true` is `exclusiveMinimum: 0` in JSON Schema.
fn translate_bound(schema: &mut Map<String, Value>, bound: &str, exclusive: &str) {
    match schema.get(exclusive) {
        Some(Value::Bool(true)) => {
            if let Some(limit) = schema.remove(bound) {
                schema.insert(exclusive.to_owned(), limit);
            } else {
                schema.remove(exclusive);
            }
        }
        Some(Value::Bool(false)) => {
            schema.remove(exclusive);
        }
        _ => {}
    }
}

/// Takes out `nullable: true`, or an `anyOf` of something and null, whose something is then required like the members of `allOf`.
fn take_nullable(schema: &mut Map<String, Value>, all_of: &mut Vec<Value>) -> bool {
    let null = json!({"type": "null"});
    let is_nullable = schema.remove("nullable") == Some(Value::Bool(true));
    let other = match schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([other, last]) if *last == null => other.clone(),
        Some([first, other]) if *first == null => other.clone(),
        _ => return is_nullable,
    };
    schema.remove("anyOf");
    all_of.push(other);
    true
}

fn shown(reference: &Value) -> String {
    reference.as_str().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputSchema;

    fn compile(schemas: &Value) -> Result<InputSchema, BadSchema> {
        InputSchema::compile(&json!({"components": {"schemas": schemas}}))
    }

    fn with_property(property: &Value) -> Value {
        json!({"Input": {"type": "object", "properties": {"p": property}}, "Output": {}})
    }

    #[test]
    fn a_schema_must_have_an_input_and_an_output() {
        for (schemas, name) in [
            (json!({}), "Output"),
            (json!({"Input": {"type": "object"}}), "Output"),
            (json!({"Output": {}}), "Input"),
            (json!({"Input": [], "Output": {}}), "Input"),
            (json!({"Input": {"nullable": true}, "Output": true}), "Output"),
        ] {
            assert_eq!(compile(&schemas).unwrap_err(), BadSchema::Absent { name }, "{schemas}");
        }
        assert_eq!(InputSchema::compile(&json!({})).unwrap_err(), BadSchema::Absent { name: "Input" });
        compile(&json!({"Input": {}, "Output": {}})).unwrap();
    }

    #[test]
    fn references_that_lead_away_or_back_are_refused() {
        for reference in
            ["https://example.org/schema.json", "file:///etc/passwd", "#", "#/components/schemas/Absent", "#/info", "other.json#/x"]
        {
            let error = compile(&with_property(&json!({"$ref": reference}))).unwrap_err();
            assert!(matches!(error, BadSchema::BadReference { .. }), "{reference}: {error}");
        }
        let to_a = json!({"$ref": "#/components/schemas/A"});
        for a in [to_a.clone(), json!({"allOf": [to_a]}), json!({"items": to_a}), json!({"properties": {"x": to_a}})] {
            let mut schemas = with_property(&to_a);
            schemas["A"] = a.clone();
            assert!(matches!(compile(&schemas).unwrap_err(), BadSchema::Circular { .. }), "{a}");
        }
        let mut input = with_property(&json!({}));
        input["Input"] = json!({"$ref": "#/components/schemas/Input"});
        assert!(matches!(compile(&input).unwrap_err(), BadSchema::Circular { .. }));
    }

    #[test]
    fn a_schema_that_doubles_itself_is_refused_before_it_is_compiled() {
        let mut schemas = with_property(&json!({"$ref": "#/components/schemas/S0"}));
        for n in 0..40 {
            let next = json!({"$ref": format!("#/components/schemas/S{}", n + 1)});
            schemas[format!("S{n}")] = json!({"anyOf": [next, next]});
        }
        schemas["S40"] = json!({"type": "string"});
        assert_eq!(compile(&schemas).unwrap_err(), BadSchema::TooLarge);
    }

    #[test]
    fn what_is_no_schema_does_not_compile() {
        for property in [
            json!({"type": "strnig"}),
            json!({"type": "string", "pattern": "("}),
            json!({"type": "string", "pattern": "a{1000}{1000}"}),
            json!({"minimum": "0"}),
            json!({"enum": "a"}),
            json!({"properties": []}),
        ] {
            let error = compile(&with_property(&property)).unwrap_err();
            assert!(matches!(error, BadSchema::DoesNotCompile { .. }), "{property}: {error}");
        }
    }

    #[test]
    fn names_of_properties_are_not_taken_for_keywords() {
        let properties =
            json!({"$id": {"type": "string"}, "nullable": {"type": "integer"}, "$ref": {"type": "string"}, "properties": {"default": 1}});
        let schema = compile(&json!({"Input": {"properties": properties}, "Output": {}})).unwrap();
        let checked = schema.check(json!({"$id": "a", "nullable": 2, "$ref": "x"})).unwrap();
        assert_eq!(checked, json!({"$id": "a", "nullable": 2, "$ref": "x", "properties": 1}));
        assert!(schema.check(json!({"nullable": null})).is_err());
    }

    #[test]
    fn a_reference_counts_beside_other_rules() {
        let mut schemas = with_property(&json!({"$ref": "#/components/schemas/A", "allOf": [{"maximum": 9}], "minimum": 2}));
        schemas["A"] = json!({"type": "integer"});
        let schema = compile(&schemas).unwrap();
        assert!(schema.check(json!({"p": 5})).is_ok());
        for bad in [json!("x"), json!(10), json!(1)] {
            assert!(schema.check(json!({"p": bad})).is_err(), "{bad}");
        }
        let nullable = json!({"nullable": true, "properties": {"p": {"type": "integer"}}});
        let schema = compile(&json!({"Input": nullable, "Output": {}})).unwrap();
        assert_eq!(schema.check(json!({"p": 1})), Ok(json!({"p": 1})));
        assert!(schema.check(Value::Null).is_err());
    }

    #[test]
    fn the_default_of_a_nullable_input_is_found() {
        let schema = compile(&with_property(&json!({"type": "integer", "nullable": true, "default": 3}))).unwrap();
        assert_eq!(schema.check(json!({})), Ok(json!({"p": 3})));
        assert_eq!(schema.check(json!({"p": null})), Ok(json!({"p": null})));
    }
}
