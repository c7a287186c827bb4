//! Who takes part: users, organisations, and the operators of the place.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::name::{check_name, check_owner};
use protocol::{Entropy, Timestamp, id};

use crate::db::account;
use crate::{Registry, RegistryError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    User,
    Organization,
}

impl AccountKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Organization => "organization",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::User, Self::Organization].into_iter().find(|kind| kind.name() == name)
    }
}

/// Whether an account may do what concerns everyone: grant credit, make accounts, see the runners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    User,
    Operator,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    pub id: String,
    pub name: String,
    pub kind: AccountKind,
    pub is_operator: bool,
    /// `whsec_` and standard base64: the key that signs this account's webhooks.
    pub webhook_secret: String,
    pub created_at: Timestamp,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Registry {
    pub async fn create_account(&self, name: &str, kind: AccountKind, role: Role) -> Result<Account, RegistryError> {
        let account = Account {
            id: id::prefixed("acc", &self.clock, &self.entropy),
            name: check_owner(name)?.to_owned(),
            kind,
            is_operator: role == Role::Operator,
            webhook_secret: new_webhook_secret(&self.entropy),
            created_at: self.clock.now(),
        };
        let created = account.clone();
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let fresh = account::insert(tx, &account).await?;
                    fresh.then_some(()).ok_or(RegistryError::NameTaken { name: account.name })
                })
            })
            .await?;
        Ok(created)
    }

    pub async fn find_account(&self, name: &str) -> Result<Option<Arc<Account>>, RegistryError> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let name = name.to_owned();
        let account = self.db.read(move |tx| Box::pin(async move { account::find_by_name(tx, &name).await })).await?;
        Ok(account.map(Arc::new))
    }

    /// Finds the account that a session token names. Answers from memory for a few seconds.
    pub async fn find_account_by_id(&self, id: &str) -> Result<Option<Arc<Account>>, RegistryError> {
        if !id::is_prefixed("acc", id) {
            return Ok(None);
        }
        let id = id.to_owned();
        let sought = id.clone();
        let load = async {
            let account = self.db.read(move |tx| Box::pin(async move { account::find(tx, &sought).await })).await?;
            Ok::<_, RegistryError>(account.map(Arc::new))
        };
        self.accounts.find_or_load(&id, &self.clock, load).await
    }
}

/// 24 random bytes, as the receivers of signed webhooks expect: <https://www.standardwebhooks.com>.
fn new_webhook_secret(entropy: &Entropy) -> String {
    format!("whsec_{}", STANDARD.encode(entropy.bytes::<24>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_both_engines;

    #[tokio::test]
    async fn an_account_is_found_by_name_and_by_id() {
        on_both_engines(|house| async move {
            let created = house.registry.create_account("ada", AccountKind::User, Role::Operator).await.unwrap();
            let by_name = house.registry.find_account("ada").await.unwrap().unwrap();
            let by_id = house.registry.find_account_by_id(&created.id).await.unwrap().unwrap();
            assert_eq!((&*by_name, &*by_id), (&created, &created));
            assert!(created.is_operator && created.webhook_secret.starts_with("whsec_"));
            for absent in ["bob", "", "a\0b", "../ada"] {
                assert_eq!(house.registry.find_account(absent).await.unwrap(), None);
                assert_eq!(house.registry.find_account_by_id(absent).await.unwrap(), None);
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_name_is_taken_once_and_must_be_a_name() {
        on_both_engines(|house| async move {
            house.registry.create_account("ada", AccountKind::User, Role::User).await.unwrap();
            let again = house.registry.create_account("ada", AccountKind::Organization, Role::User).await;
            assert!(matches!(again, Err(RegistryError::NameTaken { .. })), "{again:?}");
            for bad in ["", "../ada", "Ada", "a b", "a'; drop table account; --", "dashboard", "v1"] {
                let refused = house.registry.create_account(bad, AccountKind::User, Role::User).await;
                assert!(matches!(refused, Err(RegistryError::BadName(_))), "{bad}");
            }
        })
        .await;
    }

    #[test]
    fn the_debug_form_of_an_account_hides_its_secret() {
        let account = Account {
            id: "acc_1".to_owned(),
            name: "ada".to_owned(),
            kind: AccountKind::User,
            is_operator: false,
            webhook_secret: new_webhook_secret(&Entropy::seeded(1)),
            created_at: Timestamp::from_micros(0),
        };
        assert!(!format!("{account:?}").contains("whsec"));
    }
}
