//! `idempotency`: which prediction a caller's key already names.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::Row;
use store::{Engine, StoreError, Tx};

/// A caller's `Idempotency-Key`, with the hash of the request it came with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct KeyUse {
    pub account_id: String,
    pub key: String,
    pub body_hash: String,
}

/// What a key was used for before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EarlierUse {
    pub body_hash: String,
    pub prediction_id: String,
}

/// Finds the earlier uses of these keys, by account and key.
pub(crate) async fn find_all(tx: &mut Tx, keys: &[&KeyUse]) -> Result<HashMap<(String, String), EarlierUse>, StoreError> {
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "select i.account_id, i.key, i.body_hash, i.prediction_id from json_each($1) j
             join idempotency i on i.account_id = j.value ->> 'account_id' and i.key = j.value ->> 'key'"
        }
        Engine::Postgres => {
            "select i.account_id, i.key, i.body_hash, i.prediction_id from json_to_recordset($1::json) as j(account_id text, key text)
             join idempotency i on i.account_id = j.account_id and i.key = j.key"
        }
    };
    let rows = sqlx::query(sql).bind(as_json(keys)).fetch_all(tx).await?;
    rows.iter()
        .map(|row| {
            let earlier = EarlierUse { body_hash: row.try_get("body_hash")?, prediction_id: row.try_get("prediction_id")? };
            Ok(((row.try_get("account_id")?, row.try_get("key")?), earlier))
        })
        .collect()
}

/// A key and the prediction that it now names.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NewUse<'a> {
    #[serde(flatten)]
    pub key: &'a KeyUse,
    pub prediction_id: String,
    pub created_at: i64,
}

pub(crate) async fn insert_all(tx: &mut Tx, uses: &[NewUse<'_>]) -> Result<(), StoreError> {
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "insert into idempotency (account_id, key, body_hash, prediction_id, created_at)
             select value ->> 'account_id', value ->> 'key', value ->> 'body_hash', value ->> 'prediction_id', value ->> 'created_at'
             from json_each($1)"
        }
        Engine::Postgres => {
            "insert into idempotency (account_id, key, body_hash, prediction_id, created_at)
             select account_id, key, body_hash, prediction_id, created_at
             from json_to_recordset($1::json) as j(account_id text, key text, body_hash text, prediction_id text, created_at bigint)"
        }
    };
    sqlx::query(sql).bind(as_json(uses)).execute(tx).await?;
    Ok(())
}

fn as_json(rows: &[impl Serialize]) -> String {
    serde_json::to_string(rows).expect("rows are plain data")
}
