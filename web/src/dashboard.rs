//! One's own runs and what is left to spend.

use axum::extract::Query;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use protocol::Prediction;
use protocol::api::{Account, Balance, Page as Listed, Storage};
use serde::Deserialize;
use url::form_urlencoded;

use crate::api::ApiError;
use crate::output;
use crate::page::Page;
use crate::panel::{dot, shortened};
use crate::price;
use crate::time;
use crate::visit::Visit;

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

pub(crate) async fn show(visit: Visit, Query(wanted): Query<Wanted>) -> Result<Response, ApiError> {
    let Some(account) = &visit.account else { return Ok(Redirect::to("/signin?next=/dashboard").into_response()) };
    let balance: Balance = visit.api.get("/v1/account/balance").await?;
    let storage: Storage = visit.api.get("/v1/account/storage").await?;
    let path = match &wanted.cursor {
        Some(cursor) => format!("/v1/predictions?cursor={}", form_urlencoded::byte_serialize(cursor.as_bytes()).collect::<String>()),
        None => "/v1/predictions".to_owned(),
    };
    let predictions: Listed<Prediction> = visit.api.get(&path).await?;
    let body = html! {
        (head(account, &balance, &storage))
        h2 { "Runs" }
        @if predictions.results.is_empty() {
            section.sorry {
                h2 { "No runs yet." }
                p { "What you run, from a page or from code, is listed here with its cost." }
                p { a.btn href="/explore" { "Pick a model" } }
            }
        } @else { (runs(&visit, &predictions.results)) }
        nav.pager aria-label="Pages" {
            @if let Some(address) = page_address(predictions.previous.as_deref()) { a href=(address) rel="prev" { "← Newer" } }
            @if let Some(address) = page_address(predictions.next.as_deref()) { a href=(address) rel="next" { "Older →" } }
        }
    };
    Ok(Page::new("Dashboard", body).into_response())
}

fn head(account: &Account, balance: &Balance, storage: &Storage) -> Markup {
    html! {
        section.purse {
            div { h1 { (account.username) } form method="post" action="/signout" { button.link type="submit" { "Sign out" } } }
            dl {
                div { dt { "To spend" } dd.big title=(price::exact(balance.available)) { (rounded(balance.available)) } }
                div { dt { "Held for running" } dd title=(price::exact(balance.held)) { (rounded(balance.held)) } }
                div { dt { "Credit" } dd { (price::exact(balance.credit)) } }
                div { dt { "Kept" } dd title={ (storage.kept_bytes) " bytes, and " (storage.reserved_bytes) " on their way" } { (kept(storage)) } }
            }
        }
    }
}

/// What the account's models take in the registry, of what they may.
fn kept(storage: &Storage) -> String {
    let used = output::size(storage.kept_bytes + storage.reserved_bytes);
    storage.limit_bytes.map_or_else(|| used.clone(), |limit| format!("{used} of {}", output::size(limit)))
}

/// A balance in cents, as purses are counted; smaller amounts keep their two digits.
fn rounded(amount: protocol::Credits) -> String {
    let cents = amount.nanos() / 10_000_000;
    if cents.abs() < 100 {
        return price::short_credits(amount);
    }
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}${}.{:02}", price::grouped(u128::from(cents.unsigned_abs() / 100)), cents.unsigned_abs() % 100)
}

fn runs(visit: &Visit, predictions: &[Prediction]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Your runs" {
            table.table {
                thead { tr { th scope="col" { "State" } th scope="col" { "Model" } th scope="col" { "Run" } th scope="col" { "Made" } th.num scope="col" { "Predict" } th.num scope="col" { "Cost" } } }
                tbody {
                    @for prediction in predictions {
                        tr {
                            td { (dot(prediction)) }
                            td { a href={ "/" (prediction.model) } { (prediction.model) } }
                            td { a href={ "/p/" (prediction.id) } { code title=(prediction.id) { (shortened(&prediction.id)) } } }
                            td { (time::ago(visit.now, prediction.created_at)) }
                            td.num { @if let Some(seconds) = prediction.metrics.get("predict_time").and_then(serde_json::Value::as_f64) { (time::seconds(seconds)) } }
                            td.num { @if let Some(cost) = prediction.cost { (price::exact(cost)) } }
                        }
                    }
                }
            }
        }
    }
}

/// The dashboard's address for a page of the list.
fn page_address(url: Option<&str>) -> Option<String> {
    let (_, query) = url?.split_once('?')?;
    let (_, cursor) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "cursor")?;
    Some(format!("/dashboard?cursor={}", form_urlencoded::byte_serialize(cursor.as_bytes()).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_is_counted_in_cents() {
        assert_eq!(rounded("24.9999785".parse().unwrap()), "$24.99");
        assert_eq!(rounded("0.0000215".parse().unwrap()), "$0.000022");
        assert_eq!(rounded("1234.5".parse().unwrap()), "$1,234.50");
    }

    #[test]
    fn older_runs_are_reached_by_the_apis_cursor() {
        assert_eq!(page_address(Some("http://x/v1/predictions?cursor=a%3D%3D")).as_deref(), Some("/dashboard?cursor=a%3D%3D"));
        assert_eq!(page_address(None), None);
    }
}
