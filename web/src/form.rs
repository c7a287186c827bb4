//! The form of a version: one field for each property of its `Input` schema, in the publisher's order.

use maud::{Markup, html};
use protocol::problem::InvalidField;
use serde_json::Value;

mod control;
mod field;
mod typed;

pub(crate) use field::{Field, Kind};
pub(crate) use typed::Typed;

/// The inputs that a version takes.
#[derive(Debug)]
pub(crate) struct Form {
    pub fields: Vec<Field>,
}

impl Form {
    pub fn new(openapi_schema: &Value) -> Self {
        let schemas = &openapi_schema["components"]["schemas"];
        let input = &schemas["Input"];
        let required = |name: &str| input["required"].as_array().is_some_and(|names| names.iter().any(|n| n == name));
        let mut properties: Vec<(&String, &Value)> = input["properties"].as_object().into_iter().flatten().collect();
        properties.sort_by_key(|(_, property)| property["x-order"].as_i64().unwrap_or(i64::MAX));
        Self { fields: properties.into_iter().map(|(name, property)| Field::new(name, property, required(name), schemas)).collect() }
    }

    /// The members of an input in the order of the fields; what no field knows comes last.
    pub fn ordered<'v>(&self, input: &'v Value) -> Vec<(&'v str, &'v Value)> {
        let mut members: Vec<(&str, &Value)> =
            input.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect();
        members.sort_by_key(|(name, _)| self.fields.iter().position(|field| field.name == *name).unwrap_or(usize::MAX));
        members
    }

    /// The fields as they were typed, each with what was wrong beside it.
    pub fn render(&self, typed: &Typed, errors: &[InvalidField]) -> Markup {
        html! {
            @for (at, field) in self.fields.iter().enumerate() {
                (control::render(field, at, typed, &errors_of(field, errors)))
            }
        }
    }

    /// What is wrong with the form as a whole, or with an input that it does not show.
    pub fn errors_elsewhere<'e>(&self, errors: &'e [InvalidField]) -> Vec<&'e str> {
        let shown = |error: &InvalidField| self.fields.iter().any(|field| concerns(error, &field.name));
        errors.iter().filter(|error| !shown(error)).map(|error| error.description.as_str()).collect()
    }
}

fn errors_of<'e>(field: &Field, errors: &'e [InvalidField]) -> Vec<&'e str> {
    errors.iter().filter(|error| concerns(error, &field.name)).map(|error| error.description.as_str()).collect()
}

/// Whether an error belongs to an input. A missing one is reported on `input` itself, its name leading the sentence.
fn concerns(error: &InvalidField, name: &str) -> bool {
    match error.field.strip_prefix("input.") {
        Some(path) => path == name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', '['])),
        None => error.field == "input" && error.description.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(super) fn every_kind() -> Form {
        Form::new(&json!({"components": {"schemas": {
            "Input": {"type": "object", "required": ["prompt", "image"], "properties": {
                "image": {"type": "string", "format": "uri", "title": "Image", "description": "The picture", "x-order": 1},
                "prompt": {"type": "string", "title": "Prompt", "x-order": 0},
                "scale": {"type": "integer", "title": "Scale", "minimum": 2, "maximum": 8, "default": 4, "x-order": 2},
                "strength": {"type": "number", "title": "Strength", "minimum": 0, "maximum": 1, "default": 0.5, "x-order": 3},
                "seed": {"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "Seed", "x-order": 4},
                "format": {"allOf": [{"$ref": "#/components/schemas/format"}], "default": "png", "x-order": 5},
                "denoise": {"type": "boolean", "title": "Denoise first", "default": true, "x-order": 6},
                "key": {"type": "string", "format": "password", "x-cog-secret": true, "default": "leaked", "x-order": 7},
                "tags": {"type": "array", "items": {"type": "string"}, "x-order": 8},
                "options": {"type": "object", "x-order": 9}
            }},
            "format": {"type": "string", "enum": ["png", "jpg"], "title": "format", "description": "An enumeration."}
        }}}))
    }

    #[test]
    fn fields_stand_in_the_publishers_order_and_know_their_kind() {
        let form = every_kind();
        let kinds: Vec<(&str, &'static str)> = form.fields.iter().map(|field| (field.name.as_str(), field.kind.name())).collect();
        assert_eq!(
            kinds,
            [
                ("prompt", "long text"),
                ("image", "file"),
                ("scale", "integer"),
                ("strength", "number"),
                ("seed", "integer"),
                ("format", "choice"),
                ("denoise", "boolean"),
                ("key", "secret"),
                ("tags", "list"),
                ("options", "object"),
            ]
        );
    }

    #[test]
    fn each_kind_has_its_control_and_its_default() {
        let form = every_kind();
        let page = form.render(&Typed::from_input(&form, &Value::Null), &[]).into_string();
        for control in [
            r#"<textarea id="f0" name="input.prompt""#,
            r#"<input id="f1" type="file" name="file.image""#,
            r#"type="range" min="2" max="8" step="1" value="4""#,
            r#"type="number" name="input.scale" min="2" max="8" step="1" value="4""#,
            r#"type="number" name="input.strength" min="0" max="1" step="any" value="0.5""#,
            r#"<option value="png" selected>png</option>"#,
            r#"type="checkbox" name="input.denoise" checked"#,
            r#"type="password" name="input.key""#,
        ] {
            assert!(page.contains(control), "{control} in {page}");
        }
        assert!(!page.contains("leaked"), "a secret is never written into a page");
    }

    #[test]
    fn an_error_stands_beside_its_field_and_what_was_typed_stays() {
        let form = every_kind();
        let mut typed = Typed::from_input(&form, &Value::Null);
        typed.set("scale", "9");
        let errors = [
            InvalidField::new("number_lte", "input.scale", "Must be less than or equal to 8"),
            InvalidField::new("required", "input", "prompt is required"),
            InvalidField::new("additional_property_not_allowed", "", "Additional property x is not allowed"),
        ];
        let page = form.render(&typed, &errors).into_string();
        assert!(page.contains(r#"aria-invalid="true" aria-describedby="f2-error""#), "{page}");
        assert!(page.contains(r#"id="f2-error" role="alert">Must be less than or equal to 8"#), "{page}");
        assert!(page.contains(r#"id="f0-error" role="alert">prompt is required"#));
        assert!(page.contains(r#"value="9""#));
        assert_eq!(form.errors_elsewhere(&errors), ["Additional property x is not allowed"]);
    }

    #[test]
    fn an_input_is_told_in_the_order_of_the_form() {
        let input = json!({"another": 1, "denoise": true, "prompt": "x", "scale": 2});
        let names: Vec<&str> = every_kind().ordered(&input).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["prompt", "scale", "denoise", "another"]);
    }

    #[test]
    fn a_hostile_schema_stays_text() {
        let evil = r#""><script>alert(1)</script>"#;
        let form = Form::new(&json!({"components": {"schemas": {"Input": {"properties": {
            evil: {"type": "string", "title": evil, "description": evil, "default": evil},
            "pick": {"enum": [evil], "title": evil},
        }}}}}));
        let page = form.render(&Typed::from_input(&form, &Value::Null), &[]).into_string();
        assert!(!page.contains("<script"), "{page}");
    }
}
