//! A model's process as the runner speaks to it, whichever protocol it understands.

pub mod cog;
pub mod http;
mod lines;
pub mod openai;
mod prompt;

use protocol::prediction::Errand;
use protocol::wire::{FailCode, Started, TokenUsage};
use protocol::{PredictionId, VersionConfig};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::backlog::Backlog;
use crate::files::{Desk, RunFiles};

/// What a model has to do, and where it says how it went.
#[derive(Debug)]
pub struct Run<'a> {
    pub prediction: PredictionId,
    pub errand: Errand,
    pub config: &'a VersionConfig,
    pub input: Value,
    pub started: Started,
    pub desk: &'a Desk,
    pub files: &'a RunFiles,
    pub backlog: &'a Backlog,
    /// Cancelled before the model is asked to stop: then it was the runner's wish when it does.
    pub stop: CancellationToken,
}

/// How a run ended, as the model's side of the connection shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelEnd {
    Succeeded {
        usage: Option<TokenUsage>,
    },
    Canceled,
    /// The model said so.
    Failed {
        message: String,
    },
    /// The runner gave it up, and the model goes on.
    GivenUp {
        code: FailCode,
        message: String,
    },
    /// The process that ran it is gone.
    Died,
    /// It never reached the model; another instance may take it.
    NotTaken,
}

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing answers yet.
    Silent,
    Starting,
    Ready,
    SetupFailed {
        message: String,
    },
    /// It answers, and will never run anything again.
    Dead,
}

#[derive(Clone, Debug)]
pub enum Model {
    Cog(cog::Cog),
    Openai(openai::Openai),
}

impl Model {
    pub async fn health(&self) -> Health {
        match self {
            Self::Cog(cog) => cog.health().await,
            Self::Openai(openai) => openai.health().await,
        }
    }

    /// Dropping the future tells the model to stop, in the way of its protocol.
    pub async fn predict(&self, run: Run<'_>) -> ModelEnd {
        match self {
            Self::Cog(cog) => cog.predict(run).await,
            Self::Openai(openai) => openai.predict(run).await,
        }
    }

    /// Whether a dropped request is all that it takes to stop a prediction.
    pub const fn stops_when_dropped(&self) -> bool {
        matches!(self, Self::Openai(_))
    }

    /// Asks the model to stop a prediction. Returns whether it will say when it has.
    pub async fn cancel(&self, prediction: PredictionId) -> bool {
        match self {
            Self::Cog(cog) => cog.cancel(prediction).await,
            // A server stops when the request that it answers is dropped; there is nothing to ask it.
            Self::Openai(_) => false,
        }
    }
}
