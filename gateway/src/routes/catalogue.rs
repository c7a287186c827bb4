//! Search over the catalogue.

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use protocol::Problem;
use protocol::api::{Collection, Model, Page};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::Viewer;
use crate::body::{self, Parameters};
use crate::origin::Origin;
use crate::problem::{Refused, wrong_method};
use crate::routes::{collections, models};

/// Results of one search, at most and by default.
const LIMIT_MAX: usize = 50;
const LIMIT: usize = 20;
const QUERY_BYTES_MAX: usize = 8 * 1024;

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
    collections: Vec<Collection>,
    pages: Vec<FoundPage>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundModel {
    model: Model,
    metadata: FoundBecause,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundBecause {
    generated_description: String,
    tags: Vec<String>,
    /// How well it fits, from 0 to 1.
    score: f64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundPage {
    #[schema(example = "Quickstart")]
    name: &'static str,
    href: String,
}

/// The pages that tell how things are done: a name, a path, and the words by which it is found.
const PAGES: [(&str, &str, &str); 3] = [
    ("Quickstart", "/docs", "quickstart docs documentation token client python javascript curl push publish first"),
    ("API reference", "/docs/api", "api reference docs documentation openapi routes http errors"),
    ("Pricing", "/pricing", "pricing price prices cost hardware gpu cpu billing credit seconds tokens"),
];

fn pages(origin: &Origin, query: &str) -> Vec<FoundPage> {
    let query = query.to_lowercase();
    let fits = |words: &str| query.split_whitespace().all(|word| words.split(' ').any(|known| known.starts_with(word)));
    PAGES.iter().filter(|(_, _, words)| fits(words)).map(|(name, path, _)| FoundPage { name, href: origin.url(path) }).collect()
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
    let limit = asked.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Refused::bad_request(format!("limit must be from 1 to {LIMIT_MAX}")));
    }
    let mut results = Vec::new();
    for found in gateway.registry().search(&query, "").await?.into_iter().take(limit) {
        let metadata = FoundBecause {
            generated_description: found.model.description.clone(),
            tags: found.model.task.iter().cloned().collect(),
            score: found.score,
        };
        results.push(FoundModel { metadata, model: models::shown(&gateway, &origin, &found.model).await? });
    }
    let collections = gateway.registry().search_collections(&query).await?.into_iter().take(limit).map(collections::listed).collect();
    Ok(Json(SearchAnswer { pages: pages(&origin, &query), query, models: results, collections }))
}

/// Search models by the method QUERY.
///
/// The body is the query: `llama` as plain text, or `"llama"` as JSON, whatever its content type says.
#[utoipa::path(post, path = "/models", tag = "models", operation_id = "query_models",
    request_body(content = String, content_type = "text/plain", example = "llama"),
    responses((status = 200, body = Page<Model>), (status = 400, body = Problem), (status = 401, body = Problem), (status = 413, body = Problem)))]
async fn query_models(gateway: Gateway, request: Request) -> Result<Response, Refused> {
    let (mut parts, body) = request.into_parts();
    let viewer = Viewer::from_request_parts(&mut parts, &gateway).await?;
    let Ok(origin) = Origin::from_request_parts(&mut parts, &gateway).await;
    let raw = body::whole(Request::from_parts(parts, body), QUERY_BYTES_MAX).await?;
    let text = str::from_utf8(&raw).map_err(|_| Refused::bad_request("The query must be UTF-8"))?.trim();
    let query = serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned());
    if query.trim().is_empty() {
        return Err(Refused::bad_request("The body is the query, and it is empty: send what to search for, as plain text"));
    }
    let mut results = Vec::new();
    for found in gateway.registry().search(&query, &viewer.account_id).await? {
        results.push(models::shown(&gateway, &origin, &found.model).await?);
    }
    Ok(Json(Page { next: None, previous: None, results }).into_response())
}

/// What `/models` does with a method that the router has no name for.
pub(super) async fn other_method(State(gateway): State<Gateway>, request: Request) -> Response {
    let mut response = match request.method().as_str() {
        "QUERY" => return query_models(gateway, request).await.into_response(),
        _ => wrong_method().await.into_response(),
    };
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, QUERY"));
    response
}

/// How the contract tells of it: `OpenAPI` 3.1 has no name for the method, so it stands beside the others as an extension.
pub(crate) fn query_operation() -> utoipa::openapi::path::Operation {
    <__path_query_models as utoipa::Path>::operation()
}
