//! `prediction`: the row that is record, queue entry and lease in one. Every write names the fence, so a stale driver changes nothing.

pub(crate) mod of_deployment;
pub(crate) mod removal;
pub(crate) mod usage;

use protocol::money::Pricing;
use protocol::prediction::{CostLine, Errand, HookRun, State, Timings};
use protocol::{Credits, ModelRef, PredictionId, Timestamp, VersionId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::{Engine, StoreError, Tx};

/// A prediction as the database knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PredictionRow {
    pub id: PredictionId,
    pub account_id: String,
    pub token_id: String,
    pub model: ModelRef,
    pub version: VersionId,
    pub source: Source,
    pub errand: Errand,
    /// `owner/name` of the deployment that it was asked of.
    pub deployment: Option<ModelRef>,
    /// The model that a training makes a version of.
    pub destination: Option<ModelRef>,
    pub webhook: Option<Webhook>,
    pub streams: Streams,
    /// Where the caller of a prediction with a webhook reached us: the addresses in what the webhook is told begin with it.
    pub origin: Option<String>,
    pub input: Value,
    /// What the model is given, where a `before` hook replaced the input.
    pub model_input: Option<Value>,
    pub pricing: Pricing,
    pub output: Value,
    pub logs: String,
    pub error: Option<String>,
    pub code: Option<String>,
    pub state: State,
    pub metrics: Map<String, Value>,
    pub hooks: Vec<HookRun>,
    pub cost: Option<Credits>,
    pub cost_lines: Vec<CostLine>,
    pub hold: Credits,
    pub data_removed: bool,
    pub cancel_requested: bool,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub deadline_at: Option<Timestamp>,
    pub fence: i64,
    pub attempt: u32,
    pub emitted: bool,
    pub hardware: String,
    pub region: String,
    pub runner: Option<String>,
    pub timings: Option<Timings>,
    /// In which order logs and output came, for replay: see `transcript.rs`.
    pub event_log: Option<String>,
}

/// Where a caller wants to be told, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Webhook {
    pub url: String,
    pub events: Vec<WebhookEvent>,
}

/// What a webhook can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WebhookEvent {
    Start,
    Output,
    Logs,
    Completed,
}

impl WebhookEvent {
    pub const EVERY: [Self; 4] = [Self::Start, Self::Output, Self::Logs, Self::Completed];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Output => "output",
            Self::Logs => "logs",
            Self::Completed => "completed",
        }
    }
}

/// What the events of its stream carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    Values,
    /// Each output is a file: released clients are told by the stream's address.
    Files,
}

/// Where a prediction was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    Api,
    Web,
}

impl Source {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Web => "web",
        }
    }
}

/// A driver's claim on a prediction: the gateway's boot, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub driver: String,
    pub until: Timestamp,
}

/// Inserts admitted predictions, leased to their driver from the first moment.
pub(crate) async fn insert_all(tx: &mut Tx, rows: &[&PredictionRow], lease: &Lease) -> Result<(), StoreError> {
    let json: Vec<Value> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "id": row.id, "account_id": row.account_id, "token_id": row.token_id, "model_owner": row.model.owner,
                "model_name": row.model.name, "version_id": row.version, "source": row.source, "errand": row.errand,
                "deployment": row.deployment, "destination": row.destination,
                "webhook": row.webhook.as_ref().map(|webhook| &webhook.url),
                "webhook_events": row.webhook.as_ref().map(|webhook| to_json(&webhook.events)), "origin": row.origin,
                "input": row.input.to_string(),
                "model_input": row.model_input.as_ref().map(Value::to_string), "pricing": to_json(&row.pricing), "hooks": to_json(&row.hooks),
                "streams_files": i64::from(row.streams == Streams::Files), "hold": row.hold.nanos(), "state": row.state.name(), "created_at": row.created_at.micros(),
                "deadline_at": row.deadline_at.map(Timestamp::micros), "driver": lease.driver, "fence": row.fence,
                "lease_until": lease.until.micros(), "hardware": row.hardware, "region": row.region,
            })
        })
        .collect();
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "insert into prediction (id, account_id, token_id, model_owner, model_name, version_id, source, errand, deployment,
                    destination, webhook, webhook_events, origin, input, model_input, pricing, hooks,
                    streams_files, hold, state, created_at, deadline_at, driver, fence, lease_until, hardware, region)
             select value ->> 'id', value ->> 'account_id', value ->> 'token_id', value ->> 'model_owner', value ->> 'model_name',
                    value ->> 'version_id', value ->> 'source', value ->> 'errand', value ->> 'deployment', value ->> 'destination',
                    value ->> 'webhook', value ->> 'webhook_events', value ->> 'origin', value ->> 'input', value ->> 'model_input',
                    value ->> 'pricing', value ->> 'hooks', value ->> 'streams_files', value ->> 'hold', value ->> 'state', value ->> 'created_at', value ->> 'deadline_at',
                    value ->> 'driver', value ->> 'fence', value ->> 'lease_until', value ->> 'hardware', value ->> 'region'
             from json_each($1)"
        }
        Engine::Postgres => {
            "insert into prediction (id, account_id, token_id, model_owner, model_name, version_id, source, errand, deployment,
                    destination, webhook, webhook_events, origin, input, model_input, pricing, hooks,
                    streams_files, hold, state, created_at, deadline_at, driver, fence, lease_until, hardware, region)
             select id, account_id, token_id, model_owner, model_name, version_id, source, errand, deployment, destination, webhook,
                    webhook_events, origin, input, model_input, pricing, hooks,
                    streams_files, hold, state, created_at, deadline_at, driver, fence, lease_until, hardware, region
             from json_to_recordset($1::json) as j(id text, account_id text, token_id text, model_owner text, model_name text,
                    version_id text, source text, errand text, deployment text, destination text, webhook text, webhook_events text,
                    origin text, input text, model_input text, pricing text, hooks text, streams_files bigint, hold bigint, state text,
                    created_at bigint, deadline_at bigint, driver text, fence bigint, lease_until bigint, hardware text, region text)"
        }
    };
    sqlx::query(sql).bind(to_json(&json)).execute(tx).await?;
    Ok(())
}

