//! The whole of `before`: an input document in, the input for the model out.

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};

use crate::config::Config;
use crate::template;
use crate::tokens::estimate_tokens;

/// The fields of the input, unread: what this hook does not change goes through byte for byte.
type Fields = BTreeMap<String, Box<RawValue>>;

/// An input that may go to the model.
#[derive(Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The new document; `None` when the input is right as it is.
    pub replacement: Option<String>,
    /// See [`estimate_tokens`]; counted on the prompt as the model gets it.
    pub prompt_tokens_estimate: u64,
}

/// What is wrong with one field of the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid {
    /// RFC 6901 pointer into the input.
    pub pointer: &'static str,
    /// `missing`, `type`, `empty` or `too_long`.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// Checks the prompt and applies the template.
///
/// # Errors
///
/// The field that is wrong.
pub fn prepare(config: &Config, input: &str) -> Result<Prepared, Invalid> {
    let mut fields: Fields = serde_json::from_str(input).map_err(|_| invalid("", "type", "the input must be an object"))?;
    let prompt = text_of(&fields, "prompt", "/prompt")?.ok_or_else(|| invalid("/prompt", "missing", "a prompt is needed"))?;
    require_sound(&prompt, config.prompt_chars_max)?;
    let given_system = text_of(&fields, "system_prompt", "/system_prompt")?;

    let system = given_system.as_deref().filter(|text| !text.is_empty()).unwrap_or(&config.system_prompt);
    let templated = template::apply(&config.template, &prompt, system);
    let prompt_tokens_estimate = estimate_tokens(&templated);

    let mut changed = false;
    // A template without a place for it leaves the system prompt to the model's own input field.
    if !template::takes_system(&config.template) && given_system.as_deref().unwrap_or_default() != system {
        fields.insert("system_prompt".to_owned(), json_string(system));
        changed = true;
    }
    if templated != prompt {
        fields.insert("prompt".to_owned(), json_string(&templated));
        changed = true;
    }
    let replacement = changed.then(|| serde_json::to_string(&fields).expect("a map of JSON values is JSON"));
    Ok(Prepared { replacement, prompt_tokens_estimate })
}

fn require_sound(prompt: &str, chars_max: usize) -> Result<(), Invalid> {
    if prompt.trim().is_empty() {
        return Err(invalid("/prompt", "empty", "the prompt is empty"));
    }
    let chars = prompt.chars().count();
    if chars > chars_max {
        let message = format!("the prompt has {chars} characters, at most {chars_max} are taken");
        return Err(Invalid { pointer: "/prompt", code: "too_long", message });
    }
    Ok(())
}

/// A text field; `None` when it is absent or null.
fn text_of(fields: &Fields, name: &str, pointer: &'static str) -> Result<Option<String>, Invalid> {
    let Some(raw) = fields.get(name) else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|_| invalid(pointer, "type", "must be a text"))
}

fn json_string(text: &str) -> Box<RawValue> {
    to_raw_value(text).expect("any text is a JSON string")
}

fn invalid(pointer: &'static str, code: &'static str, message: &str) -> Invalid {
    Invalid { pointer, code, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Config {
        Config::parse(json).expect("the configuration of a test")
    }

    fn code(config: &Config, input: &str) -> &'static str {
        prepare(config, input).expect_err("the input is wrong").code
    }

    #[test]
    fn a_prompt_without_a_template_goes_through_untouched() {
        let prepared = prepare(&config(""), r#"{"prompt": "hello there", "top_k": 1e2}"#);
        assert_eq!(prepared, Ok(Prepared { replacement: None, prompt_tokens_estimate: 4 }));
    }

    #[test]
    fn the_template_wraps_the_prompt_and_keeps_the_other_fields() {
        let config = config(r#"{"template": "{system}\nQ: {prompt}\nA:", "system_prompt": "Be kind."}"#);
        let prepared = prepare(&config, r#"{"temperature":0.10,"prompt":"why \"so\"?"}"#).expect("a sound input");
        assert_eq!(prepared.replacement.as_deref(), Some(r#"{"prompt":"Be kind.\nQ: why \"so\"?\nA:","temperature":0.10}"#));
    }

    #[test]
    fn the_callers_system_prompt_wins() {
        let config = config(r#"{"template": "{system}|{prompt}", "system_prompt": "default"}"#);
        let prepared = prepare(&config, r#"{"prompt":"p","system_prompt":"mine"}"#).expect("a sound input");
        assert_eq!(prepared.replacement.as_deref(), Some(r#"{"prompt":"mine|p","system_prompt":"mine"}"#));
    }

    #[test]
    fn a_template_without_a_place_for_it_passes_the_system_prompt_as_a_field() {
        let config = config(r#"{"system_prompt": "Be kind."}"#);
        let prepared = prepare(&config, r#"{"prompt":"p","system_prompt":""}"#).expect("a sound input");
        assert_eq!(prepared.replacement.as_deref(), Some(r#"{"prompt":"p","system_prompt":"Be kind."}"#));
    }

    #[test]
    fn a_wrong_prompt_is_named_with_its_field() {
        let config = config(r#"{"prompt_chars_max": 3}"#);
        assert_eq!(code(&config, "[]"), "type");
        assert_eq!(code(&config, "{}"), "missing");
        assert_eq!(code(&config, r#"{"prompt": null}"#), "missing");
        assert_eq!(code(&config, r#"{"prompt": 7}"#), "type");
        assert_eq!(code(&config, r#"{"prompt": " \n"}"#), "empty");
        assert_eq!(code(&config, r#"{"prompt": "four"}"#), "too_long");
        assert!(prepare(&config, r#"{"prompt": "äöü"}"#).is_ok(), "characters are counted, not bytes");
    }

    #[test]
    fn a_typo_in_the_configuration_is_an_error() {
        assert!(Config::parse(r#"{"templat": "x"}"#).is_err());
    }
}
