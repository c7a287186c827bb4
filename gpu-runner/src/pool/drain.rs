//! The end of a runner: what runs may finish, and nothing is left.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::Pool;

/// For the last events to reach the gateway.
const FORWARD_WAIT: Duration = Duration::from_secs(2);

impl Pool {
    /// What waits goes back to its gateway by its line ending; what runs may finish, for a while; then nothing is left.
    pub(super) async fn drain(mut self) {
        self.cards.withdraw();
        self.keep.cancel();
        self.waits.shutdown().await;
        self.rests.shutdown().await;
        self.floor.fleets.clear();
        self.starts.shutdown().await;
        let grace_ends = Instant::now() + self.drain_grace;
        while let Ok(Some(_)) = timeout_at(grace_ends, self.runs.join_next()).await {}
        self.around.halt.cancel();
        while self.runs.join_next().await.is_some() {}
        for instance in self.ready.values() {
            instance.retire();
        }
        while self.supervisions.join_next().await.is_some() {}
        while self.keeper.join_next().await.is_some() {}
        self.around.forwarders.close();
        timeout(FORWARD_WAIT, self.around.forwarders.wait()).await.ok();
        self.site.clear_all().await;
    }
}
