//! What gateway and runner say to each other: an assignment one way, events back, and the card by which a runner is known.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::digest::VersionId;
use crate::id::PredictionId;
use crate::manifest::{Driver, VersionConfig, VersionFile};
use crate::name::ModelRef;
use crate::prediction::{ColdStart, Errand};

/// One prediction to run, with all that a runner needs to know about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assignment {
    pub prediction: PredictionId,
    /// Counts from 1; files that a lost attempt uploads late are not this one's.
    pub attempt: u32,
    /// Whom the queue is fair to.
    pub account: String,
    #[serde(default)]
    pub errand: Errand,
    /// The deployment whose own instances run it, and nobody else's do.
    #[serde(default)]
    pub deployment: Option<ModelRef>,
    pub bundle: Arc<Bundle>,
    /// Checked against the version's schema. Files stand in it as `https:`, `data:` or grant-relative (`/runner/inputs/…`) addresses.
    pub input: Value,
    pub grant: Grant,
}

/// A deployment's wish for instances of its own. It stands until the next list of orders lacks it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StandingOrder {
    /// `owner/name` of the deployment.
    pub deployment: ModelRef,
    pub bundle: Arc<Bundle>,
    /// The SKU that its instances run on.
    pub hardware: String,
    /// Kept warm though nobody asks.
    pub instances_min: u32,
    /// 0 runs nothing: what waits is cancelled.
    pub instances_max: u32,
    /// Spare ones beyond those that are busy, while any is.
    #[serde(default)]
    pub instances_buffer: u32,
    /// How long one stays that nobody uses; as long as the runner has it when not given.
    #[serde(default)]
    pub idle_seconds: Option<u32>,
    /// Opens the version's blobs, and no prediction's files.
    pub grant: Grant,
}

/// A version that was just published: one runner is to have an instance of it ready before anybody asks, if it has room to spare.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prewarm {
    pub runner: String,
    pub bundle: Arc<Bundle>,
    /// Opens the version's blobs, and no prediction's files.
    pub grant: Grant,
}

/// A version as a runner sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bundle {
    pub model: ModelRef,
    pub version: VersionId,
    pub config: VersionConfig,
    pub files: Vec<VersionFile>,
}

/// Leave to fetch this version's blobs and this prediction's input files, and to upload its output files, over HTTP for a short time:
/// `GET {base_url}/runner/blobs/{digest}`, `GET {base_url}{input address}` (for addresses that begin with `/runner/inputs/`), `PUT {base_url}/runner/files/{prediction}/{file name}` → `Location`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Grant {
    pub base_url: String,
    /// Sent as a bearer token.
    pub token: String,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// What happened on the runner, in order. `Started` comes at most once, `Ended` exactly once and last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The model has the prediction.
    Started(Started),
    Log {
        text: String,
    },
    /// One piece of an iterator's output, or the whole output of another model. A file is the `Location` its upload was answered with.
    Output {
        chunk: Value,
    },
    Metric {
        name: String,
        value: Value,
    },
    Ended(Ended),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// In the runner's queue, before a slot was free (cold start not counted).
    pub queue_us: u64,
    /// Absent when an instance was warm.
    pub cold: Option<ColdStart>,
    pub hardware: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    pub outcome: Outcome,
    /// From `Started` to the end by the runner's monotonic clock; 0 when it never started.
    pub run_us: u64,
    /// What an OpenAI-compatible server said it read and wrote; the gateway bounds it by what it relayed.
    pub usage: Option<TokenUsage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    Canceled,
    Failed {
        code: FailCode,
        /// For the caller: the model's own words, or what the platform saw.
        message: String,
    },
}

/// Why a prediction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailCode {
    /// The model said so.
    ModelError,
    /// The model's server refused the input as wrong: too long for its window, a setting that it does not have.
    InputRefused,
    SetupFailed,
    Oom,
    Timeout,
    /// Its process died.
    Killed,
    OutputTooLarge,
    /// A hook of the version failed.
    HookFailed,
    RunnerLost,
    NoCapacity,
    /// A blob of the version or an input file could not be had.
    FetchFailed,
    EnvironmentFailed,
    /// The caller's own `Cancel-After` ran out.
    Deadline,
    /// What a training made did not become a version.
    PublishFailed,
}

impl FailCode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::ModelError => "model_error",
            Self::InputRefused => "input_refused",
            Self::SetupFailed => "setup_failed",
            Self::Oom => "oom",
            Self::Timeout => "timeout",
            Self::Killed => "killed",
            Self::OutputTooLarge => "output_too_large",
            Self::HookFailed => "hook_failed",
            Self::RunnerLost => "runner_lost",
            Self::NoCapacity => "no_capacity",
            Self::FetchFailed => "fetch_failed",
            Self::EnvironmentFailed => "environment_failed",
            Self::Deadline => "deadline",
            Self::PublishFailed => "publish_failed",
        }
    }

    pub const fn fault(self) -> Fault {
        match self {
            Self::RunnerLost | Self::NoCapacity | Self::FetchFailed | Self::Deadline | Self::PublishFailed => Fault::Platform,
            Self::ModelError
            | Self::InputRefused
            | Self::SetupFailed
            | Self::Oom
            | Self::Timeout
            | Self::Killed
            | Self::OutputTooLarge
            | Self::HookFailed
            | Self::EnvironmentFailed => Fault::Model,
        }
    }
}

/// Whose failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    Model,
    Platform,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    pub prompt: u64,
    pub completion: u64,
}

/// A runner as the directory shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunnerCard {
    pub id: String,
    /// Names this run of it: what it counts begins at 0 with it.
    #[serde(default)]
    pub boot: String,
    pub region: String,
    /// SKUs that it has.
    pub hardware: Vec<String>,
    /// Whether it takes new assignments.
    pub accepting: bool,
    /// What it can start.
    #[serde(default = "processes")]
    pub drivers: Vec<Driver>,
    /// What protects it and its models from each other, in words: `namespaces, own user, no network`.
    pub isolation: String,
    pub versions: Vec<VersionCard>,
    /// What deployments have their instances wait, which is charged.
    #[serde(default)]
    pub kept: Vec<KeptCard>,
    /// Seats that are prepared for a version of an environment that was used lately.
    #[serde(default)]
    pub zygotes: u32,
    pub seen_at: Timestamp,
}

/// How long instances waited that a deployment keeps, since the runner's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCard {
    pub deployment: ModelRef,
    pub hardware: String,
    /// Microseconds of each of them together: their starts and their waits, no run.
    pub waited_us: u64,
}

/// What runners start that do not say it.
fn processes() -> Vec<Driver> {
    vec![Driver::Process]
}

/// How one version stands on one runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionCard {
    pub version: VersionId,
    #[serde(default)]
    pub errand: Errand,
    /// Whose instances these are; everybody's when there is none.
    #[serde(default)]
    pub deployment: Option<ModelRef>,
    pub model: ModelRef,
    pub hardware: String,
    /// Instances that are ready and awake.
    pub instances_warm: u32,
    /// Instances that are ready and rest, with their processes stopped.
    #[serde(default)]
    pub instances_frozen: u32,
    pub instances_starting: u32,
    /// Free places in ready instances, also in frozen ones.
    pub slots_idle: u32,
    pub slots_busy: u32,
    pub queued: u32,
    /// Resident bytes of its instances, where it is known.
    pub memory_bytes: u64,
    /// When the last idle instance is let go.
    pub warm_until: Option<Timestamp>,
}
