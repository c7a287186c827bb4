//! Watches over an instance until it ends, of itself or because it is told to, and leaves nothing of it behind.

use std::sync::Arc;
use std::time::Duration;

use crate::instance::start::{Attendants, Site};
use crate::instance::{Death, DeathCause, Instance};
use crate::model::{Health, Model};

/// How often a living server is asked whether it can still run anything.
const HEALTH_PERIOD: Duration = Duration::from_secs(1);

/// Returns once the whole process tree is gone, and its scratch directory with it.
pub async fn supervise(site: Arc<Site>, instance: Arc<Instance>, mut attendants: Attendants) -> Arc<Instance> {
    let cause = tokio::select! {
        exit = instance.confined().exited() => DeathCause::Exited(exit),
        () = worker_died(&instance.model) => DeathCause::WorkerDied,
        () = instance.retired() => DeathCause::Retired,
    };
    instance.confined().kill_all().await;
    instance.bury(Death { cause, oom: instance.confined().ended_by_oom() });
    attendants.shutdown().await;
    site.clear(instance.id).await;
    instance
}

/// Absorbs that Cog's server outlives its worker, and refuses everything from then on.
async fn worker_died(model: &Model) {
    while model.health().await != Health::Dead {
        tokio::time::sleep(HEALTH_PERIOD).await;
    }
}
