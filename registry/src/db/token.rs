//! The table `token`. Of a secret it holds the SHA-256 only.

use std::sync::Arc;

use protocol::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::caller::Caller;
use crate::db::account;
use crate::error::RegistryError;
use crate::tokens::{Scopes, TokenRow};

pub(crate) async fn insert(tx: &mut Tx, account_id: &str, token: &TokenRow, secret_hash: &str) -> Result<(), RegistryError> {
    let scopes = serde_json::to_string(&token.scopes.names()).expect("a list of names is JSON");
    sqlx::query("insert into token (id, account_id, name, secret_hash, scopes, created_at) values ($1, $2, $3, $4, $5, $6)")
        .bind(&token.id)
        .bind(account_id)
        .bind(&token.name)
        .bind(secret_hash)
        .bind(scopes)
        .bind(token.created_at.micros())
        .execute(tx)
        .await?;
    Ok(())
}

/// Counts the tokens that are not revoked.
pub(crate) async fn count(tx: &mut Tx, account_id: &str) -> Result<i64, RegistryError> {
    let statement = "select count(*) as tokens from token where account_id = $1 and revoked_at is null";
    Ok(sqlx::query(statement).bind(account_id).fetch_one(tx).await?.try_get("tokens")?)
}

pub(crate) async fn list(tx: &mut Tx, account_id: &str) -> Result<Vec<TokenRow>, RegistryError> {
    let statement = "select id, name, scopes, created_at, last_used_at from token \
                     where account_id = $1 and revoked_at is null order by created_at desc, id desc";
    sqlx::query(statement).bind(account_id).fetch_all(tx).await?.iter().map(read).collect()
}

/// Finds who calls with a secret that hashes to this, unless it is revoked or expired.
pub(crate) async fn find_caller(tx: &mut Tx, secret_hash: &str, now: Timestamp) -> Result<Option<Caller>, RegistryError> {
    let statement = "select t.id as token_id, t.scopes, a.id, a.name, a.type, a.is_operator, a.webhook_secret, a.created_at \
                     from token t join account a on a.id = t.account_id \
                     where t.secret_hash = $1 and t.revoked_at is null and (t.expires_at is null or t.expires_at > $2)";
    let Some(row) = sqlx::query(statement).bind(secret_hash).bind(now.micros()).fetch_optional(tx).await? else {
        return Ok(None);
    };
    let token_id: String = row.try_get("token_id")?;
    Ok(Some(Caller { account: Arc::new(account::read(&row)?), scopes: read_scopes(&row, &token_id)?, token_id }))
}

/// Revokes one of the account's tokens; false when it has no such token, or no longer.
pub(crate) async fn revoke(tx: &mut Tx, account_id: &str, id: &str, now: Timestamp) -> Result<bool, RegistryError> {
    let statement = "update token set revoked_at = $1 where id = $2 and account_id = $3 and revoked_at is null";
    let result = sqlx::query(statement).bind(now.micros()).bind(id).bind(account_id).execute(tx).await?;
    Ok(result.rows_affected() == 1)
}

pub(crate) async fn touch(tx: &mut Tx, id: &str, used_at: Timestamp) -> Result<(), RegistryError> {
    let statement = "update token set last_used_at = $1 where id = $2 and (last_used_at is null or last_used_at < $1)";
    sqlx::query(statement).bind(used_at.micros()).bind(id).execute(tx).await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<TokenRow, RegistryError> {
    let id: String = row.try_get("id")?;
    Ok(TokenRow {
        scopes: read_scopes(row, &id)?,
        id,
        name: row.try_get("name")?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        last_used_at: row.try_get::<Option<i64>, _>("last_used_at")?.map(Timestamp::from_micros),
    })
}

fn read_scopes(row: &AnyRow, id: &str) -> Result<Scopes, RegistryError> {
    let names: Option<Vec<String>> = serde_json::from_str(&row.try_get::<String, _>("scopes")?).ok();
    names.and_then(|names| Scopes::parse(&names).ok()).ok_or_else(|| RegistryError::Corrupt { what: "token", id: id.to_owned() })
}
