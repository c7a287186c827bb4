//! The table `account_key`.

use protocol::Timestamp;
use protocol::signing::{KeyId, PublicKey};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::account_keys::AccountKey;
use crate::error::RegistryError;

pub(crate) async fn insert(tx: &mut Tx, account_id: &str, key: &AccountKey) -> Result<(), RegistryError> {
    sqlx::query("insert into account_key (account_id, id, name, public_key, created_at) values ($1, $2, $3, $4, $5)")
        .bind(account_id)
        .bind(key.key.id().to_string())
        .bind(&key.name)
        .bind(key.key.to_pem())
        .bind(key.created_at.micros())
        .execute(tx)
        .await?;
    Ok(())
}

pub(crate) async fn count(tx: &mut Tx, account_id: &str) -> Result<i64, RegistryError> {
    let statement = "select count(*) as keys from account_key where account_id = $1";
    Ok(sqlx::query(statement).bind(account_id).fetch_one(tx).await?.try_get("keys")?)
}

pub(crate) async fn find(tx: &mut Tx, account_id: &str, id: &KeyId) -> Result<Option<AccountKey>, RegistryError> {
    let statement = "select id, name, public_key, created_at, revoked_at from account_key where account_id = $1 and id = $2";
    let row = sqlx::query(statement).bind(account_id).bind(id.to_string()).fetch_optional(tx).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn list(tx: &mut Tx, account_id: &str) -> Result<Vec<AccountKey>, RegistryError> {
    let statement = "select id, name, public_key, created_at, revoked_at from account_key \
                     where account_id = $1 order by created_at desc, id desc";
    sqlx::query(statement).bind(account_id).fetch_all(tx).await?.iter().map(read).collect()
}

/// Moves the moment of a key's revocation to an earlier one, or sets it.
pub(crate) async fn revoke(tx: &mut Tx, account_id: &str, id: &KeyId, since: Timestamp) -> Result<(), RegistryError> {
    let statement = "update account_key set revoked_at = $3 where account_id = $1 and id = $2 and (revoked_at is null or revoked_at > $3)";
    sqlx::query(statement).bind(account_id).bind(id.to_string()).bind(since.micros()).execute(tx).await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<AccountKey, RegistryError> {
    let id: String = row.try_get("id")?;
    let pem: String = row.try_get("public_key")?;
    Ok(AccountKey {
        key: PublicKey::from_pem(&pem).map_err(|_| RegistryError::Corrupt { what: "key", id })?,
        name: row.try_get("name")?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(Timestamp::from_micros),
    })
}
