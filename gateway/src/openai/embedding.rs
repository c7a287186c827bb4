//! Texts to embed as an input, and vectors as the list that answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::problem::InvalidField;
use serde_json::{Map, Value};

use super::answer::Embedding;
use super::request::{missing, unsupported, wrong_type, wrong_value};
use super::{Inputs, Order, settings};

/// How a vector is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Float,
    /// Four little-endian bytes a number, as released clients ask for unless told otherwise.
    Base64,
}

/// The order for some texts, how their vectors are to be written, and how many there are.
pub(crate) fn order(inputs: Inputs<'_>, mut parameters: Map<String, Value>) -> Result<(Order, Encoding), InvalidField> {
    let encoding = match parameters.remove("encoding_format").as_ref().map(|format| format.as_str()) {
        None | Some(Some("float")) => Encoding::Float,
        Some(Some("base64")) => Encoding::Base64,
        Some(_) => return Err(wrong_value("encoding_format", "must be `float` or `base64`")),
    };
    let texts = match parameters.remove("input") {
        Some(text @ Value::String(_)) => vec![text],
        Some(Value::Array(texts)) if texts.is_empty() => return Err(wrong_value("input", "must have at least one text")),
        Some(Value::Array(texts)) if texts.iter().all(Value::is_string) => texts,
        Some(Value::Array(_)) => return Err(unsupported("input", "send texts: tokens are not read here")),
        None | Some(Value::Null) => return Err(missing("input", "an input is required")),
        Some(_) => return Err(wrong_type("input", "must be a string, or a list of them")),
    };
    if texts.iter().any(|text| text == "") {
        return Err(wrong_value("input", "must not be empty"));
    }
    let mut order = Order::default();
    place(inputs, texts, &mut order)?;
    settings::place(inputs, parameters, &mut order)?;
    Ok((order, encoding))
}

/// One text goes into an input for a text, several into one for a list; `text_batch` is a list written as JSON.
fn place(inputs: Inputs<'_>, texts: Vec<Value>, order: &mut Order) -> Result<(), InvalidField> {
    if let ([text], Some(name)) = (texts.as_slice(), inputs.first_that_takes(&["text", "input", "prompt"], "string")) {
        order.put(name, text.clone(), "input");
    } else if let Some(name) = inputs.first_that_takes(&["texts", "input", "text_batch"], "array") {
        order.put(name, texts, "input");
    } else if let Some(name) = inputs.first_that_takes(&["text_batch"], "string") {
        order.put(name, Value::Array(texts).to_string(), "input");
    } else {
        return Err(unsupported("input", "this model takes one text a call"));
    }
    Ok(())
}

/// The list of vectors that an output is. `None` when it is something else.
pub(crate) fn vectors(output: &Value, encoding: Encoding) -> Option<Vec<Embedding>> {
    let items = output.as_array()?;
    let one = [output.clone()];
    let items: &[Value] = if items.first().is_some_and(Value::is_number) { &one } else { items };
    items.iter().zip(0..).map(|(item, index)| Some(Embedding::new(index, written(item, encoding)?))).collect()
}

/// A bare vector, or one in an object, as several models give it.
fn written(item: &Value, encoding: Encoding) -> Option<Value> {
    let numbers = item.as_array().or_else(|| item["embedding"].as_array())?;
    let floats: Option<Vec<f64>> = numbers.iter().map(Value::as_f64).collect();
    let floats = floats?;
    Some(match encoding {
        Encoding::Float => Value::Array(numbers.clone()),
        #[expect(clippy::cast_possible_truncation, reason = "the format has single precision")]
        Encoding::Base64 => STANDARD.encode(floats.into_iter().flat_map(|float| (float as f32).to_le_bytes()).collect::<Vec<u8>>()).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn placed(properties: &Value, parameters: Value) -> Result<(Value, Encoding), InvalidField> {
        let schema = json!({"properties": properties});
        let Value::Object(parameters) = parameters else { panic!("parameters are an object") };
        order(Inputs::of_schema(&schema), parameters).map(|(order, encoding)| (Value::Object(order.input), encoding))
    }

    #[test]
    fn one_text_or_several_go_where_the_version_takes_them() {
        let of_cog = json!({"text": {"type": "string"}, "text_batch": {"type": "string"}});
        assert_eq!(placed(&of_cog, json!({"input": "a"})), Ok((json!({"text": "a"}), Encoding::Float)));
        let many = json!({"input": ["a", "\"b\""], "encoding_format": "base64"});
        assert_eq!(placed(&of_cog, many), Ok((json!({"text_batch": r#"["a","\"b\""]"#}), Encoding::Base64)));
        let of_server = json!({"input": {"type": "array"}});
        assert_eq!(placed(&of_server, json!({"input": "a"})).unwrap().0, json!({"input": ["a"]}));
        let of_one = json!({"text": {"type": "string"}});
        assert_eq!(placed(&of_one, json!({"input": ["a", "b"]})).unwrap_err().field, "input");
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let inputs = json!({"text": {"type": "string"}});
        for input in [json!(""), json!([]), json!([1, 2]), json!([[1]]), json!(7), json!(null)] {
            assert_eq!(placed(&inputs, json!({"input": input})).unwrap_err().field, "input", "{input}");
        }
        assert_eq!(placed(&inputs, json!({"input": "a", "encoding_format": "hex"})).unwrap_err().field, "encoding_format");
        assert_eq!(placed(&inputs, json!({"input": "a", "dimensions": 8})).unwrap_err().field, "dimensions");
    }

    #[test]
    fn vectors_are_read_in_each_form_that_models_give_and_written_as_asked() {
        for output in [json!([1.0, -2.5]), json!([[1.0, -2.5]]), json!([{"embedding": [1.0, -2.5]}])] {
            let floats = serde_json::to_value(vectors(&output, Encoding::Float).unwrap()).unwrap();
            assert_eq!(floats, json!([{"object": "embedding", "index": 0, "embedding": [1.0, -2.5]}]));
            let packed = serde_json::to_value(vectors(&output, Encoding::Base64).unwrap()).unwrap();
            assert_eq!(packed[0]["embedding"], "AACAPwAAIMA=");
        }
        assert!(vectors(&json!("text"), Encoding::Float).is_none());
        assert!(vectors(&json!([["a"]]), Encoding::Float).is_none());
    }
}
