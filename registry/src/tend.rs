//! The registry's own upkeep: writes what was noted in memory, clears away what has expired, and collects blobs that nothing names.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tokio_util::sync::CancellationToken;

use crate::db::{file, model, named_blob, token};
use crate::{Registry, RegistryError};

const FLUSH_EVERY: Duration = Duration::from_secs(5);
const SWEEP_EVERY: Duration = Duration::from_mins(15);
const COLLECT_EVERY: Duration = Duration::from_hours(1);
/// A start has enough to do.
const COLLECT_FIRST: Duration = Duration::from_mins(10);
/// A week: the slowest push of the largest weights has named them by then.
const UNCLAIMED_MS_MAX: i64 = 7 * 24 * 60 * 60 * 1_000;

impl Registry {
    /// Does the upkeep until it is told to stop, and then writes what is still noted. Its caller owns the task, of which there is one.
    pub async fn tend(&self, stop: CancellationToken) {
        // A collection may take long, and what was noted must not wait for it.
        tokio::join!(self.tend_notes(&stop), self.tend_blobs(&stop));
    }

    async fn tend_blobs(&self, stop: &CancellationToken) {
        let mut collect = interval_at(Instant::now() + COLLECT_FIRST, COLLECT_EVERY);
        collect.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let collecting = async {
            loop {
                collect.tick().await;
                match self.collect().await {
                    Ok(collected) if collected.blobs > 0 => tracing::info!(blobs = collected.blobs, bytes = collected.bytes, "collected"),
                    collected => log_failure("collection", collected.map(drop)),
                }
            }
        };
        // Dropped wherever it stands: what it had not finished, the next one does.
        tokio::select! {
            () = stop.cancelled() => {}
            () = collecting => {}
        }
    }

    async fn tend_notes(&self, stop: &CancellationToken) {
        let mut flush = interval(FLUSH_EVERY);
        let mut sweep = interval(SWEEP_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = flush.tick() => log_failure("flush", self.flush().await),
                _ = sweep.tick() => log_failure("sweep", self.sweep().await),
            }
        }
        log_failure("flush", self.flush().await);
    }

    /// Writes when tokens were used and how often models ran; what fails is tried again by the next flush.
    pub async fn flush(&self) -> Result<(), RegistryError> {
        let due = self.pending.take(self.clock.now());
        if due.uses.is_empty() && due.runs.is_empty() {
            return Ok(());
        }
        let kept = due.clone();
        let written = self.db.write(move |tx| {
            Box::pin(async move {
                for (token_id, used_at) in &due.uses {
                    token::touch(tx, token_id, *used_at).await?;
                }
                for (model_id, runs) in &due.runs {
                    model::add_runs(tx, model_id, *runs).await?;
                }
                Ok(())
            })
        });
        written.await.inspect_err(|_: &RegistryError| self.pending.put_back(kept))
    }

    /// Clears away uploads that nobody continues, files whose time is over, and blobs that no manifest came to name.
    pub async fn sweep(&self) -> Result<(), RegistryError> {
        self.list_old_versions().await?;
        let now = self.clock.now();
        self.db.write(move |tx| Box::pin(file::expire(tx, now))).await?;
        let unclaimed = now.plus_millis(-UNCLAIMED_MS_MAX);
        self.db.write(move |tx| Box::pin(named_blob::expire_loose(tx, unclaimed))).await?;
        self.uploads.sweep(now).await.map_err(|error| RegistryError::Blob(crate::BlobError::Read(error)))
    }
}

fn log_failure(what: &str, result: Result<(), RegistryError>) {
    if let Err(error) = result {
        tracing::warn!(error = &error as &dyn std::error::Error, "the {what} of the registry failed and is tried again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_both_engines;

    #[tokio::test]
    async fn runs_are_counted_in_memory_and_written_together() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            for _ in 0..3 {
                house.registry.count_run(&model);
            }
            house.registry.flush().await.unwrap();
            house.clock.advance_millis(60_000);
            let counted = house.registry.find_model(&model.model, &ada.account.id).await.unwrap().unwrap();
            assert_eq!(counted.run_count, 3);
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_still_noted_is_written_at_the_stop() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            house.registry.count_run(&model);
            let stop = CancellationToken::new();
            stop.cancel();
            house.registry.tend(stop).await;
            house.clock.advance_millis(60_000);
            assert_eq!(house.registry.find_model(&model.model, &ada.account.id).await.unwrap().unwrap().run_count, 1);
        })
        .await;
    }
}
