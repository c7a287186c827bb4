//! What a hook may answer, as plain data, and the contract's types turned into it.

use crate::bindings::exports::feira::hook::{post, pre, stream_filter};
use crate::bindings::feira::hook::types;
use crate::call::Blob;
use crate::error::{Budget, FieldError, HookError};
use crate::report::Report;

/// More metrics in one answer are a mistake.
const METRICS_MAX: usize = 32;
/// More field errors than anybody reads.
const FIELD_ERRORS_MAX: usize = 64;
/// More parts of a cache key are a mistake.
const CACHE_KEY_PARTS_MAX: usize = 16;
/// Codes and messages are cut here: they go into headers of problems and pages.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// The answer of `before`.
#[derive(Clone, Debug, PartialEq)]
pub struct Before {
    /// What to do with the call.
    pub action: BeforeAction,
    /// Parts of the response-cache key; `None` is the canonical final input.
    pub cache_key: Option<Vec<String>>,
    /// Values to meter and log.
    pub metrics: Vec<Metric>,
    /// Files the hook wrote: `blob:<n>` counts on from the files of the call.
    pub blobs: Vec<Blob>,
    /// What the hook did.
    pub report: Report,
}

/// What `before` wants done with the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeforeAction {
    /// The input is right as it is.
    Pass,
    /// Call the model with this JSON document; it must be validated again.
    Replace(String),
    /// Do not call the model: this JSON document is the output.
    Respond(String),
}

/// The answer of `after`.
#[derive(Clone, Debug, PartialEq)]
pub struct After {
    /// What to do with the output.
    pub action: AfterAction,
    /// Values to meter and log.
    pub metrics: Vec<Metric>,
    /// Files the hook wrote: `blob:<n>` counts on from the files of the call.
    pub blobs: Vec<Blob>,
    /// What the hook did.
    pub report: Report,
}

/// What `after` wants done with the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterAction {
    /// The output is right as it is.
    Pass,
    /// This JSON document is the output.
    Replace(String),
}

/// A value that the gateway meters and logs.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Must be declared in the manifest; foreign text until then.
    pub name: String,
    /// Always finite.
    pub value: f64,
}

/// A piece of a streamed output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A piece of text.
    Text(String),
    /// An element that is not text, as JSON.
    Value(String),
}

impl Item {
    /// The text, or the JSON.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) | Self::Value(text) => text,
        }
    }
}

/// The answer to a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the items pushed, which come back here, as they are.
    Pass(Vec<Item>),
    /// Send nothing yet.
    Hold,
    /// Send these instead.
    Emit(Vec<Item>),
    /// Send these and end the stream; the model is cancelled.
    Stop(Vec<Item>),
}

/// The end of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    /// What the filter still held.
    pub items: Vec<Item>,
    /// Values to meter and log.
    pub metrics: Vec<Metric>,
    /// What the hook did in all of the stream.
    pub report: Report,
}

impl From<pre::Action> for BeforeAction {
    fn from(action: pre::Action) -> Self {
        match action {
            pre::Action::Pass => Self::Pass,
            pre::Action::Replace(input) => Self::Replace(input),
            pre::Action::Respond(output) => Self::Respond(output),
        }
    }
}

impl From<post::Action> for AfterAction {
    fn from(action: post::Action) -> Self {
        match action {
            post::Action::Pass => Self::Pass,
            post::Action::Replace(output) => Self::Replace(output),
        }
    }
}

impl From<stream_filter::Item> for Item {
    fn from(item: stream_filter::Item) -> Self {
        match item {
            stream_filter::Item::Text(text) => Self::Text(text),
            stream_filter::Item::Value(value) => Self::Value(value),
        }
    }
}

impl From<Item> for stream_filter::Item {
    fn from(item: Item) -> Self {
        match item {
            Item::Text(text) => Self::Text(text),
            Item::Value(value) => Self::Value(value),
        }
    }
}

pub(crate) fn require_cache_key(parts: Option<Vec<String>>) -> Result<Option<Vec<String>>, HookError> {
    match parts {
        Some(parts) if parts.len() > CACHE_KEY_PARTS_MAX => Err(HookError::Budget(Budget::CacheKey)),
        parts => Ok(parts),
    }
}

pub(crate) fn require_metrics(metrics: Vec<types::Metric>) -> Result<Vec<Metric>, HookError> {
    if metrics.len() > METRICS_MAX {
        return Err(HookError::Budget(Budget::Metrics));
    }
    if metrics.iter().any(|metric| !metric.value.is_finite()) {
        return Err(HookError::Internal("a metric is not a finite number".to_owned()));
    }
    Ok(metrics.into_iter().map(|metric| Metric { name: cut(metric.name), value: metric.value }).collect())
}

/// The hook's own word for why there is no answer.
pub(crate) fn refusal(error: types::HookError) -> HookError {
    match error {
        types::HookError::Invalid(fields) if fields.len() > FIELD_ERRORS_MAX => HookError::Budget(Budget::FieldErrors),
        types::HookError::Invalid(fields) => HookError::Invalid(fields.into_iter().map(field_error).collect()),
        types::HookError::Refused((code, message)) => HookError::Refused { code: cut(code), message: cut(message) },
        types::HookError::Internal(message) => HookError::Internal(cut(message)),
    }
}

fn field_error(field: types::FieldError) -> FieldError {
    FieldError { pointer: cut(field.pointer), code: cut(field.code), message: cut(field.message) }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MESSAGE_CHARS_MAX) {
        text.truncate(end);
    }
    text
}
