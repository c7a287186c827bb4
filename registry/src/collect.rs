//! Collecting blobs: what nothing names, and nobody has claimed for a while, goes.
//!
//! A blob is removed while the transaction that forgets it holds its row, so that whoever claims it meanwhile waits, and then finds it gone.
//! It is the one transaction that calls to somewhere else; what it asks for is bounded, and losing it leaves a row without a blob, which the
//! next look clears away.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use protocol::{Digest, Timestamp};

use crate::blobs::ListedBlob;
use crate::db::{blob, holding};
use crate::{Registry, RegistryError};

/// Blobs that one transaction removes, all at a time: few, for on `SQLite` every other write waits for it.
const REMOVED_AT_ONCE: usize = 16;
const LISTED_AT_ONCE: usize = 500;
const LOOKED_AT_ONCE: usize = 16;
/// Nobody counts on a claim that is younger being honoured.
pub(crate) const GRACE_MIN: Duration = Duration::from_secs(1);

/// What was collected, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    pub blobs: u64,
    pub bytes: u64,
}

impl Registry {
    /// Removes every blob that nothing names and nobody has claimed within the grace period.
    pub async fn collect(&self) -> Result<Collected, RegistryError> {
        self.list_old_versions().await?;
        let before = self.collected_before();
        self.adopt_strays().await?;
        self.blobs.remove_staged(before).await?;
        self.db.write(move |tx| Box::pin(holding::expire(tx, before))).await?;
        let mut collected = Collected::default();
        let mut past = String::new();
        loop {
            let found = self.unnamed(&past, before).await?;
            let Some(last) = found.last() else { return Ok(collected) };
            past = last.to_string();
            for digests in found.chunks(REMOVED_AT_ONCE) {
                collected += self.remove(digests.to_vec(), before).await?;
            }
        }
    }

    /// What [`Self::collect`] would remove now. Removes nothing.
    pub async fn collectable(&self) -> Result<Collected, RegistryError> {
        self.list_old_versions().await?;
        self.adopt_strays().await?;
        let before = self.collected_before();
        let mut collectable = Collected::default();
        let mut past = String::new();
        loop {
            let found = self.unnamed(&past, before).await?;
            let Some(last) = found.last() else { return Ok(collectable) };
            past = last.to_string();
            let sizes = stream::iter(found).map(|digest| async move { self.blobs.head(&digest).await }).buffer_unordered(LOOKED_AT_ONCE);
            let sizes: Vec<Option<u64>> = sizes.try_collect().await?;
            for size in sizes.into_iter().flatten() {
                collectable += Collected { blobs: 1, bytes: size };
            }
        }
    }

    fn collected_before(&self) -> Timestamp {
        self.clock.now().plus_millis(-self.storage.grace_ms())
    }

    async fn unnamed(&self, past: &str, before: Timestamp) -> Result<Vec<Digest>, RegistryError> {
        let past = past.to_owned();
        self.db.read(move |tx| Box::pin(async move { blob::unnamed(tx, &past, before).await })).await
    }

    async fn remove(&self, digests: Vec<Digest>, before: Timestamp) -> Result<Collected, RegistryError> {
        let blobs = self.blobs.clone();
        let removed = self.db.write(move |tx| {
            Box::pin(async move {
                let mut forgotten = Vec::new();
                for digest in digests {
                    if blob::forget(tx, &digest, before).await? {
                        forgotten.push(digest);
                    }
                }
                let removals = forgotten.into_iter().map(|digest| {
                    let blobs = blobs.clone();
                    async move { blobs.remove(&digest).await }
                });
                let removals = stream::iter(removals).buffer_unordered(REMOVED_AT_ONCE);
                let sizes: Vec<u64> = removals.try_collect().await?;
                Ok::<_, RegistryError>(Collected { blobs: sizes.len() as u64, bytes: sizes.iter().sum() })
            })
        });
        removed.await
    }

    /// Notes the blobs that the store has and of which there is no row: an earlier release put them there, or a writer that died.
    async fn adopt_strays(&self) -> Result<(), RegistryError> {
        let mut listed = self.blobs.list().try_chunks(LISTED_AT_ONCE);
        while let Some(chunk) = listed.next().await {
            let chunk: Vec<ListedBlob> = chunk.map_err(|error| error.1)?;
            let digests: Vec<Digest> = chunk.iter().map(|blob| blob.digest).collect();
            let strays = self.db.read(move |tx| Box::pin(async move { blob::strays(tx, &digests).await })).await?;
            let strays: Vec<ListedBlob> = chunk.into_iter().filter(|blob| strays.contains(&blob.digest)).collect();
            if strays.is_empty() {
                continue;
            }
            let adopt = self.db.write(move |tx| {
                Box::pin(async move {
                    for stray in strays {
                        blob::adopt(tx, &stray.digest, stray.written_at).await?;
                    }
                    Ok::<_, RegistryError>(())
                })
            });
            adopt.await?;
        }
        Ok(())
    }
}

impl std::ops::AddAssign for Collected {
    fn add_assign(&mut self, other: Self) {
        self.blobs += other.blobs;
        self.bytes += other.bytes;
    }
}

#[cfg(test)]
mod tests;
