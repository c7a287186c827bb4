//! The predictions that wait: each is taken out of its queue when it is cancelled.

use std::collections::HashMap;
use std::sync::Arc;

use fabric::Call;
use protocol::PredictionId;
use protocol::wire::Assignment;
use tokio::task::{AbortHandle, JoinSet};

use super::fleet::FleetId;
use crate::run::Turn;

/// One attempt at a prediction.
pub type Attempt = (PredictionId, u32);

/// A prediction that waits.
#[derive(Clone, Debug)]
pub struct Who {
    pub fleet: FleetId,
    pub account: String,
    pub attempt: Attempt,
}

impl Who {
    pub fn of(assignment: &Assignment) -> Self {
        let fleet = FleetId { version: assignment.bundle.version, errand: assignment.errand, deployment: assignment.deployment.clone() };
        Self { fleet, account: assignment.account.clone(), attempt: (assignment.prediction, assignment.attempt) }
    }

    pub fn is(&self, turn: &Turn) -> bool {
        (turn.call.assignment.prediction, turn.call.assignment.attempt) == self.attempt
    }
}

/// One task for each: it ends when the prediction is cancelled.
#[derive(Debug, Default)]
pub struct Waits {
    cancels: JoinSet<Who>,
    of: HashMap<Attempt, AbortHandle>,
}

impl Waits {
    pub fn begin(&mut self, who: Who, call: Arc<Call>) {
        let attempt = who.attempt;
        let watch = self.cancels.spawn(async move {
            call.cancelled().await;
            who
        });
        self.of.insert(attempt, watch);
    }

    /// Its watch holds its line open.
    pub fn end(&mut self, turn: &Turn) {
        if let Some(watch) = self.of.remove(&Who::of(&turn.call.assignment).attempt) {
            watch.abort();
        }
    }

    /// The next that is cancelled; never returns when nothing waits. Cancel safe.
    pub async fn cancelled(&mut self) -> Who {
        loop {
            match self.cancels.join_next().await {
                Some(Ok(who)) => {
                    self.of.remove(&who.attempt);
                    return who;
                }
                // An aborted watch belongs to a prediction that does not wait any more.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    pub async fn shutdown(&mut self) {
        self.cancels.shutdown().await;
    }
}
