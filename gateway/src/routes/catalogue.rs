//! Search over the catalogue.

use axum::Json;
use axum::extract::State;
use protocol::Problem;
use protocol::api::Model;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::Gateway;
use crate::body::Parameters;
use crate::origin::Origin;
use crate::problem::Refused;
use crate::routes::models;

/// Results of one search, at most and by default.
const LIMIT_MAX: usize = 50;
const LIMIT: usize = 20;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchQuery {
    query: Option<String>,
    /// 1 to 50, 20 by default.
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SearchAnswer {
    query: String,
    models: Vec<FoundModel>,
    #[schema(value_type = Vec<Object>)]
    collections: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    pages: Vec<Value>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundModel {
    model: Model,
    #[schema(value_type = Object)]
    metadata: Value,
}

/// Search public models. Needs no token.
#[utoipa::path(get, path = "/search", tag = "models", security(()), params(SearchQuery),
    responses((status = 200, body = SearchAnswer), (status = 400, body = Problem)))]
pub(super) async fn search(
    State(gateway): State<Gateway>,
    origin: Origin,
    Parameters(asked): Parameters<SearchQuery>,
) -> Result<Json<SearchAnswer>, Refused> {
    let query = asked.query.filter(|query| !query.trim().is_empty());
    let query = query.ok_or_else(|| Refused::bad_request("Query parameter \"query\" is required"))?;
    let found = gateway.registry().search(&query, "").await?;
    let mut results = Vec::new();
    for found in found.into_iter().take(asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX)) {
        let tags: Vec<&String> = found.model.task.iter().collect();
        let metadata = json!({"generated_description": found.model.description, "tags": tags, "score": found.score});
        results.push(FoundModel { metadata, model: models::shown(&gateway, &origin, &found.model).await? });
    }
    Ok(Json(SearchAnswer { query, models: results, collections: Vec::new(), pages: Vec::new() }))
}
