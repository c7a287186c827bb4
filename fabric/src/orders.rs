//! What deployments want kept warm: the list that the gateways agree on, and that runners watch.

use std::sync::Arc;

use protocol::wire::StandingOrder;
use tokio::sync::watch;

#[derive(Clone, Debug)]
pub struct Orders(Arc<watch::Sender<Arc<[StandingOrder]>>>);

impl Default for Orders {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Arc::default())))
    }
}

impl Orders {
    /// Puts a list in place of the one before it: what it lacks is no longer wanted.
    pub fn replace(&self, orders: Vec<StandingOrder>) {
        self.0.send_replace(orders.into());
    }

    /// The list as it is and as it changes.
    pub fn watch(&self) -> watch::Receiver<Arc<[StandingOrder]>> {
        self.0.subscribe()
    }
}
