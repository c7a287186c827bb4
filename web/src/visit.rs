//! Who looks at a page: their side of the API, their account when they are signed in, and the address they came by.

use axum::extract::FromRequestParts;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use protocol::api::Account;
use protocol::{Entropy, Timestamp};

use crate::Shop;
use crate::api::{ApiError, Caller};
use crate::session;

/// One look at the shop window.
#[derive(Clone)]
pub(crate) struct Visit {
    pub api: Caller,
    pub account: Option<Account>,
    /// Where the shop stands, such as `http://127.0.0.1:8080`: no slash at the end.
    pub base: String,
    pub now: Timestamp,
    pub entropy: Entropy,
}

impl Visit {
    /// Reads who comes. A session that has ended makes a visitor, not an error.
    pub async fn arrive(shop: &Shop, parts: &Parts) -> Result<Self, ApiError> {
        let host = host(parts);
        let base = match &shop.config.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", host.to_str().unwrap_or("localhost")),
        };
        let visitor = Caller::visitor(&shop.api, host);
        let visit = |api, account| Self { api, account, base, now: shop.config.clock.now(), entropy: shop.config.entropy.clone() };
        let Some(session) = session::read(&parts.headers) else {
            return Ok(visit(visitor, None));
        };
        let member = visitor.with_bearer(session);
        match member.get("/v1/account").await {
            Ok(account) => Ok(visit(member, Some(account))),
            Err(error) if error.is(StatusCode::UNAUTHORIZED) => Ok(visit(visitor, None)),
            Err(error) => Err(error),
        }
    }

    /// The path of `url` when it points into this shop, so that a page may embed or follow it.
    pub fn own_path<'u>(&self, url: &'u str) -> Option<&'u str> {
        own_path(&self.base, url)
    }
}

/// The part of `url` behind `base`, or `url` itself when it is a path of this host.
pub(crate) fn own_path<'u>(base: &str, url: &'u str) -> Option<&'u str> {
    let path = url.strip_prefix(base).unwrap_or(url);
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    (plain && path.starts_with('/') && !path.starts_with("//")).then_some(path)
}

/// The host that was asked for; one that could not stand in an address is not repeated.
fn host(parts: &Parts) -> HeaderValue {
    let named =
        parts.headers.get(HOST).and_then(|host| host.to_str().ok()).or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
    let plain = |host: &&str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    named.filter(plain).and_then(|host| host.parse().ok()).unwrap_or(HeaderValue::from_static("localhost"))
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // Every page stands behind `page::dress`, which put it there.
        parts.extensions.get::<Self>().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_shop_are_its_own() {
        let base = "http://localhost:8080";
        assert_eq!(own_path(base, "http://localhost:8080/v1/files/a?x=1"), Some("/v1/files/a?x=1"));
        assert_eq!(own_path(base, "/assets/a.png"), Some("/assets/a.png"));
        for foreign in
            ["http://localhost:80800/x", "http://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/a b", ""]
        {
            assert_eq!(own_path(base, foreign), None, "{foreign}");
        }
    }
}
