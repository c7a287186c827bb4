//! The parameters beside the text. What the version has an input for is passed; what would change the result and has none is refused, unless
//! its value says that nothing is wished; the rest changes nothing and is passed over.

use protocol::problem::InvalidField;
use serde_json::{Map, Value};

use super::request::{unsupported, wrong_type};
use super::{Inputs, Order};

/// The inputs under which models take the longest answer, in tokens.
const LENGTHS: [&str; 4] = ["max_tokens", "max_new_tokens", "max_completion_tokens", "max_output_tokens"];
/// The inputs under which models take what ends an answer.
const STOPS: [&str; 2] = ["stop", "stop_sequences"];

pub(super) fn place(inputs: Inputs<'_>, settings: Map<String, Value>, order: &mut Order) -> Result<(), InvalidField> {
    for (name, value) in settings {
        match name.as_str() {
            _ if value.is_null() => {}
            "max_tokens" => place_length(inputs, "max_tokens", value, order)?,
            "max_completion_tokens" => place_length(inputs, "max_completion_tokens", value, order)?,
            "stop" => place_stop(inputs, value, order)?,
            _ if inputs.has(&name) => {
                order.input.insert(name, value);
            }
            _ if wishes_for_more(&name, &value) => {
                return Err(unsupported(&name, &format!("this model has no `{name}`; leave it out")));
            }
            _ => {}
        }
    }
    Ok(())
}

fn place_length(inputs: Inputs<'_>, parameter: &'static str, value: Value, order: &mut Order) -> Result<(), InvalidField> {
    let input = LENGTHS.into_iter().find(|name| inputs.has(name));
    let input = input.ok_or_else(|| unsupported(parameter, "this model decides itself how long its answer is; leave it out"))?;
    order.put(input, value, parameter);
    Ok(())
}

/// One text or several, as the version takes them.
fn place_stop(inputs: Inputs<'_>, value: Value, order: &mut Order) -> Result<(), InvalidField> {
    let texts = match value {
        Value::Array(texts) => texts,
        text @ Value::String(_) => vec![text],
        _ => return Err(wrong_type("stop", "must be a string, or a list of them")),
    };
    if texts.is_empty() {
        return Ok(());
    }
    if let Some(input) = inputs.first_that_takes(&STOPS, "array") {
        order.put(input, texts, "stop");
        return Ok(());
    }
    match (inputs.first_that_takes(&STOPS, "string"), texts.as_slice()) {
        (Some(input), [text]) => order.put(input, text.clone(), "stop"),
        (Some(_), _) => return Err(unsupported("stop", "this model takes one text to stop at")),
        (None, _) => return Err(unsupported("stop", "this model cannot be told where to stop; leave it out")),
    }
    Ok(())
}

/// Whether a parameter, with this value, asks for another result than a model without it gives.
fn wishes_for_more(name: &str, value: &Value) -> bool {
    let is_number = |number: f64| value.as_f64() == Some(number);
    let is_empty = value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty) || value == "";
    match name {
        "n" | "best_of" | "temperature" | "top_p" => !is_number(1.0),
        "frequency_penalty" | "presence_penalty" | "top_logprobs" => !is_number(0.0),
        "logprobs" | "echo" => *value != Value::Bool(false),
        "suffix" | "tools" | "functions" | "logit_bias" => !is_empty,
        "tool_choice" | "function_call" => value != "none" && value != "auto",
        "response_format" => value["type"] != "text",
        "modalities" => *value != Value::from(vec!["text"]),
        "audio" | "web_search_options" | "dimensions" => true,
        // The model's provider may do its best with them, says OpenAI, and no more: seed, user, metadata, reasoning_effort, store, …
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn placed(properties: &Value, settings: Value) -> Result<Value, InvalidField> {
        let schema = json!({"properties": properties});
        let Value::Object(settings) = settings else { panic!("settings are an object") };
        let mut order = Order::default();
        place(Inputs::of_schema(&schema), settings, &mut order)?;
        Ok(Value::Object(order.input))
    }

    #[test]
    fn what_the_version_has_is_passed_and_what_changes_nothing_is_passed_over() {
        let properties = json!({"temperature": {"type": "number"}, "top_k": {"type": "integer"}});
        let settings =
            json!({"temperature": 0.5, "top_k": 3, "top_p": null, "user": "u", "metadata": {}, "n": 1, "seed": 7, "made_up": true});
        assert_eq!(placed(&properties, settings), Ok(json!({"temperature": 0.5, "top_k": 3})));
    }

    #[test]
    fn what_would_change_the_result_is_refused_by_name_unless_the_version_has_it() {
        for (name, neutral, wish) in [
            ("n", json!(1), json!(2)),
            ("temperature", json!(1.0), json!(0)),
            ("top_p", json!(1), json!(0.9)),
            ("presence_penalty", json!(0), json!(0.5)),
            ("logprobs", json!(false), json!(true)),
            ("logprobs", json!(null), json!(0)),
            ("tools", json!([]), json!([{"type": "function"}])),
            ("tool_choice", json!("auto"), json!("required")),
            ("response_format", json!({"type": "text"}), json!({"type": "json_object"})),
            ("logit_bias", json!({}), json!({"1": -100})),
            ("suffix", json!(""), json!("end")),
            ("echo", json!(false), json!(true)),
        ] {
            assert_eq!(placed(&json!({}), json!({name: neutral})), Ok(json!({})), "{name}");
            let refused = placed(&json!({}), json!({name: wish})).unwrap_err();
            assert_eq!((refused.field.as_str(), refused.kind.as_str()), (name, "unsupported_parameter"));
            assert_eq!(placed(&json!({name: {}}), json!({name: wish})), Ok(json!({name: wish})));
        }
    }

    #[test]
    fn the_longest_answer_goes_by_whichever_name_the_version_has() {
        for asked in ["max_tokens", "max_completion_tokens"] {
            for name in LENGTHS {
                assert_eq!(placed(&json!({name: {"type": "integer"}}), json!({asked: 8})), Ok(json!({name: 8})));
            }
            assert_eq!(placed(&json!({}), json!({asked: 8})).unwrap_err().field, asked);
        }
    }

    #[test]
    fn one_stop_or_several_go_as_the_version_takes_them() {
        let list = || json!({"stop": {"type": "array", "nullable": true}});
        assert_eq!(placed(&list(), json!({"stop": "\n"})), Ok(json!({"stop": ["\n"]})));
        assert_eq!(placed(&list(), json!({"stop": ["a", "b"]})), Ok(json!({"stop": ["a", "b"]})));
        let text = || json!({"stop_sequences": {"type": "string"}});
        assert_eq!(placed(&text(), json!({"stop": ["a"]})), Ok(json!({"stop_sequences": "a"})));
        for (properties, stop) in [(text(), json!(["a", "b"])), (json!({}), json!("a")), (list(), json!(7))] {
            assert_eq!(placed(&properties, json!({"stop": stop})).unwrap_err().field, "stop");
        }
        assert_eq!(placed(&json!({}), json!({"stop": []})), Ok(json!({})));
    }
}