/// Notes that the model has it, and whether its output may have been shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Progress {
    pub id: PredictionId,
    pub fence: i64,
    pub started_at: i64,
    pub emitted: i64,
}

/// Moves leased predictions to running, and returns those of them whose fence still holds.
pub(crate) async fn advance_all(tx: &mut Tx, progress: &[Progress]) -> Result<Vec<String>, StoreError> {
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "update prediction set state = 'running', started_at = coalesce(prediction.started_at, j.value ->> 'started_at'),
                    emitted = max(prediction.emitted, j.value ->> 'emitted')
             from json_each($1) j
             where prediction.id = j.value ->> 'id' and prediction.fence = j.value ->> 'fence' and prediction.completed_at is null
             returning prediction.id as id"
        }
        Engine::Postgres => {
            "update prediction set state = 'running', started_at = coalesce(prediction.started_at, j.started_at),
                    emitted = greatest(prediction.emitted, j.emitted)
             from json_to_recordset($1::json) as j(id text, fence bigint, started_at bigint, emitted bigint)
             where prediction.id = j.id and prediction.fence = j.fence and prediction.completed_at is null
             returning prediction.id as id"
        }
    };
    ids(&sqlx::query(sql).bind(to_json(&progress)).fetch_all(tx).await?)
}

/// Writes terminal states, and returns the ids of those that were not terminal before and whose fence still holds.
pub(crate) async fn finish_all(tx: &mut Tx, rows: &[&PredictionRow]) -> Result<Vec<String>, StoreError> {
    let json: Vec<Value> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "id": row.id, "fence": row.fence, "state": row.state.name(),
                "output": (!row.output.is_null()).then(|| row.output.to_string()), "logs": row.logs, "error": row.error, "code": row.code,
                "metrics": to_json(&row.metrics), "hooks": to_json(&row.hooks), "cost": row.cost.map(Credits::nanos),
                "cost_lines": to_json(&row.cost_lines), "started_at": row.started_at.map(Timestamp::micros),
                "completed_at": row.completed_at.map(Timestamp::micros), "hardware": row.hardware, "runner": row.runner,
                "timings": row.timings.as_ref().map(to_json), "event_log": row.event_log,
                "warmth": row.timings.map(|timings| if timings.cold.is_none() { "warm" } else { "cold" }),
            })
        })
        .collect();
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "update prediction set state = j.value ->> 'state', output = j.value ->> 'output', logs = j.value ->> 'logs',
                    error = j.value ->> 'error', code = j.value ->> 'code', metrics = j.value ->> 'metrics', hooks = j.value ->> 'hooks',
                    cost = j.value ->> 'cost', cost_lines = j.value ->> 'cost_lines', started_at = j.value ->> 'started_at',
                    completed_at = j.value ->> 'completed_at', hardware = j.value ->> 'hardware', runner = j.value ->> 'runner',
                    timings = j.value ->> 'timings', event_log = j.value ->> 'event_log',
                    warmth = j.value ->> 'warmth'
             from json_each($1) j
             where prediction.id = j.value ->> 'id' and prediction.fence = j.value ->> 'fence' and prediction.completed_at is null
             returning prediction.id as id"
        }
        Engine::Postgres => {
            "update prediction set state = j.state, output = j.output, logs = j.logs, error = j.error, code = j.code, metrics = j.metrics,
                    hooks = j.hooks, cost = j.cost, cost_lines = j.cost_lines, started_at = j.started_at, completed_at = j.completed_at,
                    hardware = j.hardware, runner = j.runner, timings = j.timings, event_log = j.event_log,
                    warmth = j.warmth
             from json_to_recordset($1::json) as j(id text, fence bigint, state text, output text, logs text, error text, code text,
                    metrics text, hooks text, cost bigint, cost_lines text, started_at bigint, completed_at bigint, hardware text,
                    runner text, timings text, event_log text, warmth text)
             where prediction.id = j.id and prediction.fence = j.fence and prediction.completed_at is null
             returning prediction.id as id"
        }
    };
    ids(&sqlx::query(sql).bind(to_json(&json)).fetch_all(tx).await?)
}

