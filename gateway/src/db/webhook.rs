//! `webhook_outbox`: events on their way to webhooks. A row is written with the state it tells of, claimed for one try at a time, and
//! ends delivered or abandoned.

mod log;

use protocol::{PredictionId, Timestamp};
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;
use store::{Engine, StoreError, Tx};

use crate::db::prediction::WebhookEvent;

pub(crate) use log::{Deliveries, find, forget, list, prune, redeliver};

/// An event to deliver. Its id and its bytes are fixed from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NewDelivery {
    pub id: String,
    pub prediction_id: PredictionId,
    pub account_id: String,
    pub url: String,
    /// Scheme, host and port of `url`.
    pub endpoint: String,
    pub event: WebhookEvent,
    pub body: String,
    pub tries_left: u32,
    /// Microseconds since the Unix epoch.
    pub created_at: i64,
}

pub(crate) async fn insert_all(tx: &mut Tx, deliveries: &[&NewDelivery]) -> Result<(), StoreError> {
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "insert into webhook_outbox (id, prediction_id, account_id, url, endpoint, event, body, tries_left, next_try_at, created_at)
             select j.value ->> 'id', j.value ->> 'prediction_id', j.value ->> 'account_id', j.value ->> 'url', j.value ->> 'endpoint',
                    j.value ->> 'event', j.value ->> 'body', j.value ->> 'tries_left', j.value ->> 'created_at', j.value ->> 'created_at'
             from json_each($1) j"
        }
        Engine::Postgres => {
            "insert into webhook_outbox (id, prediction_id, account_id, url, endpoint, event, body, tries_left, next_try_at, created_at)
             select id, prediction_id, account_id, url, endpoint, event, body, tries_left, created_at, created_at
             from json_to_recordset($1::json) as j(id text, prediction_id text, account_id text, url text, endpoint text, event text,
                    body text, tries_left bigint, created_at bigint)"
        }
    };
    sqlx::query(sql).bind(to_json(&deliveries)).execute(tx).await?;
    Ok(())
}

/// Inserts an event of a prediction that still runs, in place of an earlier one of its kind that nobody has begun to send. `false` when the
/// prediction has ended: what it was on the way there is of no interest any more.
pub(crate) async fn insert_latest(tx: &mut Tx, delivery: &NewDelivery) -> Result<bool, StoreError> {
    let running = sqlx::query("select id from prediction where id = $1 and completed_at is null")
        .bind(delivery.prediction_id.to_string())
        .fetch_optional(&mut *tx)
        .await?;
    if running.is_none() {
        return Ok(false);
    }
    sqlx::query(
        "delete from webhook_outbox
         where prediction_id = $1 and event = $2 and attempts = 0 and delivered_at is null and abandoned_at is null",
    )
    .bind(delivery.prediction_id.to_string())
    .bind(delivery.event.name())
    .execute(&mut *tx)
    .await?;
    insert_all(tx, &[delivery]).await?;
    Ok(true)
}

/// Takes back what the ended predictions of `deliveries` were on their way, where nobody has begun to send it.
pub(crate) async fn drop_superseded(tx: &mut Tx, deliveries: &[&NewDelivery]) -> Result<(), StoreError> {
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "delete from webhook_outbox
             where event in ('output', 'logs') and attempts = 0 and delivered_at is null and abandoned_at is null
                   and prediction_id in (select j.value from json_each($1) j)"
        }
        Engine::Postgres => {
            "delete from webhook_outbox
             where event in ('output', 'logs') and attempts = 0 and delivered_at is null and abandoned_at is null
                   and prediction_id in (select json_array_elements_text($1::json))"
        }
    };
    let ended: Vec<PredictionId> = deliveries.iter().map(|delivery| delivery.prediction_id).collect();
    sqlx::query(sql).bind(to_json(&ended)).execute(tx).await?;
    Ok(())
}

/// A delivery whose time has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Due {
    pub id: String,
    #[serde(skip)]
    pub account_id: String,
    #[serde(skip)]
    pub endpoint: String,
    /// Tries that were begun before.
    pub attempts: i64,
}

/// Finds deliveries that may be tried now: not to the endpoints, nor of the accounts, in `full`; and each prediction's in their order.
pub(crate) async fn find_due(tx: &mut Tx, now: Timestamp, full: &[String], most: usize) -> Result<Vec<Due>, StoreError> {
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "select o.id, o.account_id, o.endpoint, o.attempts from webhook_outbox o
             where o.delivered_at is null and o.abandoned_at is null and o.next_try_at <= $1
                   and o.endpoint not in (select j.value from json_each($2) j) and o.account_id not in (select j.value from json_each($2) j)
                   and not exists (select 1 from webhook_outbox e where e.prediction_id = o.prediction_id and e.delivered_at is null
                                          and e.abandoned_at is null and (e.created_at, e.id) < (o.created_at, o.id))
             order by o.next_try_at, o.id limit $3"
        }
        Engine::Postgres => {
            "select o.id, o.account_id, o.endpoint, o.attempts from webhook_outbox o
             where o.delivered_at is null and o.abandoned_at is null and o.next_try_at <= $1
                   and o.endpoint not in (select json_array_elements_text($2::json))
                   and o.account_id not in (select json_array_elements_text($2::json))
                   and not exists (select 1 from webhook_outbox e where e.prediction_id = o.prediction_id and e.delivered_at is null
                                          and e.abandoned_at is null and (e.created_at, e.id) < (o.created_at, o.id))
             order by o.next_try_at, o.id limit $3"
        }
    };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql).bind(now.micros()).bind(to_json(&full)).bind(most).fetch_all(tx).await?;
    let read = |row: &AnyRow| -> Result<Due, StoreError> {
        Ok(Due {
            id: row.try_get("id")?,
            account_id: row.try_get("account_id")?,
            endpoint: row.try_get("endpoint")?,
            attempts: row.try_get("attempts")?,
        })
    };
    rows.iter().map(read).collect()
}

