//! The messages of a chat as inputs: what the model is told to be, the turns that were, and what is said now.

use protocol::problem::InvalidField;
use serde_json::{Map, Value, json};

use super::request::{missing, unsupported, wrong_type, wrong_value};
use super::{Inputs, Order, settings};

/// The input for what the model is told to be.
const SYSTEM: &str = "system_prompt";
/// The input for the turns before the prompt; all of them where there is no prompt.
const TURNS: &str = "messages";
const PROMPT: &str = "prompt";

/// The order for a chat.
pub(crate) fn order(inputs: Inputs<'_>, mut parameters: Map<String, Value>) -> Result<Order, InvalidField> {
    let messages = match parameters.remove("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        Some(Value::Array(_)) => return Err(wrong_value("messages", "must have at least one message")),
        None | Some(Value::Null) => return Err(missing("messages", "messages are required")),
        Some(_) => return Err(wrong_type("messages", "must be a list")),
    };
    let takes_tools = inputs.has("tools");
    let turns: Result<Vec<Turn>, InvalidField> =
        messages.into_iter().enumerate().map(|(at, message)| Turn::read(at, message, takes_tools)).collect();
    let mut order = Order::default();
    place(inputs, turns?, &mut order)?;
    settings::place(inputs, parameters, &mut order)?;
    Ok(order)
}

/// One message, its content one text.
#[derive(Debug)]
struct Turn {
    role: &'static str,
    content: String,
    /// Who speaks, or which tools were called.
    more: Map<String, Value>,
}

impl Turn {
    fn read(at: usize, message: Value, takes_tools: bool) -> Result<Self, InvalidField> {
        let Value::Object(mut message) = message else {
            return Err(wrong_type(&format!("messages.{at}"), "must be an object"));
        };
        let content = text_of(at, message.remove("content"))?;
        let role = match message.get("role").and_then(Value::as_str) {
            // The newer word for the same.
            Some("system" | "developer") => "system",
            Some("user") => "user",
            Some("assistant") => "assistant",
            Some("tool" | "function") if takes_tools => "tool",
            Some("tool" | "function") => return Err(unsupported(&format!("messages.{at}.role"), "this model calls no tools")),
            Some(_) => {
                return Err(wrong_value(&format!("messages.{at}.role"), "must be system, developer, user, assistant or tool"));
            }
            None => return Err(missing(&format!("messages.{at}.role"), "a message has a role")),
        };
        let calls = message.get("tool_calls").and_then(Value::as_array).is_some_and(|calls| !calls.is_empty());
        if calls && !takes_tools {
            return Err(unsupported(&format!("messages.{at}.tool_calls"), "this model calls no tools"));
        }
        let kept = |name: &str| name == "name" || (takes_tools && (name == "tool_calls" || name == "tool_call_id"));
        message.retain(|name, value| kept(name) && !value.is_null());
        Ok(Self { role, content, more: message })
    }

    fn into_value(self) -> Value {
        let mut message = self.more;
        message.insert("role".to_owned(), json!(self.role));
        message.insert("content".to_owned(), json!(self.content));
        Value::Object(message)
    }
}

/// A text, or its parts joined. What is no text is refused, for it would be lost.
fn text_of(at: usize, content: Option<Value>) -> Result<String, InvalidField> {
    let parts = match content {
        None | Some(Value::Null) => return Ok(String::new()),
        Some(Value::String(text)) => return Ok(text),
        Some(Value::Array(parts)) => parts,
        Some(_) => return Err(wrong_type(&format!("messages.{at}.content"), "must be a string, or a list of parts")),
    };
    let mut text = String::new();
    for (n, part) in parts.iter().enumerate() {
        match (part["type"].as_str(), part["text"].as_str()) {
            (Some("text"), Some(piece)) => text.push_str(piece),
            (Some("refusal"), _) => text.push_str(part["refusal"].as_str().unwrap_or_default()),
            _ => return Err(unsupported(&format!("messages.{at}.content.{n}"), "this model reads text: send parts of type `text`")),
        }
    }
    Ok(text)
}

