//! Who vouches for a version: its publisher for the files in it, and the operator for its having been published here.

mod operator;

use std::sync::Arc;

use protocol::manifest::VersionFile;
use protocol::signing::{BadSignature, Bundle, FilesStatement, KeyId, PublicKey};
use protocol::{ModelRef, Timestamp, VersionId};

use crate::cache::Cache;
use crate::caller::Caller;
use crate::db::account_key;
use crate::db::version_signature::{self, NewSignature};
use crate::deployments::Release;
use crate::models::ModelRow;
use crate::{Registry, RegistryError};

pub use operator::OperatorKey;
pub(crate) use operator::Unsigned;

/// By model id and version id.
pub(crate) type SignedVersions = Cache<(String, VersionId), Arc<[VersionSignature]>>;

/// Versions whose signatures are remembered.
pub(crate) const SIGNED_MAX: usize = 10_000;
/// How late another process may notice a signature, or a key that was revoked.
pub(crate) const SIGNED_TTL_MS: i64 = 5_000;
/// Of a version of ten thousand files, whose paths are long.
const BUNDLE_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// States which files a version has.
    Publisher,
    /// States that a version was published here, under which name and when.
    Operator,
}

impl Signer {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Operator => "operator",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Publisher, Self::Operator].into_iter().find(|signer| signer.name() == name)
    }
}

/// A signature that was checked when it came, and the key as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionSignature {
    pub signer: Signer,
    pub key: PublicKey,
    /// As its publisher calls it; the operator's have none.
    pub key_name: String,
    pub signed_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl VersionSignature {
    /// Whether it was there, and its key to be believed, at a moment.
    pub fn stood_at(&self, at: Timestamp) -> bool {
        self.signed_at <= at && self.revoked_at.is_none_or(|revoked_at| at < revoked_at)
    }
}

/// Why a signature is not accepted, for the one who sent it.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    #[error("the model has no such version")]
    VersionUnknown,
    #[error("a signature has at most {BUNDLE_BYTES_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Bad(#[from] BadSignature),
    #[error("the key {key} is not one of the publisher's: register it first with POST /v1/account/keys")]
    KeyUnknown { key: KeyId },
    #[error("the key {key} was revoked: sign with another")]
    KeyRevoked { key: KeyId },
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Registry {
    /// Takes a publisher's signature over a version that is there. The same key signs a version once.
    pub async fn add_signature(&self, caller: &Caller, model: &ModelRef, id: &VersionId, bundle: &str) -> Result<(), SignatureError> {
        let row = self.require_own_model(caller, model).await?;
        let version = self.find_version(&row, id).await?.ok_or(SignatureError::VersionUnknown)?;
        let key = self.check_signature(caller, &version.files, bundle).await?;
        let new = NewSignature {
            model_id: row.id.clone(),
            version: *id,
            signer: Signer::Publisher,
            key,
            bundle: bundle.to_owned(),
            signed_at: self.clock.now(),
        };
        self.db
            .write(move |tx| {
                let new = new.clone();
                Box::pin(async move { version_signature::insert(tx, &new).await })
            })
            .await?;
        self.signatures.forget(&(row.id.clone(), *id));
        Ok(())
    }

    /// Checks a signature of the caller's over files that it publishes, and tells which of its keys made it.
    pub async fn check_signature(&self, caller: &Caller, files: &[VersionFile], bundle: &str) -> Result<KeyId, SignatureError> {
        if bundle.len() > BUNDLE_BYTES_MAX {
            return Err(SignatureError::TooLarge);
        }
        let bundle = Bundle::from_json(bundle)?;
        let key = bundle.key_id()?;
        let account_id = caller.account.id.clone();
        let found = self.db.read(move |tx| Box::pin(async move { account_key::find(tx, &account_id, &key).await })).await?;
        let known = found.ok_or(SignatureError::KeyUnknown { key })?;
        if known.revoked_at.is_some_and(|revoked_at| revoked_at <= self.clock.now()) {
            return Err(SignatureError::KeyRevoked { key });
        }
        let statement = FilesStatement::read(&bundle.open(&known.key)?)?;
        statement.require(files).map_err(BadSignature::from)?;
        Ok(key)
    }

    /// All signatures over a version, the oldest first, mostly from memory.
    pub async fn list_signatures(&self, model: &ModelRow, id: &VersionId) -> Result<Arc<[VersionSignature]>, RegistryError> {
        let load = async {
            let (model_id, id) = (model.id.clone(), *id);
            let rows = self.db.read(move |tx| Box::pin(async move { version_signature::list(tx, &model_id, &id).await })).await?;
            Ok::<_, RegistryError>(Some(rows.into()))
        };
        let found = self.signatures.find_or_load(&(model.id.clone(), *id), &self.clock, load).await?;
        Ok(found.unwrap_or_default())
    }

    /// The Sigstore bundle of one of a version's signatures, in JSON.
    pub async fn find_bundle(&self, model: &ModelRow, id: &VersionId, key: &KeyId) -> Result<Option<String>, RegistryError> {
        let (model_id, id, key) = (model.id.clone(), *id, *key);
        self.db.read(move |tx| Box::pin(async move { version_signature::find_bundle(tx, &model_id, &id, &key).await })).await
    }

    /// Whether a release is what it was required to be: signed when it was made, by a key that was not revoked since before that.
    pub async fn release_is_signed(&self, release: &Release, model: &ModelRow) -> Result<bool, RegistryError> {
        Ok(!release.require_signature || self.is_signed_at(model, &release.version, release.created_at).await?)
    }

    /// Whether the publisher vouched for a version at a moment, by a key that was then to be believed.
    async fn is_signed_at(&self, model: &ModelRow, id: &VersionId, at: Timestamp) -> Result<bool, RegistryError> {
        let signatures = self.list_signatures(model, id).await?;
        Ok(signatures.iter().any(|signature| signature.signer == Signer::Publisher && signature.stood_at(at)))
    }
}

