//! What can be run and by whom: accounts, tokens, models and their immutable versions, blobs, files, and the catalogue that the road
//! reads from memory. No HTTP: the gateway has the door.

mod account_keys;
mod accounts;
mod blobs;
mod cache;
mod caller;
mod catalogue;
mod claims;
mod collect;
mod collections;
mod cursor;
mod db;
mod deployments;
mod error;
mod files;
mod hook_publisher;
mod input;
mod intake;
mod models;
mod oci;
mod pending;
mod possession;
mod search;
mod signatures;
mod storage;
mod tags;
mod tend;
#[cfg(test)]
mod testing;
mod tokens;
mod transfers;
mod uploads;
mod versions;

use std::path::PathBuf;
use std::sync::Arc;

use protocol::signing::SigningKey;
use protocol::{Clock, Entropy, ModelRef};
use store::Db;
use tokio::sync::Semaphore;

pub use account_keys::AccountKey;
pub use accounts::{Account, AccountKind, Role};
pub use blobs::{BLOB_BYTES_MAX, Blob, BlobError, Blobs, StoreFault, Stored};
pub use caller::Caller;
pub use catalogue::Catalogued;
pub use collect::Collected;
pub use collections::{Collection, CollectionPatch};
pub use cursor::{Direction, PAGE_ROWS, Page};
pub use deployments::{BadScale, Deployment, Linger, NewDeployment, Release, ReleaseChange, Scale};
pub use error::RegistryError;
pub use files::{FileRow, NewFile, Received};
pub use hook_publisher::{HookPublisher, OpenHookError};
pub use input::{BadSchema, InputSchema};
pub use models::{Links, ModelPatch, ModelRow, ModelSort, ModelsOf, NewModel, Visibility};
pub use oci::{ManifestRef, ManifestRow, NewManifest, OciError, PushedManifest, ReferrersOf};
pub use search::Found;
pub use signatures::{OperatorKey, SignatureError, Signer, VersionSignature};
pub use storage::{OverLimit, StorageRules, StorageUse};
pub use tags::TagMove;
pub use tokens::{NewToken, Scope, Scopes, TokenRow, UnknownScope, looks_like_a_token};
pub use transfers::Offer;
pub use uploads::{Piece, Upload, UploadError};
pub use versions::{PublishError, Published, VersionRow, VersionSummary};

use cache::Cache;
use catalogue::Catalogue;
use pending::Pending;
use signatures::SignedVersions;
use storage::Storage;
use uploads::Uploads;

/// What a registry stands on.
#[derive(Debug)]
pub struct RegistryParts {
    pub db: Db,
    pub blobs: Blobs,
    /// A local directory for partial uploads.
    pub spool: PathBuf,
    pub clock: Clock,
    pub entropy: Entropy,
    pub hooks: HookPublisher,
    /// With which the operator signs what is published.
    pub signing_key: SigningKey,
}

/// The registry. Clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    db: Db,
    blobs: Blobs,
    clock: Clock,
    entropy: Entropy,
    uploads: Arc<Uploads>,
    hooks: Arc<HookPublisher>,
    /// By id.
    accounts: Arc<Cache<String, Arc<Account>>>,
    /// By the hash of a token's secret.
    callers: Arc<Cache<String, Caller>>,
    catalogue: Arc<Catalogue>,
    deployments: Arc<Cache<ModelRef, Arc<Deployment>>>,
    signing_key: Arc<SigningKey>,
    /// By model id and version id.
    signatures: Arc<SignedVersions>,
    pending: Arc<Pending>,
    /// Places for looks into files that are to be published.
    looks: Arc<Semaphore>,
    storage: Arc<Storage>,
}

impl Registry {
    pub fn new(parts: RegistryParts) -> Self {
        Self {
            uploads: Arc::new(Uploads::new(parts.spool, parts.blobs.clone())),
            db: parts.db,
            blobs: parts.blobs,
            clock: parts.clock,
            entropy: parts.entropy,
            hooks: Arc::new(parts.hooks),
            accounts: Arc::new(Cache::new(caller::CALLERS_MAX, caller::CALLERS_TTL_MS)),
            callers: Arc::new(Cache::new(caller::CALLERS_MAX, caller::CALLERS_TTL_MS)),
            catalogue: Arc::default(),
            deployments: Arc::new(Cache::new(deployments::DEPLOYMENTS_MAX, deployments::DEPLOYMENTS_TTL_MS)),
            signing_key: Arc::new(parts.signing_key),
            signatures: Arc::new(Cache::new(signatures::SIGNED_MAX, signatures::SIGNED_TTL_MS)),
            pending: Arc::default(),
            looks: Arc::new(Semaphore::new(intake::LOOKS_AT_ONCE)),
            storage: Arc::new(Storage::new(StorageRules::default())),
        }
    }

    /// The same registry under other rules of what is kept.
    #[must_use]
    pub fn with_storage(self, rules: StorageRules) -> Self {
        Self { storage: Arc::new(Storage::new(rules)), ..self }
    }

    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }
}
