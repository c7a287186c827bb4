//! A file's bytes behind a signed address: no token is needed, and none is taken.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use protocol::Problem;
use serde::Deserialize;

use crate::Gateway;
use crate::body::Parameters;
use crate::problem::Refused;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Signed {
    owner: String,
    /// Seconds since the Unix epoch.
    expiry: i64,
    /// Over `"{owner} {id} {expiry}"`.
    signature: String,
}

/// Download a file.
#[utoipa::path(get, path = "/files/{id}/download", tag = "files", security(()), params(("id" = String, Path), Signed),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = 404, body = Problem)))]
pub(super) async fn download(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Parameters(signed): Parameters<Signed>,
) -> Result<Response, Refused> {
    send(&gateway, &id, &signed).await
}

/// Download a file by an address that ends like its name.
#[utoipa::path(get, path = "/files/{id}/download/{name}", tag = "files", security(()),
    params(("id" = String, Path), ("name" = String, Path), Signed),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = 404, body = Problem)))]
pub(super) async fn download_named(
    State(gateway): State<Gateway>,
    Path((id, _name)): Path<(String, String)>,
    Parameters(signed): Parameters<Signed>,
) -> Result<Response, Refused> {
    send(&gateway, &id, &signed).await
}

async fn send(gateway: &Gateway, id: &str, signed: &Signed) -> Result<Response, Refused> {
    let not_found = || Refused::not_found("file");
    if !gateway.keys().file_is_signed(&signed.owner, id, signed.expiry, &signed.signature) {
        return Err(not_found());
    }
    let file = gateway.registry().find_file(id).await?.ok_or_else(not_found)?;
    let blob = gateway.registry().blobs().get(&file.digest).await?.ok_or_else(not_found)?;
    let mut response = Body::from_stream(blob.bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(blob.size));
    let kind = HeaderValue::from_str(&file.content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A model's own HTML or SVG must not run with this origin's rights.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600, immutable"));
    Ok(response)
}
