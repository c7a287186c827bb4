//! Step 6: a runner for the prediction: one with a warm free slot, else the one with the least to do, else wait until there is one.

use std::cmp::Reverse;
use std::sync::Arc;

use protocol::VersionId;
use protocol::wire::{FailCode, RunnerCard, VersionCard};

use crate::Gateway;
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
        if let Some(runner) = choose(&cards, &admitted.hardware, admitted.live.version) {
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

/// Picks among the runners that have the hardware and take work: free warm slots first, then warm instances, then the shortest line.
fn choose<'a>(cards: &'a [Arc<RunnerCard>], hardware: &str, version: VersionId) -> Option<&'a Arc<RunnerCard>> {
    cards.iter().filter(|card| card.accepting && card.hardware.iter().any(|sku| sku == hardware)).max_by_key(|card| {
        let on_it: Option<&VersionCard> = card.versions.iter().find(|on_it| on_it.version == version);
        let busy: u32 = card.versions.iter().map(|version| version.slots_busy + version.queued).sum();
        on_it.map_or((false, false, Reverse(0), Reverse(busy)), |on_it| {
            (on_it.slots_idle > 0, on_it.instances_warm > 0, Reverse(on_it.queued), Reverse(busy))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Timestamp;
    use protocol::prediction::Errand;

    fn version() -> VersionId {
        "00".repeat(32).parse().unwrap()
    }

    fn card(id: &str, accepting: bool, hardware: &str, on_it: Option<(u32, u32, u32)>) -> Arc<RunnerCard> {
        let versions = on_it
            .map(|(instances_warm, slots_idle, queued)| VersionCard {
                version: version(),
                errand: Errand::Predict,
                deployment: None,
                model: "feira/hello-world".parse().unwrap(),
                hardware: hardware.to_owned(),
                instances_warm,
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
            region: "local".to_owned(),
            hardware: vec![hardware.to_owned()],
            accepting,
            isolation: String::new(),
            versions,
            seen_at: Timestamp::default(),
        })
    }

    fn chosen(cards: &[Arc<RunnerCard>]) -> Option<&str> {
        choose(cards, "cpu", version()).map(|card| card.id.as_str())
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
    fn a_runner_that_drains_or_lacks_the_hardware_is_never_chosen() {
        assert_eq!(chosen(&[card("draining", false, "cpu", None), card("gpu", true, "gpu-t4", None)]), None);
    }
}
