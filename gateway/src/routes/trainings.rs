//! Trainings over HTTP: create, list, get, cancel. A training takes the road of a prediction, and its id is known on both routes.

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use protocol::api::Page;
use protocol::prediction::{Errand, Prediction};
use protocol::problem::InvalidField;
use protocol::{ModelRef, Problem, Reference, VersionId};
use registry::{Caller, Scope};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::{JsonObject, Parameters};
use crate::db::prediction::{Listing, PredictionRow};
use crate::origin::Origin;
use crate::problem::Refused;
use crate::render;
use crate::routes::predictions::{self, Order, PAGE, answer, read_cursor, read_envelope, require_row, with_timing};

/// Train a version.
///
/// `destination` is `owner/name` of a model of yours: what the training makes becomes a version of it. It is charged by the second of the
/// hardware of the model that is trained.
#[utoipa::path(post, path = "/models/{owner}/{name}/versions/{id}/trainings", tag = "trainings", request_body = Object,
    params(("owner" = String, Path), ("name" = String, Path), ("id" = String, Path),
           ("Idempotency-Key" = Option<String>, Header, description = "The same key and body train once")),
    responses((status = 201, body = Prediction), (status = 400, body = Problem), (status = 401, body = Problem), (status = 402, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
              (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn create_training(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path((owner, name, id)): Path<(String, String, String)>,
    headers: HeaderMap,
    mut body: JsonObject,
) -> Result<Response, Refused> {
    let caller = caller.require(Scope::PredictionsWrite)?;
    if !caller.may(Scope::ModelsWrite) {
        return Err(Refused::forbidden(&Scope::ModelsWrite.to_string()));
    }
    let reference = require_version(&gateway, &caller, (&owner, &name), &id).await?;
    let destination = read_destination(&mut body.fields)?;
    let envelope = read_envelope(body.fields)?.without_version()?;
    let destination = require_destination(&gateway, &caller, &destination).await?;
    let order = Order { reference, errand: Errand::Train, deployment: None, destination: Some(destination) };
    answer(gateway, caller, origin, &headers, order, envelope, &body.raw).await
}

/// The version in the address, if the caller may know of it.
async fn require_version(gateway: &Gateway, caller: &Caller, (owner, name): (&str, &str), id: &str) -> Result<Reference, Refused> {
    let model = ModelRef::new(owner, name).map_err(|_| Refused::not_found("model"))?;
    let row = gateway.registry().find_model(&model, &caller.account.id).await?.ok_or_else(|| Refused::not_found("model"))?;
    let id: VersionId = id.parse().map_err(|_| Refused::not_found("version"))?;
    gateway.registry().find_version(&row, &id).await?.ok_or_else(|| Refused::not_found("version"))?;
    Ok(Reference::Exact(model, id))
}

fn read_destination(fields: &mut Map<String, Value>) -> Result<String, Refused> {
    let invalid = |kind: &str, field: &str, description: &str| Refused::invalid(InvalidField::new(kind, field, description));
    match fields.remove("destination") {
        Some(Value::String(destination)) => Ok(destination),
        None | Some(Value::Null) => Err(invalid("required", "", "destination is required")),
        Some(_) => Err(invalid("invalid_type", "destination", "destination must be a string")),
    }
}

/// A model of the caller; another's reads as one that does not exist, in Replicate's words.
async fn require_destination(gateway: &Gateway, caller: &Caller, destination: &str) -> Result<ModelRef, Refused> {
    let absent = || Refused::from(Problem::new(404, "Not found", "The specified training destination does not exist"));
    let model: ModelRef = destination.parse().map_err(|_| absent())?;
    let found = gateway.registry().find_model(&model, &caller.account.id).await?;
    found.filter(|row| row.owner_id == caller.account.id).ok_or_else(absent)?;
    Ok(model)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

/// List your trainings, newest first.
#[utoipa::path(get, path = "/trainings", tag = "trainings", params(ListQuery),
    responses((status = 200, body = Page<Prediction>), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list_trainings(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Parameters(query): Parameters<ListQuery>,
) -> Result<axum::Json<Page<Prediction>>, Refused> {
    let caller = caller.require(Scope::PredictionsRead)?;
    let listing = Listing {
        account_id: caller.account.id.clone(),
        errand: Errand::Train,
        created_after: None,
        created_before: None,
        source: None,
        after: query.cursor.as_deref().map(read_cursor).transpose()?,
        most: PAGE + 1,
    };
    predictions::page_of(&gateway, &origin, listing, "/v1/trainings?").await.map(axum::Json)
}

/// Get a training.
#[utoipa::path(get, path = "/trainings/{id}", tag = "trainings", params(("id" = String, Path)),
    responses((status = 200, body = Prediction), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get_training(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let caller = caller.require(Scope::PredictionsRead)?;
    let row = require_training(&gateway, &caller, &id).await?;
    Ok(with_timing(StatusCode::OK, render::prediction(&gateway, &origin, row)))
}

/// Cancel a training. One that has ended stays as it is.
#[utoipa::path(post, path = "/trainings/{id}/cancel", tag = "trainings", params(("id" = String, Path)),
    responses((status = 200, body = Prediction), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn cancel_training(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let caller = caller.require(Scope::PredictionsWrite)?;
    let row = require_training(&gateway, &caller, &id).await?;
    predictions::cancel(&gateway, &origin, row).await
}

async fn require_training(gateway: &Gateway, caller: &Caller, id: &str) -> Result<PredictionRow, Refused> {
    let absent = || Refused::not_found("training");
    let row = require_row(gateway, caller, id).await.map_err(|refused| if refused.0.status == 404 { absent() } else { refused })?;
    if row.errand == Errand::Train { Ok(row) } else { Err(absent()) }
}
