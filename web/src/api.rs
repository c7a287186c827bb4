//! The public API as the pages call it: in this process, with the token of whoever looks.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use protocol::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

/// The public API as a service: whatever answers its routes.
pub type ApiService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Longest answer that a page is made from, in bytes.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Marks a prediction as made from a page.
const SOURCE: &str = "feira-source";

/// The API, and the token that stands in for those who have not signed in: it may read the public catalogue and nothing else.
#[derive(Clone)]
pub struct Api {
    service: ApiService,
    visitor_token: Arc<str>,
}

impl Api {
    pub fn new(service: ApiService, visitor_token: &str) -> Self {
        Self { service, visitor_token: visitor_token.into() }
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// Why a page cannot be made from what the API said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error(transparent)]
    Refused(#[from] Problem),
    #[error("the answer could not be read to its end: {0}")]
    Broken(String),
    // Not the cause's own words: they may quote what a run gave.
    #[error("the answer is not what the contract says, at line {}, column {}", .0.line(), .0.column())]
    Unreadable(#[from] serde_json::Error),
}

impl ApiError {
    /// Whether the API refused with this status.
    pub fn is(&self, status: StatusCode) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == status.as_u16())
    }
}

/// The API in the hands of one caller, under the host name that they used.
#[derive(Clone)]
pub(crate) struct Caller {
    api: Api,
    bearer: Arc<str>,
    host: HeaderValue,
}

impl Caller {
    pub fn visitor(api: &Api, host: HeaderValue) -> Self {
        Self { api: api.clone(), bearer: Arc::clone(&api.visitor_token), host }
    }

    /// The same API with another token.
    pub fn with_bearer(&self, bearer: &str) -> Self {
        Self { bearer: bearer.into(), ..self.clone() }
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.json(Method::GET, path, Body::empty(), None).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body)?;
        self.json(Method::POST, path, Body::from(body), Some("application/json")).await
    }

    /// Posts a body of another kind than JSON.
    pub async fn post_body<T: DeserializeOwned>(&self, path: &str, content_type: &str, body: Body) -> Result<T, ApiError> {
        self.json(Method::POST, path, body, Some(content_type)).await
    }

    pub async fn text(&self, path: &str) -> Result<String, ApiError> {
        let (_, body) = self.send(Method::GET, path, Body::empty(), None).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The headers of what lies at `path`.
    pub async fn head(&self, path: &str) -> Result<HeaderMap, ApiError> {
        Ok(self.send(Method::HEAD, path, Body::empty(), None).await?.0)
    }

    async fn json<T: DeserializeOwned>(&self, method: Method, path: &str, body: Body, content_type: Option<&str>) -> Result<T, ApiError> {
        let (_, body) = self.send(method, path, body, content_type).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn send(&self, method: Method, path: &str, body: Body, content_type: Option<&str>) -> Result<(HeaderMap, Bytes), ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, format!("Bearer {}", self.bearer))
            .header(ACCEPT, "application/json")
            .header(SOURCE, "web");
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(body).map_err(|error| ApiError::Broken(error.to_string()))?;
        let Ok(response) = self.api.service.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| ApiError::Broken(error.to_string()))?.to_bytes();
        if parts.status.is_success() {
            return Ok((parts.headers, body));
        }
        Err(ApiError::Refused(refusal(parts.status, &body)))
    }
}

/// The problem that the API described, or one made from the bare status.
fn refusal(status: StatusCode, body: &[u8]) -> Problem {
    let bare = || Problem::new(status.as_u16(), status.canonical_reason().unwrap_or("Refused"), "");
    let mut problem = serde_json::from_slice(body).unwrap_or_else(|_| bare());
    problem.status = status.as_u16();
    problem
}
