//! What stands in a form: from defaults, from an earlier run, or from a person; and the JSON input that it means.

use std::collections::BTreeMap;

use protocol::problem::InvalidField;
use serde_json::{Map, Value};

use super::Form;
use super::field::{Field, Kind};

/// The text in each control, by the input's name. A checkbox that is off is not there, as in a browser's post.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typed(BTreeMap<String, String>);

impl Typed {
    /// An earlier input, with the defaults where it says nothing.
    pub fn from_input(form: &Form, input: &Value) -> Self {
        let value = |field: &Field| input.get(&field.name).or(field.default.as_ref()).filter(|_| field.kind != Kind::Secret).map(written);
        Self(form.fields.iter().filter_map(|field| Some((field.name.clone(), value(field)?))).collect())
    }

    pub fn set(&mut self, name: &str, text: impl Into<String>) {
        self.0.insert(name.to_owned(), text.into());
    }

    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Reads the text into the types that the schema asks for. An empty field is left out, so that its default applies or its absence is
    /// told by the API; text that is no such value is an error here, beside its field.
    pub fn input(&self, form: &Form) -> Result<Map<String, Value>, Vec<InvalidField>> {
        let mut input = Map::new();
        let mut errors = Vec::new();
        for field in &form.fields {
            match read(field, self.0.get(&field.name).map(String::as_str)) {
                Ok(Some(value)) => {
                    input.insert(field.name.clone(), value);
                }
                Ok(None) => {}
                Err(expected) => {
                    errors.push(InvalidField::new("invalid_type", format!("input.{}", field.name), format!("This must be {expected}.")));
                }
            }
        }
        if errors.is_empty() { Ok(input) } else { Err(errors) }
    }
}

/// The value that a text means, or in words what was expected.
fn read(field: &Field, text: Option<&str>) -> Result<Option<Value>, &'static str> {
    if field.kind == Kind::Boolean {
        return Ok(Some(Value::Bool(text.is_some_and(|text| text != "false"))));
    }
    let Some(text) = text else { return Ok(None) };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        // Emptying a text that has a default means the empty text, not the default again.
        let cleared = matches!(field.kind, Kind::Text | Kind::LongText) && field.default.is_some();
        return Ok(cleared.then(|| Value::from("")));
    }
    let json = || serde_json::from_str::<Value>(trimmed).ok();
    let value = match &field.kind {
        // Browsers send line breaks as CR LF.
        Kind::Text | Kind::LongText | Kind::Secret => Value::from(text.replace("\r\n", "\n")),
        Kind::File(_) => Value::from(trimmed),
        Kind::Integer(_) => json().filter(|value| value.is_i64() || value.is_u64()).ok_or("a whole number, such as 4")?,
        Kind::Number(_) => json().filter(Value::is_number).ok_or("a number, such as 0.5")?,
        Kind::Choice(choices) => choices.iter().find(|choice| written(choice) == trimmed).cloned().ok_or("one of the choices")?,
        Kind::List => json().filter(Value::is_array).ok_or("a JSON list, such as [\"a\", \"b\"]")?,
        Kind::Object => json().filter(Value::is_object).ok_or("a JSON object, such as {\"a\": 1}")?,
        Kind::Any => json().unwrap_or_else(|| Value::from(text)),
        Kind::Boolean => return Ok(None),
    };
    Ok(Some(value))
}

/// A value as a person would type it: text bare, the rest as JSON.
pub(super) fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::tests::every_kind;
    use super::*;
    use serde_json::json;

    fn typed(pairs: &[(&str, &str)]) -> Typed {
        Typed(pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn what_was_typed_becomes_the_types_of_the_schema() {
        let typed = typed(&[
            ("prompt", "7"),
            ("image", "https://example.com/a.png"),
            ("scale", "8"),
            ("strength", "0.25"),
            ("seed", ""),
            ("format", "jpg"),
            ("key", "s3cret"),
            ("tags", r#"["a"]"#),
            ("options", r#"{"a": {"b": 1}}"#),
            ("unknown", "left out"),
        ]);
        assert_eq!(
            Value::from(typed.input(&every_kind()).unwrap()),
            json!({
                "prompt": "7", "image": "https://example.com/a.png", "scale": 8, "strength": 0.25, "format": "jpg", "denoise": false,
                "key": "s3cret", "tags": ["a"], "options": {"a": {"b": 1}}
            })
        );
    }

    #[test]
    fn what_is_no_such_value_is_told_beside_its_field() {
        let typed = typed(&[("scale", "4.5"), ("strength", "much"), ("format", "gif"), ("tags", "a, b"), ("options", "[]")]);
        let fields: Vec<String> = typed.input(&every_kind()).unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["input.scale", "input.strength", "input.format", "input.tags", "input.options"]);
    }

    #[test]
    fn an_earlier_input_fills_the_form_and_defaults_fill_the_rest() {
        let typed = Typed::from_input(&every_kind(), &json!({"scale": 2, "tags": ["x"], "key": "s3cret", "denoise": false}));
        assert_eq!(typed.get("scale"), "2");
        assert_eq!(typed.get("tags"), r#"["x"]"#);
        assert_eq!(typed.get("format"), "png");
        assert_eq!(typed.get("denoise"), "false");
        assert_eq!(typed.get("key"), "", "a secret is typed anew");
    }

    #[test]
    fn an_emptied_text_is_empty_and_an_empty_one_is_left_out() {
        let form = Form::new(&json!({"components": {"schemas": {"Input": {"properties": {
            "a": {"type": "string", "default": "x"}, "b": {"type": "string"}
        }}}}}));
        assert_eq!(Value::from(typed(&[("a", ""), ("b", "")]).input(&form).unwrap()), json!({"a": ""}));
    }
}
