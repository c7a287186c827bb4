//! Webhooks: the secret that signs them, and the log of what was delivered, which one can deliver from again.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::api::Page;
use protocol::webhook::{WebhookDelivery, WebhookSecret};
use protocol::{PredictionId, Problem, id};
use registry::{Caller, Scope};
use serde::Deserialize;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::Parameters;
use crate::db::webhook::{self, Deliveries};
use crate::origin::Origin;
use crate::problem::Refused;

/// Deliveries on one page.
const PAGE: usize = 100;

/// Get the secret that signs your webhooks.
#[utoipa::path(get, path = "/webhooks/default/secret", tag = "webhooks",
    responses((status = 200, body = WebhookSecret), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn get_secret(caller: Authenticated) -> Result<Json<WebhookSecret>, Refused> {
    let caller = caller.require(Scope::AccountRead)?;
    Ok(Json(WebhookSecret { key: caller.account.webhook_secret.clone() }))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    cursor: Option<String>,
    /// Only those that tell of this prediction.
    prediction: Option<String>,
}

/// List what your webhooks were told, newest first.
///
/// Deliveries are kept for seven days.
#[utoipa::path(get, path = "/webhooks/deliveries", tag = "webhooks", params(ListQuery),
    responses((status = 200, body = Page<WebhookDelivery>), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem)))]
pub(super) async fn list_deliveries(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<WebhookDelivery>>, Refused> {
    let caller = caller.require(Scope::PredictionsRead)?;
    if query.cursor.as_deref().is_some_and(|cursor| !id::is_prefixed("msg", cursor)) {
        return Err(Refused::bad_request("The cursor is not one of ours; start at the first page"));
    }
    let prediction = query.prediction.as_deref().map(str::parse::<PredictionId>).transpose();
    let wanted = Deliveries {
        account_id: caller.account.id.clone(),
        prediction: prediction.map_err(|error| Refused::bad_request(format!("prediction must be an id: {error}")))?,
        after: query.cursor,
        most: i64::try_from(PAGE).expect("a page is a hundred rows") + 1,
    };
    let mut results = gateway.db().read(move |tx| Box::pin(async move { webhook::list(tx, &wanted).await })).await?;
    let more = results.len() > PAGE;
    results.truncate(PAGE);
    let next = results.last().filter(|_| more).map(|last| {
        let filter = query.prediction.map(|prediction| format!("&prediction={prediction}")).unwrap_or_default();
        origin.url(&format!("/v1/webhooks/deliveries?cursor={}{filter}", last.id))
    });
    Ok(Json(Page { next, previous: None, results }))
}

/// Get a delivery, with what was sent.
#[utoipa::path(get, path = "/webhooks/deliveries/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = WebhookDelivery), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn get_delivery(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(id): Path<String>,
) -> Result<Json<WebhookDelivery>, Refused> {
    let caller = caller.require(Scope::PredictionsRead)?;
    Ok(Json(require_delivery(&gateway, &caller, id).await?))
}

/// Deliver once more.
///
/// The id and the body are those of the first time, the signature is fresh. A delivery that is still under way stays as it is.
#[utoipa::path(post, path = "/webhooks/deliveries/{id}/redeliver", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 202, body = WebhookDelivery), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn redeliver(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<WebhookDelivery>), Refused> {
    let caller = caller.require(Scope::PredictionsWrite)?;
    let (sought, account_id, now) = (known_form(&id)?, caller.account.id.clone(), gateway.clock().now());
    let found = gateway.db().write(move |tx| Box::pin(async move { webhook::redeliver(tx, &sought, &account_id, now).await }));
    if !found.await? {
        return Err(not_found());
    }
    gateway.webhooks().wake();
    Ok((StatusCode::ACCEPTED, Json(require_delivery(&gateway, &caller, id).await?)))
}

async fn require_delivery(gateway: &Gateway, caller: &Caller, id: String) -> Result<WebhookDelivery, Refused> {
    let (sought, account_id) = (known_form(&id)?, caller.account.id.clone());
    let found = gateway.db().read(move |tx| Box::pin(async move { webhook::find(tx, &sought, &account_id).await })).await?;
    found.ok_or_else(not_found)
}

/// What cannot be an id is not looked for.
fn known_form(id: &str) -> Result<String, Refused> {
    if id::is_prefixed("msg", id) { Ok(id.to_owned()) } else { Err(not_found()) }
}

fn not_found() -> Refused {
    Refused::not_found("delivery")
}
