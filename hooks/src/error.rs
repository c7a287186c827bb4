//! Why a call of a hook has no answer, and whose fault that is.

use thiserror::Error;

use crate::report::Report;

/// A call that failed, with what the hook did until then.
#[derive(Clone, Debug, Error)]
#[error("{error}")]
pub struct Failure {
    /// Why.
    #[source]
    pub error: HookError,
    /// Time, memory and log lines up to the failure.
    pub report: Report,
}

/// Why a call of a hook has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HookError {
    /// The hook finds the input invalid: 422 with these fields.
    #[error("the hook found the input invalid in {} place(s)", .0.len())]
    Invalid(Vec<FieldError>),
    /// The hook says no: 403 with its code and message.
    #[error("the hook refused the call: {code}")]
    Refused {
        /// The hook's own code.
        code: String,
        /// For people; foreign text.
        message: String,
    },
    /// The hook says that it failed itself.
    #[error("the hook failed: {0}")]
    Internal(String),
    /// The guest trapped, or what it returned is not what the contract says.
    #[error("the hook trapped: {0}")]
    Trap(String),
    /// The guest ran, or waited, longer than it may.
    #[error("the hook did not end within {limit_ms} ms")]
    Deadline {
        /// The limit of this call, in milliseconds of running.
        limit_ms: u64,
    },
    /// The guest asked for more memory or table entries than it may have.
    #[error("the hook needs more than {limit_bytes} bytes of memory")]
    Memory {
        /// The limit of this call.
        limit_bytes: u64,
    },
    /// The guest used more of something counted than it may.
    #[error("the hook used more {0} than it may")]
    Budget(Budget),
    /// The component does not export what was called.
    #[error("the hook has no `{0}`")]
    NotExported(&'static str),
    /// The stream has failed or was stopped before.
    #[error("the stream of this hook is over")]
    StreamOver,
    /// Every sandbox is in use: 503, worth another try.
    #[error("all hook sandboxes are in use, try again")]
    Busy,
}

/// A field of the input that a hook rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// RFC 6901 pointer into the input.
    pub pointer: String,
    /// The hook's own code.
    pub code: String,
    /// For people; foreign text.
    pub message: String,
}

/// What is counted per call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Budget {
    /// Bytes that one call across the boundary copies from the guest.
    #[error("copied bytes")]
    CopiedBytes,
    /// Lines logged.
    #[error("log lines")]
    LogLines,
    /// Bytes logged.
    #[error("log bytes")]
    LogBytes,
    /// Metrics in one answer.
    #[error("metrics")]
    Metrics,
    /// Fields in one refusal.
    #[error("field errors")]
    FieldErrors,
    /// Parts of a cache key.
    #[error("cache key parts")]
    CacheKey,
    /// Handles open at a time.
    #[error("open handles")]
    Handles,
}

/// Who must act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller's input: 422, or 403.
    Caller,
    /// The hook itself: 502, or the call goes on without it, as the version's `on_error` says.
    Hook,
    /// This host: 503.
    Host,
}

impl HookError {
    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Invalid(_) | Self::Refused { .. } => Fault::Caller,
            Self::Internal(_)
            | Self::Trap(_)
            | Self::Deadline { .. }
            | Self::Memory { .. }
            | Self::Budget(_)
            | Self::NotExported(_)
            | Self::StreamOver => Fault::Hook,
            Self::Busy => Fault::Host,
        }
    }
}
