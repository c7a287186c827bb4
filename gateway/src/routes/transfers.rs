//! Models that change hands: offered by the owner, accepted or refused by the receiver.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::api::{Model, Page, Transfer};
use protocol::{ModelRef, Problem};
use registry::Scope;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::JsonObject;
use crate::origin::Origin;
use crate::problem::Refused;
use crate::routes::models;

fn shown(offer: registry::Offer) -> Transfer {
    Transfer { model: offer.model.to_string(), from: offer.from, to: offer.to, offered_at: offer.offered_at }
}

fn named(owner: &str, name: &str) -> Result<ModelRef, Refused> {
    ModelRef::new(owner, name).map_err(|_| Refused::not_found("model"))
}

/// List the models that you were offered, and those that you offer.
#[utoipa::path(get, path = "/account/transfers", tag = "models", responses((status = 200, body = Page<Transfer>), (status = 401, body = Problem)))]
pub(super) async fn list_transfers(State(gateway): State<Gateway>, caller: Authenticated) -> Result<Json<Page<Transfer>>, Refused> {
    let caller = caller.require(Scope::ModelsRead)?;
    let offers = gateway.registry().list_offers(&caller).await?;
    Ok(Json(Page { next: None, previous: None, results: offers.into_iter().map(shown).collect() }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OfferBody {
    /// The name of the account that is to have the model.
    #[schema(example = "ada")]
    to: String,
}

/// Offer a model to another account.
///
/// It stays yours until the other side accepts. A later offer takes the place of an earlier one.
#[utoipa::path(post, path = "/models/{owner}/{name}/transfer", tag = "models", request_body = OfferBody,
    params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 201, body = Transfer), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn offer_model(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path((owner, name)): Path<(String, String)>,
    body: JsonObject,
) -> Result<(StatusCode, Json<Transfer>), Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let OfferBody { to } = body.read()?;
    let offer = gateway.registry().offer_model(&caller, &named(&owner, &name)?, &to).await?;
    Ok((StatusCode::CREATED, Json(shown(offer))))
}

/// Refuse a model that you were offered, or take back your own offer.
#[utoipa::path(delete, path = "/models/{owner}/{name}/transfer", tag = "models", params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn end_offer(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path((owner, name)): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    gateway.registry().end_offer(&caller, &named(&owner, &name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Accept a model that you were offered.
///
/// Its versions, tags and runs stay what they are, and its old address leads to it. What it keeps counts for you from now on.
#[utoipa::path(post, path = "/models/{owner}/{name}/transfer/accept", tag = "models", params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Model), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn accept_offer(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path((owner, name)): Path<(String, String)>,
) -> Result<Json<Model>, Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let row = gateway.registry().accept_offer(&caller, &named(&owner, &name)?).await?;
    Ok(Json(models::shown(&gateway, &origin, &row).await?))
}
