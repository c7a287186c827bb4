//! What pages of other origins may do: everything that a token allows, for the token is all that lets them in. No cookie opens the API.

use std::time::Duration;

use http::{HeaderName, Method, header};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

/// How long a browser need not ask again.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_hours(2);

pub(super) fn layer() -> CorsLayer {
    let query = Method::from_bytes(b"QUERY").expect("a method is a word");
    let exposed = [
        header::LOCATION,
        header::RETRY_AFTER,
        header::ETAG,
        HeaderName::from_static("preference-applied"),
        HeaderName::from_static("ratelimit-remaining"),
        HeaderName::from_static("ratelimit-reset"),
        HeaderName::from_static("server-timing"),
        HeaderName::from_static("x-feira-route"),
    ];
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, query])
        // A wildcard would leave out `Authorization`.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed)
        .max_age(PREFLIGHT_MAX_AGE)
}
