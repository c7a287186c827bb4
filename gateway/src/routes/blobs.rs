//! Blobs for publishing: whole in one request, or resumed piece by piece; hashed while they are written, and counted from their beginning.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use protocol::{Digest, Problem};
use registry::Scope;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::JsonObject;
use crate::problem::Refused;
use crate::routes::files::{body_stream, stated_length};

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BlobAnswer {
    #[schema(value_type = String)]
    digest: Digest,
    /// Bytes.
    size: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadAnswer {
    id: String,
    /// Bytes that have arrived.
    offset: u64,
    size: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Offset {
    offset: u64,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUpload {
    #[schema(value_type = String, example = "sha256:…")]
    digest: Digest,
    /// Bytes.
    size: u64,
}

fn digest(text: &str) -> Result<Digest, Refused> {
    text.parse().map_err(|error: protocol::digest::NotADigest| Refused::bad_request(error.to_string()))
}

/// Tell whether a blob is here.
#[utoipa::path(head, path = "/blobs/{digest}", tag = "blobs", params(("digest" = String, Path)),
    responses((status = 200), (status = 400), (status = 401), (status = 404)))]
pub(super) async fn head_blob(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(text): Path<String>,
) -> Result<Response, Refused> {
    caller.require(Scope::ModelsWrite)?;
    let size = gateway.registry().find_blob(&digest(&text)?).await?.ok_or_else(|| Refused::not_found("blob"))?;
    let mut response = StatusCode::OK.into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    Ok(response)
}

/// Upload a blob whole.
#[utoipa::path(put, path = "/blobs/{digest}", tag = "blobs", params(("digest" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = BlobAnswer), (status = 200, body = BlobAnswer), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn put_blob(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(text): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<BlobAnswer>), Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let length = stated_length(&headers);
    let stored = gateway.registry().put_blob(&caller, &digest(&text)?, length, body_stream(body)).await?;
    let status = if stored.fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(BlobAnswer { digest: stored.digest, size: stored.size })))
}

/// Begin a resumable upload, or find the one that was begun.
#[utoipa::path(post, path = "/blobs/uploads", tag = "blobs", request_body = NewUpload,
    responses((status = 201, body = UploadAnswer), (status = 401, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn begin_upload(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    body: JsonObject,
) -> Result<(StatusCode, Json<UploadAnswer>), Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let new: NewUpload = body.read()?;
    let upload = gateway.registry().begin_upload(&caller, new.digest, new.size).await?;
    Ok((StatusCode::CREATED, Json(UploadAnswer { id: upload.id, offset: upload.offset, size: upload.size })))
}

/// Tell how much of an upload has arrived.
#[utoipa::path(get, path = "/blobs/uploads/{id}", tag = "blobs", params(("id" = String, Path)),
    responses((status = 200, body = UploadAnswer), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get_upload(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(id): Path<String>,
) -> Result<Json<UploadAnswer>, Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let upload = gateway.registry().upload_status(&caller, &id).await?;
    Ok(Json(UploadAnswer { id: upload.id, offset: upload.offset, size: upload.size }))
}

/// Send more of an upload, from the offset that the header `upload-offset` names.
#[utoipa::path(patch, path = "/blobs/uploads/{id}", tag = "blobs", params(("id" = String, Path), ("upload-offset" = u64, Header)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Offset), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn append_upload(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Offset>, Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let offset = headers.get("upload-offset").and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
    let offset = offset.ok_or_else(|| Refused::bad_request("Say in the header `upload-offset` at which byte this piece begins"))?;
    let offset = gateway.registry().append_upload(&caller, &id, offset, body_stream(body)).await?;
    Ok(Json(Offset { offset }))
}

/// Finish an upload: its hash is checked, and it becomes a blob.
#[utoipa::path(put, path = "/blobs/uploads/{id}", tag = "blobs", params(("id" = String, Path)),
    responses((status = 201, body = BlobAnswer), (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn finish_upload(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<BlobAnswer>), Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let stored = gateway.registry().finish_upload(&caller, &id).await?;
    Ok((StatusCode::CREATED, Json(BlobAnswer { digest: stored.digest, size: stored.size })))
}

/// Throw an upload away.
#[utoipa::path(delete, path = "/blobs/uploads/{id}", tag = "blobs", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn cancel_upload(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    gateway.registry().cancel_upload(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
