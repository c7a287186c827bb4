//! The table `account`.

use protocol::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::accounts::{Account, AccountKind};
use crate::error::RegistryError;

/// Adds an account; false when its name is taken.
pub(crate) async fn insert(tx: &mut Tx, account: &Account) -> Result<bool, RegistryError> {
    let statement = "insert into account (id, name, type, display_name, is_operator, webhook_secret, created_at) \
                     values ($1, $2, $3, $4, $5, $6, $7) on conflict (name) do nothing";
    let result = sqlx::query(statement)
        .bind(&account.id)
        .bind(&account.name)
        .bind(account.kind.name())
        .bind(&account.name)
        .bind(i64::from(account.is_operator))
        .bind(&account.webhook_secret)
        .bind(account.created_at.micros())
        .execute(tx)
        .await?;
    Ok(result.rows_affected() == 1)
}

pub(crate) async fn find_by_name(tx: &mut Tx, name: &str) -> Result<Option<Account>, RegistryError> {
    let statement = "select id, name, type, is_operator, webhook_secret, created_at from account where name = $1";
    let row = sqlx::query(statement).bind(name).fetch_optional(tx).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn find(tx: &mut Tx, id: &str) -> Result<Option<Account>, RegistryError> {
    let statement = "select id, name, type, is_operator, webhook_secret, created_at from account where id = $1";
    let row = sqlx::query(statement).bind(id).fetch_optional(tx).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) fn read(row: &AnyRow) -> Result<Account, RegistryError> {
    let id: String = row.try_get("id")?;
    let kind = AccountKind::parse(&row.try_get::<String, _>("type")?);
    Ok(Account {
        kind: kind.ok_or_else(|| RegistryError::Corrupt { what: "account", id: id.clone() })?,
        id,
        name: row.try_get("name")?,
        is_operator: row.try_get::<i64, _>("is_operator")? == 1,
        webhook_secret: row.try_get("webhook_secret")?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
    })
}
