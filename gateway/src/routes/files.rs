//! The caller's own files: upload, list, get, delete. A file's address may be given as a model's input.

use std::time::Duration;

use axum::Json;
use axum::extract::{Multipart, Path, State};
use bytes::Bytes;
use futures::TryStreamExt;
use http::StatusCode;
use protocol::Problem;
use protocol::api::{File, Page};
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
const NAME_BYTES_MAX: usize = 255;

/// Upload a file.
///
/// Multipart: `content` is the file; `filename`, `type` and `metadata` (a JSON object) may stand before it.
#[utoipa::path(post, path = "/files", tag = "files", request_body(content = String, content_type = "multipart/form-data"),
    responses((status = 201, body = File), (status = 400, body = Problem), (status = 401, body = Problem), (status = 413, body = Problem)))]
pub(super) async fn create_file(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    mut form: Multipart,
) -> Result<(StatusCode, Json<File>), Refused> {
    let caller = caller.require(Scope::PredictionsWrite)?;
    let (mut name, mut content_type, mut metadata) = (None, None, Map::new());
    let mut stored = None;
    while let Some(field) = form.next_field().await.map_err(unreadable)? {
        match field.name().unwrap_or_default() {
            "content" => {
                let given = name.take().or_else(|| field.file_name().map(ToOwned::to_owned)).unwrap_or_else(|| "file".to_owned());
                let kind = content_type.take().or_else(|| field.content_type().map(ToOwned::to_owned));
                let kind = kind.unwrap_or_else(|| mime_guess::from_path(&given).first_or_octet_stream().to_string());
                let new = NewFile {
                    account_id: caller.account.id.clone(),
                    prediction: None,
                    name: file_name(&given),
                    content_type: kind,
                    metadata: metadata.clone(),
                    bytes_max: gateway.config().file_bytes_max,
                    expires_at: Some(gateway.clock().now().plus_millis(i64::try_from(KEPT_FOR.as_millis()).unwrap_or(i64::MAX))),
                };
                stored = Some(gateway.registry().create_file(new, field.map_err(std::io::Error::other)).await?);
            }
            "filename" => name = Some(field.text().await.map_err(unreadable)?),
            "type" => content_type = Some(field.text().await.map_err(unreadable)?),
            "metadata" => {
                let text = field.text().await.map_err(unreadable)?;
                metadata = render::object(serde_json::from_str(&text).ok());
            }
            other => {
                if let Some(key) = other.strip_prefix("metadata[").and_then(|key| key.strip_suffix(']')) {
                    let key = key.to_owned();
                    metadata.insert(key, Value::from(field.text().await.map_err(unreadable)?));
                }
            }
        }
    }
    let row = stored.ok_or_else(|| Refused::bad_request("The form has no part `content`; send the file in it"))?;
    Ok((StatusCode::CREATED, Json(render::file(&origin, row))))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn unreadable(error: axum::extract::multipart::MultipartError) -> Refused {
    Refused::bad_request(format!("The multipart form cannot be read: {error}"))
}

/// The last part of a path, with only characters that mean nothing in a path or an address.
pub(super) fn file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = last.trim_start_matches('.').chars().map(plain).take(NAME_BYTES_MAX).collect();
    if name.is_empty() { "file".to_owned() } else { name }
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
pub(super) fn body_stream(body: axum::body::Body) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    body.into_data_stream().map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_leave_its_place() {
        assert_eq!(file_name("../../etc/passwd"), "passwd");
        assert_eq!(file_name("C:\\dir\\a b.png"), "a_b.png");
        assert_eq!(file_name("..."), "file");
        assert_eq!(file_name("\u{e9}t\u{e9}.png"), "_t_.png");
        assert_eq!(file_name(&"x".repeat(500)).len(), NAME_BYTES_MAX);
    }
}
