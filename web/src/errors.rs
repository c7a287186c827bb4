//! What a page says when something is not there or went wrong: in words, with what to do next.

use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use maud::{Markup, html};
use protocol::Problem;
use tower_http::csrf::ProtectionError;

use crate::api::ApiError;
use crate::page::Page;

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(problem) => page(&problem),
            Self::Broken(_) | Self::Unreadable(_) => {
                tracing::error!(error = %self, "the API's answer could not be used");
                page(&Problem::new(502, "The market's back office gave no usable answer", "Reload the page in a moment."))
            }
        }
    }
}

/// The page of a problem, with its status.
fn page(problem: &Problem) -> Response {
    let mut page = Page::new(&problem.title, body(problem));
    page.status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = page.into_response();
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn body(problem: &Problem) -> Markup {
    let Advice { says, href, link } = advice(problem.status);
    html! {
        section.sorry {
            p.figure { (problem.status) }
            h1 { (headline(problem)) }
            @if !problem.detail.is_empty() { p.detail { (problem.detail) } }
            p { (says) }
            p { a.btn href=(href) { (link) } }
        }
    }
}

fn headline(problem: &Problem) -> &str {
    match problem.status {
        404 => "This stall is empty.",
        _ => &problem.title,
    }
}

/// What to do next.
struct Advice {
    says: &'static str,
    href: &'static str,
    link: &'static str,
}

fn advice(status: u16) -> Advice {
    let (says, href, link) = match status {
        401 => ("Only someone who has signed in can see or do this.", "/signin", "Sign in"),
        402 => (
            "A run needs credit for the longest it may take. Ask the operator for more, or look at what you have.",
            "/dashboard",
            "See your balance",
        ),
        403 => ("This account or token may not do that. Sign in with one that may.", "/signin", "Sign in"),
        404 => (
            "The address may be mistyped, or what is here belongs to an account you are not signed in to.",
            "/explore",
            "Look around the market",
        ),
        413 => ("Send a smaller file, or put it on the web and give its address.", "/explore", "Back to the market"),
        429 => ("Too many at once. Wait a moment, then try again.", "/explore", "Back to the market"),
        500.. => ("It is not your doing, and nothing was charged for it. Try again in a moment.", "/", "Back to the front"),
        _ => ("Go back, change what was refused, and send it again.", "/explore", "Back to the market"),
    };
    Advice { says, href, link }
}

pub(crate) async fn unknown_page() -> Response {
    not_found()
}

pub(crate) fn not_found() -> Response {
    bare(StatusCode::NOT_FOUND)
}

/// The page of a status of which no more is known.
pub(crate) fn bare(status: StatusCode) -> Response {
    page(&Problem::new(status.as_u16(), status.canonical_reason().unwrap_or("Refused"), ""))
}

/// Refuses a form that another site sent.
pub(crate) fn foreign_origin(_: ProtectionError) -> Response {
    page(&Problem::new(403, "That form came from another site", "Open the page here and send it again."))
}
