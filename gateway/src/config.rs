//! What an operator may set about the gateway. Read once at the edge of the program.

use std::time::Duration;

use crate::limits::LimitsConfig;

/// The gateway's settings.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The address that callers use, when it is not the one they connect to (behind a proxy).
    pub public_url: Option<String>,
    /// Where runners reach this gateway for blobs and files.
    pub internal_url: String,
    /// Shown on predictions.
    pub region: String,
    /// Whether no other gateway can have this database open, so that what another boot left behind may be taken over at once.
    pub sole: bool,
    /// How long a prediction is this gateway's without renewal; it is renewed at a third of it.
    pub lease: Duration,
    /// How long a prediction may wait for a runner before it fails with `no_capacity`.
    pub queue_ttl: Duration,
    /// Runs of one prediction before a lost runner or gateway fails it.
    pub attempts_max: u32,
    /// How long running predictions may take to end once the gateway is told to stop.
    pub drain: Duration,
    /// Bytes of one uploaded file.
    pub file_bytes_max: u64,
    /// Bytes of an ordinary JSON request.
    pub body_bytes_max: usize,
    /// Bytes of a prediction's output, as JSON.
    pub output_bytes_max: usize,
    /// Bytes of a prediction's logs; the first and the last of them are kept.
    pub log_bytes_max: usize,
    /// How often tokens may call.
    pub limits: LimitsConfig,
    /// How long after its end a prediction keeps its input, output, logs and files; for ever when there is none.
    pub retention: Option<Duration>,
    /// Whether a version is started when it is published, where a runner has room to spare.
    pub prewarm: bool,
    /// Whether webhooks may be sent to private addresses: for a network of one's own, whose callers are all trusted with it.
    pub webhook_private: bool,
    /// Client connections at a time.
    pub connections_max: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            public_url: None,
            internal_url: "http://127.0.0.1:8080".to_owned(),
            region: "local".to_owned(),
            sole: false,
            lease: Duration::from_secs(15),
            queue_ttl: Duration::from_mins(10),
            attempts_max: 3,
            drain: Duration::from_secs(20),
            file_bytes_max: 100 * 1024 * 1024,
            body_bytes_max: 8 * 1024 * 1024,
            output_bytes_max: 64 * 1024 * 1024,
            log_bytes_max: 1024 * 1024,
            limits: LimitsConfig::default(),
            retention: None,
            prewarm: true,
            webhook_private: false,
            connections_max: 16_384,
        }
    }
}
