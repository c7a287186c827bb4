//! The one server that a model can reach: it hands the model the input files of the predictions that run in it, and takes its output files.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyDataStream, BodyExt, Empty, Limited, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::files::Desk;

/// A model that opens more at once has to wait.
const CONNECTIONS_MAX: usize = 64;
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// One output file.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024 * 1024;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Error>>;

/// Serves until dropped; its connections end with it.
pub async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve_connection(stream, desk.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "a model's connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, desk: Arc<Desk>) {
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(answer(&desk, request).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_WAIT);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a model's connection broke");
    }
}

async fn answer(desk: &Desk, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').splitn(3, '/').collect();
    match (request.method(), &segments[..]) {
        (&Method::GET, ["inputs", token, _]) => input(desk, token).await,
        (&Method::PUT, ["outputs", secret, name]) if desk.is_upload_secret(secret) => output(desk, name, request).await,
        _ => status(StatusCode::NOT_FOUND),
    }
}

async fn input(desk: &Desk, token: &str) -> Answer {
    let Some(files) = desk.with_input(token) else { return status(StatusCode::NOT_FOUND) };
    let Some(fetched) = desk.fetch(&files, token).await else { return status(StatusCode::BAD_GATEWAY) };
    let mut answer = Response::builder();
    for name in [CONTENT_TYPE, CONTENT_LENGTH] {
        if let Some(value) = fetched.headers().get(&name) {
            answer = answer.header(name, value);
        }
    }
    let body = StreamBody::new(fetched.bytes_stream().map_ok(Frame::data).map_err(Error::from));
    answer.body(UnsyncBoxBody::new(body)).unwrap_or_else(|_| status(StatusCode::BAD_GATEWAY))
}

async fn output(desk: &Desk, name: &str, request: Request<Incoming>) -> Answer {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let files = header("x-prediction-id").and_then(|prediction| desk.of(&prediction));
    let Some(files) = files else { return status(StatusCode::NOT_FOUND) };
    let media_type = header("content-type").unwrap_or_else(|| "application/octet-stream".to_owned());
    let length = request.body().size_hint().exact();
    let body = reqwest::Body::wrap_stream(BodyDataStream::new(Limited::new(request.into_body(), FILE_BYTES_MAX)));
    match desk.upload(&files, name.rsplit('/').next().unwrap_or(name), &media_type, body).await {
        Ok(reference) => {
            let mut answer = status(StatusCode::CREATED);
            answer.headers_mut().insert(LOCATION, reference.parse().expect("a reference has only letters, digits and signs"));
            answer
        }
        Err(error) => {
            tracing::warn!(prediction = %files.prediction, bytes = length, error = &error as &dyn std::error::Error, "an output file was not taken");
            status(StatusCode::BAD_GATEWAY)
        }
    }
}

fn status(status: StatusCode) -> Answer {
    let mut answer = Response::new(UnsyncBoxBody::new(Empty::new().map_err(|never: Infallible| match never {})));
    *answer.status_mut() = status;
    answer
}
