//! Signing in: an API token is exchanged for a session that only the server can read; signing out forgets it.

use axum::extract::{Form, Query};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};
use protocol::{Problem, Timestamp};
use serde::Deserialize;
use serde_json::json;

use crate::api::ApiError;
use crate::page::Page;
use crate::session;
use crate::visit::{Visit, own_path};

#[derive(Deserialize)]
pub(crate) struct Wanted {
    token: Option<String>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Session {
    session: String,
    expires_at: Timestamp,
}

/// The form, or, with the token in the address as it is printed at the first start, the way straight in.
pub(crate) async fn show(visit: Visit, headers: HeaderMap, Query(wanted): Query<Wanted>) -> Result<Response, ApiError> {
    let next = after(&visit, wanted.next.as_deref());
    match wanted.token {
        // A link on another site must not sign anyone in to an account of that site's choosing: there the button is pressed by hand.
        Some(token) if !is_foreign(&headers) => exchange(&visit, &token, next).await,
        Some(token) => Ok(form(&token, next, None).into_response()),
        None => Ok(form("", next, None).into_response()),
    }
}

pub(crate) async fn enter(visit: Visit, Form(wanted): Form<Wanted>) -> Result<Response, ApiError> {
    exchange(&visit, &wanted.token.unwrap_or_default(), after(&visit, wanted.next.as_deref())).await
}

pub(crate) async fn leave(visit: Visit) -> Response {
    ([(SET_COOKIE, session::forget(&visit.base))], Redirect::to("/")).into_response()
}

async fn exchange(visit: &Visit, token: &str, next: &str) -> Result<Response, ApiError> {
    let token = token.trim();
    let plain = !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !plain {
        return Ok(form("", next, Some("A token begins with fe_ and has only letters and digits after it.")).into_response());
    }
    let session: Session = match visit.api.with_bearer(token).post("/v1/account/sessions", &json!({})).await {
        Ok(session) => session,
        Err(error) if error.is(StatusCode::UNAUTHORIZED) => {
            return Ok(form("", next, Some("No account knows this token. It may be mistyped or revoked.")).into_response());
        }
        Err(error) => return Err(error),
    };
    let seconds = session::seconds_left(visit.now, session.expires_at);
    let cookie = session::keep(&session.session, seconds, &visit.base)
        .ok_or_else(|| Problem::new(502, "The session could not be kept", "try again in a moment"))?;
    Ok(([(SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

/// Where to go afterwards: a path of this shop, or the front.
fn after<'n>(visit: &Visit, next: Option<&'n str>) -> &'n str {
    next.and_then(|next| own_path(&visit.base, next)).unwrap_or("/")
}

fn is_foreign(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site")
}

fn form(token: &str, next: &str, wrong: Option<&str>) -> Page {
    let mut page = Page::new("Sign in", body(token, next, wrong));
    if wrong.is_some() {
        page.status = StatusCode::UNAUTHORIZED;
    }
    page
}

fn body(token: &str, next: &str, wrong: Option<&str>) -> Markup {
    html! {
        section.signin {
            h1 { "Sign in" }
            p { "Paste an API token. It is exchanged for a session and not kept by this browser." }
            form.form method="post" action="/signin" {
                input type="hidden" name="next" value=(next);
                div.field.bad[wrong.is_some()] {
                    label for="token" { "API token" }
                    input #token type="password" name="token" value=(token) placeholder="fe_…" autocomplete="off" spellcheck="false" required
                        autofocus aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| "token-error")];
                    @if let Some(wrong) = wrong { p.error #token-error role="alert" { (wrong) } }
                }
                div.run { button.btn type="submit" { "Sign in" } }
            }
            h2 { "Where is my token?" }
            p { "The first start of " code { "feira up" } " prints it and writes it to the file " code { "token" } " in its home. An operator makes others with:" }
            pre.code { code { b { "feira" } " token create --account you --name laptop" } }
        }
    }
}
