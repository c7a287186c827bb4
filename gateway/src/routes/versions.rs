//! A model's versions: list, get, delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::api::{Page, Version};
use protocol::{ModelRef, Problem, VersionId};
use registry::{ModelRow, Scope, VersionRow};
use serde::Deserialize;

use crate::Gateway;
use crate::auth::{Authenticated, Viewer};
use crate::body::Parameters;
use crate::origin::Origin;
use crate::problem::Refused;
use crate::routes::models::require_model;

pub(super) fn shown(version: &VersionRow) -> Version {
    Version {
        id: version.id.to_string(),
        created_at: version.created_at,
        cog_version: version.config.cog_version.clone(),
        driver: version.config.driver,
        openapi_schema: version.config.openapi_schema.clone(),
        warnings: version.warnings.to_vec(),
    }
}

/// One that was deleted is told apart from one that never was: whoever kept its id need not look for a typing error.
pub(super) async fn require_version(gateway: &Gateway, model: &ModelRow, id: &VersionId) -> Result<Arc<VersionRow>, Refused> {
    if let Some(version) = gateway.registry().find_version(model, id).await? {
        return Ok(version);
    }
    if gateway.registry().was_deleted(model, id).await? {
        let detail =
            format!("The version was deleted, and its id names nothing else; /v1/models/{}/versions lists what there is", model.model);
        return Err(Problem::new(404, "Deleted", detail).into());
    }
    Err(Refused::not_found("version"))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

/// List a model's versions, newest first.
#[utoipa::path(get, path = "/models/{owner}/{name}/versions", tag = "versions", params(("owner" = String, Path), ("name" = String, Path), ListQuery),
    responses((status = 200, body = Page<Version>), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list_versions(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    origin: Origin,
    Path(path): Path<(String, String)>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<Version>>, Refused> {
    let model = require_model(&gateway, &viewer, &path).await?;
    let page = gateway.registry().list_versions(&model, query.cursor.as_deref()).await?;
    let address = |cursor: String| origin.url(&format!("/v1/models/{}/versions?cursor={cursor}", model.model));
    let results = page.rows.into_iter().map(|row| Version {
        id: row.id.to_string(),
        created_at: row.created_at,
        cog_version: row.cog_version,
        driver: row.driver,
        openapi_schema: row.openapi_schema,
        warnings: row.warnings,
    });
    Ok(Json(Page { next: page.next.map(address), previous: page.previous.map(address), results: results.collect() }))
}

/// Get a version.
#[utoipa::path(get, path = "/models/{owner}/{name}/versions/{id}", tag = "versions",
    params(("owner" = String, Path), ("name" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Version), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get_version(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    Path((owner, name, id)): Path<(String, String, String)>,
) -> Result<Json<Version>, Refused> {
    let model = require_model(&gateway, &viewer, &(owner, name)).await?;
    let id: VersionId = id.parse().map_err(|_| Refused::not_found("version"))?;
    let version = require_version(&gateway, &model, &id).await?;
    Ok(Json(shown(&version)))
}

/// Delete a version. Its id is never used again.
#[utoipa::path(delete, path = "/models/{owner}/{name}/versions/{id}", tag = "versions",
    params(("owner" = String, Path), ("name" = String, Path), ("id" = String, Path)),
    responses((status = 202), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn delete_version(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path((owner, name, id)): Path<(String, String, String)>,
) -> Result<StatusCode, Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let model = ModelRef::new(&owner, &name).map_err(|_| Refused::not_found("model"))?;
    let id: VersionId = id.parse().map_err(|_| Refused::not_found("version"))?;
    let deleted = gateway.registry().delete_version(&caller, &model, &id).await?;
    if deleted { Ok(StatusCode::ACCEPTED) } else { Err(Refused::not_found("version")) }
}
