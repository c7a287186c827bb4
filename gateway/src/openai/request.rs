//! The part of a request that all of `OpenAI`'s routes share: which model, and whether the answer is streamed.

use protocol::problem::InvalidField;
use serde_json::{Map, Value};

#[derive(Debug)]
pub(crate) struct Request {
    /// As the caller wrote it; answers repeat it.
    pub model: String,
    pub stream: bool,
    /// Whether a stream ends with a chunk that tells the usage.
    pub include_usage: bool,
    /// All other parameters.
    pub rest: Map<String, Value>,
}

impl Request {
    pub fn read(mut fields: Map<String, Value>) -> Result<Self, InvalidField> {
        let model = match fields.remove("model") {
            Some(Value::String(model)) => model,
            None | Some(Value::Null) => return Err(missing("model", "you must name a model: `owner/name`")),
            Some(_) => return Err(wrong_type("model", "must be a string")),
        };
        let stream = flag(fields.remove("stream").as_ref(), "stream")?;
        let include_usage = match fields.remove("stream_options") {
            Some(Value::Object(options)) => flag(options.get("include_usage"), "stream_options.include_usage")?,
            None | Some(Value::Null) => false,
            Some(_) => return Err(wrong_type("stream_options", "must be an object")),
        };
        Ok(Self { model, stream, include_usage, rest: fields })
    }
}

fn flag(value: Option<&Value>, parameter: &str) -> Result<bool, InvalidField> {
    match value {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(wrong_type(parameter, "must be true or false")),
    }
}

pub(super) fn missing(parameter: &str, description: &str) -> InvalidField {
    InvalidField::new("missing_required_parameter", parameter, description)
}

pub(super) fn wrong_type(parameter: &str, description: &str) -> InvalidField {
    InvalidField::new("invalid_type", parameter, description)
}

pub(super) fn wrong_value(parameter: &str, description: &str) -> InvalidField {
    InvalidField::new("invalid_value", parameter, description)
}

/// For what would change the result if it were passed over in silence.
pub(super) fn unsupported(parameter: &str, description: &str) -> InvalidField {
    InvalidField::new("unsupported_parameter", parameter, description)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: &Value) -> Result<Request, InvalidField> {
        Request::read(body.as_object().unwrap().clone())
    }

    #[test]
    fn what_all_routes_share_is_taken_out_and_the_rest_stays() {
        let request = read(&json!({"model": "a/b", "stream": true, "stream_options": {"include_usage": true}, "seed": 1})).unwrap();
        assert!(request.stream && request.include_usage);
        assert_eq!(Value::Object(request.rest), json!({"seed": 1}));
        let request = read(&json!({"model": "a/b", "stream": null, "stream_options": null})).unwrap();
        assert!(!request.stream && !request.include_usage);
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_named() {
        let wrong = |body: Value| read(&body).unwrap_err().field;
        assert_eq!(wrong(json!({})), "model");
        assert_eq!(wrong(json!({"model": 1})), "model");
        assert_eq!(wrong(json!({"model": "a/b", "stream": "yes"})), "stream");
        assert_eq!(wrong(json!({"model": "a/b", "stream_options": {"include_usage": 1}})), "stream_options.include_usage");
    }
}
