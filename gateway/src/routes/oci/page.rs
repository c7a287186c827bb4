//! Pages of a list of names: `n` is how many, `last` the one before, and `Link` leads on.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use url::form_urlencoded::byte_serialize;

/// Names of a page when the client does not say.
const NAMES: usize = 100;
const NAMES_MAX: usize = 1_000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct PageQuery {
    n: Option<usize>,
    #[serde(default)]
    pub(super) last: String,
}

impl PageQuery {
    pub(super) fn count(&self) -> usize {
        self.n.unwrap_or(NAMES).min(NAMES_MAX)
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.n.is_some()
    }
}

/// An answer that leads to the next page, if there is one: `path` and its query up to the name after which that begins.
pub(super) fn answer(body: &impl Serialize, next: Option<(String, &str)>) -> Response {
    let mut response = Json(body).into_response();
    if let Some((path, last)) = next {
        let last: String = byte_serialize(last.as_bytes()).collect();
        let link = HeaderValue::from_str(&format!("<{path}&last={last}>; rel=\"next\"")).expect("an address is plain ASCII");
        response.headers_mut().insert(header::LINK, link);
    }
    response
}
