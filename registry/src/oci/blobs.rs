//! Blobs of a repository: an account reads those that a manifest names, and those that it brought itself.

use std::error::Error;

use bytes::Bytes;
use futures::Stream;
use protocol::{Digest, ModelRef};

use crate::caller::Caller;
use crate::db::named_blob;
use crate::models::{ModelRow, NewModel, Visibility};
use crate::oci::OciError;
use crate::uploads::Piece;
use crate::{Registry, RegistryError};

/// What a model runs on that was made by a push, as with `feira push`: whoever wants it on a GPU says so.
const HARDWARE: &str = "cpu";

impl Registry {
    /// The size of a blob, if this account may read it through the repository.
    pub async fn find_blob_in(&self, repository: &ModelRow, viewer_id: &str, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let readable = self.readable(&repository.id, viewer_id, vec![*digest]).await?;
        if readable.is_empty() { Ok(None) } else { self.find_blob(digest).await }
    }

    pub(super) async fn readable(&self, model_id: &str, account_id: &str, digests: Vec<Digest>) -> Result<Vec<Digest>, RegistryError> {
        let (model_id, account_id) = (model_id.to_owned(), account_id.to_owned());
        self.db.read(move |tx| Box::pin(async move { named_blob::readable(tx, &model_id, &account_id, &digests).await })).await
    }

    /// Stores a blob that comes whole, and puts it into the repository. `length` is what the sender says it has.
    pub async fn push_blob<S, E>(
        &self,
        caller: &Caller,
        repository: &ModelRef,
        digest: &Digest,
        length: Option<u64>,
        bytes: S,
    ) -> Result<(), OciError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        check_own(caller, repository)?;
        self.put_blob(caller, digest, length, bytes).await?;
        self.put_into(caller, repository, digest).await
    }

    /// Makes a blob of an upload and its last piece, and puts it into the repository.
    pub async fn push_upload<S, E>(
        &self,
        caller: &Caller,
        repository: &ModelRef,
        upload: &str,
        digest: &Digest,
        last: Piece<S>,
    ) -> Result<(), OciError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        check_own(caller, repository)?;
        self.close_upload(caller, upload, digest, last).await?;
        self.put_into(caller, repository, digest).await
    }

    /// Puts a blob of another repository into this one; false when this account cannot read it there.
    pub async fn mount_blob(&self, caller: &Caller, repository: &ModelRef, digest: &Digest, from: &ModelRef) -> Result<bool, OciError> {
        check_own(caller, repository)?;
        let Some(from) = self.find_model(from, &caller.account.id).await? else { return Ok(false) };
        let Some(size) = self.find_blob_in(&from, &caller.account.id, digest).await? else { return Ok(false) };
        self.hold(&caller.account.id, *digest, size).await?;
        self.put_into(caller, repository, digest).await?;
        Ok(true)
    }

    async fn put_into(&self, caller: &Caller, repository: &ModelRef, digest: &Digest) -> Result<(), OciError> {
        let row = self.require_repository(caller, repository).await?;
        let (model_id, account_id, digest, now) = (row.id.clone(), caller.account.id.clone(), *digest, self.clock.now());
        let loosen = self.db.write(move |tx| Box::pin(async move { named_blob::loosen(tx, &model_id, &digest, &account_id, now).await }));
        Ok(loosen.await?)
    }

    /// Takes a blob that no manifest names out of a repository.
    pub async fn delete_blob(&self, caller: &Caller, repository: &ModelRef, digest: &Digest) -> Result<(), OciError> {
        let row = self.require_own_model(caller, repository).await?;
        let (model_id, digest) = (row.id.clone(), *digest);
        let delete = self.db.write(move |tx| {
            Box::pin(async move {
                if named_blob::is_named(tx, &model_id, &digest).await? {
                    return Err(OciError::BlobInUse);
                }
                if named_blob::drop_loose(tx, &model_id, &digest).await? { Ok(()) } else { Err(OciError::BlobUnknown) }
            })
        });
        delete.await
    }

    /// Finds the caller's own repository, or makes it: private, until its owner says otherwise.
    pub(super) async fn require_repository(&self, caller: &Caller, repository: &ModelRef) -> Result<std::sync::Arc<ModelRow>, OciError> {
        check_own(caller, repository)?;
        if let Some(row) = self.load_model(repository).await? {
            return Ok(row);
        }
        match self.create_model(caller, NewModel::named(repository.clone(), Visibility::Private, HARDWARE)).await {
            Err(RegistryError::ModelTaken { .. }) => self.load_model(repository).await?.ok_or(OciError::RepositoryUnknown),
            created => Ok(created?),
        }
    }
}

/// A namespace is its account's, whether or not there is anything in it: a refusal tells nothing of what is.
pub(super) fn check_own(caller: &Caller, repository: &ModelRef) -> Result<(), OciError> {
    if repository.owner == caller.account.name { Ok(()) } else { Err(OciError::NotOwner) }
}
