//! The outbox as its accounts see it: a log to look at and to deliver from again, kept for a while.

use std::collections::HashMap;

use protocol::webhook::{DeliveryState, WebhookAttempt, WebhookDelivery};
use protocol::{PredictionId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::{Engine, StoreError, Tx};

/// Rows that one statement removes.
const PRUNED_AT_ONCE: i64 = 500;

macro_rules! select_delivery {
    ($condition:literal) => {
        concat!(
            "select id, prediction_id, url, event, next_try_at, delivered_at, abandoned_at, last_status, last_error, created_at
             from webhook_outbox where ",
            $condition
        )
    };
}

/// Which of an account's deliveries to list.
#[derive(Clone, Debug)]
pub(crate) struct Deliveries {
    pub account_id: String,
    pub prediction: Option<PredictionId>,
    /// The last one of the page before: strictly older ones follow.
    pub after: Option<String>,
    pub most: i64,
}

/// Lists deliveries with their attempts, newest first.
pub(crate) async fn list(tx: &mut Tx, deliveries: &Deliveries) -> Result<Vec<WebhookDelivery>, StoreError> {
    let rows = sqlx::query(select_delivery!(
        "account_id = $1 and ($2 = '' or prediction_id = $2) and ($3 = '' or id < $3) order by id desc limit $4"
    ))
    .bind(deliveries.account_id.as_str())
    .bind(deliveries.prediction.map(|id| id.to_string()).unwrap_or_default())
    .bind(deliveries.after.clone().unwrap_or_default())
    .bind(deliveries.most)
    .fetch_all(&mut *tx)
    .await?;
    let found = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    with_attempts(tx, found).await
}

/// Finds one of an account's deliveries, with its attempts and its body.
pub(crate) async fn find(tx: &mut Tx, id: &str, account_id: &str) -> Result<Option<WebhookDelivery>, StoreError> {
    let sql = select_delivery!("id = $1 and account_id = $2");
    let Some(row) = sqlx::query(sql).bind(id).bind(account_id).fetch_optional(&mut *tx).await? else { return Ok(None) };
    let body: String = sqlx::query("select body from webhook_outbox where id = $1").bind(id).fetch_one(&mut *tx).await?.try_get("body")?;
    let found = WebhookDelivery { body: serde_json::from_str(&body).ok(), ..read(&row)? };
    Ok(with_attempts(tx, vec![found]).await?.pop())
}

/// Sends a delivery that is over once more, from `now` on. One that is under way stays as it is. `false` when the account has none of that id.
pub(crate) async fn redeliver(tx: &mut Tx, id: &str, account_id: &str, now: Timestamp) -> Result<bool, StoreError> {
    sqlx::query(
        "update webhook_outbox set delivered_at = null, abandoned_at = null, next_try_at = $1, tries_left = 1
         where id = $2 and account_id = $3 and (delivered_at is not null or abandoned_at is not null)",
    )
    .bind(now.micros())
    .bind(id)
    .bind(account_id)
    .execute(&mut *tx)
    .await?;
    let exists = sqlx::query("select id from webhook_outbox where id = $1 and account_id = $2").bind(id).bind(account_id);
    Ok(exists.fetch_optional(tx).await?.is_some())
}

/// Removes some of what was created before a moment; `false` when nothing of it is left.
pub(crate) async fn prune(tx: &mut Tx, before: Timestamp) -> Result<bool, StoreError> {
    sqlx::query(
        "delete from webhook_attempt where delivery_id in
            (select id from webhook_outbox where created_at < $1 order by created_at, id limit $2)",
    )
    .bind(before.micros())
    .bind(PRUNED_AT_ONCE)
    .execute(&mut *tx)
    .await?;
    let removed = sqlx::query(
        "delete from webhook_outbox where id in (select id from webhook_outbox where created_at < $1 order by created_at, id limit $2)",
    )
    .bind(before.micros())
    .bind(PRUNED_AT_ONCE)
    .execute(tx)
    .await?;
    Ok(removed.rows_affected() > 0)
}

/// Removes all that was told of these predictions.
pub(crate) async fn forget(tx: &mut Tx, predictions: &[String]) -> Result<(), StoreError> {
    let (attempts, deliveries) = match Engine::of(tx) {
        Engine::Sqlite => (
            "delete from webhook_attempt where delivery_id in
                (select o.id from webhook_outbox o where o.prediction_id in (select j.value from json_each($1) j))",
            "delete from webhook_outbox where prediction_id in (select j.value from json_each($1) j)",
        ),
        Engine::Postgres => (
            "delete from webhook_attempt where delivery_id in
                (select o.id from webhook_outbox o where o.prediction_id in (select json_array_elements_text($1::json)))",
            "delete from webhook_outbox where prediction_id in (select json_array_elements_text($1::json))",
        ),
    };
    let predictions = super::to_json(&predictions);
    sqlx::query(attempts).bind(predictions.as_str()).execute(&mut *tx).await?;
    sqlx::query(deliveries).bind(predictions.as_str()).execute(tx).await?;
    Ok(())
}

async fn with_attempts(tx: &mut Tx, mut deliveries: Vec<WebhookDelivery>) -> Result<Vec<WebhookDelivery>, StoreError> {
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "select a.delivery_id, a.number, a.at, a.status, a.error, a.duration_us from webhook_attempt a
             where a.delivery_id in (select j.value from json_each($1) j) order by a.delivery_id, a.number"
        }
        Engine::Postgres => {
            "select a.delivery_id, a.number, a.at, a.status, a.error, a.duration_us from webhook_attempt a
             where a.delivery_id in (select json_array_elements_text($1::json)) order by a.delivery_id, a.number"
        }
    };
    let ids: Vec<&str> = deliveries.iter().map(|delivery| delivery.id.as_str()).collect();
    let rows = sqlx::query(sql).bind(super::to_json(&ids)).fetch_all(tx).await?;
    let mut attempts: HashMap<String, Vec<WebhookAttempt>> = HashMap::new();
    for row in &rows {
        attempts.entry(row.try_get("delivery_id")?).or_default().push(read_attempt(row)?);
    }
    for delivery in &mut deliveries {
        delivery.attempts = attempts.remove(&delivery.id).unwrap_or_default();
    }
    Ok(deliveries)
}

