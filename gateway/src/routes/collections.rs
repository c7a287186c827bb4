//! Collections: everyone reads them, operators make them.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::api::{Collection, Page};
use protocol::{ModelRef, Problem};
use registry::{CollectionPatch, Scope};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::{Authenticated, Viewer};
use crate::body::{JsonObject, Parameters};
use crate::origin::Origin;
use crate::problem::Refused;
use crate::routes::models;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

/// List the collections, newest first.
#[utoipa::path(get, path = "/collections", tag = "collections", params(ListQuery),
    responses((status = 200, body = Page<Collection>), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn list_collections(
    State(gateway): State<Gateway>,
    _viewer: Viewer,
    origin: Origin,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<Collection>>, Refused> {
    let page = gateway.registry().list_collections(query.cursor.as_deref()).await?;
    let address = |cursor: String| origin.url(&format!("/v1/collections?cursor={cursor}"));
    let results = page.rows.into_iter().map(listed).collect();
    Ok(Json(Page { next: page.next.map(address), previous: page.previous.map(address), results }))
}

/// Get a collection with its models.
#[utoipa::path(get, path = "/collections/{slug}", tag = "collections", params(("slug" = String, Path)),
    responses((status = 200, body = Collection), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get_collection(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    origin: Origin,
    Path(slug): Path<String>,
) -> Result<Json<Collection>, Refused> {
    let found = gateway.registry().find_collection(&slug).await?.ok_or_else(not_found)?;
    Ok(Json(whole(&gateway, &origin, found, &viewer.account_id).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCollection {
    #[schema(example = "language-models")]
    slug: String,
    #[schema(example = "Language models")]
    name: String,
    description: Option<String>,
    full_description: Option<String>,
    /// In this order: `owner/name` each.
    #[schema(value_type = Option<Vec<String>>, example = json!(["feira/smol-chat"]))]
    models: Option<Vec<ModelRef>>,
}

/// Make a collection. Operators only.
#[utoipa::path(post, path = "/collections", tag = "collections", request_body = NewCollection,
    responses((status = 201, body = Collection), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 409, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create_collection(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    body: JsonObject,
) -> Result<(StatusCode, Json<Collection>), Refused> {
    let caller = caller.require(Scope::Operator)?;
    let NewCollection { slug, name, description, full_description, models } = body.read()?;
    let new = CollectionPatch { name: Some(name), description, full_description, models };
    let made = gateway.registry().create_collection(&slug, new, &caller.account.id).await?;
    Ok((StatusCode::CREATED, Json(whole(&gateway, &origin, made, &caller.account.id).await?)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectionChange {
    name: Option<String>,
    description: Option<String>,
    full_description: Option<String>,
    /// In the place of those that were there.
    #[schema(value_type = Option<Vec<String>>)]
    models: Option<Vec<ModelRef>>,
}

/// Change a collection. Operators only.
#[utoipa::path(patch, path = "/collections/{slug}", tag = "collections", request_body = CollectionChange, params(("slug" = String, Path)),
    responses((status = 200, body = Collection), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn patch_collection(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path(slug): Path<String>,
    body: JsonObject,
) -> Result<Json<Collection>, Refused> {
    let caller = caller.require(Scope::Operator)?;
    let CollectionChange { name, description, full_description, models } = body.read()?;
    let patch = CollectionPatch { name, description, full_description, models };
    let changed = gateway.registry().patch_collection(&slug, patch, &caller.account.id).await?.ok_or_else(not_found)?;
    Ok(Json(whole(&gateway, &origin, changed, &caller.account.id).await?))
}

/// Delete a collection. Its models stay. Operators only.
#[utoipa::path(delete, path = "/collections/{slug}", tag = "collections", params(("slug" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn delete_collection(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(slug): Path<String>,
) -> Result<StatusCode, Refused> {
    caller.require(Scope::Operator)?;
    if gateway.registry().delete_collection(&slug).await? { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}

fn not_found() -> Refused {
    Refused::not_found("collection")
}

/// A collection as a list and a search show it.
pub(super) fn listed(row: registry::Collection) -> Collection {
    Collection { name: row.name, slug: row.slug, description: row.description, full_description: None, models: None }
}

async fn whole(gateway: &Gateway, origin: &Origin, row: registry::Collection, viewer_id: &str) -> Result<Collection, Refused> {
    let mut shown = Vec::new();
    for model in gateway.registry().collected_models(&row, viewer_id).await? {
        shown.push(models::shown(gateway, origin, &model).await?);
    }
    let full_description = row.full_description.clone();
    Ok(Collection { full_description, models: Some(shown), ..listed(row) })
}
