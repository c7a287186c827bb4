//! A prediction's input as the body of a request to an OpenAI-compatible server.

use serde_json::{Map, Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Chat,
    Completions,
    Embeddings,
}

impl Endpoint {
    pub fn of(path: &str) -> Self {
        match path {
            _ if path.ends_with("/embeddings") => Self::Embeddings,
            _ if path.ends_with("/chat/completions") => Self::Chat,
            _ => Self::Completions,
        }
    }
}

/// Inputs that become something else, or that only the runner decides.
const OURS: [&str; 9] = ["prompt", "system_prompt", "messages", "input", "text", "texts", "stream", "stream_options", "model"];

/// The body; inputs that are not ours to translate (`temperature`, `max_tokens`, `seed`, `stop`, …) pass as they are.
pub fn body(endpoint: Endpoint, model: Option<&str>, input: &Value) -> Value {
    let mut body: Map<String, Value> = input
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| !OURS.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    body.insert("model".to_owned(), json!(model.unwrap_or("default")));
    match endpoint {
        Endpoint::Chat => body.insert("messages".to_owned(), messages(input)),
        Endpoint::Completions => body.insert("prompt".to_owned(), input["prompt"].clone()),
        Endpoint::Embeddings => body.insert("input".to_owned(), texts(input)),
    };
    if endpoint != Endpoint::Embeddings {
        body.insert("stream".to_owned(), json!(true));
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    Value::Object(body)
}

/// The conversation: the system prompt unless the turns begin with one, the turns that were before, as a list or as one in JSON, and the prompt.
fn messages(input: &Value) -> Value {
    let before = match &input["messages"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    };
    let before = if let Value::Array(turns) = before { turns } else { Vec::new() };
    let says = |name: &str| input[name].as_str().filter(|text| !text.is_empty());
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let is_instructed = before.first().is_some_and(|first| first["role"] == "system");
    let system = says("system_prompt").filter(|_| !is_instructed).map(|text| turn("system", text));
    let prompt = says("prompt").map(|text| turn("user", text));
    system.into_iter().chain(before).chain(prompt).collect()
}

fn texts(input: &Value) -> Value {
    ["input", "texts", "text", "prompt"].into_iter().map(|name| &input[name]).find(|value| !value.is_null()).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_become_a_conversation_and_settings_pass() {
        let input = json!({"prompt": "hi", "system_prompt": "be brief", "temperature": 0.5, "max_tokens": 8, "stop": ["\n"], "seed": null, "stream": false});
        assert_eq!(
            body(Endpoint::Chat, Some("m"), &input),
            json!({
                "model": "m", "temperature": 0.5, "max_tokens": 8, "stop": ["\n"], "stream": true, "stream_options": {"include_usage": true},
                "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
            })
        );
    }

    #[test]
    fn the_turns_before_stand_between_the_system_prompt_and_the_prompt() {
        let turns = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
        for given in [turns.clone(), Value::String(turns.to_string())] {
            let whole = &body(Endpoint::Chat, None, &json!({"messages": given, "prompt": ""}))["messages"];
            assert_eq!(whole, &turns);
            let whole = &body(Endpoint::Chat, None, &json!({"messages": given, "prompt": "c", "system_prompt": "s"}))["messages"];
            let said: Vec<&str> = whole.as_array().unwrap().iter().map(|turn| turn["content"].as_str().unwrap()).collect();
            assert_eq!(said, ["s", "a", "b", "c"]);
        }
    }

    #[test]
    fn a_conversation_with_instructions_of_its_own_gets_no_others() {
        let turns = json!([{"role": "system", "content": "mine"}, {"role": "user", "content": "a"}]);
        let input = json!({"messages": turns, "system_prompt": "theirs"});
        assert_eq!(body(Endpoint::Chat, None, &input)["messages"], turns);
    }

    #[test]
    fn texts_are_embedded_without_streaming() {
        let request = body(Endpoint::Embeddings, Some("m"), &json!({"text": "a", "dimensions": 8}));
        assert_eq!(request, json!({"model": "m", "input": "a", "dimensions": 8}));
    }
}
