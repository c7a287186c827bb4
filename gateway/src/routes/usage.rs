//! What an account used and what it cost, as JSON or as a table for spreadsheets.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use protocol::api::{Usage, UsageRow};
use protocol::{Credits, Problem, Timestamp};
use registry::Scope;
use serde::Deserialize;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::Parameters;
use crate::db::prediction::usage::{self, UsageBy};
use crate::problem::Refused;

/// What is told when no time is named.
const DAYS: i64 = 30;
const CSV: &str = "text/csv";

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageQuery {
    /// Inclusive, RFC 3339; 30 days ago when absent.
    from: Option<String>,
    /// Exclusive, RFC 3339; now when absent.
    to: Option<String>,
    /// `day` (the default), `model`, `token` or `hardware`.
    group_by: Option<String>,
    /// `json` (the default) or `csv`; `Accept: text/csv` asks for the latter as well.
    format: Option<String>,
}

/// Tell what the account used.
///
/// Predictions and trainings that ended in the time, with their cost, by day, model, token or hardware.
#[utoipa::path(get, path = "/account/usage", tag = "account", params(UsageQuery),
    responses((status = 200, content((Usage = "application/json"), (String = "text/csv"))), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn get_usage(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    headers: HeaderMap,
    Parameters(query): Parameters<UsageQuery>,
) -> Result<Response, Refused> {
    let caller = caller.require(Scope::AccountRead)?;
    let to = moment("to", query.to.as_deref())?.unwrap_or_else(|| gateway.clock().now());
    let from = moment("from", query.from.as_deref())?.unwrap_or_else(|| to.plus_millis(-DAYS * 86_400_000));
    let named = query.group_by.as_deref().unwrap_or(UsageBy::Day.name());
    let by = UsageBy::parse(named).ok_or_else(|| Refused::bad_request("group_by must be `day`, `model`, `token` or `hardware`"))?;
    let wants_csv = match query.format.as_deref() {
        None => headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(CSV.as_bytes())),
        Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(Refused::bad_request("format must be `json` or `csv`")),
    };
    let account_id = caller.account.id.clone();
    let rows = gateway.db().read(move |tx| Box::pin(async move { usage::add_up(tx, &account_id, from, to, by).await })).await?;
    if wants_csv {
        return Ok(([(header::CONTENT_TYPE, CSV)], table(by, &rows)).into_response());
    }
    let cost: Credits = rows.iter().map(|row| row.cost).sum();
    Ok(Json(Usage { from, to, group_by: by.name().to_owned(), cost, rows }).into_response())
}

fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Refused> {
    let bad = || Refused::bad_request(format!("{name} must be an RFC 3339 date and time"));
    text.map(|text| Timestamp::parse(text).ok_or_else(bad)).transpose()
}

/// Keys are dates, names and ids: none of them needs quotes.
fn table(by: UsageBy, rows: &[UsageRow]) -> String {
    let heading = format!("{},predictions,succeeded,run_seconds,cost_usd\r\n", by.name());
    let line = |row: &UsageRow| {
        let (seconds, micros) = (row.run_us / 1_000_000, row.run_us % 1_000_000);
        format!("{},{},{},{seconds}.{micros:06},{}\r\n", row.key, row.predictions, row.succeeded, row.cost)
    };
    rows.iter().fold(heading, |table, row| table + &line(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_a_row_in_plain_numbers() {
        let row = UsageRow { key: "ada/echo".to_owned(), predictions: 2, succeeded: 1, run_us: 1_500_000, cost: Credits(21_500) };
        let expected = "model,predictions,succeeded,run_seconds,cost_usd\r\nada/echo,2,1,1.500000,0.0000215\r\n";
        assert_eq!(table(UsageBy::Model, &[row]), expected);
    }
}
