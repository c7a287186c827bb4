//! The caller's own files: upload, list, get, delete. A file's address may be given as a model's input.

use std::time::Duration;

use axum::Json;
use axum::extract::multipart::Field;
use axum::extract::{Multipart, Path, State};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode, header};
use protocol::api::{File, Page};
use protocol::{Problem, Timestamp};
use registry::{NewFile, Scope};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::Parameters;
use crate::origin::Origin;
use crate::problem::Refused;
use crate::render;

/// An upload is kept this long, as at Replicate.
const KEPT_FOR: Duration = Duration::from_hours(24);
/// Bytes of a field beside the file.
const FIELD_BYTES_MAX: usize = 16 * 1024;
const DRAINED_WITHIN: Duration = Duration::from_secs(10);
/// Between two pieces of a body.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Upload a file.
///
/// Multipart: `content` is the file; `filename`, `type` and `metadata` (a JSON object) may stand before or after it.
#[utoipa::path(post, path = "/files", tag = "files", request_body(content = String, content_type = "multipart/form-data"),
    responses((status = 201, body = File), (status = 400, body = Problem), (status = 401, body = Problem), (status = 413, body = Problem),
              (status = 422, body = Problem)))]
pub(super) async fn create_file(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    mut form: Multipart,
) -> Result<(StatusCode, Json<File>), Refused> {
    let caller = caller.require(Scope::PredictionsWrite)?;
    let mut told = Told::default();
    let mut received = None;
    while let Some(mut field) = form.next_field().await.map_err(unreadable)? {
        let part = field.name().unwrap_or_default().to_owned();
        match part.as_str() {
            "content" if received.is_some() => {
                return Err(Refused::bad_request("The form has two parts `content`; send one file at a time"));
            }
            "content" => {
                told.part_name = field.file_name().map(ToOwned::to_owned);
                told.part_type = field.content_type().map(ToOwned::to_owned);
                let bytes = (&mut field).map_err(std::io::Error::other);
                match gateway.registry().receive_file(gateway.config().file_bytes_max, bytes).await {
                    Ok(stored) => received = Some(stored),
                    Err(refused) => {
                        drain(field).await;
                        return Err(refused.into());
                    }
                }
            }
            "filename" => told.name = Some(short_text(&part, field).await?),
            "type" => told.content_type = Some(short_text(&part, field).await?),
            "metadata" => match serde_json::from_str(&short_text(&part, field).await?) {
                Ok(Value::Object(fields)) => told.metadata.extend(fields),
                _ => return Err(Refused::bad_request("`metadata` must be a JSON object")),
            },
            bracketed => {
                if let Some(key) = bracketed.strip_prefix("metadata[").and_then(|key| key.strip_suffix(']')) {
                    let key = key.to_owned();
                    told.metadata.insert(key, Value::from(short_text(&part, field).await?));
                }
            }
        }
    }
    let received = received.ok_or_else(|| Refused::bad_request("The form has no part `content`; send the file in it"))?;
    let expires_at = gateway.clock().now().plus_millis(i64::try_from(KEPT_FOR.as_millis()).unwrap_or(i64::MAX));
    let new = told.into_file(caller.account.id.clone(), gateway.config().file_bytes_max, expires_at);
    let row = gateway.registry().name_file(new, received).await?;
    Ok((StatusCode::CREATED, Json(render::file(&origin, row))))
}

/// What a form says of its file: in fields of its own, which go before what the part says of itself.
#[derive(Debug, Default)]
struct Told {
    name: Option<String>,
    part_name: Option<String>,
    content_type: Option<String>,
    part_type: Option<String>,
    metadata: Map<String, Value>,
}

