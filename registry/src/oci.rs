//! Models as OCI clients see them: repositories of manifests and blobs. A version is a manifest that can be run; what else is pushed is
//! kept beside the versions, under tags of the same history.

mod blobs;
mod image;
mod manifests;
mod push;

use std::collections::BTreeMap;

use protocol::{Digest, ModelRef, Tag};
use store::StoreError;

use crate::blobs::BlobError;
use crate::uploads::UploadError;
use crate::versions::PublishError;
use crate::{Registry, RegistryError};

pub use manifests::ReferrersOf;
pub use push::{NewManifest, PushedManifest};

/// How a client names a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestRef {
    Tag(Tag),
    Digest(Digest),
}

/// What is known of a manifest without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRow {
    pub digest: Digest,
    /// As it was pushed.
    pub media_type: String,
    /// What referrers are filtered by; empty where there is none.
    pub artifact_type: String,
    pub annotations: BTreeMap<String, String>,
    /// Bytes.
    pub size: u64,
}

/// What is in the way of an OCI client.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    #[error("the repository does not exist, or is not yours to see")]
    RepositoryUnknown,
    #[error("only the account that a repository is named after pushes to it")]
    NotOwner,
    #[error("the repository has no such manifest")]
    ManifestUnknown,
    #[error("the manifest {why}")]
    ManifestInvalid { why: String },
    #[error("the manifest has the digest {found}, not {expected}")]
    WrongDigest { expected: Digest, found: Digest },
    #[error("these must be pushed to the repository first: {}", listed(.digests))]
    AbsentParts { digests: Vec<Digest> },
    #[error("{digest} has {found} bytes, not {stated}")]
    WrongSize { digest: Digest, stated: u64, found: u64 },
    #[error("the repository has no such blob")]
    BlobUnknown,
    #[error("a manifest names the blob: delete that first")]
    BlobInUse,
    #[error(transparent)]
    Publish(PublishError),
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Registry(RegistryError),
}

impl From<RegistryError> for OciError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::ModelUnknown => Self::RepositoryUnknown,
            RegistryError::NotOwner => Self::NotOwner,
            error => Self::Registry(error),
        }
    }
}

impl From<PublishError> for OciError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Registry(error) => error.into(),
            PublishError::ModelUnknown => Self::RepositoryUnknown,
            PublishError::NotOwner => Self::NotOwner,
            error => Self::Publish(error),
        }
    }
}

impl From<BlobError> for OciError {
    fn from(error: BlobError) -> Self {
        Self::Registry(error.into())
    }
}

impl From<StoreError> for OciError {
    fn from(error: StoreError) -> Self {
        Self::Registry(error.into())
    }
}

fn listed(digests: &[Digest]) -> String {
    digests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Registry {
    /// Lists repositories that hold something and that this account may see, by name, past `last`.
    pub async fn list_repositories(&self, viewer_id: &str, last: &str, count: usize) -> Result<Vec<ModelRef>, RegistryError> {
        let (owner, name) = last.split_once('/').unwrap_or((last, ""));
        let (viewer_id, owner, name) = (viewer_id.to_owned(), owner.to_owned(), name.to_owned());
        let rows_max = i64::try_from(count).unwrap_or(i64::MAX);
        let repositories = self
            .db
            .read(move |tx| Box::pin(async move { crate::db::manifest::repositories(tx, &viewer_id, (&owner, &name), rows_max).await }));
        repositories.await
    }
}

#[cfg(test)]
mod tests;
