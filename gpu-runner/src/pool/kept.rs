//! How long instances waited that deployments keep, which is charged: the starts of those that became ready, and all time in which they did
//! not run anything.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ModelRef;
use protocol::wire::{KeptCard, StandingOrder};
use tokio::time::Instant;

use super::fleet::FleetId;
use super::floor::Floor;
use crate::micros;

/// A deployment on one kind of hardware.
type Whose = (ModelRef, String);

#[derive(Debug)]
pub struct Kept {
    waited: BTreeMap<Whose, Duration>,
    /// How many have waited since the last look.
    waiting: BTreeMap<Whose, u32>,
    looked_at: Instant,
}

impl Kept {
    pub const fn new(now: Instant) -> Self {
        Self { waited: BTreeMap::new(), waiting: BTreeMap::new(), looked_at: now }
    }

    /// Must come after every change of the floor: what waits now is taken to wait until the next look.
    pub fn look<'o, W, S>(&mut self, floor: &Floor<W, S>, orders: impl Iterator<Item = (FleetId, &'o StandingOrder)>, now: Instant) {
        let since = now.saturating_duration_since(self.looked_at);
        self.looked_at = now;
        for (whose, instances) in &self.waiting {
            *self.waited.entry(whose.clone()).or_default() += since * *instances;
        }
        self.waiting.clear();
        for (fleet, order) in orders.filter(|(_, order)| order.instances_min > 0) {
            let ready = || floor.serving(&fleet).filter(|(_, place)| place.is_ready());
            let kept = ready().count().min(order.instances_min as usize);
            let busy = ready().filter(|(_, place)| place.busy() > 0).count();
            let waiting = u32::try_from(kept.saturating_sub(busy)).unwrap_or(u32::MAX);
            if waiting > 0 {
                self.waiting.insert((order.deployment.clone(), order.hardware.clone()), waiting);
            }
        }
    }

    /// One of those that are kept has started.
    pub fn started<W, S>(&mut self, floor: &Floor<W, S>, fleet: &FleetId, order: &StandingOrder, took: Duration) {
        if floor.serving(fleet).filter(|(_, place)| place.is_ready()).count() <= order.instances_min as usize {
            *self.waited.entry((order.deployment.clone(), order.hardware.clone())).or_default() += took;
        }
    }

    pub fn cards(&self) -> Vec<KeptCard> {
        let card = |((deployment, hardware), waited): (&Whose, &Duration)| KeptCard {
            deployment: deployment.clone(),
            hardware: hardware.clone(),
            waited_us: micros(*waited),
        };
        self.waited.iter().map(card).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::fleet::{Needs, Terms, Waiting};
    use protocol::prediction::Errand;
    use protocol::wire::{Bundle, Grant};
    use protocol::{Digest, VersionId};
    use serde_json::json;
    use std::sync::Arc;

    const SECOND: Duration = Duration::from_secs(1);

    fn order(instances_min: u32) -> StandingOrder {
        let config = serde_json::from_value(json!({"protocol": "cog", "openapi_schema": {}})).unwrap();
        let version = VersionId::new(Digest::of(b"v"));
        StandingOrder {
            deployment: "acme/live".parse().unwrap(),
            bundle: Arc::new(Bundle { model: "acme/model".parse().unwrap(), version, config, files: Vec::new() }),
            hardware: "cpu".to_owned(),
            instances_min,
            instances_max: 3,
            instances_buffer: 0,
            idle_seconds: None,
            grant: Grant { base_url: String::new(), token: String::new() },
        }
    }

    #[test]
    fn what_is_kept_is_counted_while_it_waits_and_not_while_it_runs_or_starts_in_vain() {
        let (order, mut now) = (order(2), Instant::now());
        let fleet = FleetId { version: order.bundle.version, errand: Errand::Predict, deployment: Some(order.deployment.clone()) };
        let (mut floor, mut kept) = (Floor::new(8, 0), Kept::new(now));
        let needs = Needs { concurrency: 1, gpu: false, gpu_memory_bytes: 0, memory_bytes: 0 };
        floor.open(&fleet, needs, Terms { instances_min: 2, instances_max: 3, ..Terms::ON_DEMAND });
        let mut waited_s = |floor: &Floor<u32, ()>, now: Instant| {
            kept.look(floor, std::iter::once((fleet.clone(), &order)), now);
            kept.cards().first().map_or(0, |card| card.waited_us / 1_000_000)
        };
        let instances = [floor.start(fleet.clone(), None), floor.start(fleet.clone(), None), floor.start(fleet.clone(), None)];
        assert_eq!(waited_s(&floor, now), 0);
        now += SECOND;
        floor.ready(instances[0], vec![()], now);
        assert_eq!(waited_s(&floor, now), 0, "a start is counted when it has succeeded");
        now += SECOND;
        floor.ready(instances[1], vec![()], now);
        floor.ready(instances[2], vec![()], now);
        assert_eq!(waited_s(&floor, now), 1);
        now += SECOND;
        floor.arrive(&fleet, Waiting::since(now, 0)).unwrap();
        floor.take(instances[0]).unwrap();
        assert_eq!(waited_s(&floor, now), 3, "two, though three are there");
        now += SECOND;
        assert_eq!(waited_s(&floor, now), 4, "one of the two runs");
        kept.started(&floor, &fleet, &order, SECOND);
        assert_eq!(kept.cards()[0].waited_us, 4_000_000, "three are ready: that one came with demand");
    }
}
