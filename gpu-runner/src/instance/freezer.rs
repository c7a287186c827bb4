//! Stops the processes of an idle instance until somebody needs them.

use std::io;

use tokio::sync::{RwLock, RwLockReadGuard};
use tokio_util::sync::CancellationToken;

use crate::sandbox::Confined;

/// Whether the processes are stopped. Held to read by who wants an answer of them, to write by who stops them or lets them go on.
#[derive(Debug, Default)]
pub struct Freezer(RwLock<bool>);

impl Freezer {
    /// Stops them once nobody waits for an answer, unless they are needed before. Returns whether they are stopped.
    pub async fn freeze(&self, confined: &Confined, needed: &CancellationToken) -> io::Result<bool> {
        let mut stopped = tokio::select! {
            biased;
            () = needed.cancelled() => return Ok(false),
            stopped = self.0.write() => stopped,
        };
        if !needed.is_cancelled() && !*stopped {
            // Before it is known: one that is broken off here, or not answered, may have stopped them.
            *stopped = true;
            confined.stop().await?;
        }
        Ok(*stopped)
    }

    /// Lets them go on. Returns whether they were stopped. Whoever calls it has said that they are needed, so that no stop follows.
    pub async fn thaw(&self, confined: &Confined) -> io::Result<bool> {
        if !*self.0.read().await {
            return Ok(false);
        }
        let mut stopped = self.0.write().await;
        if *stopped {
            confined.go_on().await?;
            *stopped = false;
            return Ok(true);
        }
        Ok(false)
    }

    /// As long as it is held they are not stopped; `None` when they are.
    pub async fn awake(&self) -> Option<RwLockReadGuard<'_, bool>> {
        Some(self.0.read().await).filter(|stopped| !**stopped)
    }
}
