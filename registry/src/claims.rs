//! Blobs as callers count on them: whoever does says so first, and from then on no collector takes the blob for a while.
//!
//! The order is what makes it safe: claim, then look whether the blob is there. A collector that was faster has taken it by then, and one
//! that comes later sees the claim. See docs/decisions/0005-what-is-kept.md.

use std::collections::HashSet;
use std::error::Error;

use bytes::Bytes;
use futures::Stream;
use protocol::{Clock, Digest, Timestamp};
use store::Tx;

use crate::blobs::{BLOB_BYTES_MAX, BlobError, Stored};
use crate::caller::Caller;
use crate::db::blob;
use crate::db::manifest::{self, NewManifestRow};
use crate::storage::{OverLimit, hold_all};
use crate::versions::PublishError;
use crate::{Registry, RegistryError};

/// What somebody holds who has claimed blobs, until a manifest names them.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    until: Timestamp,
    clock: Clock,
    house_limit: Option<u64>,
}

impl Claim {
    /// Writes down a manifest and counts it and what it names for an account. What it names is there as long as the claims hold, and from
    /// this transaction on because it is named.
    pub(crate) async fn list(&self, tx: &mut Tx, listed: &NewManifestRow, account_id: &str) -> Result<(), PublishError> {
        let parts = listed.parts();
        let digests: Vec<Digest> = parts.keys().copied().collect();
        let collected = blob::touch_noted(tx, &digests, listed.created_at).await?;
        if !collected.is_empty() {
            return Err(PublishError::AbsentBlobs { digests: collected });
        }
        if self.clock.now() >= self.until {
            return Err(RegistryError::BlobCollected.into());
        }
        manifest::insert(tx, listed).await?;
        Ok(hold_all(tx, account_id, &parts, self.house_limit, listed.created_at).await?)
    }
}

impl Registry {
    /// Keeps these blobs from being collected for at least three quarters of the grace period, whether they are here or about to come.
    pub async fn claim_blobs(&self, digests: &[Digest]) -> Result<(), RegistryError> {
        if digests.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        // A claim that is young enough serves for this one too: whoever pushes the same again writes nothing.
        let young = now.plus_millis(-(self.storage.grace_ms() / 4));
        let asked = digests.to_vec();
        let claimed = self.db.read(move |tx| Box::pin(async move { blob::touched_since(tx, &asked, young).await })).await?;
        let claimed: HashSet<Digest> = claimed.into_iter().collect();
        let due: Vec<Digest> = digests.iter().filter(|digest| !claimed.contains(digest)).copied().collect();
        if due.is_empty() {
            return Ok(());
        }
        self.db.write(move |tx| Box::pin(async move { blob::touch(tx, &due, now).await })).await
    }

    /// Comes before the first of the claims that are to hold.
    pub(crate) fn begin_claim(&self) -> Claim {
        let until = self.clock.now().plus_millis(self.storage.grace_ms() / 4 * 3);
        Claim { until, clock: self.clock.clone(), house_limit: self.house_limit() }
    }

    /// The size of a blob in bytes, if it is here; then it stays for a while.
    pub async fn find_blob(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        if self.blobs.head(digest).await?.is_none() {
            return Ok(None);
        }
        self.claim_blobs(std::slice::from_ref(digest)).await?;
        Ok(self.blobs.head(digest).await?)
    }

    /// Stores a blob that comes whole. `length` is what the sender says it has; who says nothing may send what there is room for.
    pub async fn put_blob<S, E>(&self, caller: &Caller, digest: &Digest, length: Option<u64>, stream: S) -> Result<Stored, RegistryError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let account_id = &caller.account.id;
        let turn = self.storage.begin().await;
        self.require_room(account_id, digest, length.unwrap_or(0)).await?;
        let in_use = self.storage_of(account_id).await?;
        let _sending = self.storage.send(account_id, length.unwrap_or(0));
        drop(turn);
        self.claim_blobs(&[*digest]).await?;
        let bytes_max = length.or(in_use.room()).unwrap_or(BLOB_BYTES_MAX).min(BLOB_BYTES_MAX);
        let stored = match (self.blobs.put_stream(Some(digest), bytes_max, stream).await, in_use.limit) {
            (Err(BlobError::TooLarge { .. }), Some(limit)) if length.is_none() && bytes_max < BLOB_BYTES_MAX => {
                return Err(OverLimit { used: limit - bytes_max, asked: bytes_max + 1, limit }.into());
            }
            (stored, _) => stored?,
        };
        self.hold(account_id, stored.digest, stored.size).await?;
        Ok(stored)
    }
}
