//! A prediction: its states, and the object that callers see.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::money::Credits;

/// The states of a prediction in the order in which it may pass through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Queued,
    Leased,
    Running,
    Succeeded,
    Failed,
    Canceled,
    /// Ended by its deadline before it started.
    Aborted,
}

impl State {
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled | Self::Aborted)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Aborted => "aborted",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Queued, Self::Leased, Self::Running, Self::Succeeded, Self::Failed, Self::Canceled, Self::Aborted]
            .into_iter()
            .find(|state| state.name() == name)
    }

    /// What callers are told. `aborted` is shown as `canceled`: every released client refuses or polls past the newer word.
    pub const fn status(self) -> Status {
        match self {
            Self::Queued | Self::Leased => Status::Starting,
            Self::Running => Status::Processing,
            Self::Succeeded => Status::Succeeded,
            Self::Failed => Status::Failed,
            Self::Canceled | Self::Aborted => Status::Canceled,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Starting,
    Processing,
    Succeeded,
    Failed,
    Canceled,
}

impl Status {
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// What is asked of a model: its `predict`, or its `train`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Errand {
    #[default]
    Predict,
    Train,
}

impl Errand {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Train => "train",
        }
    }
}

/// A prediction, or a training, as the API shows it: Replicate's object, with the cost and the whereabouts that it lacks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Prediction {
    #[schema(example = "01hf7yat00wjx3whax6rf4kq2p")]
    pub id: String,
    /// `owner/name`.
    #[schema(example = "feira/hello-world")]
    pub model: String,
    /// 64 hexadecimal digits.
    pub version: String,
    #[schema(value_type = Object)]
    pub input: Value,
    #[schema(value_type = Object, nullable)]
    pub output: Value,
    pub logs: String,
    pub error: Option<String>,
    pub status: Status,
    pub data_removed: bool,
    /// `api` or `web`.
    pub source: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deadline: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// Of a training: `owner/name` of the model that gets the trained version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// `predict_time` and `total_time` in seconds, token counts, and what the model recorded itself.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metrics: Map<String, Value>,
    pub urls: Urls,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_events_filter: Option<Vec<String>>,

    /// US dollars, once terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "0.0000215")]
    pub cost: Option<Credits>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cost_lines: Vec<CostLine>,
    /// How many run before it, while it waits: accounts take turns, and within an account the first to arrive is the first to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
    /// In how many seconds it starts, by how long the last ones ran, while it waits for an instance that is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_seconds: Option<f64>,
    /// Why it ended so: `setup_failed`, `oom`, `timeout`, `killed`, `runner_lost`, `deadline`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The SKU it ran, or will run, on.
    pub hardware: String,
    pub region: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookRun>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Urls {
    pub get: String,
    pub cancel: String,
    pub web: String,
    /// Server-sent events; needs no token, for the address itself is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}

/// One line of the bill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostLine {
    /// What was metered: `run_time`, `prompt_tokens`, `completion_tokens`.
    pub meter: String,
    /// How much, in the unit: seconds as a decimal, or a count.
    pub quantity: String,
    pub unit: String,
    /// US dollars a unit.
    pub unit_price: String,
    /// US dollars.
    #[schema(value_type = String)]
    pub amount: Credits,
}

/// Where the time went, each in microseconds; the waterfall of a run is drawn from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Timings {
    pub queue_us: u64,
    pub cold: Option<ColdStart>,
    pub before_us: Option<u64>,
    pub predict_us: u64,
    pub after_us: Option<u64>,
}

/// What had to be done before the model could run, by phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ColdStart {
    #[serde(default)]
    pub rung: Rung,
    /// Files fetched and verified.
    pub fetch_us: u64,
    /// The Python environment built, or found.
    pub environment_us: u64,
    /// The process started and answering.
    pub start_us: u64,
    /// The model's own setup.
    pub setup_us: u64,
}

impl ColdStart {
    pub const fn total_us(&self) -> u64 {
        self.fetch_us + self.environment_us + self.start_us + self.setup_us
    }
}

/// How much there was to do for a cold start: the first is the quickest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// An idle instance had been stopped, and went on.
    Frozen,
    /// A process that had imported everything but the version itself took it over.
    Zygote,
    /// A process was started, in an environment that was there or that is not needed.
    #[default]
    EnvironmentHit,
    /// The environment had to be built first.
    EnvironmentBuild,
}

impl Rung {
    pub const ALL: [Self; 4] = [Self::Frozen, Self::Zygote, Self::EnvironmentHit, Self::EnvironmentBuild];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Zygote => "zygote",
            Self::EnvironmentHit => "environment_hit",
            Self::EnvironmentBuild => "environment_build",
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Frozen => "from a frozen instance",
            Self::Zygote => "from a zygote",
            Self::EnvironmentHit => "in an environment that was there",
            Self::EnvironmentBuild => "with its environment built first",
        }
    }
}

/// What one hook did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HookRun {
    pub name: String,
    pub stage: String,
    /// `pass`, `replace`, `respond`, `refused`, `filter`, `failed`.
    pub outcome: String,
    pub duration_us: u64,
    pub memory_bytes: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub metrics: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_name_that_reads_back() {
        for state in [State::Queued, State::Leased, State::Running, State::Succeeded, State::Failed, State::Canceled, State::Aborted] {
            assert_eq!(State::parse(state.name()), Some(state));
            assert_eq!(state.is_terminal(), state.status().is_terminal());
        }
    }
}
