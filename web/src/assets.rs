//! The files that pages load: embedded in the binary, named by their hash, kept by browsers for good.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use protocol::Digest;

use crate::cover;

/// What has a hash in its name never changes.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

pub(crate) static LOOK: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("look", "css", "text/css; charset=utf-8", include_str!("assets/look.css")));
pub(crate) static LIVE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live", "js", "text/javascript; charset=utf-8", include_str!("assets/live.js")));
pub(crate) static ICON: LazyLock<Asset> = LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

#[derive(Debug)]
pub(crate) struct Asset {
    path: String,
    content_type: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let hash = &Digest::of(text.as_bytes()).hex()[..12];
        Self { path: format!("/assets/{stem}.{hash}.{extension}"), content_type, text }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    fn response(&self) -> Response {
        ([(CONTENT_TYPE, self.content_type), (CACHE_CONTROL, FOR_GOOD)], self.text).into_response()
    }
}

pub(crate) fn router() -> Router {
    let one = |asset: &'static LazyLock<Asset>| Router::new().route(asset.path(), get(move || async { asset.response() }));
    one(&LOOK).merge(one(&LIVE)).merge(one(&ICON)).route("/assets/cover/{file}", get(show_cover))
}

/// The cover that belongs to a version: `/assets/cover/<64 hex>.svg`.
async fn show_cover(Path(file): Path<String>) -> Response {
    let version = file.strip_suffix(".svg").and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
    match version {
        Some(version) => ([(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, FOR_GOOD)], cover::draw(&version)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
