//! The tables `named_blob` and `loose_blob`: which blobs can be read through which repository.

use protocol::{Digest, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::{Engine, Tx};

use crate::db::json_list;
use crate::error::RegistryError;

/// Writes down what a manifest names.
pub(crate) async fn name(tx: &mut Tx, model_id: &str, manifest: &Digest, blobs: &[Digest]) -> Result<(), RegistryError> {
    let statement = match Engine::of(tx) {
        Engine::Sqlite => {
            "insert into named_blob (model_id, digest, manifest) select $2, j.value, $3 from json_each($1) j where true \
             on conflict (model_id, digest, manifest) do nothing"
        }
        Engine::Postgres => {
            "insert into named_blob (model_id, digest, manifest) select $2, j.value, $3 from json_array_elements_text($1::json) j(value) \
             on conflict (model_id, digest, manifest) do nothing"
        }
    };
    sqlx::query(statement).bind(json_list(blobs)).bind(model_id).bind(manifest.to_string()).execute(tx).await?;
    Ok(())
}

/// Notes that an account brought a blob into a repository.
pub(crate) async fn loosen(tx: &mut Tx, model_id: &str, digest: &Digest, account_id: &str, now: Timestamp) -> Result<(), RegistryError> {
    let statement = "insert into loose_blob (model_id, digest, account_id, created_at) values ($1, $2, $3, $4) \
                     on conflict (model_id, digest) do update set account_id = excluded.account_id, created_at = excluded.created_at";
    sqlx::query(statement).bind(model_id).bind(digest.to_string()).bind(account_id).bind(now.micros()).execute(tx).await?;
    Ok(())
}

/// Those of the blobs that an account may read through a repository: what a manifest names, and what the account itself brought.
pub(crate) async fn readable(tx: &mut Tx, model_id: &str, account_id: &str, digests: &[Digest]) -> Result<Vec<Digest>, RegistryError> {
    let statement = match Engine::of(tx) {
        Engine::Sqlite => {
            "select j.value as digest from json_each($1) j \
             where exists (select 1 from named_blob n where n.model_id = $2 and n.digest = j.value) \
             or exists (select 1 from loose_blob l where l.model_id = $2 and l.digest = j.value and l.account_id = $3)"
        }
        Engine::Postgres => {
            "select j.value as digest from json_array_elements_text($1::json) j(value) \
             where exists (select 1 from named_blob n where n.model_id = $2 and n.digest = j.value) \
             or exists (select 1 from loose_blob l where l.model_id = $2 and l.digest = j.value and l.account_id = $3)"
        }
    };
    let rows = sqlx::query(statement).bind(json_list(digests)).bind(model_id).bind(account_id).fetch_all(tx).await?;
    rows.iter().map(read_digest).collect()
}

/// Whether a manifest of the repository names the blob.
pub(crate) async fn is_named(tx: &mut Tx, model_id: &str, digest: &Digest) -> Result<bool, RegistryError> {
    let statement = "select 1 from named_blob where model_id = $1 and digest = $2 limit 1";
    Ok(sqlx::query(statement).bind(model_id).bind(digest.to_string()).fetch_optional(tx).await?.is_some())
}

/// Takes a loose blob out of a repository; false when it was none.
pub(crate) async fn drop_loose(tx: &mut Tx, model_id: &str, digest: &Digest) -> Result<bool, RegistryError> {
    let statement = "delete from loose_blob where model_id = $1 and digest = $2";
    Ok(sqlx::query(statement).bind(model_id).bind(digest.to_string()).execute(tx).await?.rows_affected() == 1)
}

/// Takes out of all repositories what was brought before a time.
pub(crate) async fn expire_loose(tx: &mut Tx, before: Timestamp) -> Result<(), RegistryError> {
    sqlx::query("delete from loose_blob where created_at < $1").bind(before.micros()).execute(tx).await?;
    Ok(())
}

pub(crate) fn read_digest(row: &AnyRow) -> Result<Digest, RegistryError> {
    let text: String = row.try_get("digest")?;
    text.parse().map_err(|_| RegistryError::Corrupt { what: "blob", id: text })
}
