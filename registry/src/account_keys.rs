//! The keys with which an account signs what it publishes: registered before they count, revoked from a moment on, never forgotten.

use protocol::Timestamp;
use protocol::signing::{KeyId, PublicKey};

use crate::caller::Caller;
use crate::db::account_key;
use crate::{Registry, RegistryError};

/// A team's, and those that were revoked.
const KEYS_PER_ACCOUNT_MAX: i64 = 100;
const NAME_CHARS_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountKey {
    pub key: PublicKey,
    pub name: String,
    pub created_at: Timestamp,
    /// From when on it is not to be believed.
    pub revoked_at: Option<Timestamp>,
}

impl Registry {
    /// Registers a key; one that is registered already is found as it stands.
    pub async fn add_key(&self, caller: &Caller, name: &str, pem: &str) -> Result<AccountKey, RegistryError> {
        if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            return Err(RegistryError::BadField { field: "name", why: "has at most 100 characters, none of them a control character" });
        }
        let row = AccountKey { key: PublicKey::from_pem(pem)?, name: name.to_owned(), created_at: self.clock.now(), revoked_at: None };
        let account_id = caller.account.id.clone();
        let added = self.db.write(move |tx| {
            let (account_id, row) = (account_id.clone(), row.clone());
            Box::pin(async move {
                let id = row.key.id();
                match account_key::find(tx, &account_id, &id).await? {
                    Some(AccountKey { revoked_at: Some(since), .. }) => return Err(RegistryError::KeyRevoked { key: id, since }),
                    Some(known) => return Ok(known),
                    None => {}
                }
                if account_key::count(tx, &account_id).await? >= KEYS_PER_ACCOUNT_MAX {
                    return Err(RegistryError::TooManyKeys { max: KEYS_PER_ACCOUNT_MAX });
                }
                account_key::insert(tx, &account_id, &row).await?;
                Ok(row)
            })
        });
        added.await
    }

    /// Lists an account's keys, those that are revoked too, newest first.
    pub async fn list_keys(&self, account_id: &str) -> Result<Vec<AccountKey>, RegistryError> {
        let account_id = account_id.to_owned();
        self.db.read(move |tx| Box::pin(async move { account_key::list(tx, &account_id).await })).await
    }

    /// Takes back a key of the caller's: what it signs from `since` on does not count. A revocation is never undone, and `since` only ever
    /// moves to an earlier moment. None when the account has no such key.
    pub async fn revoke_key(&self, caller: &Caller, id: &KeyId, since: Timestamp) -> Result<Option<AccountKey>, RegistryError> {
        let (account_id, sought) = (caller.account.id.clone(), *id);
        let revoked = self.db.write(move |tx| {
            let account_id = account_id.clone();
            Box::pin(async move {
                account_key::revoke(tx, &account_id, &sought, since).await?;
                account_key::find(tx, &account_id, &sought).await
            })
        });
        let revoked = revoked.await?;
        self.signatures.forget_where(|_, signatures| signatures.iter().any(|signature| signature.key.id() == *id));
        Ok(revoked)
    }
}

#[cfg(test)]
mod tests {
    use protocol::signing::SigningKey;

    use super::*;
    use crate::testing::on_both_engines;

    #[tokio::test]
    async fn a_key_is_registered_once_and_its_revocation_only_moves_back() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let pem = SigningKey::of_seed(&[7; 32]).public().to_pem();
            let added = house.registry.add_key(&ada, "laptop", &pem).await.unwrap();
            assert_eq!(house.registry.add_key(&ada, "again", &pem).await.unwrap(), added);
            assert_eq!(house.registry.list_keys(&bob.account.id).await.unwrap(), []);
            let id = added.key.id();
            assert_eq!(house.registry.revoke_key(&bob, &id, house.clock.now()).await.unwrap(), None);

            let since = house.clock.now();
            for asked in [0, 5_000_000, -5_000_000] {
                let at = Timestamp::from_micros(since.micros() + asked);
                house.registry.revoke_key(&ada, &id, at).await.unwrap().unwrap();
            }
            let listed = house.registry.list_keys(&ada.account.id).await.unwrap();
            assert_eq!(listed[0].revoked_at, Some(Timestamp::from_micros(since.micros() - 5_000_000)));
            let again = house.registry.add_key(&ada, "laptop", &pem).await;
            assert!(matches!(again, Err(RegistryError::KeyRevoked { .. })), "{again:?}");
            // Somebody else's registration of the same key is another matter.
            house.registry.add_key(&bob, "shared", &pem).await.unwrap();
        })
        .await;
    }
}
