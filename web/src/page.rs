//! A page, and the awning, header and footer that all of them wear.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderValue, StatusCode};
use maud::{DOCTYPE, Markup, html};

use crate::Shop;
use crate::assets;
use crate::errors;
use crate::visit::Visit;

/// The inside of a page. [`dress`] puts the rest around it.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub title: String,
    pub body: Markup,
    pub status: StatusCode,
    /// One sentence for search engines and link previews.
    pub description: Option<String>,
    /// What stands in the search box.
    pub query: String,
    /// Shown again after so many seconds where no script runs.
    pub refresh_seconds: Option<u32>,
}

impl Page {
    pub fn new(title: impl Into<String>, body: Markup) -> Self {
        Self { title: title.into(), body, status: StatusCode::OK, description: None, query: String::new(), refresh_seconds: None }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Finds out who looks, lets the handler answer, and lays its page out for them.
pub(crate) async fn dress(State(shop): State<Shop>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let (account, mut response) = match Visit::arrive(&shop, &parts).await {
        Ok(visit) => {
            let account = visit.account.clone().map(|account| account.username);
            parts.extensions.insert(visit);
            (account, next.run(Request::from_parts(parts, body)).await)
        }
        Err(error) => (None, error.into_response()),
    };
    let refused = response.status().is_client_error() || response.status().is_server_error();
    if refused && response.extensions().get::<Page>().is_none() {
        // An extractor's or the router's own refusal.
        response = errors::bare(response.status());
    }
    if let Some(page) = response.extensions_mut().remove::<Page>() {
        *response.body_mut() = Body::from(layout(&page, account.as_deref()).into_string());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response.headers_mut().append(VARY, HeaderValue::from_static("cookie"));
    response
}

fn layout(page: &Page, account: Option<&str>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) " · feira" }
                @if let Some(description) = &page.description { meta name="description" content=(description); }
                @if let Some(seconds) = page.refresh_seconds { noscript { meta http-equiv="refresh" content=(seconds); } }
                link rel="stylesheet" href=(assets::LOOK.path());
                link rel="icon" type="image/svg+xml" href=(assets::ICON.path());
                script src=(assets::LIVE.path()) defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                div.awning {}
                header.top {
                    a.logo href="/" { "feira" }
                    form.search action="/explore" role="search" {
                        input type="search" name="q" value=(page.query) placeholder="Search models: try “upscale”" aria-label="Search models";
                    }
                    nav aria-label="Main" {
                        a href="/explore" { "Explore" }
                        a href="/docs" { "Docs" }
                        a href="/pricing" { "Pricing" }
                        @match account {
                            Some(name) => a.btn.ghost href="/dashboard" { (name) },
                            None => a.btn.ghost href="/signin" { "Sign in" },
                        }
                    }
                }
                main #main { (page.body) }
                footer.foot {
                    p { "feira: an open market for models" }
                    nav aria-label="Footer" { a href="/docs" { "Quickstart" } a href="/docs/api" { "API" } a href="/openapi.json" { "openapi.json" } }
                }
            }
        }
    }
}
