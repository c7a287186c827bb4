//! The HTTP client of the command line: one server, one token, every refusal as the problem that the server named.

mod download;
mod endpoint;
mod events;
mod logins;
mod upload;

use std::future::Future;
use std::time::Duration;

use protocol::Problem;
use protocol::api::Page;
use reqwest::{ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use download::{DownloadError, Wanted, fetch};
pub use endpoint::{AddressError, Endpoint, parse_address};
pub use events::EventStream;
pub use logins::Logins;
pub use upload::{Blob, Source, UploadError, Uploads};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the 60 s for which a server may hold a `Prefer: wait`, and than the 15 s between two signs of life of a stream.
const READ_TIMEOUT: Duration = Duration::from_secs(75);
/// For requests that take as long as the network or the server's own work does: a large file, a hook that is compiled.
const SLOW_TIMEOUT: Duration = Duration::from_hours(1);
/// A refusal longer than this is not read: problems are short.
const PROBLEM_BYTES_MAX: usize = 256 * 1024;
const TRIES_MAX: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("{host} cannot be reached; `feira up` starts a server here, FEIRA_HOST names one elsewhere")]
    Unreachable { host: String, source: reqwest::Error },
    #[error("{host} did not answer in time")]
    TimedOut { host: String },
    #[error("the connection to {host} broke")]
    Broken { host: String, source: reqwest::Error },
    #[error("{}", told(.0))]
    Refused(Problem),
    #[error("{host} gave an answer that this feira does not understand")]
    NotUnderstood { host: String, source: serde_json::Error },
}

/// A problem in the caller's words, with what to do when it is about the token.
fn told(problem: &Problem) -> String {
    let text = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
    let hint = if problem.status == 401 { "\n`feira login` keeps a token, FEIRA_API_TOKEN brings one" } else { "" };
    format!("{}{hint}", text.trim_end())
}

impl ClientError {
    /// Whether the same request may well succeed a moment later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } | Self::TimedOut { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 429 | 500 | 502 | 503 | 504),
            Self::Address(_) | Self::NotUnderstood { .. } => false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Without the limit on silence: while a body is sent, nothing is read.
    slow: reqwest::Client,
    endpoint: Endpoint,
}

impl Client {
    pub fn new(endpoint: Endpoint) -> Result<Self, ClientError> {
        let build = |limit: fn(ClientBuilder) -> ClientBuilder| {
            let http = reqwest::Client::builder().user_agent(concat!("feira/", env!("CARGO_PKG_VERSION"))).connect_timeout(CONNECT_TIMEOUT);
            let http = if endpoint.is_loopback() { http.no_proxy() } else { http };
            limit(http).build().map_err(|source| ClientError::Unreachable { host: endpoint.host(), source })
        };
        let http = build(|http| http.read_timeout(READ_TIMEOUT))?;
        let slow = build(|http| http.timeout(SLOW_TIMEOUT))?;
        Ok(Self { http, slow, endpoint })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.answer(self.request(Method::GET, path)).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.answer(self.request(Method::POST, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, path)).await.map(drop)
    }

    /// Whether something is there, by its `HEAD`.
    pub async fn has(&self, path: &str) -> Result<bool, ClientError> {
        match self.send(self.request(Method::HEAD, path)).await {
            Ok(_) => Ok(true),
            Err(ClientError::Refused(problem)) if problem.status == StatusCode::NOT_FOUND.as_u16() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The newest `limit` entries of a list, over as many pages as it takes.
    pub async fn list<T: DeserializeOwned>(&self, path: &str, limit: usize) -> Result<Vec<T>, ClientError> {
        let mut results = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next.filter(|_| results.len() < limit) {
            let page: Page<T> = self.get(&path).await?;
            // Only the path: whatever host the server believes to have, the token goes to the one it was given for.
            next = page.next.and_then(|url| Url::parse(&url).ok()).map(|url| self.endpoint.relative(&url));
            results.extend(page.results);
        }
        results.truncate(limit);
        Ok(results)
    }

    /// A request to this server, with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorized(self.http.request(method, self.endpoint.url(path)))
    }

    /// The same for a request that may take its time.
    pub fn slow_request(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorized(self.slow.request(method, self.endpoint.url(path)))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.endpoint.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    /// A request to any address, without the token: streams and files are signed in themselves.
    pub fn request_anywhere(&self, url: Url) -> RequestBuilder {
        self.http.get(url)
    }

    pub async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let body = response.bytes().await.map_err(|source| self.broken(source))?;
        serde_json::from_slice(&body).map_err(|source| ClientError::NotUnderstood { host: self.endpoint.host(), source })
    }

    /// Sends a request; anything but success is an error.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|source| self.broken(source))?;
        if response.status().is_success() { Ok(response) } else { Err(ClientError::Refused(problem(response).await)) }
    }

    pub fn broken(&self, source: reqwest::Error) -> ClientError {
        let host = self.endpoint.host();
        if source.is_connect() {
            ClientError::Unreachable { host, source }
        } else if source.is_timeout() {
            ClientError::TimedOut { host }
        } else {
            ClientError::Broken { host, source }
        }
    }
}

async fn problem(mut response: Response) -> Problem {
    let status = response.status();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > PROBLEM_BYTES_MAX {
            break;
        }
    }
    parse_problem(status, &body)
}

/// The server's own problem, or, from something that speaks no JSON in between, what the status line says.
fn parse_problem(status: StatusCode, body: &[u8]) -> Problem {
    let reason = status.canonical_reason().unwrap_or("Refused");
    let mut value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("status".to_owned(), status.as_u16().into());
        fields.entry("title").or_insert_with(|| reason.into());
        fields.entry("detail").or_insert_with(|| reason.into());
    }
    serde_json::from_value(value)
        .unwrap_or_else(|_| Problem::new(status.as_u16(), reason, format!("the server answered {} {reason}", status.as_u16())))
}

/// Tries again, ever slower, while what goes wrong may pass.
pub async fn patiently<T, F: Future<Output = Result<T, ClientError>>>(mut attempt: impl FnMut() -> F) -> Result<T, ClientError> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES_MAX {
        match attempt().await {
            Err(error) if error.is_passing() => {
                let asked = match &error {
                    ClientError::Refused(problem) => problem.retry_after.map(Duration::from_secs),
                    _ => None,
                };
                tokio::time::sleep(asked.unwrap_or(pause).min(READ_TIMEOUT)).await;
                pause *= 2;
            }
            settled => return settled,
        }
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_taken_as_the_server_wrote_it() {
        let problem = parse_problem(StatusCode::PAYMENT_REQUIRED, br#"{"title":"Insufficient credit","detail":"add some"}"#);
        assert_eq!((problem.status, problem.detail.as_str()), (402, "add some"));
        assert_eq!(told(&problem), "add some");
    }

    #[test]
    fn a_page_of_a_proxy_is_told_by_its_status() {
        let problem = parse_problem(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(problem.detail, "the server answered 502 Bad Gateway");
        assert!(ClientError::Refused(problem).is_passing());
    }

    #[test]
    fn a_refused_token_says_how_to_bring_one() {
        let problem = parse_problem(StatusCode::UNAUTHORIZED, br#"{"detail":"no valid token"}"#);
        assert!(told(&problem).contains("feira login"));
    }
}
