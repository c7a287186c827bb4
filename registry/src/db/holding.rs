//! The table `holding`: the blobs that each account keeps, each counted in full.

use std::collections::BTreeMap;

use protocol::{Digest, Timestamp};
use serde_json::{Value, json};
use sqlx::Row;
use store::{Engine, Tx};

use crate::db::json_list;
use crate::error::RegistryError;

/// True for a row `holding` that a manifest of the account's models names, or is.
macro_rules! named {
    () => {
        "exists (select 1 from account a join model m on m.owner = a.name where a.id = holding.account_id \
                 and (exists (select 1 from named_blob n where n.model_id = m.id and n.digest = holding.digest) \
                      or exists (select 1 from manifest f where f.model_id = m.id and f.digest = holding.digest)))"
    };
}

/// Counts blobs for an account, each once however often it is named.
pub(crate) async fn add(tx: &mut Tx, account_id: &str, blobs: &BTreeMap<Digest, u64>, now: Timestamp) -> Result<(), RegistryError> {
    let statement = match Engine::of(tx) {
        Engine::Sqlite => {
            "insert into holding (account_id, digest, size, touched_at) \
             select $1, j.value ->> 'digest', j.value ->> 'size', $3 from json_each($2) j where true \
             on conflict (account_id, digest) do update set touched_at = excluded.touched_at"
        }
        Engine::Postgres => {
            "insert into holding (account_id, digest, size, touched_at) \
             select $1, j.digest, j.size, $3 from json_to_recordset($2::json) as j(digest text, size bigint) \
             on conflict (account_id, digest) do update set touched_at = excluded.touched_at"
        }
    };
    let blobs: Vec<Value> = blobs.iter().map(|(digest, size)| json!({"digest": digest, "size": size})).collect();
    sqlx::query(statement).bind(account_id).bind(Value::from(blobs).to_string()).bind(now.micros()).execute(tx).await?;
    Ok(())
}

pub(crate) async fn has(tx: &mut Tx, account_id: &str, digest: &Digest) -> Result<bool, RegistryError> {
    let statement = "select 1 as one from holding where account_id = $1 and digest = $2";
    Ok(sqlx::query(statement).bind(account_id).bind(digest.to_string()).fetch_optional(tx).await?.is_some())
}

/// Bytes that an account keeps, and its own limit, if it has one.
pub(crate) async fn sum(tx: &mut Tx, account_id: &str) -> Result<(u64, Option<u64>), RegistryError> {
    let statement = "select a.storage_limit, (select cast(coalesce(sum(h.size), 0) as bigint) from holding h where h.account_id = a.id) as kept \
                     from account a where a.id = $1";
    let Some(row) = sqlx::query(statement).bind(account_id).fetch_optional(tx).await? else { return Ok((0, None)) };
    let bytes = |column: i64| u64::try_from(column).map_err(|_| RegistryError::Corrupt { what: "account", id: account_id.to_owned() });
    let limit: Option<i64> = row.try_get("storage_limit")?;
    Ok((bytes(row.try_get("kept")?)?, limit.map(bytes).transpose()?))
}

/// Gives an account a limit of its own, or that of the house; false when there is no such account.
pub(crate) async fn set_limit(tx: &mut Tx, account_id: &str, limit: Option<u64>) -> Result<bool, RegistryError> {
    let limit = limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let query = sqlx::query("update account set storage_limit = $2 where id = $1").bind(account_id).bind(limit);
    Ok(query.execute(tx).await?.rows_affected() == 1)
}

/// Lets go of those of these blobs that no manifest of the account's names any more.
pub(crate) async fn release(tx: &mut Tx, account_id: &str, digests: &[Digest]) -> Result<(), RegistryError> {
    let statement = match Engine::of(tx) {
        Engine::Sqlite => {
            concat!("delete from holding where account_id = $1 and digest in (select j.value from json_each($2) j) and not ", named!())
        }
        Engine::Postgres => {
            concat!(
                "delete from holding where account_id = $1 and digest in (select json_array_elements_text($2::json)) and not ",
                named!()
            )
        }
    };
    sqlx::query(statement).bind(account_id).bind(json_list(digests)).execute(tx).await?;
    Ok(())
}

/// What a model's manifests name, and those themselves, as an account keeps it.
pub(crate) async fn of_model(tx: &mut Tx, account_id: &str, model_id: &str) -> Result<BTreeMap<Digest, u64>, RegistryError> {
    let statement = "select h.digest, h.size from holding h where h.account_id = $1 and h.digest in \
                     (select n.digest from named_blob n where n.model_id = $2 union select f.digest from manifest f where f.model_id = $2)";
    let rows = sqlx::query(statement).bind(account_id).bind(model_id).fetch_all(tx).await?;
    rows.iter()
        .map(|row| {
            let digest: String = row.try_get("digest")?;
            let corrupt = || RegistryError::Corrupt { what: "blob", id: digest.clone() };
            let size = u64::try_from(row.try_get::<i64, _>("size")?).map_err(|_| corrupt())?;
            Ok((digest.parse().map_err(|_| corrupt())?, size))
        })
        .collect()
}

/// Lets go of what a model named that is the account's no longer.
pub(crate) async fn release_model(tx: &mut Tx, account_id: &str, model_id: &str) -> Result<(), RegistryError> {
    let statement = concat!(
        "delete from holding where account_id = $1 and digest in \
         (select o.digest from named_blob o where o.model_id = $2 union select o.digest from manifest o where o.model_id = $2) and not ",
        named!()
    );
    sqlx::query(statement).bind(account_id).bind(model_id).execute(tx).await?;
    Ok(())
}

/// Lets go of what was sent and not published since a moment.
pub(crate) async fn expire(tx: &mut Tx, touched_before: Timestamp) -> Result<(), RegistryError> {
    let statement = concat!("delete from holding where touched_at < $1 and not ", named!());
    sqlx::query(statement).bind(touched_before.micros()).execute(tx).await?;
    Ok(())
}
