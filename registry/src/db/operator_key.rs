//! The table `operator_key`.

use protocol::Timestamp;
use protocol::signing::PublicKey;
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::error::RegistryError;
use crate::signatures::OperatorKey;

/// Remembers a key that signs; one that is known stays as it is.
pub(crate) async fn insert(tx: &mut Tx, key: &PublicKey, now: Timestamp) -> Result<(), RegistryError> {
    let statement = "insert into operator_key (id, public_key, created_at) values ($1, $2, $3) on conflict (id) do nothing";
    sqlx::query(statement).bind(key.id().to_string()).bind(key.to_pem()).bind(now.micros()).execute(tx).await?;
    Ok(())
}

/// All of them, the newest first; which one is current the reader knows.
pub(crate) async fn list(tx: &mut Tx) -> Result<Vec<OperatorKey>, RegistryError> {
    let statement = "select id, public_key, created_at from operator_key order by created_at desc, id";
    sqlx::query(statement).fetch_all(tx).await?.iter().map(read).collect()
}

fn read(row: &AnyRow) -> Result<OperatorKey, RegistryError> {
    let (id, pem): (String, String) = (row.try_get("id")?, row.try_get("public_key")?);
    Ok(OperatorKey {
        key: PublicKey::from_pem(&pem).map_err(|_| RegistryError::Corrupt { what: "operator's key", id })?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        is_current: false,
    })
}
