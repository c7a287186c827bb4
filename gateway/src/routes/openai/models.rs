//! The models that can be asked in `OpenAI`'s words.

use axum::Json;
use axum::extract::{Path, State};
use protocol::Reference;
use registry::{Direction, ModelSort, ModelsOf};

use super::{speaks_no_openai, unknown_model};
use crate::Gateway;
use crate::auth::Viewer;
use crate::openai::Endpoint;
use crate::openai::answer::{ModelList, ModelObject};
use crate::problem::Refused;
use crate::problem::openai::ErrorBody;

/// `OpenAI`'s list has no pages; ours ends here.
const LISTED_MAX: usize = 1_000;

/// List the models that declare one of these routes.
#[utoipa::path(get, path = "/models", operation_id = "list_openai_models", tag = "openai", responses((status = 200, body = ModelList), (status = 401, body = ErrorBody)))]
pub(in crate::routes) async fn list_models(State(gateway): State<Gateway>, viewer: Viewer) -> Result<Json<ModelList>, Refused> {
    let mut listed = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let sort = ModelSort::ModelCreatedAt;
        let page =
            gateway.registry().list_models(ModelsOf::Everyone, sort, Direction::Descending, cursor.as_deref(), &viewer.account_id).await?;
        for model in &page.rows {
            let Some(latest) = model.latest_version_id else { continue };
            let Some(version) = gateway.registry().find_version(model, &latest).await? else { continue };
            let Some(endpoint) = Endpoint::of(&version.config) else { continue };
            let created = model.created_at.seconds();
            listed.push(ModelObject::new(model.model.to_string(), &model.model, created, endpoint, version.id.to_string()));
        }
        cursor = page.next;
        if cursor.is_none() || listed.len() >= LISTED_MAX {
            return Ok(Json(ModelList::new(listed)));
        }
    }
}

/// Get a model.
#[utoipa::path(get, path = "/models/{owner}/{name}", operation_id = "get_openai_model", tag = "openai",
    params(("owner" = String, Path), ("name" = String, Path, description = "`name` or `name:version`")),
    responses((status = 200, body = ModelObject), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::routes) async fn get_model(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    Path((owner, name)): Path<(String, String)>,
) -> Result<Json<ModelObject>, Refused> {
    find(&gateway, &viewer, format!("{owner}/{name}")).await.map(Json)
}

/// Get a model by its id, the slash in it escaped as released clients do.
#[utoipa::path(get, path = "/models/{id}", operation_id = "get_openai_model_by_encoded_id", tag = "openai", params(("id" = String, Path, description = "`owner%2Fname`")),
    responses((status = 200, body = ModelObject), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::routes) async fn get_model_by_encoded_id(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Json<ModelObject>, Refused> {
    find(&gateway, &viewer, id).await.map(Json)
}

async fn find(gateway: &Gateway, viewer: &Viewer, id: String) -> Result<ModelObject, Refused> {
    let reference: Reference = id.parse().map_err(|_| unknown_model(&id))?;
    let found = gateway.registry().resolve(&reference, &viewer.account_id).await?;
    let found = found.ok_or_else(|| unknown_model(&id))?;
    let model = &found.model.model;
    let endpoint = Endpoint::of(&found.version.config).ok_or_else(|| speaks_no_openai(&id, model))?;
    Ok(ModelObject::new(id, model, found.version.created_at.seconds(), endpoint, found.version.id.to_string()))
}