fn ids(rows: &[AnyRow]) -> Result<Vec<String>, StoreError> {
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// Moves the end of every lease that `lease.driver` holds.
pub(crate) async fn renew_leases(tx: &mut Tx, lease: &Lease) -> Result<(), StoreError> {
    sqlx::query("update prediction set lease_until = $1 where driver = $2 and completed_at is null")
        .bind(lease.until.micros())
        .bind(lease.driver.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// The predictions whose driver let its lease run out before `now`, the oldest first.
pub(crate) async fn find_orphans(tx: &mut Tx, now: Timestamp, most: i64) -> Result<Vec<PredictionRow>, StoreError> {
    let rows = sqlx::query("select * from prediction where completed_at is null and lease_until < $1 order by created_at limit $2")
        .bind(now.micros())
        .bind(most)
        .fetch_all(tx)
        .await?;
    rows.iter().map(read_row).collect()
}

/// Ends the leases of every driver but this one: for an installation whose database no other gateway can have open.
pub(crate) async fn end_foreign_leases(tx: &mut Tx, driver: &str) -> Result<(), StoreError> {
    sqlx::query("update prediction set lease_until = 0 where driver <> $1 and completed_at is null").bind(driver).execute(tx).await?;
    Ok(())
}

/// Takes an orphan over: a new fence and a new attempt. `false` when another gateway was quicker.
pub(crate) async fn take_over(tx: &mut Tx, orphan: &PredictionRow, lease: &Lease, now: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "update prediction set driver = $1, lease_until = $2, fence = fence + 1, attempt = attempt + 1
         where id = $3 and fence = $4 and completed_at is null and lease_until < $5",
    )
    .bind(lease.driver.as_str())
    .bind(lease.until.micros())
    .bind(orphan.id.to_string())
    .bind(orphan.fence)
    .bind(now.micros())
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Leaves word that the caller wants it stopped, for whichever gateway drives it.
pub(crate) async fn request_cancel(tx: &mut Tx, id: PredictionId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("update prediction set cancel_requested_at = coalesce(cancel_requested_at, $1) where id = $2 and completed_at is null")
        .bind(now.micros())
        .bind(id.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

/// Finds a prediction of one account; another account's is as unknown as one that never was.
pub(crate) async fn find(tx: &mut Tx, id: PredictionId, account_id: &str) -> Result<Option<PredictionRow>, StoreError> {
    Ok(find_any(tx, id).await?.filter(|row| row.account_id == account_id))
}

/// Finds a prediction whoever's it is: for addresses that are themselves the permission.
pub(crate) async fn find_any(tx: &mut Tx, id: PredictionId) -> Result<Option<PredictionRow>, StoreError> {
    let row = sqlx::query("select * from prediction where id = $1").bind(id.to_string()).fetch_optional(tx).await?;
    row.as_ref().map(read_row).transpose()
}

/// Which of an account's predictions to list.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub account_id: String,
    pub errand: Errand,
    /// Inclusive.
    pub created_after: Option<Timestamp>,
    /// Exclusive.
    pub created_before: Option<Timestamp>,
    pub source: Option<Source>,
    /// The last row of the page before: strictly older rows follow.
    pub after: Option<(Timestamp, PredictionId)>,
    pub most: i64,
}

/// The errand is no parameter: the index of trainings is only used where the statement names them.
macro_rules! list_statement {
    ($errand:literal) => {
        concat!(
            "select * from prediction where account_id = $1 and errand = '",
            $errand,
            "' and created_at >= $2 and created_at < $3 and ($4 = '' or source = $4)
               and (created_at < $5 or (created_at = $5 and id < $6))
             order by created_at desc, id desc limit $7"
        )
    };
}

/// Lists an account's predictions or its trainings, newest first.
pub(crate) async fn list(tx: &mut Tx, listing: &Listing) -> Result<Vec<PredictionRow>, StoreError> {
    let (before, before_id) = listing.after.map_or((i64::MAX, String::new()), |(at, id)| (at.micros(), id.to_string()));
    let statement = match listing.errand {
        Errand::Predict => list_statement!("predict"),
        Errand::Train => list_statement!("train"),
    };
    let rows = sqlx::query(statement)
        .bind(listing.account_id.as_str())
        .bind(listing.created_after.map_or(i64::MIN, Timestamp::micros))
        .bind(listing.created_before.map_or(i64::MAX, Timestamp::micros))
        .bind(listing.source.map_or("", Source::name))
        .bind(before)
        .bind(before_id)
        .bind(listing.most)
        .fetch_all(tx)
        .await?;
    rows.iter().map(read_row).collect()
}

/// The run times, in microseconds, and costs of a model's latest warm successes, at most `most` of them.
pub(crate) async fn warm_runs(tx: &mut Tx, model: &ModelRef, most: i64) -> Result<Vec<(u64, Credits)>, StoreError> {
    let rows = sqlx::query(
        "select timings, cost from prediction
         where model_owner = $1 and model_name = $2 and errand = 'predict' and state = 'succeeded' and warmth = 'warm' and timings is not null
         order by created_at desc limit $3",
    )
    .bind(model.owner.as_str())
    .bind(model.name.as_str())
    .bind(most)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            let timings: Timings = from_json(row, "timings")?;
            Ok((timings.predict_us, Credits(row.try_get::<Option<i64>, _>("cost")?.unwrap_or(0))))
        })
        .collect()
}

fn read_row(row: &AnyRow) -> Result<PredictionRow, StoreError> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let optional = |column: &str| row.try_get::<Option<String>, _>(column);
    let number = |column: &str| row.try_get::<i64, _>(column);
    let moment = |column: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_micros));
    Ok(PredictionRow {
        id: parsed(&text("id")?, "id")?,
        account_id: text("account_id")?,
        token_id: text("token_id")?,
        model: ModelRef { owner: text("model_owner")?, name: text("model_name")? },
        version: parsed(&text("version_id")?, "version_id")?,
        source: if text("source")? == Source::Web.name() { Source::Web } else { Source::Api },
        errand: if text("errand")? == Errand::Train.name() { Errand::Train } else { Errand::Predict },
        deployment: optional("deployment")?.map(|name| parsed(&name, "deployment")).transpose()?,
        destination: optional("destination")?.map(|name| parsed(&name, "destination")).transpose()?,
        webhook: match optional("webhook")? {
            Some(url) => Some(Webhook { url, events: from_json(row, "webhook_events")? }),
            None => None,
        },
        origin: optional("origin")?,
        streams: if number("streams_files")? == 0 { Streams::Values } else { Streams::Files },
        input: from_json(row, "input")?,
        model_input: from_optional_json(row, "model_input")?,
        pricing: from_json(row, "pricing")?,
        output: from_optional_json(row, "output")?.unwrap_or(Value::Null),
        logs: text("logs")?,
        error: optional("error")?,
        code: optional("code")?,
        state: State::parse(&text("state")?).ok_or_else(|| corrupt("state"))?,
        metrics: from_json(row, "metrics")?,
        hooks: from_optional_json(row, "hooks")?.unwrap_or_default(),
        cost: row.try_get::<Option<i64>, _>("cost")?.map(Credits),
        cost_lines: from_optional_json(row, "cost_lines")?.unwrap_or_default(),
        hold: Credits(number("hold")?),
        data_removed: number("data_removed")? != 0,
        cancel_requested: moment("cancel_requested_at")?.is_some(),
        created_at: Timestamp::from_micros(number("created_at")?),
        started_at: moment("started_at")?,
        completed_at: moment("completed_at")?,
        deadline_at: moment("deadline_at")?,
        fence: number("fence")?,
        attempt: u32::try_from(number("attempt")?).map_err(|_| corrupt("attempt"))?,
        emitted: number("emitted")? != 0,
        hardware: text("hardware")?,
        region: text("region")?,
        runner: optional("runner")?,
        timings: from_optional_json(row, "timings")?,
        event_log: optional("event_log")?,
    })
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("rows are plain data")
}

fn from_json<T: DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(&row.try_get::<String, _>(column)?).map_err(|_| corrupt(column))
}

fn from_optional_json<T: DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let text = row.try_get::<Option<String>, _>(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| corrupt(column))).transpose()
}

fn parsed<T: std::str::FromStr>(text: &str, column: &'static str) -> Result<T, StoreError> {
    text.parse().map_err(|_| corrupt(column))
}

/// A column that holds what no code of ours writes there.
fn corrupt(column: &'static str) -> StoreError {
    StoreError::from(sqlx::Error::ColumnDecode { index: column.to_owned(), source: "not what was written there".into() })
}

#[cfg(test)]
pub(crate) mod tests;
