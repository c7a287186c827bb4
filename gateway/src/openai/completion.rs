//! A completion's prompt as an input.

use protocol::problem::InvalidField;
use serde_json::{Map, Value};

use super::request::{missing, unsupported, wrong_type};
use super::{Inputs, Order, settings};

/// The order for a completion of one prompt.
pub(crate) fn order(inputs: Inputs<'_>, mut parameters: Map<String, Value>) -> Result<Order, InvalidField> {
    let prompt = match parameters.remove("prompt") {
        Some(Value::String(prompt)) => prompt,
        Some(Value::Array(prompts)) => match <[Value; 1]>::try_from(prompts) {
            Ok([Value::String(prompt)]) => prompt,
            Ok(_) => return Err(unsupported("prompt", "send text: tokens are not read here")),
            Err(_) => return Err(unsupported("prompt", "send one prompt a call")),
        },
        None | Some(Value::Null) => return Err(missing("prompt", "a prompt is required")),
        Some(_) => return Err(wrong_type("prompt", "must be a string")),
    };
    if !inputs.has("prompt") {
        return Err(unsupported("prompt", "this model takes no prompt; ask it at /openai/v1/chat/completions"));
    }
    let mut order = Order::default();
    order.put("prompt", prompt, "prompt");
    settings::place(inputs, parameters, &mut order)?;
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_prompt_is_taken_and_many_or_tokens_are_not() {
        let schema = json!({"properties": {"prompt": {"type": "string"}}});
        let placed = |prompt: Value| order(Inputs::of_schema(&schema), json!({"prompt": prompt}).as_object().unwrap().clone());
        for prompt in [json!("a"), json!(["a"])] {
            assert_eq!(Value::Object(placed(prompt).unwrap().input), json!({"prompt": "a"}));
        }
        for prompt in [json!(["a", "b"]), json!([1, 2]), json!([[1, 2]]), json!([]), json!(7), json!(null)] {
            assert_eq!(placed(prompt.clone()).unwrap_err().field, "prompt", "{prompt}");
        }
    }
}
