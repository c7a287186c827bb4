//! The shop window: every page rendered on the server from the public API, which is handed in as a service.
//!
//! Nothing here knows a database, a runner or another room: what a page shows, a client with the same token could have asked for.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use protocol::{Clock, Entropy};
use tower_http::compression::CompressionLayer;
use tower_http::csrf::CsrfLayer;

mod api;
mod assets;
mod card;
mod code;
mod cover;
mod dashboard;
mod docs;
mod errors;
mod files;
mod form;
mod guard;
mod home;
mod markdown;
mod model;
mod output;
mod owner;
mod page;
mod panel;
mod prediction;
mod price;
mod pricing;
mod run;
mod session;
mod signin;
mod time;
mod upload;
mod visit;
mod waterfall;

pub use api::{Api, ApiService};

/// Largest form that is taken, in bytes: the API's own limit of a file, and room for the other fields.
const FORM_BYTES_MAX: usize = 101 << 20;

/// What the pages need to know besides the API.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address that visitors use, such as `https://feira.example`; without it, `http://` and the request's `Host`.
    pub public_url: Option<String>,
    pub clock: Clock,
    /// Draws the boundaries of the uploads that are handed on.
    pub entropy: Entropy,
}

/// The state that every handler shares.
#[derive(Clone, Debug)]
struct Shop {
    api: Api,
    config: Config,
}

/// Serves the pages. It answers every path that no other router took, so it is best mounted as the fallback.
pub fn router(api: Api, config: Config) -> Router {
    let shop = Shop { api, config };
    let pages = Router::new()
        .route("/", get(home::show))
        .route("/explore", get(home::show))
        .route("/pricing", get(pricing::show))
        .route("/docs", get(docs::quickstart))
        .route("/docs/api", get(docs::reference))
        .route("/signin", get(signin::show).post(signin::enter))
        .route("/signout", post(signin::leave))
        .route("/dashboard", get(dashboard::show))
        .route("/p/{id}", get(prediction::show))
        .route("/p/{id}/cancel", post(prediction::cancel))
        .route("/p/{id}/rerun", post(prediction::rerun))
        .route("/{owner}", get(owner::show))
        .route("/{owner}/{name}", get(model::playground::show).post(run::start))
        .route("/{owner}/{name}/api", get(model::calls::show))
        .route("/{owner}/{name}/examples", get(model::examples::show))
        .route("/{owner}/{name}/readme", get(model::readme::show))
        .route("/{owner}/{name}/versions", get(model::versions::show))
        .fallback(errors::unknown_page)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(CsrfLayer::new().with_rejection_response(errors::foreign_origin))
        .layer(from_fn_with_state(shop.clone(), page::dress))
        .with_state(shop);
    assets::router().merge(pages).layer(from_fn(guard::harden)).layer(CompressionLayer::new())
}