#[cfg(test)]
mod tests {
    use protocol::signing::SigningKey;

    use super::*;
    use crate::testing::{House, new_version, on_both_engines};

    fn bundle(key: &SigningKey, files: &[VersionFile]) -> String {
        Bundle::sign(key, &FilesStatement::of(files).to_bytes("echo")).to_json()
    }

    async fn published(house: &House, ada: &Caller) -> (Arc<ModelRow>, VersionId, Vec<VersionFile>) {
        let model = house.model(ada, "echo").await;
        let new = new_version("one");
        let files = new.files.clone();
        let version = house.publish(ada, &model.model, new).await;
        (model, version.id, files)
    }

    #[tokio::test]
    async fn a_publishers_signature_counts_from_when_it_came_until_its_key_is_revoked() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let (model, id, files) = published(&house, &ada).await;
            let key = SigningKey::of_seed(&[7; 32]);
            house.registry.add_key(&ada, "laptop", &key.public().to_pem()).await.unwrap();
            let before = house.clock.now();
            house.clock.advance_millis(1_000);
            for _ in 0..2 {
                house.registry.add_signature(&ada, &model.model, &id, &bundle(&key, &files)).await.unwrap();
            }
            let signed = house.clock.now();
            let publishers = house.registry.list_signatures(&model, &id).await.unwrap();
            let publishers: Vec<_> = publishers.iter().filter(|signature| signature.signer == Signer::Publisher).collect();
            assert_eq!((publishers.len(), publishers[0].key_name.as_str(), &publishers[0].key), (1, "laptop", key.public()));
            assert!(!house.registry.is_signed_at(&model, &id, before).await.unwrap());
            assert!(house.registry.is_signed_at(&model, &id, signed).await.unwrap());

            house.clock.advance_millis(1_000);
            house.registry.revoke_key(&ada, &key.public().id(), house.clock.now()).await.unwrap();
            assert!(house.registry.is_signed_at(&model, &id, signed).await.unwrap(), "what was released before stays");
            assert!(!house.registry.is_signed_at(&model, &id, house.clock.now()).await.unwrap());
            house.registry.revoke_key(&ada, &key.public().id(), before).await.unwrap();
            assert!(!house.registry.is_signed_at(&model, &id, signed).await.unwrap(), "unless the key was never to be believed");
        })
        .await;
    }

    #[tokio::test]
    async fn a_signature_by_an_unknown_or_revoked_key_or_for_other_files_or_by_a_stranger_is_refused() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let (model, id, files) = published(&house, &ada).await;
            let (mine, bobs) = (SigningKey::of_seed(&[7; 32]), SigningKey::of_seed(&[8; 32]));
            house.registry.add_key(&ada, "laptop", &mine.public().to_pem()).await.unwrap();
            house.registry.add_key(&bob, "desk", &bobs.public().to_pem()).await.unwrap();

            let add = async |caller: &Caller, bundle: String| house.registry.add_signature(caller, &model.model, &id, &bundle).await;
            let unknown = add(&ada, bundle(&bobs, &files)).await;
            assert!(matches!(unknown, Err(SignatureError::KeyUnknown { key }) if key == bobs.public().id()), "{unknown:?}");
            let foreign = add(&bob, bundle(&bobs, &files)).await;
            assert!(matches!(foreign, Err(SignatureError::Registry(RegistryError::NotOwner))), "{foreign:?}");
            let other = add(&ada, bundle(&mine, &new_version("two").files)).await;
            assert!(matches!(other, Err(SignatureError::Bad(BadSignature::OtherFiles(_)))), "{other:?}");
            let none = add(&ada, "{}".to_owned()).await;
            assert!(matches!(none, Err(SignatureError::Bad(BadSignature::NotABundle { .. }))), "{none:?}");
            house.registry.revoke_key(&ada, &mine.public().id(), house.clock.now()).await.unwrap();
            let revoked = add(&ada, bundle(&mine, &files)).await;
            assert!(matches!(revoked, Err(SignatureError::KeyRevoked { .. })), "{revoked:?}");
            assert!(!house.registry.is_signed_at(&model, &id, house.clock.now()).await.unwrap());
        })
        .await;
    }
}
