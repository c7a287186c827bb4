//! What a hook did, for the prediction's page and the operator: never what it read.

use serde::Serialize;

/// One call of a hook, or one stream from its opening to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Microseconds of processor time, starting its instance included.
    pub duration_us: u64,
    /// The most linear memory it had at a time, in bytes.
    pub memory_peak_bytes: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// What it logged, up to [`crate::Limits::log_lines_max`] and [`crate::Limits::log_bytes_max`].
    pub log: Vec<LogLine>,
}

/// How a call or a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything went through unchanged.
    Passed,
    /// It changed the input, the output or some item.
    Replaced,
    /// It answered in the model's place.
    Responded,
    /// It ended the stream early.
    Stopped,
    /// It found the input invalid.
    Invalid,
    /// It refused the call.
    Refused,
    /// It failed itself, see the [`crate::HookError`] beside the report.
    Failed,
}

/// A line that a guest wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// As the guest set it.
    pub level: LogLevel,
    /// As the guest wrote it: foreign text.
    pub message: String,
}

/// How much a line matters to its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Finer than debug.
    Trace,
    /// For the hook's author.
    Debug,
    /// Worth a line.
    Info,
    /// Something is off.
    Warn,
    /// Something is broken.
    Error,
}
