//! To know a digest is not to have its bytes: an account names what it sent itself, and what it may read in some model.

use protocol::Digest;
use protocol::api::NewVersion;

use crate::caller::Caller;
use crate::db::holding;
use crate::versions::PublishError;
use crate::{Registry, RegistryError};

impl Registry {
    /// The size of a blob that this caller need not send, because it has it; then it stays for a while.
    pub async fn find_blob_of(&self, caller: &Caller, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        if self.not_of(caller, vec![*digest]).await?.is_empty() { self.find_blob(digest).await } else { Ok(None) }
    }

    /// # Errors
    /// [`PublishError::AbsentBlobs`] with those of a version's blobs that the caller has to send, whether others have them or not.
    pub async fn require_blobs_of(&self, caller: &Caller, new: &NewVersion) -> Result<(), PublishError> {
        let named = new.files.iter().map(|file| file.digest).chain(new.config.hooks.iter().map(|hook| hook.digest));
        let digests = self.not_of(caller, named.collect()).await?;
        if digests.is_empty() { Ok(()) } else { Err(PublishError::AbsentBlobs { digests }) }
    }

    async fn not_of(&self, caller: &Caller, mut digests: Vec<Digest>) -> Result<Vec<Digest>, RegistryError> {
        let (account, asked) = (caller.account.clone(), digests.clone());
        let had = self.db.read(move |tx| Box::pin(async move { holding::had_by(tx, &account.id, &account.name, &asked).await })).await?;
        digests.retain(|digest| !had.contains(digest));
        Ok(digests)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;
    use crate::models::{NewModel, Visibility};
    use crate::testing::{new_version, on_both_engines};

    #[tokio::test]
    async fn a_digest_of_a_private_model_gives_nobody_else_its_bytes() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let name = protocol::ModelRef::new("ada", "secret").unwrap();
            house.registry.create_model(&ada, NewModel::named(name.clone(), Visibility::Private, "cpu")).await.unwrap();
            let new = new_version("secret");
            house.publish(&ada, &name, new.clone()).await;
            let file = &new.files[0];
            let registry = &house.registry;
            assert_eq!(registry.find_blob_of(&ada, &file.digest).await.unwrap(), Some(file.size), "a model of hers names it");
            assert_eq!(registry.find_blob_of(&bob, &file.digest).await.unwrap(), None);
            let refused = registry.require_blobs_of(&bob, &new).await;
            assert!(matches!(refused, Err(PublishError::AbsentBlobs { digests }) if digests == [file.digest]));

            let bytes = file.path.clone().into_bytes();
            let body = stream::iter([Ok::<_, Infallible>(bytes.into())]);
            registry.put_blob(&bob, &file.digest, Some(file.size), body).await.unwrap();
            registry.require_blobs_of(&bob, &new).await.expect("he has the bytes");
        })
        .await;
    }

    #[tokio::test]
    async fn what_a_public_model_has_need_not_be_sent_again() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let model = house.model(&ada, "open").await;
            let new = new_version("open");
            house.publish(&ada, &model.model, new.clone()).await;
            assert_eq!(house.registry.find_blob_of(&bob, &new.files[0].digest).await.unwrap(), Some(new.files[0].size));
            house.registry.require_blobs_of(&bob, &new).await.unwrap();
        })
        .await;
    }
}
