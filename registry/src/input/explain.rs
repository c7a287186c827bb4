//! What a validator found, in the types and sentences of Replicate's API (they are gojsonschema's).

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use protocol::problem::InvalidField;
use serde_json::Value;

/// Characters of the schema's own text that an explanation repeats.
const REPEATED_CHARS_MAX: usize = 300;

pub(super) fn explain(error: &ValidationError<'_>) -> Vec<InvalidField> {
    let path: Vec<String> = error.instance_path().as_str().split('/').skip(1).map(unescape).collect();
    let field = std::iter::once("input").chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(".");
    let name = if path.is_empty() { "input".to_owned() } else { path.join(".") };
    if let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() {
        let refuse = |property: &String| {
            let property: String = property.chars().take(REPEATED_CHARS_MAX).collect();
            InvalidField::new("additional_property_not_allowed", &field, format!("Additional property {property} is not allowed"))
        };
        return unexpected.iter().map(refuse).collect();
    }
    let (kind, description) = describe(error, &name);
    vec![InvalidField::new(kind, field, description.chars().take(REPEATED_CHARS_MAX).collect::<String>())]
}

fn describe(error: &ValidationError<'_>, name: &str) -> (&'static str, String) {
    match error.kind() {
        ValidationErrorKind::Required { property } => ("required", format!("{} is required", plain(property))),
        ValidationErrorKind::Type { kind } => {
            let expected = match kind {
                TypeKind::Single(expected) => expected.to_string(),
                TypeKind::Multiple(expected) => expected.iter().map(|each| each.to_string()).collect::<Vec<_>>().join(","),
            };
            ("invalid_type", format!("Invalid type. Expected: {expected}, given: {}", type_of(error.instance())))
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> = options.as_array().into_iter().flatten().map(ToString::to_string).collect();
            ("enum", format!("{name} must be one of the following: {}", options.join(", ")))
        }
        ValidationErrorKind::Constant { expected_value } => ("const", format!("{name} does not match: {expected_value}")),
        ValidationErrorKind::Minimum { limit } => ("number_gte", format!("Must be greater than or equal to {}", number(limit))),
        ValidationErrorKind::ExclusiveMinimum { limit } => ("number_gt", format!("Must be greater than {}", number(limit))),
        ValidationErrorKind::Maximum { limit } => ("number_lte", format!("Must be less than or equal to {}", number(limit))),
        ValidationErrorKind::ExclusiveMaximum { limit } => ("number_lt", format!("Must be less than {}", number(limit))),
        ValidationErrorKind::MultipleOf { multiple_of } => ("multiple_of", format!("Must be a multiple of {multiple_of}")),
        ValidationErrorKind::MinLength { limit } => ("string_gte", format!("String length must be greater than or equal to {limit}")),
        ValidationErrorKind::MaxLength { limit } => ("string_lte", format!("String length must be less than or equal to {limit}")),
        ValidationErrorKind::Pattern { pattern } => ("pattern", format!("Does not match pattern '{pattern}'")),
        ValidationErrorKind::Format { format } => ("format", format!("Does not match format '{format}'")),
        ValidationErrorKind::MinItems { limit } => ("array_min_items", format!("Array must have at least {limit} items")),
        ValidationErrorKind::MaxItems { limit } => ("array_max_items", format!("Array must have at most {limit} items")),
        ValidationErrorKind::UniqueItems => ("unique", "array items must be unique".to_owned()),
        ValidationErrorKind::MinProperties { limit } => ("array_min_properties", format!("Must have at least {limit} properties")),
        ValidationErrorKind::MaxProperties { limit } => ("array_max_properties", format!("Must have at most {limit} properties")),
        ValidationErrorKind::AnyOf { .. } => ("number_any_of", "Must validate at least one schema (anyOf)".to_owned()),
        ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::OneOfMultipleValid { .. } => {
            ("number_one_of", "Must validate one and only one schema (oneOf)".to_owned())
        }
        ValidationErrorKind::Not { .. } => ("number_not", "Must not validate the schema (not)".to_owned()),
        // Keywords that no schema of Cog's has.
        other => ("invalid", format!("Does not satisfy {}", other.keyword())),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A number as people write it: 4 and not 4.0.
fn number(limit: &Value) -> String {
    let text = limit.to_string();
    text.strip_suffix(".0").map_or(text.clone(), ToOwned::to_owned)
}

fn plain(text: &Value) -> String {
    text.as_str().map_or_else(|| text.to_string(), ToOwned::to_owned)
}

/// RFC 6901's escapes.
fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}