fn read(row: &AnyRow) -> Result<WebhookDelivery, StoreError> {
    let moment = |column: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_micros));
    let (delivered_at, abandoned_at) = (moment("delivered_at")?, moment("abandoned_at")?);
    let state = match (delivered_at, abandoned_at) {
        (Some(_), _) => DeliveryState::Delivered,
        (None, Some(_)) => DeliveryState::Abandoned,
        (None, None) => DeliveryState::Pending,
    };
    Ok(WebhookDelivery {
        id: row.try_get("id")?,
        event: row.try_get("event")?,
        prediction: row.try_get("prediction_id")?,
        url: row.try_get("url")?,
        state,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        delivered_at,
        next_try_at: moment("next_try_at")?.filter(|_| state == DeliveryState::Pending),
        last_status: status(row, "last_status")?,
        last_error: row.try_get("last_error")?,
        attempts: Vec::new(),
        body: None,
    })
}

fn read_attempt(row: &AnyRow) -> Result<WebhookAttempt, StoreError> {
    Ok(WebhookAttempt {
        number: u32::try_from(row.try_get::<i64, _>("number")?).unwrap_or(u32::MAX),
        at: Timestamp::from_micros(row.try_get("at")?),
        status: status(row, "status")?,
        error: row.try_get("error")?,
        duration_seconds: seconds(row.try_get("duration_us")?),
    })
}

fn status(row: &AnyRow, column: &str) -> Result<Option<u16>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(column)?.and_then(|status| u16::try_from(status).ok()))
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a try stay far below 2^53")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1_000_000.0
}
