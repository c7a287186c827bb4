//! The operator's signature: over every version, that it was published here. Made when it is published, or by the next sweep.

use protocol::signing::{Bundle, PublicKey, PublishedStatement};
use protocol::{ModelRef, Timestamp, VersionId};

use super::Signer;
use crate::db::operator_key;
use crate::db::version_signature::{self, NewSignature};
use crate::models::ModelRow;
use crate::{Registry, RegistryError};

/// Versions that one transaction of the sweep signs.
const SIGNED_AT_A_TIME: i64 = 100;

/// A key that an operator of this installation signs with, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorKey {
    pub key: PublicKey,
    pub created_at: Timestamp,
    /// True of the one that signs now, here.
    pub is_current: bool,
}

/// A version that no operator has signed.
#[derive(Clone, Debug)]
pub(crate) struct Unsigned {
    pub(crate) model_id: String,
    pub(crate) model: ModelRef,
    pub(crate) version: VersionId,
    pub(crate) published_at: Timestamp,
}

impl Registry {
    /// Signs a version that was published just now. It is published all the same when that fails: the next sweep tries again.
    pub(crate) async fn sign_published(&self, model: &ModelRow, version: VersionId, published_at: Timestamp) {
        let unsigned = Unsigned { model_id: model.id.clone(), model: model.model.clone(), version, published_at };
        if let Err(error) = self.sign(vec![unsigned]).await {
            tracing::warn!(error = &error as &dyn std::error::Error, %version, "the version is not signed yet; the next sweep tries again");
        }
    }

    /// Signs what is not signed yet: what was published before there was a key, or when signing failed.
    pub(crate) async fn sign_unsigned(&self) -> Result<(), RegistryError> {
        loop {
            let unsigned = self.db.read(|tx| Box::pin(version_signature::unsigned(tx, SIGNED_AT_A_TIME))).await?;
            if unsigned.is_empty() {
                return Ok(());
            }
            self.sign(unsigned).await?;
        }
    }

    /// Every key by which the operator's signatures can be checked, the newest first.
    pub async fn operator_keys(&self) -> Result<Vec<OperatorKey>, RegistryError> {
        let current = self.signing_key.public().clone();
        let mut keys = self.db.read(|tx| Box::pin(operator_key::list(tx))).await?;
        for key in &mut keys {
            key.is_current = key.key == current;
        }
        if !keys.iter().any(|key| key.is_current) {
            keys.insert(0, OperatorKey { key: current, created_at: self.clock.now(), is_current: true });
        }
        Ok(keys)
    }

    async fn sign(&self, versions: Vec<Unsigned>) -> Result<(), RegistryError> {
        let (key, now) = (self.signing_key.public().clone(), self.clock.now());
        let signed = |Unsigned { model_id, model, version, published_at }| {
            let statement = PublishedStatement { model, version, published_at }.to_bytes();
            let bundle = Bundle::sign(&self.signing_key, &statement).to_json();
            NewSignature { model_id, version, signer: Signer::Operator, key: key.id(), bundle, signed_at: now }
        };
        let signed: Vec<NewSignature> = versions.into_iter().map(signed).collect();
        let keep = self.db.write(move |tx| {
            let (key, signed) = (key.clone(), signed.clone());
            Box::pin(async move {
                operator_key::insert(tx, &key, now).await?;
                for signature in &signed {
                    version_signature::insert(tx, signature).await?;
                }
                Ok::<_, RegistryError>(signed)
            })
        });
        for signature in keep.await? {
            self.signatures.forget(&(signature.model_id, signature.version));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{new_version, on_both_engines};

    #[tokio::test]
    async fn a_version_is_signed_when_it_is_published_and_an_older_one_by_the_sweep() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            house.break_table("version_signature").await;
            let unsigned = house.publish(&ada, &model.model, new_version("one")).await;
            house.mend_table("version_signature").await;
            assert_eq!(house.registry.list_signatures(&model, &unsigned.id).await.unwrap().len(), 0);
            house.clock.advance_millis(60_000);
            let signed = house.publish(&ada, &model.model, new_version("two")).await;
            house.registry.sweep().await.unwrap();

            let keys = house.registry.operator_keys().await.unwrap();
            assert_eq!((keys.len(), keys[0].is_current), (1, true));
            for version in [unsigned, signed] {
                let signatures = house.registry.list_signatures(&model, &version.id).await.unwrap();
                let [signature] = &signatures[..] else { panic!("{signatures:?}") };
                let bundle = house.registry.find_bundle(&model, &version.id, &signature.key.id()).await.unwrap().unwrap();
                let stated = PublishedStatement::read(&Bundle::from_json(&bundle).unwrap().open(&keys[0].key).unwrap()).unwrap();
                let expected = PublishedStatement { model: model.model.clone(), version: version.id, published_at: version.created_at };
                assert_eq!((signature.signer, stated), (Signer::Operator, expected));
            }
        })
        .await;
    }

    #[tokio::test]
    async fn after_a_rotation_the_old_key_stays_published_and_its_signatures_stand() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            let old = house.publish(&ada, &model.model, new_version("one")).await;
            let rotated = house.with_signing_key(&[9; 32]);
            rotated.sweep().await.unwrap();
            house.upload_files(&new_version("two")).await;
            let new = rotated.publish(&ada, &model.model, new_version("two")).await.unwrap().version;

            let keys = rotated.operator_keys().await.unwrap();
            assert_eq!(keys.iter().filter(|key| key.is_current).count(), 1);
            assert_eq!(keys.len(), 2);
            for (version, is_current) in [(old, false), (new, true)] {
                let signatures = rotated.list_signatures(&model, &version.id).await.unwrap();
                let key = keys.iter().find(|key| key.key == signatures[0].key).unwrap();
                assert_eq!((signatures.len(), key.is_current), (1, is_current));
            }
        })
        .await;
    }
}
