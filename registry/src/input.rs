//! The input of a prediction against its version's schema: what is wrong is told field by field, in the words that Replicate's API uses.

mod explain;
mod schema;

use jsonschema::{Draft, PatternOptions, Validator};
use protocol::problem::InvalidField;
use serde_json::{Map, Value};

pub use schema::BadSchema;

/// Errors that one answer lists.
const ERRORS_MAX: usize = 20;
/// Bytes of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// A version's input schema, compiled.
#[derive(Clone, Debug)]
pub struct InputSchema {
    validator: Validator,
    /// By the name of every input that there is; null where it has no default.
    defaults: Map<String, Value>,
}

impl InputSchema {
    /// Compiles `components.schemas.Input` of an `OpenAPI` 3.0 document.
    pub(crate) fn compile(openapi: &Value) -> Result<Self, BadSchema> {
        Self::of(schema::input_of(openapi)?)
    }

    /// Compiles `components.schemas.TrainingInput`.
    pub(crate) fn compile_training(openapi: &Value) -> Result<Self, BadSchema> {
        Self::of(schema::training_input_of(openapi)?)
    }

    #[expect(clippy::needless_pass_by_value, reason = "the schema was made for this and is of no use afterwards")]
    fn of(schema: Value) -> Result<Self, BadSchema> {
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .with_format("uri", is_file_address)
            // The engine without backtracking: a pattern and an input together must not take the gateway's time.
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX))
            .build(&schema)
            .map_err(|error| BadSchema::DoesNotCompile { why: error.to_string() })?;
        Ok(Self { validator, defaults: schema::defaults_of(&schema) })
    }

    /// Checks an input, fills in the defaults and drops what the model does not know: clients send such keys on speculation.
    pub fn check(&self, input: Value) -> Result<Value, Vec<InvalidField>> {
        let input = match input {
            Value::Object(mut fields) => {
                fields.retain(|name, _| self.defaults.contains_key(name));
                Value::Object(fields)
            }
            other => other,
        };
        let errors: Vec<InvalidField> =
            self.validator.iter_errors(&input).flat_map(|error| explain::explain(&error)).take(ERRORS_MAX).collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let Value::Object(mut fields) = input else {
            return Err(vec![InvalidField::new("invalid_type", "input", "Invalid type. Expected: object")]);
        };
        for (name, default) in self.defaults.iter().filter(|(_, default)| !default.is_null()) {
            fields.entry(name.clone()).or_insert_with(|| default.clone());
        }
        Ok(Value::Object(fields))
    }
}

