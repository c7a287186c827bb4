//! What the standing orders say of each fleet.

use std::sync::Arc;
use std::time::Duration;

use protocol::VersionConfig;
use protocol::manifest::Resources;
use protocol::prediction::Errand;
use protocol::wire::StandingOrder;

use super::fleet::{FleetId, Needs, Terms};

const CPU: &str = "cpu";

#[derive(Debug, Default)]
pub struct Orders {
    list: Arc<[StandingOrder]>,
    /// What this machine has.
    hardware: Vec<String>,
}

impl Orders {
    pub fn new(list: Arc<[StandingOrder]>, hardware: &[String]) -> Self {
        Self { list, hardware: hardware.to_vec() }
    }

    /// The fleets that this machine is to keep.
    pub fn fleets(&self) -> impl Iterator<Item = (FleetId, &StandingOrder)> {
        self.list.iter().filter(|order| self.hardware.contains(&order.hardware)).map(|order| (fleet_of(order), order))
    }

    /// The order that the fleet is the current release of.
    pub fn order_of(&self, fleet: &FleetId) -> Option<&StandingOrder> {
        self.list.iter().find(|order| fleet_of(order) == *fleet)
    }

    /// A deployment's earlier releases, and deployments that are no more, keep nothing and finish what waits for them; so do trainings.
    pub fn terms(&self, fleet: &FleetId) -> Terms {
        let Some(deployment) = fleet.deployment.as_ref().filter(|_| fleet.errand == Errand::Predict) else {
            return if fleet.errand == Errand::Train { Terms::WHILE_ASKED } else { Terms::ON_DEMAND };
        };
        let Some(order) = self.list.iter().find(|order| order.deployment == *deployment) else { return Terms::WHILE_ASKED };
        let instances_max = order.instances_max as usize;
        if order.bundle.version != fleet.version {
            return Terms { instances_max, ..Terms::WHILE_ASKED };
        }
        let is_here = self.hardware.contains(&order.hardware);
        let instances_min = if is_here { instances_max.min(order.instances_min as usize) } else { 0 };
        let idle_expiry = order.idle_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        Terms { instances_min, instances_max, instances_buffer: order.instances_buffer as usize, lingers: true, idle_expiry }
    }

    /// A training has a process of its own; a deployment's hardware is the one that was ordered.
    pub fn needs(&self, fleet: &FleetId, config: &VersionConfig) -> Needs {
        let concurrency = if fleet.errand == Errand::Train { 1 } else { config.concurrency.max(1) };
        let gpu = self.order_of(fleet).map_or(config.resources.gpu, |order| order.hardware != CPU);
        let Resources { gpu_memory_bytes, memory_bytes, .. } = config.resources;
        Needs { concurrency, gpu, gpu_memory_bytes, memory_bytes }
    }
}

fn fleet_of(order: &StandingOrder) -> FleetId {
    FleetId { version: order.bundle.version, errand: Errand::Predict, deployment: Some(order.deployment.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::wire::{Bundle, Grant};
    use protocol::{Digest, VersionId};
    use serde_json::json;

    fn version(name: &str) -> VersionId {
        VersionId::new(Digest::of(name.as_bytes()))
    }

    fn config() -> VersionConfig {
        serde_json::from_value(json!({"protocol": "cog", "concurrency": 4, "openapi_schema": {}})).unwrap()
    }

    fn order(hardware: &str, instances_min: u32, instances_max: u32) -> Orders {
        let bundle = Bundle { model: "acme/model".parse().unwrap(), version: version("2"), config: config(), files: Vec::new() };
        let order = StandingOrder {
            deployment: "acme/live".parse().unwrap(),
            bundle: Arc::new(bundle),
            hardware: hardware.to_owned(),
            instances_min,
            instances_max,
            instances_buffer: 1,
            idle_seconds: Some(60),
            grant: Grant { base_url: String::new(), token: String::new() },
        };
        Orders::new(vec![order].into(), &["cpu".to_owned()])
    }

    fn fleet(version_name: &str, deployment: Option<&str>) -> FleetId {
        let deployment = deployment.map(|name| name.parse().unwrap());
        FleetId { version: version(version_name), errand: Errand::Predict, deployment }
    }

    #[test]
    fn an_order_keeps_its_current_release_and_lets_the_last_one_finish() {
        let orders = order("cpu", 2, 3);
        let (current, earlier) = (orders.terms(&fleet("2", Some("acme/live"))), orders.terms(&fleet("1", Some("acme/live"))));
        let idle_expiry = Some(Duration::from_mins(1));
        assert_eq!(current, Terms { instances_min: 2, instances_max: 3, instances_buffer: 1, lingers: true, idle_expiry });
        assert_eq!(earlier, Terms { instances_max: 3, ..Terms::WHILE_ASKED });
        assert_eq!(orders.terms(&fleet("2", Some("acme/gone"))), Terms::WHILE_ASKED);
        assert_eq!(orders.terms(&fleet("2", None)), Terms::ON_DEMAND);
        assert_eq!(orders.terms(&FleetId { errand: Errand::Train, ..fleet("2", None) }), Terms::WHILE_ASKED);
    }

    #[test]
    fn an_order_for_hardware_that_is_not_here_is_not_kept_here() {
        let orders = order("gpu-l4", 2, 3);
        assert_eq!(orders.fleets().count(), 0);
        let current = fleet("2", Some("acme/live"));
        assert_eq!(orders.terms(&current).instances_min, 0);
        assert!(orders.needs(&current, &config()).gpu && !orders.needs(&fleet("2", None), &config()).gpu);
    }

    #[test]
    fn a_minimum_above_the_maximum_is_the_maximum() {
        assert_eq!(order("cpu", 5, 0).terms(&fleet("2", Some("acme/live"))).instances_min, 0);
    }

    #[test]
    fn a_training_runs_alone() {
        let training = FleetId { errand: Errand::Train, ..fleet("2", None) };
        let orders = order("cpu", 0, 1);
        assert_eq!((orders.needs(&training, &config()).concurrency, orders.needs(&fleet("2", None), &config()).concurrency), (1, 4));
    }
}
