//! Asks a store whether it will do: our rights in it, and that it does not replace what is there when told not to.

use std::time::Duration;

use object_store::path::Path;
use object_store::{Error as Refusal, ObjectStoreExt};
use protocol::Digest;

use super::{BlobError, Blobs};

/// Longer than a store takes that answers at all; without credentials the libraries ask the machine's cloud for some, and wait for it.
const CHECK_WITHIN: Duration = Duration::from_secs(20);

/// What stands in the way of a store, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    #[error("{place} is not there: make it, or correct --blobs, or the address ({address})")]
    Absent { place: String, address: &'static str },
    #[error("{place} refuses us: check {credentials}, and that they may read, write and delete there")]
    Refused { place: String, credentials: &'static str, source: Refusal },
    #[error("{place} did not answer in {} seconds: check its address ({address}) and {credentials}", CHECK_WITHIN.as_secs())]
    Silent { place: String, address: &'static str, credentials: &'static str },
    #[error("{place} replaces what is there although it is told not to (If-None-Match): blobs would not be safe in it")]
    Replaces { place: String },
    #[error("{place} fails: check its address ({address})")]
    Failed { place: String, address: &'static str, source: BlobError },
}

impl Blobs {
    /// Writes a small object, writes it again in vain, reads it and deletes it.
    pub async fn check(&self) -> Result<(), StoreFault> {
        let place = || self.place.to_string();
        let (address, credentials) = (self.place.address(), self.place.credentials());
        match tokio::time::timeout(CHECK_WITHIN, self.try_out()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(StoreFault::Replaces { place: place() }),
            Ok(Err(BlobError::Store(Refusal::NotFound { .. }))) => Err(StoreFault::Absent { place: place(), address }),
            Ok(Err(BlobError::Store(source @ (Refusal::PermissionDenied { .. } | Refusal::Unauthenticated { .. })))) => {
                Err(StoreFault::Refused { place: place(), credentials, source })
            }
            Ok(Err(source)) => Err(StoreFault::Failed { place: place(), address, source }),
            Err(_) => Err(StoreFault::Silent { place: place(), address, credentials }),
        }
    }

    /// What the store is, in words.
    pub fn place(&self) -> String {
        self.place.to_string()
    }

    /// True when a second write to one name was refused.
    async fn try_out(&self) -> Result<bool, BlobError> {
        let at = Path::from_iter(["staging".to_owned(), format!("check-{}", Digest::from_bytes(self.entropy.bytes()).hex())]);
        self.create(&at, "first".into()).await?;
        let replaced = self.create(&at, "second".into()).await?;
        let read = self.store.get(&at).await?.bytes().await?;
        self.store.delete(&at).await?;
        Ok(!replaced && read == "first")
    }
}
