//! The API's table of contents: every route, one file a noun.

mod account;
mod accounts;
mod blobs;
pub(crate) mod catalogue;
mod collections;
mod cors;
mod deployments;
mod downloads;
mod files;
mod models;
mod oci;
mod openai;
mod operations;
mod predictions;
mod prices;
mod publish;
mod pulls;
mod range;
mod runner;
mod storage;
mod streams;
mod tags;
mod trainings;
mod transfers;
mod usage;
mod versions;
mod webhooks;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use http::{Request, Uri};
use tower::ServiceExt as _;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::Gateway;
use crate::limits;
use crate::problem::{panicked, told_as_problem, unknown_route, wrong_method};

/// First segments of API paths that are also served without `/v1`, for clients whose base address lacks it. No page has these names.
const ROOT_NAMES: [&str; 11] =
    ["account", "collections", "deployments", "files", "hardware", "models", "predictions", "prices", "search", "trainings", "webhooks"];

/// The public API below `/v1`, with its contract.
pub(crate) fn v1() -> OpenApiRouter<Gateway> {
    OpenApiRouter::with_openapi(crate::openapi::contract())
        .nest(
            "/v1",
            OpenApiRouter::new()
                .routes(routes!(account::get_account))
                .routes(routes!(account::get_balance))
                .routes(routes!(storage::get_storage))
                .routes(routes!(storage::set_limit))
                .routes(routes!(storage::collect))
                .routes(routes!(usage::get_usage))
                .routes(routes!(account::create_session))
                .routes(routes!(account::list_tokens, account::create_token))
                .routes(routes!(account::revoke_token))
                .routes(routes!(accounts::create_account))
                .routes(routes!(accounts::grant_credit))
                .routes(routes!(prices::list_hardware))
                .routes(routes!(prices::list_prices))
                .routes(routes!(catalogue::search))
                .routes(with_query(routes!(models::list_models, models::create_model)))
                .routes(routes!(collections::list_collections, collections::create_collection))
                .routes(routes!(collections::get_collection, collections::patch_collection, collections::delete_collection))
                .routes(routes!(models::get_model, models::patch_model, models::delete_model))
                .routes(routes!(models::get_readme))
                .routes(routes!(models::list_examples))
                .routes(routes!(versions::list_versions, publish::create_version))
                .routes(routes!(versions::get_version, versions::delete_version))
                .routes(routes!(pulls::get_manifest))
                .routes(routes!(transfers::list_transfers))
                .routes(routes!(transfers::offer_model, transfers::end_offer))
                .routes(routes!(transfers::accept_offer))
                .routes(routes!(tags::list_tags))
                .routes(routes!(tags::move_tag))
                .routes(routes!(tags::list_moves))
                .routes(routes!(tags::roll_back))
                .routes(routes!(predictions::create_for_model))
                .routes(routes!(predictions::list_predictions, predictions::create_prediction))
                .routes(routes!(predictions::get_prediction))
                .routes(routes!(predictions::cancel_prediction))
                .routes(routes!(trainings::create_training))
                .routes(routes!(trainings::list_trainings))
                .routes(routes!(trainings::get_training))
                .routes(routes!(trainings::cancel_training))
                .routes(routes!(deployments::list_deployments, deployments::create_deployment))
                .routes(routes!(deployments::get_deployment, deployments::patch_deployment, deployments::delete_deployment))
                .routes(routes!(deployments::list_releases))
                .routes(routes!(deployments::create_for_deployment))
                .routes(routes!(streams::stream))
                .routes(routes!(streams::stream_files))
                .routes(routes!(webhooks::get_secret))
                .routes(routes!(webhooks::list_deliveries))
                .routes(routes!(webhooks::get_delivery))
                .routes(routes!(webhooks::redeliver))
                .routes(routes!(files::list_files, files::create_file))
                .routes(routes!(files::get_file, files::delete_file))
                .routes(routes!(downloads::download))
                .routes(routes!(downloads::download_named))
                .routes(routes!(blobs::head_blob, pulls::get_blob, blobs::put_blob))
                .routes(routes!(blobs::begin_upload))
                .routes(routes!(blobs::get_upload, blobs::append_upload, blobs::finish_upload, blobs::cancel_upload))
                .routes(routes!(operations::list_runners)),
        )
        .nest("/openai/v1", openai::routes())
}

