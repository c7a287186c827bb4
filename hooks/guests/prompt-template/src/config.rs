//! What the publisher may set in the version's manifest.

use serde::Deserialize;

/// The hook's configuration. Unknown keys are an error, so that a typo is noticed when the hook first runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The text sent as `prompt`: `{prompt}` stands for the caller's prompt, `{system}` for the system prompt.
    #[serde(default = "the_prompt_alone")]
    pub template: String,
    /// Used when the input brings no `system_prompt` of its own.
    #[serde(default)]
    pub system_prompt: String,
    /// The longest prompt taken, in characters.
    #[serde(default = "prompt_chars_max")]
    pub prompt_chars_max: usize,
}

fn the_prompt_alone() -> String {
    "{prompt}".to_owned()
}

/// About 8,000 tokens of English: more than the small models this ships with can take.
const fn prompt_chars_max() -> usize {
    32_000
}

impl Config {
    /// Reads the JSON that the host hands over; an empty text is an empty configuration.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as serde says it.
    pub fn parse(json: &str) -> Result<Self, String> {
        let json = if json.trim().is_empty() { "{}" } else { json };
        serde_json::from_str(json).map_err(|error| error.to_string())
    }
}