fn place(inputs: Inputs<'_>, mut turns: Vec<Turn>, order: &mut Order) -> Result<(), InvalidField> {
    let takes_turns = inputs.has(TURNS);
    if inputs.has(SYSTEM) {
        // Where there is no input for turns, instructions have no other place, wherever they stand.
        let leading = if takes_turns { turns.iter().take_while(|turn| turn.role == "system").count() } else { turns.len() };
        let mut instructions = Vec::new();
        let mut at = 0;
        turns.retain(|turn| {
            at += 1;
            let is_instruction = at <= leading && turn.role == "system";
            if is_instruction {
                instructions.push(turn.content.clone());
            }
            !is_instruction
        });
        if !instructions.is_empty() {
            order.put(SYSTEM, instructions.join("\n\n"), "messages");
        }
    }
    if inputs.has(PROMPT) {
        match turns.pop() {
            Some(last) if last.role == "user" => order.put(PROMPT, last.content, "messages"),
            Some(last) if takes_turns && !inputs.requires(PROMPT) => turns.push(last),
            _ => return Err(wrong_value("messages", "the last message must be the user's")),
        }
    }
    if turns.is_empty() {
        return Ok(());
    }
    if !takes_turns {
        return Err(unsupported(
            "messages",
            "this model keeps no conversation: send one message of the user's, with instructions or without",
        ));
    }
    let turns: Vec<Value> = turns.into_iter().map(Turn::into_value).collect();
    order.put(TURNS, turns, "messages");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(properties: &[&str], messages: &Value) -> Result<Value, InvalidField> {
        let properties: Map<String, Value> = properties.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let schema = json!({"properties": properties});
        let parameters = json!({"messages": messages}).as_object().unwrap().clone();
        order(Inputs::of_schema(&schema), parameters).map(|order| Value::Object(order.input))
    }

    #[test]
    fn a_question_reads_as_a_prompt_and_the_turns_before_it_keep_their_roles() {
        let all = ["system_prompt", "messages", "prompt"];
        let question = json!([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Why"}, {"type": "text", "text": "?"}]}]);
        assert_eq!(placed(&all, &question), Ok(json!({"system_prompt": "Be brief.", "prompt": "Why?"})));
        assert_eq!(placed(&["system_prompt", "prompt"], &question), Ok(json!({"system_prompt": "Be brief.", "prompt": "Why?"})));
        let long = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c", "name": "ada"}]);
        let before = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
        assert_eq!(placed(&all, &long), Ok(json!({"messages": before, "prompt": "c"})));
        assert_eq!(placed(&["messages"], &long), Ok(json!({"messages": long})));
    }

    #[test]
    fn what_has_no_place_is_refused_and_not_lost() {
        let turns = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]);
        assert_eq!(placed(&["prompt"], &turns).unwrap_err().field, "messages");
        assert_eq!(
            placed(&["prompt"], &json!([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])).unwrap_err().field,
            "messages"
        );
        let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]);
        assert_eq!(placed(&["prompt"], &image).unwrap_err().field, "messages.0.content.0");
        assert_eq!(placed(&["prompt", "messages"], &json!([{"role": "tool", "content": "4"}])).unwrap_err().field, "messages.0.role");
        for (messages, field) in [
            (json!([]), "messages"),
            (json!("hi"), "messages"),
            (json!(null), "messages"),
            (json!(["hi"]), "messages.0"),
            (json!([{"role": "wizard", "content": "hi"}]), "messages.0.role"),
            (json!([{"content": "hi"}]), "messages.0.role"),
            (json!([{"role": "user", "content": 7}]), "messages.0.content"),
        ] {
            assert_eq!(placed(&["prompt"], &messages).unwrap_err().field, field, "{messages}");
        }
    }

    #[test]
    fn a_conversation_may_end_with_the_assistant_where_no_prompt_is_required() {
        let prefilled = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
        assert_eq!(placed(&["messages", "prompt"], &prefilled), Ok(json!({"messages": prefilled})));
        assert_eq!(placed(&["prompt"], &prefilled).unwrap_err().field, "messages");
    }
}
