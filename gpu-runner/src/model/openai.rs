//! A server with the HTTP API of `OpenAI`: a prediction is one request to it, always streamed where the endpoint can, always with its usage.

mod request;

use ::http::{Method, StatusCode};
use protocol::wire::{FailCode, TokenUsage};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::http::{ModelHttp, read};
use super::lines::{Fields, StreamError};
use super::{Health, ModelEnd, Run};
use crate::backlog::{OUTPUT_BYTES_MAX, OutputTooLarge};
use request::Endpoint;

const REFUSAL_BYTES_MAX: usize = 256 * 1024;
/// One event of a stream; a token is a few bytes.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Clone, Debug)]
pub struct Openai {
    http: ModelHttp,
    /// Answers 200 once the model is loaded.
    ready: String,
}

impl Openai {
    pub const fn new(http: ModelHttp, ready: String) -> Self {
        Self { http, ready }
    }

    /// A server under load may answer late or not at all and is not dead for it; one that is dead, its process shows.
    pub async fn health(&self) -> Health {
        match self.http.call(Method::GET, &self.ready, None).await {
            Ok((StatusCode::OK, _)) => Health::Ready,
            Ok(_) => Health::Starting,
            Err(_) => Health::Silent,
        }
    }

    pub async fn predict(&self, run: Run<'_>) -> ModelEnd {
        let Some(spec) = &run.config.openai else {
            return ModelEnd::Failed { message: "the version does not say how its server is spoken to".to_owned() };
        };
        let endpoint = Endpoint::of(&spec.endpoint);
        let body = request::body(endpoint, spec.model.as_deref(), &run.input);
        let accept = if endpoint == Endpoint::Embeddings { "application/json" } else { "text/event-stream" };
        let sent_at = Instant::now();
        run.backlog.start(run.started.clone());
        let Ok(answer) = self.http.send(Method::POST, &spec.endpoint, accept, Some(&body)).await else { return ModelEnd::Died };
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            let body = read(answer.into_body(), REFUSAL_BYTES_MAX).await.unwrap_or_default();
            return refused(status, &body);
        }
        if endpoint == Endpoint::Embeddings {
            return match read(answer.into_body(), OUTPUT_BYTES_MAX).await {
                Ok(body) => embedded(&run, &body),
                Err(super::http::CallError::TooLong) => too_large(),
                Err(_) => ModelEnd::Died,
            };
        }
        Relay { run: &run, sent_at, first_at: None, usage: None, finish_reason: None }.relay(Fields::new(answer.into_body())).await
    }
}

/// A streamed answer on its way.
struct Relay<'a> {
    run: &'a Run<'a>,
    sent_at: Instant,
    first_at: Option<Instant>,
    usage: Option<TokenUsage>,
    /// Why the model stopped: `stop`, or `length` when it might have gone on.
    finish_reason: Option<String>,
}

impl Relay<'_> {
    async fn relay(mut self, mut fields: Fields) -> ModelEnd {
        loop {
            match fields.name().await.as_ref().map(Option::as_deref) {
                Ok(Some("data")) => {}
                Ok(Some(_)) => continue,
                Ok(None) if self.finish_reason.is_some() => return self.succeeded(),
                Ok(None) | Err(_) => return ModelEnd::Died,
            }
            let data = match fields.value(EVENT_BYTES_MAX).await {
                Ok(data) => data,
                Err(StreamError::TooLong(_)) => return too_large(),
                Err(StreamError::BrokenOff(_)) => return ModelEnd::Died,
            };
            if &data[..] == b"[DONE]" {
                return self.succeeded();
            }
            if let Err(end) = self.hear(&data) {
                return end;
            }
        }
    }

    fn hear(&mut self, data: &[u8]) -> Result<(), ModelEnd> {
        let Ok(piece) = serde_json::from_slice::<Piece>(data) else { return Ok(()) };
        if let Some(error) = piece.error {
            return Err(ModelEnd::Failed { message: words_of(&error).unwrap_or_else(|| error.to_string()) });
        }
        self.usage = piece.usage.map(TokenUsage::from).or(self.usage);
        let Some(choice) = piece.choices.into_iter().find(|choice| choice.index == 0) else { return Ok(()) };
        self.finish_reason = choice.finish_reason.or(self.finish_reason.take());
        let text = choice.delta.and_then(|delta| delta.content).or(choice.text).unwrap_or_default();
        if text.is_empty() {
            return Ok(());
        }
        self.first_at.get_or_insert_with(Instant::now);
        let bytes = text.len() + 2;
        self.run.backlog.output(Value::String(text), bytes).map_err(|OutputTooLarge| too_large())
    }

    fn succeeded(&self) -> ModelEnd {
        if let Some(reason) = &self.finish_reason {
            self.run.backlog.metric("finish_reason", json!(reason));
        }
        if let Some(first_at) = self.first_at {
            self.run.backlog.metric("time_to_first_token", json!((first_at - self.sent_at).as_secs_f64()));
        }
        if let Some(usage) = self.usage {
            self.run.backlog.metric("input_token_count", json!(usage.prompt));
            self.run.backlog.metric("output_token_count", json!(usage.completion));
            if let Some(rate) = self.first_at.and_then(|first_at| tokens_per_second(usage.completion, first_at.elapsed())) {
                self.run.backlog.metric("tokens_per_second", json!(rate));
            }
        }
        ModelEnd::Succeeded { usage: self.usage }
    }
}

