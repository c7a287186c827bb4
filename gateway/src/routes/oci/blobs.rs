//! Blobs of a repository: read whole or in part, and taken out of it.

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use protocol::Digest;

use crate::Gateway;
use crate::problem::Refused;
use crate::problem::oci::blob_unknown;
use crate::routes::oci::caller::Who;
use crate::routes::oci::{digest, repository};
use crate::routes::range::send_blob;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

pub(super) async fn get(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name, text)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let repository = repository(&owner, &name)?;
    let digest = digest(&text)?;
    let row = who.require_readable(&gateway, &repository).await?;
    let size = gateway.registry().find_blob_in(&row, who.viewer_id(), &digest).await?.ok_or_else(blob_unknown)?;
    let mut response = send_blob(gateway.registry().blobs(), &digest, size, &headers).await?;
    if response.status().is_success() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        tell_digest(&mut response, &digest);
    }
    Ok(response)
}

pub(super) async fn delete(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name, text)): Path<(String, String, String)>,
) -> Result<StatusCode, Refused> {
    let repository = repository(&owner, &name)?;
    let digest = digest(&text)?;
    let caller = who.require_pusher(&repository)?;
    gateway.registry().delete_blob(caller, &repository, &digest).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Says which bytes these are, and that a browser must make nothing else of them: they are a stranger's.
pub(super) fn tell_digest(response: &mut Response, digest: &Digest) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_DIGEST, HeaderValue::from_str(&digest.to_string()).expect("a digest is plain ASCII"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
}
