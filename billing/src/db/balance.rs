//! Balances: read under lock, and changed by what the entries add.

use std::collections::BTreeMap;

use protocol::Credits;
use serde::Serialize;
use sqlx::Row;
use store::{StoreError, Tx};

use super::{Bulk, json};
use crate::ledger::Account;

/// Locked in one order, so that two batches cannot each wait for the other.
const LOCK: Bulk = Bulk {
    sqlite: "select account, amount from balance where account in (select value from json_each($1))",
    postgres: "select account, amount from balance where account in (select value from json_array_elements_text($1::json))
        order by account for update",
};

/// Takes away from rows that are there: a row that would be inserted below zero fails its check before the conflict is seen.
const TAKE: Bulk = Bulk {
    sqlite: "update balance set amount = balance.amount + d.amount
        from (select value->>'account' as account, value->>'amount' as amount from json_each($1)) as d
        where balance.account = d.account",
    postgres: "update balance set amount = balance.amount + d.amount
        from json_to_recordset($1::json) as d (account text, amount bigint)
        where balance.account = d.account",
};

const ADD: Bulk = Bulk {
    sqlite: "insert into balance (account, amount)
        select value->>'account', value->>'amount' from json_each($1) where true
        on conflict (account) do update set amount = balance.amount + excluded.amount",
    postgres: "insert into balance (account, amount)
        select account, amount from json_to_recordset($1::json) as d (account text, amount bigint)
        on conflict (account) do update set amount = balance.amount + excluded.amount",
};

const AMOUNT: &str = "select amount from balance where account = $1";

#[derive(Serialize)]
struct Delta {
    account: String,
    amount: i64,
}

/// Reads the credit of these accounts and, on an engine with other writers, keeps those from changing it. Credit without a row is absent.
///
/// Credit is the gate to what an account holds: a command that holds goes from credit to held and one that settles goes back, so without
/// a gate each would wait for the other. What many share (`fee`, `payable`) is only added to, after all gates, in one order.
pub(super) async fn lock_credit(tx: &mut Tx, accounts: impl Iterator<Item = &str>) -> Result<BTreeMap<Account, Credits>, StoreError> {
    let by_name: BTreeMap<String, Account> =
        accounts.map(|id| Account::Credit(id.to_owned())).map(|credit| (credit.to_string(), credit)).collect();
    let names: Vec<&String> = by_name.keys().collect();
    let rows = sqlx::query(LOCK.on(tx)).bind(json(&names)?).fetch_all(tx).await?;
    let mut balances = BTreeMap::new();
    for row in rows {
        if let Some(account) = by_name.get(row.try_get::<&str, _>("account")?) {
            balances.insert(account.clone(), Credits(row.try_get("amount")?));
        }
    }
    Ok(balances)
}

/// Changes every balance by its delta, and fails if one would fall below what it may.
pub(super) async fn change(tx: &mut Tx, deltas: BTreeMap<Account, Credits>) -> Result<(), StoreError> {
    let (mut taken, mut added): (Vec<Delta>, Vec<Delta>) = (Vec::new(), Vec::new());
    for (account, amount) in deltas {
        let may_begin_below_zero = matches!(account, Account::Promo | Account::External);
        let delta = Delta { account: account.to_string(), amount: amount.nanos() };
        match delta.amount {
            0 => {}
            ..0 if !may_begin_below_zero => taken.push(delta),
            _ => added.push(delta),
        }
    }
    if !taken.is_empty() {
        let changed = sqlx::query(TAKE.on(tx)).bind(json(&taken)?).execute(&mut *tx).await?;
        if changed.rows_affected() != taken.len() as u64 {
            return Err(sqlx::Error::RowNotFound.into());
        }
    }
    if !added.is_empty() {
        added.sort_unstable_by(|a, b| a.account.cmp(&b.account));
        sqlx::query(ADD.on(tx)).bind(json(&added)?).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Reads one balance; an account that never moved has zero.
pub(super) async fn amount(tx: &mut Tx, account: &Account) -> Result<Credits, StoreError> {
    let row = sqlx::query(AMOUNT).bind(account.to_string()).fetch_optional(tx).await?;
    Ok(Credits(row.map_or(Ok(0), |row| row.try_get("amount"))?))
}
