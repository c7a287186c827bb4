//! `OpenAI`'s objects as we fill them. `feira` is ours; clients pass over what they do not know.

use protocol::{Credits, ModelRef};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Endpoint, ended};
use crate::db::prediction::PredictionRow;

/// What the answer was made by, and what it cost.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Feira {
    /// The id of the prediction.
    prediction: String,
    /// US dollars.
    #[schema(value_type = Option<String>, example = "0.0000215")]
    cost: Option<Credits>,
}

impl Feira {
    pub fn of(row: &PredictionRow) -> Self {
        Self { prediction: row.id.to_string(), cost: row.cost }
    }
}

/// Tokens as they are counted, and billed where the price is by the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "they are `OpenAI`'s")]
pub(crate) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl Usage {
    pub fn of(row: &PredictionRow) -> Self {
        let count = |name: &str| row.metrics.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (prompt_tokens, completion_tokens) = (count("input_token_count"), count("output_token_count"));
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// What all answers in text begin with.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Head {
    /// The prediction's id behind `chatcmpl-` or `cmpl-`.
    pub id: String,
    #[schema(value_type = String)]
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: i64,
    /// As the caller named it.
    #[schema(example = "feira/smol-chat")]
    pub model: String,
    /// The version that answered.
    pub system_fingerprint: String,
}

impl Head {
    pub fn of(row: &PredictionRow, model: &str, prefix: &str, object: &'static str) -> Self {
        let version = row.version.to_string();
        Self {
            id: format!("{prefix}-{}", row.id),
            object,
            created: row.created_at.seconds(),
            model: model.to_owned(),
            system_fingerprint: format!("fp_{}", version.get(..12).unwrap_or(&version)),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatCompletion {
    #[serde(flatten)]
    head: Head,
    choices: [ChatChoice; 1],
    usage: Usage,
    feira: Feira,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChoice {
    index: u32,
    message: ChatMessage,
    #[schema(value_type = Option<Object>)]
    logprobs: Option<Value>,
    /// `stop`, `length` or `content_filter`.
    finish_reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatMessage {
    #[schema(value_type = String)]
    role: &'static str,
    content: String,
    refusal: Option<String>,
}

impl ChatCompletion {
    pub fn of(row: &PredictionRow, model: &str) -> Self {
        let message = ChatMessage { role: "assistant", content: ended::text_of(&row.output), refusal: None };
        Self {
            head: Head::of(row, model, "chatcmpl", "chat.completion"),
            choices: [ChatChoice { index: 0, message, logprobs: None, finish_reason: ended::finish_reason(row).to_owned() }],
            usage: Usage::of(row),
            feira: Feira::of(row),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TextCompletion {
    #[serde(flatten)]
    head: Head,
    choices: [TextChoice; 1],
    usage: Usage,
    feira: Feira,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TextChoice {
    index: u32,
    text: String,
    #[schema(value_type = Option<Object>)]
    logprobs: Option<Value>,
    /// `stop`, `length` or `content_filter`.
    finish_reason: String,
}

impl TextCompletion {
    pub fn of(row: &PredictionRow, model: &str) -> Self {
        let choice =
            TextChoice { index: 0, text: ended::text_of(&row.output), logprobs: None, finish_reason: ended::finish_reason(row).to_owned() };
        Self { head: Head::of(row, model, "cmpl", "text_completion"), choices: [choice], usage: Usage::of(row), feira: Feira::of(row) }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingList {
    #[schema(value_type = String)]
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: EmbeddingUsage,
    feira: Feira,
}

#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "they are `OpenAI`'s")]
pub(crate) struct Embedding {
    #[schema(value_type = String)]
    object: &'static str,
    index: u32,
    /// A list of numbers, or their bytes in base64.
    #[schema(value_type = Object)]
    embedding: Value,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl Embedding {
    pub const fn new(index: u32, embedding: Value) -> Self {
        Self { object: "embedding", index, embedding }
    }
}

impl EmbeddingList {
    pub fn of(row: &PredictionRow, model: &str, data: Vec<Embedding>) -> Self {
        let tokens = Usage::of(row).prompt_tokens;
        let usage = EmbeddingUsage { prompt_tokens: tokens, total_tokens: tokens };
        Self { object: "list", data, model: model.to_owned(), usage, feira: Feira::of(row) }
    }
}

/// A model that can be asked here.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelObject {
    #[schema(example = "feira/smol-chat")]
    id: String,
    #[schema(value_type = String)]
    object: &'static str,
    created: i64,
    owned_by: String,
    feira: ModelFacts,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelFacts {
    /// Where it answers, below `/openai`.
    #[schema(value_type = String, example = "/v1/chat/completions")]
    endpoint: &'static str,
    version: String,
}

impl ModelObject {
    pub fn new(id: String, model: &ModelRef, created: i64, endpoint: Endpoint, version: String) -> Self {
        Self { id, object: "model", created, owned_by: model.owner.clone(), feira: ModelFacts { endpoint: endpoint.path(), version } }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList {
    #[schema(value_type = String)]
    object: &'static str,
    data: Vec<ModelObject>,
}

impl ModelList {
    pub const fn new(data: Vec<ModelObject>) -> Self {
        Self { object: "list", data }
    }
}
