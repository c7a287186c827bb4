//! What accounts keep in the registry, and how much they may: counted from the moment an upload begins.
//!
//! Kept is what an account's versions name and what it has just sent; reserved is what it has announced and not yet sent whole. What is
//! reserved stands nowhere but in the spool and in the requests under way, so that it goes with them, however they end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::{Digest, Timestamp};
use store::Tx;

use crate::accounts::Account;
use crate::collect::GRACE_MIN;
use crate::db::holding;
use crate::{Registry, RegistryError};

/// How long an unnamed blob stays when nothing else is said.
const GRACE: Duration = Duration::from_hours(24);

/// What the operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageRules {
    /// Bytes that an account may keep unless it has a limit of its own; as much as there is room for when there is none.
    pub limit: Option<u64>,
    /// How long a blob stays that nothing names.
    pub grace: Duration,
}

impl Default for StorageRules {
    fn default() -> Self {
        Self { limit: None, grace: GRACE }
    }
}

/// What an account keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageUse {
    /// Bytes.
    pub kept: u64,
    /// Bytes of uploads under way.
    pub reserved: u64,
    /// Bytes.
    pub limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the account keeps {used} bytes and may keep {limit}, and this takes {asked} more: delete versions that are not needed, or ask the \
     operator for more"
)]
pub struct OverLimit {
    /// Bytes, those of uploads under way included.
    pub used: u64,
    pub asked: u64,
    pub limit: u64,
}

/// The rules, and the requests that are sending a blob whole.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    rules: StorageRules,
    /// Bytes by account.
    sending: Mutex<HashMap<String, u64>>,
    /// Begins come one after the other, so that two of them cannot both take an account's last room.
    beginning: tokio::sync::Mutex<()>,
}

/// Room for a blob that is being sent whole; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Sending<'s> {
    storage: &'s Storage,
    account_id: String,
    bytes: u64,
}

impl Storage {
    pub(crate) fn new(rules: StorageRules) -> Self {
        Self { rules: StorageRules { grace: rules.grace.max(GRACE_MIN), ..rules }, ..Self::default() }
    }

    pub(crate) fn grace_ms(&self) -> i64 {
        i64::try_from(self.rules.grace.as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) async fn begin(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.beginning.lock().await
    }

    pub(crate) fn send(&self, account_id: &str, bytes: u64) -> Sending<'_> {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        *sending.entry(account_id.to_owned()).or_default() += bytes;
        Sending { storage: self, account_id: account_id.to_owned(), bytes }
    }

    fn sending(&self, account_id: &str) -> u64 {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner).get(account_id).copied().unwrap_or_default()
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let mut sending = self.storage.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = sending.get_mut(&self.account_id) {
            *bytes -= self.bytes;
            if *bytes == 0 {
                sending.remove(&self.account_id);
            }
        }
    }
}

impl StorageUse {
    /// Bytes that may still come; `None` is no limit.
    pub fn room(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.kept + self.reserved))
    }

    /// # Errors
    /// [`OverLimit`] when so many bytes have no room.
    pub fn require(&self, asked: u64) -> Result<(), OverLimit> {
        match (self.room(), self.limit) {
            (Some(room), Some(limit)) if asked > room => Err(OverLimit { used: self.kept + self.reserved, asked, limit }),
            _ => Ok(()),
        }
    }
}

impl Registry {
    /// What an account keeps, what it has announced, and what it may.
    pub async fn storage_of(&self, account_id: &str) -> Result<StorageUse, RegistryError> {
        let sought = account_id.to_owned();
        let (kept, own_limit) = self.db.read(move |tx| Box::pin(async move { holding::sum(tx, &sought).await })).await?;
        let spooled = self.uploads.reserved(account_id).await.map_err(|error| RegistryError::Blob(crate::BlobError::Read(error)))?;
        let reserved = spooled + self.storage.sending(account_id);
        Ok(StorageUse { kept, reserved, limit: own_limit.or(self.storage.rules.limit) })
    }

    /// Gives an account a limit of its own, or, with none, that of the house.
    pub async fn set_storage_limit(&self, account: &Account, limit: Option<u64>) -> Result<(), RegistryError> {
        let account_id = account.id.clone();
        self.db.write(move |tx| Box::pin(async move { holding::set_limit(tx, &account_id, limit).await })).await?;
        Ok(())
    }

    /// Sees to it that there is room for a blob that an account announces; one that it keeps already takes none.
    pub(crate) async fn require_room(&self, account_id: &str, digest: &Digest, size: u64) -> Result<(), RegistryError> {
        let in_use = self.storage_of(account_id).await?;
        let Err(over) = in_use.require(size) else { return Ok(()) };
        let (account_id, digest) = (account_id.to_owned(), *digest);
        let is_kept = self.db.read(move |tx| Box::pin(async move { holding::has(tx, &account_id, &digest).await })).await?;
        if is_kept { Ok(()) } else { Err(over.into()) }
    }

    /// Counts a blob that has arrived.
    pub(crate) async fn hold(&self, account_id: &str, digest: Digest, size: u64) -> Result<(), RegistryError> {
        let (account_id, limit, now) = (account_id.to_owned(), self.storage.rules.limit, self.clock.now());
        let blobs = BTreeMap::from([(digest, size)]);
        self.db.write(move |tx| Box::pin(async move { hold_all(tx, &account_id, &blobs, limit, now).await })).await
    }

    pub(crate) fn house_limit(&self) -> Option<u64> {
        self.storage.rules.limit
    }
}

/// Counts blobs for an account, in the transaction that makes them its own. What it keeps already is never too much.
pub(crate) async fn hold_all(
    tx: &mut Tx,
    account_id: &str,
    blobs: &BTreeMap<Digest, u64>,
    house_limit: Option<u64>,
    now: Timestamp,
) -> Result<(), RegistryError> {
    let (before, own_limit) = holding::sum(tx, account_id).await?;
    holding::add(tx, account_id, blobs, now).await?;
    let Some(limit) = own_limit.or(house_limit) else { return Ok(()) };
    let (after, _) = holding::sum(tx, account_id).await?;
    if after > before && after > limit {
        return Err(OverLimit { used: before, asked: after - before, limit }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
