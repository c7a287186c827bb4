//! What the publisher may set in the version's manifest.

use serde::Deserialize;

/// What is taken out. Unknown keys are an error, so that a typo is noticed when the hook first runs.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// E-mail addresses.
    #[serde(default = "yes")]
    pub emails: bool,
    /// Payment card numbers.
    #[serde(default = "yes")]
    pub cards: bool,
}

const fn yes() -> bool {
    true
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