/// The rate after the first token. `None` for an answer of one.
fn tokens_per_second(completion: u64, after_first: std::time::Duration) -> Option<f64> {
    let after = u32::try_from(completion.checked_sub(1).filter(|after| *after > 0)?).ok()?;
    let seconds = after_first.as_secs_f64();
    (seconds > 0.0).then(|| f64::from(after) / seconds)
}

fn embedded(run: &Run<'_>, body: &[u8]) -> ModelEnd {
    let Ok(answer) = serde_json::from_slice::<Embeddings>(body) else {
        return ModelEnd::Failed { message: "the model's server answered with something that is no list of embeddings".to_owned() };
    };
    let usage = answer.usage.map(TokenUsage::from);
    if let Some(usage) = usage {
        run.backlog.metric("input_token_count", json!(usage.prompt));
    }
    let vectors = Value::Array(answer.data.into_iter().map(|vector| vector.embedding).collect());
    match run.backlog.output(vectors, body.len()) {
        Ok(()) => ModelEnd::Succeeded { usage },
        Err(OutputTooLarge) => too_large(),
    }
}

fn too_large() -> ModelEnd {
    ModelEnd::GivenUp { code: FailCode::OutputTooLarge, message: OutputTooLarge.to_string() }
}

/// An answer that says whose fault it is: what the server takes for the caller's mistake stays the same however often it is tried.
fn refused(status: StatusCode, body: &[u8]) -> ModelEnd {
    let message = why_refused(status, body);
    let is_callers = matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY);
    if is_callers { ModelEnd::GivenUp { code: FailCode::InputRefused, message } } else { ModelEnd::Failed { message } }
}

fn why_refused(status: StatusCode, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    words_of(&body["error"]).or_else(|| words_of(&body)).unwrap_or_else(|| format!("the model's server answered with status {status}"))
}

fn words_of(error: &Value) -> Option<String> {
    let words = error["message"].as_str().or_else(|| error.as_str())?;
    Some(words.to_owned())
}

#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    delta: Option<Delta>,
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

impl From<Usage> for TokenUsage {
    fn from(usage: Usage) -> Self {
        Self { prompt: usage.prompt_tokens, completion: usage.completion_tokens }
    }
}

#[derive(Deserialize)]
struct Embeddings {
    data: Vec<Embedding>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Embedding {
    embedding: Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_servers_refusal_is_told_in_its_own_words() {
        let body = br#"{"error":{"message":"context length exceeded","type":"invalid_request_error"}}"#;
        assert_eq!(why_refused(StatusCode::BAD_REQUEST, body), "context length exceeded");
        assert_eq!(why_refused(StatusCode::BAD_GATEWAY, b"<html>"), "the model's server answered with status 502 Bad Gateway");
    }

    #[test]
    fn only_what_the_server_takes_for_the_callers_mistake_is_one() {
        let refused = |status| refused(status, b"{}");
        assert!(matches!(refused(StatusCode::BAD_REQUEST), ModelEnd::GivenUp { code: FailCode::InputRefused, .. }));
        assert!(matches!(refused(StatusCode::NOT_FOUND), ModelEnd::Failed { .. }));
        assert!(matches!(refused(StatusCode::SERVICE_UNAVAILABLE), ModelEnd::Failed { .. }));
    }

    #[test]
    fn the_rate_counts_the_tokens_after_the_first() {
        assert_eq!(tokens_per_second(11, Duration::from_secs(2)), Some(5.0));
        assert_eq!(tokens_per_second(1, Duration::from_secs(2)), None);
        assert_eq!(tokens_per_second(0, Duration::from_secs(2)), None);
    }
}