/// A delivery that this gateway is to try, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub id: String,
    pub account_id: String,
    pub url: String,
    pub body: String,
    /// Which try this is, from 1.
    pub number: i64,
    /// Tries that remain after this one.
    pub tries_left: u32,
}

/// Claims deliveries until `until`, when they are due again if nothing was heard of the try. Those that another gateway has claimed since
/// they were found are left out.
pub(crate) async fn claim(tx: &mut Tx, due: &[Due], now: Timestamp, until: Timestamp) -> Result<Vec<Claimed>, StoreError> {
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "update webhook_outbox set attempts = webhook_outbox.attempts + 1, tries_left = max(webhook_outbox.tries_left - 1, 0),
                    next_try_at = $2
             from json_each($1) j
             where webhook_outbox.id = j.value ->> 'id' and webhook_outbox.attempts = j.value ->> 'attempts'
                   and webhook_outbox.next_try_at <= $3 and webhook_outbox.delivered_at is null and webhook_outbox.abandoned_at is null
             returning webhook_outbox.id as id, account_id, url, body, attempts, tries_left"
        }
        Engine::Postgres => {
            "update webhook_outbox set attempts = webhook_outbox.attempts + 1, tries_left = greatest(webhook_outbox.tries_left - 1, 0),
                    next_try_at = $2
             from json_to_recordset($1::json) as j(id text, attempts bigint)
             where webhook_outbox.id = j.id and webhook_outbox.attempts = j.attempts
                   and webhook_outbox.next_try_at <= $3 and webhook_outbox.delivered_at is null and webhook_outbox.abandoned_at is null
             returning webhook_outbox.id as id, account_id, url, body, webhook_outbox.attempts as attempts, tries_left"
        }
    };
    let rows = sqlx::query(sql).bind(to_json(&due)).bind(until.micros()).bind(now.micros()).fetch_all(tx).await?;
    let read = |row: &AnyRow| -> Result<Claimed, StoreError> {
        Ok(Claimed {
            id: row.try_get("id")?,
            account_id: row.try_get("account_id")?,
            url: row.try_get("url")?,
            body: row.try_get("body")?,
            number: row.try_get("attempts")?,
            tries_left: u32::try_from(row.try_get::<i64, _>("tries_left")?).unwrap_or(0),
        })
    };
    rows.iter().map(read).collect()
}

/// What becomes of a delivery after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    TryAgain { at: Timestamp },
    Abandoned,
}

/// A try that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tried {
    pub id: String,
    pub number: i64,
    pub at: Timestamp,
    pub duration_us: i64,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    pub error: Option<String>,
    pub verdict: Verdict,
}

/// Writes down what a try met. `false` when the claim had run out and another try was begun: only the log is written then.
pub(crate) async fn settle(tx: &mut Tx, tried: &Tried, now: Timestamp) -> Result<bool, StoreError> {
    let status = tried.status.map(i64::from);
    sqlx::query("insert into webhook_attempt (delivery_id, number, at, status, error, duration_us) values ($1, $2, $3, $4, $5, $6)")
        .bind(tried.id.as_str())
        .bind(tried.number)
        .bind(tried.at.micros())
        .bind(status)
        .bind(tried.error.as_deref())
        .bind(tried.duration_us)
        .execute(&mut *tx)
        .await?;
    let (delivered_at, abandoned_at, next_try_at) = match tried.verdict {
        Verdict::Delivered => (Some(now.micros()), None, now),
        Verdict::Abandoned => (None, Some(now.micros()), now),
        Verdict::TryAgain { at } => (None, None, at),
    };
    let settled = sqlx::query(
        "update webhook_outbox set last_status = $1, last_error = $2, delivered_at = $3, abandoned_at = $4, next_try_at = $5
         where id = $6 and attempts = $7 and delivered_at is null and abandoned_at is null",
    )
    .bind(status)
    .bind(tried.error.as_deref())
    .bind(delivered_at)
    .bind(abandoned_at)
    .bind(next_try_at.micros())
    .bind(tried.id.as_str())
    .bind(tried.number)
    .execute(tx)
    .await?;
    Ok(settled.rows_affected() == 1)
}

/// When the next delivery that waits for its time is due.
pub(crate) async fn next_due(tx: &mut Tx, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let row = sqlx::query(
        "select min(next_try_at) as due from webhook_outbox where delivered_at is null and abandoned_at is null and next_try_at > $1",
    )
    .bind(now.micros())
    .fetch_one(tx)
    .await?;
    Ok(row.try_get::<Option<i64>, _>("due")?.map(Timestamp::from_micros))
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("rows are plain data")
}
#[cfg(test)]
mod tests;
