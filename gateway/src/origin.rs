//! Where a caller reaches us: every address in an answer begins with it.

use axum::extract::FromRequestParts;
use http::request::Parts;
use protocol::{Clock, PredictionId};

use crate::Gateway;

/// The scheme and host of this request, or the configured public address; and the request's own id.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    base: String,
    request_id: String,
}

impl Origin {
    pub fn new(base: &str, request_id: String) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), request_id }
    }

    /// Where the caller of a prediction reached us, for what is told long after its request: the public address, if one is configured now.
    pub fn kept(gateway: &Gateway, base: Option<&str>) -> Self {
        let config = gateway.config();
        Self::new(config.public_url.as_deref().or(base).unwrap_or(&config.internal_url), String::new())
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// `path` begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The path of an address that is ours.
    pub fn own_path<'a>(&self, address: &'a str) -> Option<&'a str> {
        address.strip_prefix(&self.base).filter(|path| path.starts_with('/'))
    }

    pub fn request_id(&self) -> String {
        self.request_id.clone()
    }
}

impl FromRequestParts<Gateway> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Self::Rejection> {
        let request_id = PredictionId::new(&Clock::system(), gateway.entropy()).to_string();
        let host = || {
            let named = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
            named.or_else(|| parts.uri.host()).filter(|host| is_plain_host(host)).map(|host| format!("http://{host}"))
        };
        let base = gateway.config().public_url.clone().or_else(host).unwrap_or_else(|| gateway.config().internal_url.clone());
        Ok(Self::new(&base, request_id))
    }
}

/// Letters, digits, dots, dashes, a port, and an IPv6 address's brackets: nothing that could break out of an address or a page.
fn is_plain_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
}
