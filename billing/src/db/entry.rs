//! Transactions of the ledger and their entries: added, read, never changed.

use std::collections::{HashMap, HashSet};

use protocol::{Credits, PredictionId};
use serde::Serialize;
use sqlx::Row;
use store::{StoreError, Tx};

use super::{Bulk, balance, json};
use crate::ledger::posting::{Captured, Held, Posting, deltas, hold_tx};

const INSERT_TX: Bulk = Bulk {
    sqlite: "insert into ledger_tx (id, kind, prediction_id, memo, created_at)
        select value->>'id', value->>'kind', value->>'prediction_id', value->>'memo', value->>'created_at' from json_each($1) where true
        on conflict (id) do nothing returning id",
    postgres: "insert into ledger_tx (id, kind, prediction_id, memo, created_at)
        select id, kind, prediction_id, memo, created_at from json_to_recordset($1::json)
        as t (id text, kind text, prediction_id text, memo text, created_at bigint)
        on conflict (id) do nothing returning id",
};

const INSERT_ENTRY: Bulk = Bulk {
    sqlite: "insert into ledger_entry (tx, account, amount, created_at)
        select value->>'tx', value->>'account', value->>'amount', value->>'created_at' from json_each($1)",
    postgres: "insert into ledger_entry (tx, account, amount, created_at)
        select tx, account, amount, created_at from json_to_recordset($1::json)
        as e (tx text, account text, amount bigint, created_at bigint)",
};

/// Of a hold's two entries, the one above zero is that of the account which holds.
const HOLDS: Bulk = Bulk {
    sqlite: "select t.prediction_id, e.account, e.amount
        from ledger_tx t left join ledger_entry e on e.tx = t.id and e.amount > 0
        where t.id in (select value from json_each($1))",
    postgres: "select t.prediction_id, e.account, e.amount
        from ledger_tx t left join ledger_entry e on e.tx = t.id and e.amount > 0
        where t.id in (select value from json_array_elements_text($1::json))",
};

const EXISTS: &str = "select id from ledger_tx where id = $1";

const CAPTURED: &str = "select t.kind, e.account, e.amount from ledger_tx t join ledger_entry e on e.tx = t.id
    where t.id = 'settle:' || $1
    union all select t.kind, e.account, e.amount from ledger_tx t join ledger_entry e on e.tx = t.id
    where t.kind = 'refund' and t.prediction_id = $1";

#[derive(Serialize)]
struct TxRow<'p> {
    id: &'p str,
    kind: &'p str,
    prediction_id: Option<PredictionId>,
    memo: &'p str,
    created_at: i64,
}

#[derive(Serialize)]
struct EntryRow<'p> {
    tx: &'p str,
    account: String,
    amount: i64,
    created_at: i64,
}

/// Writes the postings whose transaction is not there yet, with their entries and the balances, and tells which ones those were.
pub(super) async fn post(tx: &mut Tx, mut postings: Vec<Posting>) -> Result<HashSet<String>, StoreError> {
    if postings.is_empty() {
        return Ok(HashSet::new());
    }
    let new = insert_transactions(tx, &postings).await?;
    postings.retain(|posting| new.contains(&posting.tx));
    insert_entries(tx, &postings).await?;
    balance::change(tx, deltas(&postings)).await?;
    Ok(new)
}

async fn insert_transactions(tx: &mut Tx, postings: &[Posting]) -> Result<HashSet<String>, StoreError> {
    let rows = postings.iter().map(|posting| TxRow {
        id: &posting.tx,
        kind: posting.kind,
        prediction_id: posting.prediction,
        memo: &posting.memo,
        created_at: posting.at.micros(),
    });
    let rows = json(&rows.collect::<Vec<_>>())?;
    let inserted = sqlx::query(INSERT_TX.on(tx)).bind(rows).fetch_all(tx).await?;
    Ok(inserted.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
}

async fn insert_entries(tx: &mut Tx, postings: &[Posting]) -> Result<(), StoreError> {
    let rows = postings.iter().flat_map(|posting| {
        posting.entries.iter().map(|(account, amount)| EntryRow {
            tx: &posting.tx,
            account: account.to_string(),
            amount: amount.nanos(),
            created_at: posting.at.micros(),
        })
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        sqlx::query(INSERT_ENTRY.on(tx)).bind(json(&rows)?).execute(tx).await?;
    }
    Ok(())
}

/// Finds the holds of these predictions; one of amount zero has no entry and so names no account.
pub(super) async fn find_holds(tx: &mut Tx, predictions: impl Iterator<Item = PredictionId>) -> Result<HashMap<String, Held>, StoreError> {
    let ids: Vec<String> = predictions.map(hold_tx).collect();
    let rows = sqlx::query(HOLDS.on(tx)).bind(json(&ids)?).fetch_all(tx).await?;
    let mut holds = HashMap::with_capacity(rows.len());
    for row in rows {
        let account: Option<&str> = row.try_get("account")?;
        let amount: Option<i64> = row.try_get("amount")?;
        let account = account.and_then(|account| account.strip_prefix("held:")).unwrap_or_default().to_owned();
        holds.insert(row.try_get("prediction_id")?, Held { account, amount: Credits(amount.unwrap_or(0)) });
    }
    Ok(holds)
}

pub(super) async fn exists(tx: &mut Tx, id: &str) -> Result<bool, StoreError> {
    Ok(sqlx::query(EXISTS).bind(id).fetch_optional(tx).await?.is_some())
}

/// Finds what the prediction's capture moved and how much of it went back; none when nothing was captured.
pub(super) async fn find_captured(tx: &mut Tx, prediction: PredictionId) -> Result<Option<Captured>, StoreError> {
    let rows = sqlx::query(CAPTURED).bind(prediction.to_string()).fetch_all(tx).await?;
    let mut found = Captured::default();
    for row in &rows {
        let (kind, account): (&str, &str) = (row.try_get("kind")?, row.try_get("account")?);
        let amount = Credits(row.try_get("amount")?);
        match (kind, account.split_once(':')) {
            ("capture", Some(("held", payer))) => payer.clone_into(&mut found.payer),
            ("capture", Some(("payable", publisher))) => {
                publisher.clone_into(&mut found.publisher);
                found.amount += amount;
            }
            ("capture", None) => {
                found.fee += amount;
                found.amount += amount;
            }
            ("refund", Some(("credit", _))) => found.refunded += amount,
            _ => {}
        }
    }
    Ok((found.amount > Credits::ZERO).then_some(found))
}