impl Told {
    fn into_file(self, account_id: String, bytes_max: u64, expires_at: Timestamp) -> NewFile {
        let name = self.name.or(self.part_name).filter(|name| !name.is_empty()).unwrap_or_else(|| "file".to_owned());
        let content_type = self.content_type.or(self.part_type);
        NewFile {
            account_id,
            prediction: None,
            content_type: content_type.unwrap_or_else(|| mime_guess::from_path(&name).first_or_octet_stream().to_string()),
            // Some senders put the whole path there.
            name: name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned(),
            metadata: self.metadata,
            bytes_max,
            expires_at: Some(expires_at),
        }
    }
}

/// A field that is held in memory.
async fn short_text(name: &str, mut field: Field<'_>) -> Result<String, Refused> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(unreadable)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > FIELD_BYTES_MAX {
            return Err(Problem::new(422, "Invalid", format!("`{name}` must have at most {FIELD_BYTES_MAX} bytes")).into());
        }
    }
    String::from_utf8(bytes).map_err(|_| Refused::bad_request(format!("`{name}` must be UTF-8")))
}

/// Takes the rest of what is refused, for a while: a sender that is cut off in the middle never reads why.
async fn drain(mut field: Field<'_>) {
    let rest = async { while let Ok(Some(_)) = field.chunk().await {} };
    let _ = tokio::time::timeout(DRAINED_WITHIN, rest).await;
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn unreadable(error: axum::extract::multipart::MultipartError) -> Refused {
    Refused::bad_request(format!("The multipart form cannot be read: {error}"))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

/// List your files, newest first.
#[utoipa::path(get, path = "/files", tag = "files", params(ListQuery),
    responses((status = 200, body = Page<File>), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn list_files(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<File>>, Refused> {
    let caller = caller.require(Scope::PredictionsRead)?;
    let page = gateway.registry().list_files(&caller.account.id, query.cursor.as_deref()).await?;
    let address = |cursor: String| origin.url(&format!("/v1/files?cursor={cursor}"));
    let results = page.rows.into_iter().map(|row| render::file(&origin, row)).collect();
    Ok(Json(Page { next: page.next.map(address), previous: page.previous.map(address), results }))
}

/// Get what is known of a file.
#[utoipa::path(get, path = "/files/{id}", tag = "files", params(("id" = String, Path)),
    responses((status = 200, body = File), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get_file(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Json<File>, Refused> {
    let caller = caller.require(Scope::PredictionsRead)?;
    let row = gateway.registry().find_file(&id).await?;
    let row = row.filter(|row| row.account_id == caller.account.id).ok_or_else(|| Refused::not_found("file"))?;
    Ok(Json(render::file(&origin, row)))
}

/// Delete a file.
#[utoipa::path(delete, path = "/files/{id}", tag = "files", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn delete_file(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    let caller = caller.require(Scope::PredictionsWrite)?;
    let deleted = gateway.registry().delete_file(&caller.account.id, &id).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Refused::not_found("file")) }
}

/// Bytes of a request's body, with the sender's failure as an error.
///
/// A sender who falls silent has failed: what it holds (an upload's turn, room in its account) is for others to have.
pub(super) fn body_stream(body: axum::body::Body) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    unless_silent(body.into_data_stream().map_err(std::io::Error::other), SILENCE_MAX)
}

/// Bytes that a sender says its body has.
pub(super) fn stated_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn unless_silent<S>(sent: S, silence_max: Duration) -> impl Stream<Item = Result<Bytes, std::io::Error>>
where
    S: Stream<Item = Result<Bytes, std::io::Error>>,
{
    futures::stream::unfold(Some(Box::pin(sent)), move |sent| async move {
        let mut sent = sent?;
        match tokio::time::timeout(silence_max, sent.next()).await {
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(sent))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => Some((Err(std::io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sender_who_falls_silent_has_failed() {
        let spoken = futures::stream::iter([Ok(Bytes::from_static(b"some"))]);
        let mut heard = std::pin::pin!(unless_silent(spoken.chain(futures::stream::pending()), Duration::from_millis(5)));
        assert_eq!(heard.next().await.unwrap().unwrap(), "some");
        assert_eq!(heard.next().await.unwrap().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert!(heard.next().await.is_none());
    }
}
