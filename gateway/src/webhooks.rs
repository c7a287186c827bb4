//! Webhooks: callers are told of what becomes of their predictions. `asked` reads what they ask for, `told` writes events into the outbox,
//! `deliver` takes them from there. None of it ever holds a prediction up.

mod asked;
mod deliver;
mod dial;
mod lanes;
mod sign;
mod told;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::Gateway;

pub(crate) use asked::{read, refuse_private};
pub(crate) use told::{completed, follow, started};

use lanes::Lanes;

/// How long a delivery can be looked at and sent again.
const KEPT_FOR: Duration = Duration::from_hours(7 * 24);
const PRUNE_EVERY: Duration = Duration::from_hours(1);

/// What this gateway knows of its deliveries.
#[derive(Debug, Default)]
pub(crate) struct Webhooks {
    /// Something may be due.
    wake: Notify,
    lanes: Lanes,
    delivered: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
}

impl Webhooks {
    /// Has the outbox looked at now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Deliveries since the start, by outcome.
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("delivered", read(&self.delivered)), ("failed", read(&self.failed)), ("abandoned", read(&self.abandoned))]
    }

    /// Ends once no try is under way, or when the longest one would have ended.
    pub async fn drained(&self) {
        let _ = tokio::time::timeout(dial::TRY_MAX, self.lanes.empty()).await;
    }
}

/// Starts the tasks that deliver the outbox and keep it small.
pub(crate) fn start(gateway: &Gateway) {
    gateway.tasks().spawn(deliver::tend(gateway.clone()));
    gateway.tasks().spawn(prune(gateway.clone()));
}

async fn prune(gateway: Gateway) {
    let mut rounds = tokio::time::interval(PRUNE_EVERY);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = gateway.stopped() => return,
        }
        let kept_ms = i64::try_from(KEPT_FOR.as_millis()).expect("a week is a number of milliseconds");
        let before = gateway.clock().now().plus_millis(-kept_ms);
        loop {
            match gateway.db().write(move |tx| Box::pin(crate::db::webhook::prune(tx, before))).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "old deliveries could not be removed and stay for another hour");
                    break;
                }
            }
        }
    }
}
