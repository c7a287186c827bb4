//! Step 6: a runner for the prediction: one with a warm free slot of its own line, else the one with the least to do, else wait for one.

use std::cmp::Reverse;
use std::sync::Arc;

use protocol::manifest::Driver;
use protocol::wire::{FailCode, RunnerCard, VersionCard};

use crate::Gateway;
use crate::live::Live;
use crate::prediction::{Admitted, Ended};

/// A runner that takes the prediction: it runs it in a warm slot, starts an instance, or queues it in the version's line.
#[derive(Debug)]
pub(super) struct Placed {
    pub runner: Arc<RunnerCard>,
}

#[derive(Debug)]
pub(super) enum Unplaced {
    Ended(Ended),
    /// This gateway stops; the next one takes the prediction over.
    Stopping,
}

/// Waits for a runner at most as long as the queue may hold a prediction.
pub(super) async fn place(gateway: &Gateway, admitted: &Admitted) -> Result<Placed, Unplaced> {
    let mut changes = gateway.fabric().directory().watch();
    let expired = tokio::time::sleep(gateway.config().queue_ttl);
    tokio::pin!(expired);
    loop {
        changes.mark_unchanged();
        let cards = gateway.fabric().directory().cards();
        let driver = admitted.catalogued.version.config.driver;
        if let Some(runner) = choose(&cards, &admitted.hardware, driver, &admitted.live) {
            return Ok(Placed { runner: runner.clone() });
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = admitted.live.cancelled().cancelled() => return Err(Unplaced::Ended(Ended::canceled())),
            () = admitted.overdue() => return Err(Unplaced::Ended(Ended::overdue(false))),
            () = gateway.stopping() => return Err(Unplaced::Stopping),
            () = &mut expired => {
                let message = format!("no runner with {} was free in time", admitted.hardware);
                return Err(Unplaced::Ended(Ended::failed(FailCode::NoCapacity, message)));
            }
        }
    }
}

/// Picks among the runners that have the hardware and the driver and take work: free slots first and of those the ones that are awake, then
/// warm instances, then the shortest line.
fn choose<'a>(cards: &'a [Arc<RunnerCard>], hardware: &str, driver: Driver, live: &Live) -> Option<&'a Arc<RunnerCard>> {
    let can = |card: &RunnerCard| card.hardware.iter().any(|sku| sku == hardware) && card.drivers.contains(&driver);
    cards.iter().filter(|card| card.accepting && can(card)).max_by_key(|card| {
        let on_it: Option<&VersionCard> = card.versions.iter().find(|on_it| serves(on_it, live));
        let busy: u32 = card.versions.iter().map(|version| version.slots_busy + version.queued).sum();
        on_it.map_or((false, false, false, Reverse(0), Reverse(busy)), |on_it| {
            let (is_free, is_awake) = (on_it.slots_idle > 0, on_it.instances_warm > 0);
            (is_free, is_awake, is_awake || on_it.instances_frozen > 0, Reverse(on_it.queued), Reverse(busy))
        })
    })
}

