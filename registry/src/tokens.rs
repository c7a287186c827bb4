//! API tokens: made once and shown once, kept as their SHA-256, scoped, revocable.

mod scope;
mod secret;

use std::fmt;

use protocol::{Digest, Timestamp, id};

use crate::accounts::Account;
use crate::db::token;
use crate::{Registry, RegistryError};

pub use scope::{Scope, Scopes, UnknownScope};
pub use secret::looks_like_a_token;

/// Enough for every machine of a team, and few enough to read on one page.
const TOKENS_PER_ACCOUNT_MAX: i64 = 500;
const NAME_CHARS_MAX: usize = 100;

/// A token as it is shown, once.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    pub id: String,
    pub secret: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A token as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    pub id: String,
    pub name: String,
    pub scopes: Scopes,
    pub created_at: Timestamp,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
}

impl Registry {
    pub async fn create_token(&self, account: &Account, name: &str, scopes: Scopes) -> Result<NewToken, RegistryError> {
        if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            return Err(RegistryError::BadField { field: "name", why: "has at most 100 characters, none of them a control character" });
        }
        let created = NewToken { id: id::prefixed("tok", &self.clock, &self.entropy), secret: secret::new(&self.entropy) };
        let row = TokenRow { id: created.id.clone(), name: name.to_owned(), scopes, created_at: self.clock.now(), last_used_at: None };
        let account_id = account.id.clone();
        let secret_hash = hash_of(&created.secret);
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    if token::count(tx, &account_id).await? >= TOKENS_PER_ACCOUNT_MAX {
                        return Err(RegistryError::TooManyTokens { max: TOKENS_PER_ACCOUNT_MAX });
                    }
                    token::insert(tx, &account_id, &row, &secret_hash).await
                })
            })
            .await?;
        Ok(created)
    }

    /// Lists the tokens that are not revoked, newest first.
    pub async fn list_tokens(&self, account_id: &str) -> Result<Vec<TokenRow>, RegistryError> {
        let account_id = account_id.to_owned();
        self.db.read(move |tx| Box::pin(async move { token::list(tx, &account_id).await })).await
    }

    /// Revokes a token; false when the account has no such token. From here on this process refuses it; others do within seconds.
    pub async fn revoke_token(&self, account_id: &str, token_id: &str) -> Result<bool, RegistryError> {
        if !id::is_prefixed("tok", token_id) {
            return Ok(false);
        }
        let (account_id, id, now) = (account_id.to_owned(), token_id.to_owned(), self.clock.now());
        let revoked = self.db.write(move |tx| Box::pin(async move { token::revoke(tx, &account_id, &id, now).await })).await?;
        self.callers.forget_where(|_, caller| caller.token_id == token_id);
        Ok(revoked)
    }
}

/// What is stored of a token. Its 200 random bits need no salt and no slow hash.
pub(crate) fn hash_of(secret: &str) -> String {
    Digest::of(secret.as_bytes()).hex()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_both_engines;

    #[tokio::test]
    async fn a_token_is_listed_without_its_secret_until_it_is_revoked() {
        on_both_engines(|house| async move {
            let ada = house.account("ada").await;
            let scopes = Scopes::of(&[Scope::ModelsRead]);
            let created = house.registry.create_token(&ada, "laptop", scopes).await.unwrap();
            let listed = house.registry.list_tokens(&ada.id).await.unwrap();
            assert_eq!((listed.len(), &listed[0].id, &*listed[0].name, listed[0].scopes), (1, &created.id, "laptop", scopes));
            assert!(!format!("{created:?}").contains(&created.secret));

            let bob = house.account("bob").await;
            assert!(!house.registry.revoke_token(&bob.id, &created.id).await.unwrap());
            assert!(house.registry.revoke_token(&ada.id, &created.id).await.unwrap());
            assert!(!house.registry.revoke_token(&ada.id, &created.id).await.unwrap());
            assert_eq!(house.registry.list_tokens(&ada.id).await.unwrap(), []);
        })
        .await;
    }

    #[tokio::test]
    async fn an_account_has_a_bounded_number_of_tokens() {
        on_both_engines(|house| async move {
            let ada = house.account("ada").await;
            for n in 0..TOKENS_PER_ACCOUNT_MAX {
                house.registry.create_token(&ada, &n.to_string(), Scopes::ALL).await.unwrap();
            }
            let one_more = house.registry.create_token(&ada, "one more", Scopes::ALL).await;
            assert!(matches!(one_more, Err(RegistryError::TooManyTokens { .. })), "{one_more:?}");
        })
        .await;
    }
}
