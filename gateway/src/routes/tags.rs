//! A model's tags: where they point, where they have pointed, and `latest` rolled back.

use axum::Json;
use axum::extract::{Path, State};
use protocol::api::{Page, TagMove};
use protocol::{ModelRef, Problem, Tag, VersionId};
use registry::Scope;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::{Authenticated, Viewer};
use crate::body::{JsonObject, Parameters};
use crate::origin::Origin;
use crate::problem::Refused;
use crate::routes::models::require_model;

fn shown(row: registry::TagMove) -> TagMove {
    TagMove { tag: row.tag.into(), number: row.number, version: row.version.to_string(), moved_at: row.moved_at, moved_by: row.moved_by }
}

/// A name that is none names no tag.
fn require_tag(text: &str) -> Result<Tag, Refused> {
    text.parse().map_err(|_| Refused::not_found("tag"))
}

/// List where a model's tags point, `latest` first.
#[utoipa::path(get, path = "/models/{owner}/{name}/tags", tag = "versions", params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Page<TagMove>), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list_tags(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    Path(path): Path<(String, String)>,
) -> Result<Json<Page<TagMove>>, Refused> {
    let model = require_model(&gateway, &viewer, &path).await?;
    let tags = gateway.registry().list_tags(&model).await?;
    Ok(Json(Page { next: None, previous: None, results: tags.into_iter().map(shown).collect() }))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

/// List where a tag points and has pointed, the latest move first.
#[utoipa::path(get, path = "/models/{owner}/{name}/tags/{tag}/history", tag = "versions",
    params(("owner" = String, Path), ("name" = String, Path), ("tag" = String, Path), ListQuery),
    responses((status = 200, body = Page<TagMove>), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list_moves(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    origin: Origin,
    Path((owner, name, tag)): Path<(String, String, String)>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<TagMove>>, Refused> {
    let model = require_model(&gateway, &viewer, &(owner, name)).await?;
    let tag = require_tag(&tag)?;
    let page = gateway.registry().list_tag_moves(&model, &tag, query.cursor.as_deref()).await?;
    if page.rows.is_empty() && query.cursor.is_none() {
        return Err(Refused::not_found("tag"));
    }
    let address = |cursor: String| origin.url(&format!("/v1/models/{}/tags/{tag}/history?cursor={cursor}", model.model));
    let results = page.rows.into_iter().map(shown).collect();
    Ok(Json(Page { next: page.next.map(address), previous: page.previous.map(address), results }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TagBody {
    /// 64 hexadecimal digits.
    #[schema(value_type = String)]
    version: VersionId,
}

/// Point a tag at a version.
///
/// Where it points there already, nothing is written.
#[utoipa::path(put, path = "/models/{owner}/{name}/tags/{tag}", tag = "versions", request_body = TagBody,
    params(("owner" = String, Path), ("name" = String, Path), ("tag" = String, Path)),
    responses((status = 200, body = TagMove), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn move_tag(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path((owner, name, tag)): Path<(String, String, String)>,
    body: JsonObject,
) -> Result<Json<TagMove>, Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let model = ModelRef::new(&owner, &name).map_err(|_| Refused::not_found("model"))?;
    let tag: Tag = tag.parse().map_err(|error: protocol::tag::NotATag| Problem::new(422, "Invalid", error.to_string()))?;
    let TagBody { version } = body.read()?;
    Ok(Json(shown(gateway.registry().move_tag(&caller, &model, &tag, version).await?)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackBody {
    /// 64 hexadecimal digits; without it, the version before the current one.
    #[schema(value_type = Option<String>)]
    version: Option<VersionId>,
}

/// Roll a model back: `latest` moves to an earlier version.
///
/// What runs is not disturbed; whoever asks for the latest version from now on gets that one. The move is in the tag's history.
#[utoipa::path(post, path = "/models/{owner}/{name}/rollback", tag = "versions", request_body = RollbackBody,
    params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = TagMove), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn roll_back(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path((owner, name)): Path<(String, String)>,
    body: JsonObject,
) -> Result<Json<TagMove>, Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let model = ModelRef::new(&owner, &name).map_err(|_| Refused::not_found("model"))?;
    let RollbackBody { version } = body.read()?;
    Ok(Json(shown(gateway.registry().roll_back(&caller, &model, version).await?)))
}
