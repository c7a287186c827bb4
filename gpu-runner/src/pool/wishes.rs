//! What a runner is told to have warm: the standing orders, and versions that were just published.

use std::sync::Arc;

use protocol::prediction::Errand;
use protocol::wire::{Prewarm, StandingOrder};
use tokio::sync::{broadcast, watch};

use super::Pool;
use super::fleet::FleetId;
use super::orders::Orders;

#[derive(Debug)]
pub struct Wishes {
    pub standing: watch::Receiver<Arc<[StandingOrder]>>,
    pub prewarms: broadcast::Receiver<Prewarm>,
}

impl Pool {
    /// Takes a new list of orders in place of the one before it.
    pub(super) fn follow(&mut self, list: Arc<[StandingOrder]>) {
        self.orders = Orders::new(list, self.cards.hardware());
        for (fleet, order) in self.orders.fleets() {
            self.known.insert(fleet, (order.bundle.clone(), order.grant.clone()));
        }
        for (fleet, (bundle, _)) in &self.known {
            self.floor.open(fleet, self.orders.needs(fleet, &bundle.config), self.orders.terms(fleet));
        }
    }

    /// Has a version of this runner's start, unless it is here already.
    pub(super) fn prewarm(&mut self, prewarm: Prewarm) {
        let Prewarm { runner, bundle, grant } = prewarm;
        let fleet = FleetId { version: bundle.version, errand: Errand::Predict, deployment: None };
        if runner != self.cards.runner() || self.floor.fleets.contains_key(&fleet) {
            return;
        }
        self.floor.open(&fleet, self.orders.needs(&fleet, &bundle.config), self.orders.terms(&fleet));
        self.floor.prewarm(&fleet);
        self.known.insert(fleet, (bundle, grant));
    }
}
