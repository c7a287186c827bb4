//! A prediction's events as they happen: server-sent events whose address is its own permission, resumable by id.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt};
use http::{HeaderMap, HeaderValue};
use protocol::Problem;
use protocol::prediction::State as PredictionState;
use serde_json::{Value, json};

use crate::Gateway;
use crate::db::prediction;
use crate::live::Live;
use crate::origin::Origin;
use crate::problem::Refused;
use crate::render;
use crate::transcript::{Piece, Transcript};

/// A comment line this often keeps connections and clients' read timeouts alive.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Follow a prediction.
///
/// Events are `output`, `logs`, `error` and `done`; their ids count from 1, and `Last-Event-ID` resumes after one.
#[utoipa::path(get, path = "/streams/{signed}", tag = "predictions", security(()), params(("signed" = String, Path),
    ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, body = Problem)))]
pub(super) async fn stream(
    State(gateway): State<Gateway>,
    origin: Origin,
    Path(signed): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let id = gateway.keys().stream(&signed).ok_or_else(|| Refused::not_found("stream"))?;
    let seen = last_event_id(&headers);
    let events = if let Some(live) = gateway.live().find(id) {
        follow(gateway, origin, live, seen).boxed()
    } else {
        let row = gateway.db().read(move |tx| Box::pin(prediction::find_any(tx, id))).await?;
        let row = row.ok_or_else(|| Refused::not_found("stream"))?;
        let pieces = Transcript::of(&row).pieces_after(seen, &row);
        stream::iter(numbered(&gateway, &origin, seen, pieces)).boxed()
    };
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(PING_EVERY)).into_response();
    // Python's client compares the whole value.
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Follow a prediction whose outputs are files.
///
/// The same events; each output is the address of a file.
#[utoipa::path(get, path = "/files/streams/{signed}", tag = "predictions", security(()), params(("signed" = String, Path),
    ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, body = Problem)))]
pub(super) async fn stream_files(
    gateway: State<Gateway>,
    origin: Origin,
    signed: Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    stream(gateway, origin, signed, headers).await
}

/// Each reader takes from the prediction's own record at its own pace: nothing is kept for a slow one.
fn follow(gateway: Gateway, origin: Origin, live: Arc<Live>, seen: usize) -> impl Stream<Item = Result<Event, Infallible>> {
    let changes = live.watch();
    stream::unfold((seen, false, changes), move |(seen, over, mut changes)| {
        let (gateway, origin, live) = (gateway.clone(), origin.clone(), live.clone());
        async move {
            if over {
                return None;
            }
            loop {
                changes.borrow_and_update();
                let pieces = live.pieces_after(seen);
                if !pieces.is_empty() || live.state().is_terminal() {
                    let over = live.state().is_terminal() && pieces.last().is_none_or(|piece| matches!(piece, Piece::Done(_)));
                    let count = pieces.len();
                    return Some((stream::iter(numbered(&gateway, &origin, seen, pieces)), (seen + count, over, changes)));
                }
                if changes.changed().await.is_err() {
                    return None;
                }
            }
        }
    })
    .flatten()
}

fn numbered(gateway: &Gateway, origin: &Origin, seen: usize, pieces: Vec<Piece>) -> Vec<Result<Event, Infallible>> {
    pieces.into_iter().zip(seen + 1..).map(|(piece, id)| Ok(event(gateway, origin, piece).id(id.to_string()))).collect()
}

fn event(gateway: &Gateway, origin: &Origin, piece: Piece) -> Event {
    match piece {
        Piece::Output(mut value) => {
            render::sign_files(gateway, origin, &mut value);
            let text = if let Value::String(text) = value { text } else { value.to_string() };
            Event::default().event("output").data(one_kind_of_line_end(&text))
        }
        Piece::Logs(text) => Event::default().event("logs").data(one_kind_of_line_end(&text)),
        Piece::Error(detail) => Event::default().event("error").data(json!({"detail": detail}).to_string()),
        Piece::Done(state) => Event::default().event("done").data(
            match state {
                PredictionState::Failed => json!({"reason": "error"}),
                PredictionState::Canceled | PredictionState::Aborted => json!({"reason": "canceled"}),
                _ => json!({}),
            }
            .to_string(),
        ),
    }
}

/// The format knows no carriage return within data: a reader would take it for the end of a line, as it now does by our hand.
fn one_kind_of_line_end(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Ids are plain counts; Replicate's form `<time>:<count>` is understood as well.
fn last_event_id(headers: &HeaderMap) -> usize {
    let id = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    id.rsplit(':').next().and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
