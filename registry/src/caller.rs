//! Who calls: from the secret of a token to its account, mostly from memory.

use std::sync::Arc;

use crate::accounts::Account;
use crate::db::token;
use crate::tokens::{Scope, Scopes, hash_of, looks_like_a_token};
use crate::{Registry, RegistryError};

/// Seconds for which another process may still admit a token that was revoked here.
pub(crate) const CALLERS_TTL_MS: i64 = 10_000;
pub(crate) const CALLERS_MAX: usize = 10_000;

/// An account, and what the token it came with may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub account: Arc<Account>,
    pub token_id: String,
    pub scopes: Scopes,
}

impl Caller {
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(scope) && (scope != Scope::Operator || self.account.is_operator)
    }
}

impl Registry {
    /// Finds who calls with this secret. A text with a wrong checksum is refused without a look at the database.
    pub async fn authenticate(&self, secret: &str) -> Result<Option<Caller>, RegistryError> {
        if !looks_like_a_token(secret) {
            return Ok(None);
        }
        let secret_hash = hash_of(secret);
        let now = self.clock.now();
        let sought = secret_hash.clone();
        let load = self.db.read(move |tx| Box::pin(async move { token::find_caller(tx, &sought, now).await }));
        let caller = self.callers.find_or_load(&secret_hash, &self.clock, load).await?;
        if let Some(caller) = &caller {
            self.pending.note_use(&caller.token_id, now);
        }
        Ok(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_both_engines;

    #[tokio::test]
    async fn a_secret_finds_its_account_until_it_is_revoked() {
        on_both_engines(|house| async move {
            let ada = house.account("ada").await;
            let token = house.registry.create_token(&ada, "t", Scopes::of(&[Scope::AccountRead, Scope::Operator])).await.unwrap();
            let caller = house.registry.authenticate(&token.secret).await.unwrap().unwrap();
            assert_eq!((&caller.account.name, &caller.token_id), (&ada.name, &token.id));
            assert!(caller.may(Scope::AccountRead) && !caller.may(Scope::AccountWrite));
            assert!(!caller.may(Scope::Operator), "the scope opens nothing for who is no operator");

            assert!(house.registry.revoke_token(&ada.id, &token.id).await.unwrap());
            assert_eq!(house.registry.authenticate(&token.secret).await.unwrap(), None);
        })
        .await;
    }

    #[tokio::test]
    async fn a_typo_is_refused_without_a_database() {
        on_both_engines(|house| async move {
            let ada = house.account("ada").await;
            let token = house.registry.create_token(&ada, "t", Scopes::ALL).await.unwrap();
            house.registry.db.close().await;
            let mut typo = token.secret.clone();
            typo.replace_range(5..6, if typo[5..6] == *"a" { "b" } else { "a" });
            assert_eq!(house.registry.authenticate(&typo).await.unwrap(), None);
            assert!(house.registry.authenticate(&token.secret).await.is_err(), "a real one asks the database");
        })
        .await;
    }

    #[tokio::test]
    async fn the_last_use_is_written_at_most_once_a_minute() {
        on_both_engines(|house| async move {
            let ada = house.account("ada").await;
            let token = house.registry.create_token(&ada, "t", Scopes::ALL).await.unwrap();
            let mut seen = Vec::new();
            for _ in 0..4 {
                house.registry.authenticate(&token.secret).await.unwrap();
                house.registry.flush().await.unwrap();
                seen.push(house.registry.list_tokens(&ada.id).await.unwrap()[0].last_used_at.unwrap());
                house.clock.advance_millis(30_000);
            }
            assert_eq!(seen[0], seen[1]);
            assert_eq!(seen[2].micros_since(seen[0]), 60_000_000);
            assert_eq!(seen[2], seen[3]);
        })
        .await;
    }
}