/// Whether these are the instances that would run it: a deployment's run only its own predictions, and a training runs in one of its own.
fn serves(on_it: &VersionCard, live: &Live) -> bool {
    on_it.version == live.version && on_it.errand == live.errand && on_it.deployment == live.deployment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::PredictionRow;
    use crate::db::prediction::tests::row;
    use crate::live::LiveSet;
    use protocol::Timestamp;
    use protocol::prediction::Errand;

    fn card(id: &str, accepting: bool, hardware: &str, on_it: Option<(u32, u32, u32)>) -> Arc<RunnerCard> {
        let versions = on_it
            .map(|(instances_warm, slots_idle, queued)| VersionCard {
                version: row().version,
                errand: Errand::Predict,
                deployment: None,
                model: "feira/hello-world".parse().unwrap(),
                hardware: hardware.to_owned(),
                instances_warm,
                instances_frozen: 0,
                instances_starting: 0,
                slots_idle,
                slots_busy: 0,
                queued,
                memory_bytes: 0,
                warm_until: None,
            })
            .into_iter()
            .collect();
        Arc::new(RunnerCard {
            id: id.to_owned(),
            boot: String::new(),
            region: "local".to_owned(),
            hardware: vec![hardware.to_owned()],
            accepting,
            drivers: vec![Driver::Process],
            isolation: String::new(),
            versions,
            kept: Vec::new(),
            zygotes: 0,
            seen_at: Timestamp::default(),
        })
    }

    fn chosen(cards: &[Arc<RunnerCard>]) -> Option<&str> {
        chosen_for(cards, row())
    }

    fn chosen_for(cards: &[Arc<RunnerCard>], row: PredictionRow) -> Option<&str> {
        choose(cards, "cpu", Driver::Process, &LiveSet::default().enter(row)).map(|card| card.id.as_str())
    }

    /// The same card, with instances that are a deployment's, or that train.
    fn card_of(id: &str, errand: Errand, deployment: Option<&str>) -> Arc<RunnerCard> {
        let mut card = Arc::unwrap_or_clone(card(id, true, "cpu", Some((1, 1, 0))));
        card.versions[0].errand = errand;
        card.versions[0].deployment = deployment.map(|name| name.parse().unwrap());
        Arc::new(card)
    }

    #[test]
    fn a_warm_instance_of_another_line_is_no_reason_to_choose_a_runner() {
        let cards = [
            card_of("everybody's", Errand::Predict, None),
            card_of("prod", Errand::Predict, Some("ada/prod")),
            card_of("staging", Errand::Predict, Some("ada/staging")),
            card_of("training", Errand::Train, None),
        ];
        let of = |name: &str| PredictionRow { deployment: Some(name.parse().unwrap()), ..row() };
        assert_eq!(chosen_for(&cards, row()), Some("everybody's"));
        assert_eq!(chosen_for(&cards, of("ada/prod")), Some("prod"));
        assert_eq!(chosen_for(&cards, of("ada/staging")), Some("staging"));
        assert_eq!(chosen_for(&cards, PredictionRow { errand: Errand::Train, ..row() }), Some("training"));
    }

    #[test]
    fn a_warm_free_slot_is_preferred_to_a_queue_and_a_queue_to_nothing() {
        let idle = card("idle", true, "cpu", Some((1, 1, 0)));
        let queued = card("queued", true, "cpu", Some((1, 0, 3)));
        let cold = card("cold", true, "cpu", None);
        assert_eq!(chosen(&[cold.clone(), queued.clone(), idle]), Some("idle"));
        assert_eq!(chosen(&[cold.clone(), queued]), Some("queued"));
        assert_eq!(chosen(&[cold]), Some("cold"));
    }

    #[test]
    fn a_frozen_instance_is_preferred_to_a_cold_start_and_one_that_is_awake_to_it() {
        let mut frozen = Arc::unwrap_or_clone(card("frozen", true, "cpu", Some((0, 1, 0))));
        frozen.versions[0].instances_frozen = 1;
        let frozen = Arc::new(frozen);
        let (awake, cold) = (card("awake", true, "cpu", Some((1, 1, 0))), card("cold", true, "cpu", None));
        assert_eq!(chosen(&[cold.clone(), frozen.clone(), awake]), Some("awake"));
        assert_eq!(chosen(&[cold, frozen]), Some("frozen"));
    }

    #[test]
    fn a_runner_that_drains_or_lacks_the_hardware_is_never_chosen() {
        let processes = [card("processes", true, "cpu", None)];
        assert!(choose(&processes, "cpu", Driver::Oci, &LiveSet::default().enter(row())).is_none(), "it starts no images");
        assert_eq!(chosen(&[card("draining", false, "cpu", None), card("gpu", true, "gpu-t4", None)]), None);
    }
}
