//! What went wrong, as the caller is told: RFC 9457's `application/problem+json` with the fields that Replicate's clients read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error answer. `detail` says what to do next; it never carries a secret, a host or an internal path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct Problem {
    #[schema(example = "Input validation failed")]
    pub title: String,
    #[schema(example = "- input: prompt is required\n")]
    pub detail: String,
    /// The HTTP status, repeated.
    #[schema(example = 422)]
    pub status: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invalid_fields: Vec<InvalidField>,
    /// Whole seconds to wait before trying again; also sent as `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// One input that was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvalidField {
    /// The rule that was broken: `required`, `number_lte`, `enum`, …
    #[serde(rename = "type")]
    #[schema(example = "required")]
    pub kind: String,
    /// Where: `input`, `input.scale`, or empty for the request itself.
    #[schema(example = "input")]
    pub field: String,
    #[schema(example = "prompt is required")]
    pub description: String,
}

impl Problem {
    pub fn new(status: u16, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { title: title.into(), detail: detail.into(), status, invalid_fields: Vec::new(), retry_after: None }
    }

    /// A request that cannot be carried out, field by field; `detail` lists them a line each, as Replicate's API does.
    pub fn invalid(title: impl Into<String>, fields: Vec<InvalidField>) -> Self {
        let line = |field: &InvalidField| {
            let at = if field.field.is_empty() { String::new() } else { format!("{}: ", field.field) };
            format!("- {at}{}\n", field.description)
        };
        let detail: String = fields.iter().map(line).collect();
        Self { invalid_fields: fields, ..Self::new(422, title, detail) }
    }
}

impl InvalidField {
    pub fn new(kind: impl Into<String>, field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { kind: kind.into(), field: field.into(), description: description.into() }
    }
}
