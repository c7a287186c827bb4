//! Watches over an instance until it ends, of itself or because it is told to, and leaves nothing of it behind.

use std::sync::Arc;
use std::time::Duration;

use protocol::manifest::ModelProtocol;

use crate::instance::start::Attendants;
use crate::instance::{Death, DeathCause, Instance};
use crate::model::Health;

/// How often a living server is asked whether it can still run anything.
const HEALTH_PERIOD: Duration = Duration::from_secs(1);

/// Returns once the whole process tree is gone, and its scratch directory with it.
pub async fn supervise(instance: Arc<Instance>, mut attendants: Attendants) -> Arc<Instance> {
    let cause = tokio::select! {
        exit = instance.confined().exited() => DeathCause::Exited(exit),
        () = worker_died(&instance) => DeathCause::WorkerDied,
        () = instance.retired() => DeathCause::Retired,
    };
    instance.confined().kill_all().await;
    instance.bury(Death { cause, oom: instance.confined().ended_by_oom() });
    attendants.shutdown().await;
    instance.lodging().clear().await;
    instance
}

/// Absorbs that Cog's server outlives its worker, and refuses everything from then on. Of a worker that died while nothing ran the server
/// says nothing at all, and does not reap it. One that rests is not asked.
async fn worker_died(instance: &Instance) {
    let is_cogs_server = instance.bundle.config.protocol == ModelProtocol::Cog && instance.bundle.config.command.is_empty();
    while instance.health().await != Some(Health::Dead) && !(is_cogs_server && instance.confined().has_dead_child()) {
        tokio::time::sleep(HEALTH_PERIOD).await;
    }
}