/// A file is given as a web address, inline, or as the address of a file that was sent before.
fn is_file_address(text: &str) -> bool {
    let rest_after =
        |scheme: &str| text.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).map(|_| &text[scheme.len()..]);
    let has_host = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '[');
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return false;
    }
    rest_after("https://").or_else(|| rest_after("http://")).is_some_and(has_host)
        || rest_after("data:").is_some_and(|rest| rest.contains(','))
        || text.strip_prefix("/v1/files/").is_some_and(|id| protocol::id::is_prefixed("fil", id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The schema of an image model as Cog writes it.
    fn image_model() -> InputSchema {
        InputSchema::compile(&json!({
            "openapi": "3.0.2",
            "components": {"schemas": {
                "Input": {
                    "type": "object",
                    "title": "Input",
                    "required": ["prompt"],
                    "properties": {
                        "prompt": {"type": "string", "x-order": 0, "minLength": 1, "maxLength": 10},
                        "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 4, "default": 4, "x-order": 1},
                        "scale": {"type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 1, "exclusiveMaximum": true},
                        "output_format": {"allOf": [{"$ref": "#/components/schemas/output_format"}], "default": "jpg"},
                        "image": {"type": "string", "format": "uri", "nullable": true},
                        "seed": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                        "style": {"allOf": [{"$ref": "#/components/schemas/style"}], "nullable": true},
                        "code": {"type": "string", "pattern": "^[a-z]+$"},
                        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2, "uniqueItems": true},
                        "size": {"type": "object", "required": ["width"], "properties": {"width": {"type": "integer", "multipleOf": 8}}},
                        "hook": {"type": "boolean", "default": null}
                    }
                },
                "output_format": {"type": "string", "enum": ["jpg", "png"]},
                "style": {"type": "string", "enum": ["a", "b"]},
                "Output": {"type": "string", "format": "uri"}
            }}
        }))
        .unwrap()
    }

    fn refusals(input: Value) -> Vec<(String, String, String)> {
        let errors = image_model().check(input).expect_err("the input is wrong");
        errors.into_iter().map(|error| (error.kind, error.field, error.description)).collect()
    }

    #[test]
    fn what_is_wrong_is_told_in_the_documented_words() {
        let with = |field: &str, value: Value| json!({"prompt": "x", field: value});
        for (input, kind, field, description) in [
            (json!({}), "required", "input", "prompt is required"),
            (json!([]), "invalid_type", "input", "Invalid type. Expected: object, given: array"),
            (json!(null), "invalid_type", "input", "Invalid type. Expected: object, given: null"),
            (json!({"prompt": 5}), "invalid_type", "input.prompt", "Invalid type. Expected: string, given: integer"),
            (json!({"prompt": ""}), "string_gte", "input.prompt", "String length must be greater than or equal to 1"),
            (json!({"prompt": "12345678901"}), "string_lte", "input.prompt", "String length must be less than or equal to 10"),
            (with("num_inference_steps", json!(5)), "number_lte", "input.num_inference_steps", "Must be less than or equal to 4"),
            (with("num_inference_steps", json!(0)), "number_gte", "input.num_inference_steps", "Must be greater than or equal to 1"),
            (
                with("num_inference_steps", json!(1.5)),
                "invalid_type",
                "input.num_inference_steps",
                "Invalid type. Expected: integer, given: number",
            ),
            (
                with("num_inference_steps", json!(null)),
                "invalid_type",
                "input.num_inference_steps",
                "Invalid type. Expected: integer, given: null",
            ),
            (with("scale", json!(0)), "number_gt", "input.scale", "Must be greater than 0"),
            (with("scale", json!(1)), "number_lt", "input.scale", "Must be less than 1"),
            (
                with("output_format", json!("gif")),
                "enum",
                "input.output_format",
                "output_format must be one of the following: \"jpg\", \"png\"",
            ),
            (with("style", json!("c")), "enum", "input.style", "style must be one of the following: \"a\", \"b\""),
            (with("seed", json!("x")), "invalid_type", "input.seed", "Invalid type. Expected: integer, given: string"),
            (with("image", json!("cat.png")), "format", "input.image", "Does not match format 'uri'"),
            (with("image", json!(3)), "invalid_type", "input.image", "Invalid type. Expected: string, given: integer"),
            (with("code", json!("A1")), "pattern", "input.code", "Does not match pattern '^[a-z]+$'"),
            (with("tags", json!([])), "array_min_items", "input.tags", "Array must have at least 1 items"),
            (with("tags", json!(["a", "b", "c"])), "array_max_items", "input.tags", "Array must have at most 2 items"),
            (with("tags", json!(["a", "a"])), "unique", "input.tags", "array items must be unique"),
            (with("tags", json!(["a", 1])), "invalid_type", "input.tags.1", "Invalid type. Expected: string, given: integer"),
            (with("size", json!({})), "required", "input.size", "width is required"),
            (with("size", json!({"width": 9})), "multiple_of", "input.size.width", "Must be a multiple of 8"),
        ] {
            let expected = (kind.to_owned(), field.to_owned(), description.to_owned());
            assert_eq!(refusals(input.clone()), [expected], "{input}");
        }
    }

    #[test]
    fn a_trainings_input_is_checked_by_its_own_schema() {
        let schemas = json!({
            "Input": {"type": "object", "required": ["prompt"], "properties": {"prompt": {"type": "string"}}},
            "Output": {},
            "TrainingInput": {
                "type": "object",
                "required": ["train_data"],
                "properties": {"train_data": {"type": "string", "format": "uri"}, "steps": {"type": "integer", "default": 100}}
            }
        });
        let openapi = json!({"components": {"schemas": schemas}});
        let training = InputSchema::compile_training(&openapi).unwrap();
        let checked = training.check(json!({"train_data": "https://example.org/a.zip", "prompt": "x"}));
        assert_eq!(checked, Ok(json!({"train_data": "https://example.org/a.zip", "steps": 100})));
        assert_eq!(training.check(json!({})).unwrap_err()[0].description, "train_data is required");
        let absent = InputSchema::compile_training(&json!({"components": {"schemas": {"Input": {}, "Output": {}}}}));
        assert_eq!(absent.unwrap_err(), BadSchema::Absent { name: "TrainingInput" });
    }

    #[test]
    fn several_mistakes_are_told_at_once() {
        let mut fields: Vec<String> = refusals(json!({"num_inference_steps": 9, "code": "1"})).into_iter().map(|error| error.1).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["input", "input.code", "input.num_inference_steps"]);
    }

    #[test]
    fn defaults_are_filled_and_unknown_keys_dropped() {
        let checked =
            image_model().check(json!({"prompt": "x", "image_url": "y", "num_outputs": 4, "size": {"width": 8, "extra": 1}})).unwrap();
        let expected = json!({"prompt": "x", "num_inference_steps": 4, "output_format": "jpg", "size": {"width": 8, "extra": 1}});
        assert_eq!(checked, expected);
    }

    #[test]
    fn null_is_taken_where_the_schema_says_so() {
        for field in ["image", "seed", "style"] {
            let checked = image_model().check(json!({"prompt": "x", field: null})).unwrap();
            assert_eq!(checked[field], Value::Null, "{field}");
        }
    }

    #[test]
    fn a_file_is_an_address_and_nothing_that_names_a_local_file() {
        for good in [
            "https://example.org/cat.png",
            "http://127.0.0.1:8080/v1/files/x",
            "HTTPS://EXAMPLE.ORG/",
            "data:text/plain;base64,aGk=",
            "data:,hi",
            "/v1/files/fil_01hf7yat00wjx3whax6rf4kq2p",
        ] {
            image_model().check(json!({"prompt": "x", "image": good})).unwrap_or_else(|errors| panic!("{good}: {errors:?}"));
        }
        for bad in [
            "",
            "cat.png",
            "/etc/passwd",
            "file:///etc/passwd",
            "ftp://x",
            "https://",
            "http:///x",
            "data:",
            "javascript:alert(1)",
            "/runner/inputs/fil_01hf7yat00wjx3whax6rf4kq2p",
            "/v1/files/../x",
            "https://x y",
            "é",
        ] {
            assert_eq!(refusals(json!({"prompt": "x", "image": bad}))[0].0, "format", "{bad}");
        }
    }
}
