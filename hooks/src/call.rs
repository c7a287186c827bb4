//! One call as the gateway describes it: who, with which configuration, within which limits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// What a hook is told and may use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Call {
    /// The prediction's id.
    pub request_id: String,
    /// Owner of the model.
    pub owner: String,
    /// Name of the model.
    pub name: String,
    /// The 64 digits of the version.
    pub version: String,
    /// The caller's account. The guest sees a keyed hash of it that differs from hook to hook, never this.
    pub account: String,
    /// Whether the caller reads the output as it comes.
    pub streaming: bool,
    /// Milliseconds since the Unix epoch: all the time a guest can tell.
    pub now_ms: u64,
    /// All the randomness a guest has.
    pub seed: u64,
    /// The hook's configuration, a JSON document.
    pub config: Arc<str>,
    /// JSON Schema of the model's input.
    pub input_schema: Arc<str>,
    /// JSON Schema of the model's output.
    pub output_schema: Arc<str>,
    /// Files of the call: `blob:0`, `blob:1`, …
    pub blobs: Vec<Blob>,
    /// Whether the guest may keep values between calls, in memory, per account and hook.
    pub cache_granted: bool,
    /// Where it is stopped.
    pub limits: Limits,
}

/// A file of a call, or one that a hook wrote. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// As in `content-type`.
    pub media_type: String,
    /// The content.
    pub bytes: Bytes,
}

/// Where a hook is stopped. The defaults are those of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processor time of `before`: 50 ms.
    pub before_max: Duration,
    /// Processor time of `after`: 50 ms.
    pub after_max: Duration,
    /// Processor time of opening a stream, of each push and of finishing: 10 ms.
    pub push_max: Duration,
    /// Linear memory of all of the component's modules together: 64 MiB. Never above [`crate::EngineSettings::memory_bytes_max`].
    pub memory_bytes_max: usize,
    /// Bytes that one call across the boundary may copy out of the guest: 4 MiB.
    pub copied_bytes_max: usize,
    /// Lines logged in a call or a stream: 100.
    pub log_lines_max: usize,
    /// Bytes logged in a call or a stream: 16 KiB.
    pub log_bytes_max: usize,
    /// Cache lookups and writes in a call or a stream: 100.
    pub cache_calls_max: usize,
    /// Bytes of files written in a call: 16 MiB.
    pub blob_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            before_max: Duration::from_millis(50),
            after_max: Duration::from_millis(50),
            push_max: Duration::from_millis(10),
            memory_bytes_max: 64 * 1024 * 1024,
            copied_bytes_max: 4 * 1024 * 1024,
            log_lines_max: 100,
            log_bytes_max: 16 * 1024,
            cache_calls_max: 100,
            blob_bytes_max: 16 * 1024 * 1024,
        }
    }
}

impl Call {
    /// A call for starting a hook to see whether it starts.
    pub(crate) fn of_nobody() -> Self {
        let nothing: Arc<str> = Arc::from("{}");
        Self {
            request_id: String::new(),
            owner: String::new(),
            name: String::new(),
            version: String::new(),
            account: String::new(),
            streaming: false,
            now_ms: 0,
            seed: 0,
            config: nothing.clone(),
            input_schema: nothing.clone(),
            output_schema: nothing,
            blobs: Vec::new(),
            cache_granted: false,
            limits: Limits::default(),
        }
    }
}
