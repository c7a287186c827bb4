//! A client of one model's process: requests over connections into its sandbox, kept open between predictions.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::Value;
use tower::Service;

use super::prompt::PromptStream;
use crate::sandbox::Confined;

/// A short answer: health, an error.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The kept connections of an idle instance are closed after this.
const KEPT_FOR: Duration = Duration::from_mins(1);

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the model's server cannot be reached")]
    Unreachable(#[source] Error),
    #[error("the model's server broke off its answer")]
    BrokenOff(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the model's server answered more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
}

#[derive(Clone, Debug)]
pub struct ModelHttp {
    client: Client<Dialer, Full<Bytes>>,
}

impl ModelHttp {
    pub fn new(confined: Arc<Confined>) -> Self {
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(KEPT_FOR).set_host(false);
        Self { client: client.build(Dialer(confined)) }
    }

    /// Sends a request and returns as soon as the answer begins.
    pub async fn send(&self, method: Method, path: &str, accept: &str, body: Option<&Value>) -> Result<Response<Incoming>, CallError> {
        let json = body.map_or_else(Vec::new, |body| serde_json::to_vec(body).expect("a JSON value is JSON"));
        let uri = Uri::try_from(format!("http://127.0.0.1{path}")).unwrap_or_else(|_| Uri::from_static("http://127.0.0.1/"));
        let mut request = Request::new(Full::new(Bytes::from(json)));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(http::header::HOST, http::HeaderValue::from_static("127.0.0.1"));
        if let Ok(accept) = accept.parse() {
            headers.insert(http::header::ACCEPT, accept);
        }
        if body.is_some() {
            headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        }
        self.client.request(request).await.map_err(CallError::Unreachable)
    }

    /// A request with a short answer.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Bytes), CallError> {
        let answer = self.send(method, path, "application/json", body).await?;
        let status = answer.status();
        Ok((status, read(answer.into_body(), ANSWER_BYTES_MAX).await?))
    }
}

pub async fn read(body: Incoming, bytes_max: usize) -> Result<Bytes, CallError> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(CallError::TooLong),
        Err(error) => Err(CallError::BrokenOff(error)),
    }
}

/// Enters the sandbox. A connection that nobody waits for any more is made to its end, since the sandbox's line cannot be broken off.
#[derive(Clone, Debug)]
struct Dialer(Arc<Confined>);

impl Service<Uri> for Dialer {
    type Response = TokioIo<PromptStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let confined = self.0.clone();
        let connecting = tokio::spawn(async move { confined.connect().await });
        Box::pin(async move {
            let stream = connecting.await.map_err(io::Error::other)??;
            Ok(TokioIo::new(PromptStream::new(stream)?))
        })
    }
}
