//! What is wanted warm: the list that the gateways agree on for deployments, and that runners watch; and versions that were just published, told once.

use std::sync::Arc;

use protocol::wire::{Prewarm, StandingOrder};
use tokio::sync::{broadcast, watch};

/// Versions that a runner may be behind with; what it misses starts when somebody asks.
const PREWARMS_MAX: usize = 64;

#[derive(Clone, Debug)]
pub struct Orders {
    list: Arc<watch::Sender<Arc<[StandingOrder]>>>,
    prewarms: broadcast::Sender<Prewarm>,
}

impl Default for Orders {
    fn default() -> Self {
        Self { list: Arc::new(watch::Sender::new(Arc::default())), prewarms: broadcast::Sender::new(PREWARMS_MAX) }
    }
}

impl Orders {
    /// Puts a list in place of the one before it: what it lacks is no longer wanted.
    pub fn replace(&self, orders: Vec<StandingOrder>) {
        self.list.send_replace(orders.into());
    }

    /// The list as it is and as it changes.
    pub fn watch(&self) -> watch::Receiver<Arc<[StandingOrder]>> {
        self.list.subscribe()
    }

    /// Tells the runners of a version that was just published.
    pub fn prewarm(&self, prewarm: Prewarm) {
        // Nobody listens where there is no runner.
        self.prewarms.send(prewarm).ok();
    }

    /// What is told from now on.
    pub fn prewarms(&self) -> broadcast::Receiver<Prewarm> {
        self.prewarms.subscribe()
    }
}