/// Lets a route also answer QUERY, for which axum has no name.
fn with_query((schemas, paths, methods): UtoipaMethodRouter<Gateway>) -> UtoipaMethodRouter<Gateway> {
    (schemas, paths, methods.fallback(catalogue::other_method))
}

/// All that the gateway answers. What is not the API's goes to `pages`, if there are any.
pub fn router(gateway: Gateway, pages: Option<Router>) -> Router {
    let (v1, openapi) = v1().split_for_parts();
    let openapi = crate::openapi::complete(&openapi).to_string();
    let in_ocis_words = axum::middleware::from_fn_with_state(gateway.clone(), crate::problem::oci::in_ocis_words);
    let api = v1
        .layer(axum::middleware::map_response(told_as_problem))
        .merge(runner::routes())
        .merge(oci::routes().layer(axum::middleware::map_response(told_as_problem)))
        .route("/livez", get(operations::livez))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics))
        .route("/openapi.json", get(async move || ([(http::header::CONTENT_TYPE, "application/json")], openapi)))
        .route("/v1", axum::routing::any(unknown_route))
        .route("/v1/", axum::routing::any(unknown_route))
        .route("/v1/{*rest}", axum::routing::any(unknown_route))
        .route("/openai/v1", axum::routing::any(unknown_route))
        .route("/openai/v1/{*rest}", axum::routing::any(unknown_route))
        .method_not_allowed_fallback(wrong_method)
        // Bodies have their own limits: JSON in `body.rs`, files and blobs where they are stored.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::from_fn(limits::tell))
        .layer(cors::layer())
        .with_state(gateway);
    let api = match pages {
        Some(pages) => api.fallback_service(pages),
        None => api.fallback(unknown_route),
    };
    // Before routing: the same operation under the wrong guesses that released clients make.
    Router::new()
        .fallback_service(tower::util::MapRequest::new(api.into_service(), to_v1))
        .layer(axum::middleware::from_fn(crate::problem::openai::in_openais_words))
        .layer(in_ocis_words)
        .layer(DefaultBodyLimit::disable())
}

/// `/v1/v1/…` and `/predictions/…` mean `/v1/…`.
fn to_v1<B>(mut request: Request<B>) -> Request<B> {
    let path_and_query = request.uri().path_and_query().map_or("/", |pq| pq.as_str());
    let first = |path: &str| path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default().to_owned();
    let rewritten = match path_and_query.strip_prefix("/v1") {
        Some(rest) if rest.starts_with("/v1/") => Some(rest.to_owned()),
        _ if ROOT_NAMES.contains(&first(path_and_query).as_str()) => Some(format!("/v1{path_and_query}")),
        _ => None,
    };
    if let Some(uri) = rewritten.and_then(|path| path.parse::<Uri>().ok()) {
        *request.uri_mut() = uri;
    }
    request
}

/// The public API as a service of its own: what pages call instead of the network.
pub fn api_service(
    gateway: Gateway,
) -> tower::util::BoxCloneSyncService<Request<axum::body::Body>, axum::response::Response, std::convert::Infallible> {
    tower::util::BoxCloneSyncService::new(router(gateway, None).into_service().map_err(|never| match never {}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(path: &str) -> String {
        to_v1(Request::get(path).body(()).unwrap()).uri().to_string()
    }

    #[test]
    fn every_wrong_guess_of_the_base_address_is_understood() {
        assert_eq!(rewritten("/v1/hardware"), "/v1/hardware");
        assert_eq!(rewritten("/v1/v1/hardware?x=1"), "/v1/hardware?x=1");
        assert_eq!(rewritten("/hardware"), "/v1/hardware");
        assert_eq!(rewritten("/predictions/abc/cancel"), "/v1/predictions/abc/cancel");
        assert_eq!(rewritten("/feira/hello-world"), "/feira/hello-world");
        assert_eq!(rewritten("/explore"), "/explore");
    }
}
