//! Watches over an instance until it ends, of itself or because it is told to, and leaves nothing of it behind.

use std::sync::Arc;
use std::time::Duration;

use protocol::manifest::ModelProtocol;
use tokio::time::Instant;

use crate::instance::start::Attendants;
use crate::instance::{Death, DeathCause, Instance};
use crate::model::Health;

/// How often a living server is asked whether it can still run anything.
const HEALTH_PERIOD: Duration = Duration::from_secs(1);

/// How often an instance's files are looked at, and for how many times the length of a look it is then let alone.
const DISK_PERIOD: Duration = Duration::from_secs(1);
const DISK_REST: u32 = 20;

/// Returns once the whole process tree is gone, and its scratch directory with it.
pub async fn supervise(instance: Arc<Instance>, mut attendants: Attendants) -> Arc<Instance> {
    let cause = tokio::select! {
        exit = instance.confined().exited() => DeathCause::Exited(exit),
        () = worker_died(&instance) => DeathCause::WorkerDied,
        bytes_max = wrote_too_much(&instance) => DeathCause::WroteTooMuch { bytes_max },
        () = instance.retired() => DeathCause::Retired,
    };
    instance.confined().kill_all().await;
    instance.bury(Death { cause, oom: instance.confined().ended_by_oom() });
    attendants.shutdown().await;
    instance.lodging().clear().await;
    instance
}

/// No file may grow beyond the limit, the kernel sees to that; this looks at all of them together.
async fn wrote_too_much(instance: &Instance) -> u64 {
    loop {
        let began = Instant::now();
        let confined = instance.confined().clone();
        let bytes_max = confined.disk_bytes_max();
        let measured = tokio::task::spawn_blocking(move || confined.disk_bytes()).await;
        if matches!(measured, Ok(Ok(bytes)) if bytes > bytes_max) {
            return bytes_max;
        }
        tokio::time::sleep(DISK_PERIOD.max(began.elapsed() * DISK_REST)).await;
    }
}

/// Absorbs that Cog's server outlives its worker, and refuses everything from then on. Of a worker that died while nothing ran the server
/// says nothing at all, and does not reap it. One that rests is not asked.
async fn worker_died(instance: &Instance) {
    let is_cogs_server = instance.bundle.config.protocol == ModelProtocol::Cog && instance.bundle.config.command.is_empty();
    while instance.health().await != Some(Health::Dead) && !(is_cogs_server && instance.confined().has_dead_child()) {
        tokio::time::sleep(HEALTH_PERIOD).await;
    }
}
