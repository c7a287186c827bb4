//! Uploads of blobs: whole in one request, or begun, added to piece by piece, and closed with the digest of it all.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use protocol::ModelRef;
use registry::{OciError, Piece, UploadError};
use serde::Deserialize;

use crate::Gateway;
use crate::body::Parameters;
use crate::problem::Refused;
use crate::problem::oci::{digest_invalid, upload_invalid};
use crate::routes::files::{body_stream, stated_length};
use crate::routes::oci::caller::Who;
use crate::routes::oci::manifests::created;
use crate::routes::oci::{digest, repository};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

#[derive(Debug, Deserialize)]
pub(super) struct BeginQuery {
    /// Of a blob that comes with this request.
    digest: Option<String>,
    /// Of a blob that is in another repository, `from`.
    mount: Option<String>,
    from: Option<String>,
}

pub(super) async fn begin(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name)): Path<(String, String)>,
    Parameters(query): Parameters<BeginQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let repository = repository(&owner, &name)?;
    let caller = who.require_pusher(&repository)?;
    let mount = query.mount.as_deref().map(digest).transpose()?;
    let from = query.from.and_then(|from| from.parse::<ModelRef>().ok()).filter(|from| who.is_let(from, |access| access.pull));
    if let (Some(mount), Some(from)) = (mount, from)
        && gateway.registry().mount_blob(caller, &repository, &mount, &from).await?
    {
        return Ok(created(&format!("/v2/{repository}/blobs/{mount}"), &mount));
    }
    if let Some(text) = query.digest {
        let digest = digest(&text)?;
        let length = stated_length(&headers);
        gateway.registry().push_blob(caller, &repository, &digest, length, body_stream(body)).await?;
        return Ok(created(&format!("/v2/{repository}/blobs/{digest}"), &digest));
    }
    let upload = gateway.registry().open_upload(caller).await.map_err(OciError::from)?;
    Ok(under_way(StatusCode::ACCEPTED, &repository, &upload.id, upload.offset))
}

pub(super) async fn status(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name, id)): Path<(String, String, String)>,
) -> Result<Response, Refused> {
    let repository = repository(&owner, &name)?;
    let caller = who.require_pusher(&repository)?;
    let upload = gateway.registry().upload_status(caller, &id).await.map_err(OciError::from)?;
    Ok(under_way(StatusCode::NO_CONTENT, &repository, &upload.id, upload.offset))
}

pub(super) async fn append(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name, id)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let repository = repository(&owner, &name)?;
    let caller = who.require_pusher(&repository)?;
    match gateway.registry().append_piece(caller, &id, piece(&headers, body)?).await {
        Ok(offset) => Ok(under_way(StatusCode::ACCEPTED, &repository, &id, offset)),
        Err(error) => Ok(refused(&repository, &id, error.into())),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct FinishQuery {
    digest: Option<String>,
}

pub(super) async fn finish(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name, id)): Path<(String, String, String)>,
    Parameters(query): Parameters<FinishQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let repository = repository(&owner, &name)?;
    let digest = digest(&query.digest.ok_or_else(digest_invalid)?)?;
    let caller = who.require_pusher(&repository)?;
    match gateway.registry().push_upload(caller, &repository, &id, &digest, piece(&headers, body)?).await {
        Ok(()) => Ok(created(&format!("/v2/{repository}/blobs/{digest}"), &digest)),
        Err(error) => Ok(refused(&repository, &id, error)),
    }
}

pub(super) async fn cancel(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name, id)): Path<(String, String, String)>,
) -> Result<StatusCode, Refused> {
    let repository = repository(&owner, &name)?;
    let caller = who.require_pusher(&repository)?;
    gateway.registry().cancel_upload(caller, &id).await.map_err(OciError::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where an upload goes on, and how much of it is here: `0-0` also stands for nothing, as every registry has it.
fn under_way(status: StatusCode, repository: &ModelRef, id: &str, offset: u64) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    let location = format!("/v2/{repository}/blobs/uploads/{id}");
    headers.insert(header::LOCATION, HeaderValue::from_str(&location).expect("an address is plain ASCII"));
    let range = format!("0-{}", offset.saturating_sub(1));
    headers.insert(header::RANGE, HeaderValue::from_str(&range).expect("numbers are plain ASCII"));
    headers.insert(UPLOAD_ID, HeaderValue::from_str(id).expect("an id is plain ASCII"));
    response
}

/// A client that was wrong about the offset is also told the right one in the headers.
fn refused(repository: &ModelRef, id: &str, error: OciError) -> Response {
    let expected = match &error {
        OciError::Upload(UploadError::WrongOffset { expected }) => Some(*expected),
        _ => None,
    };
    let mut response = Refused::from(error).into_response();
    if let Some(expected) = expected {
        response.headers_mut().extend(under_way(StatusCode::ACCEPTED, repository, id, expected).into_parts().0.headers);
    }
    response
}

/// What the body is a piece of: `Content-Range: first-last`, or all that follows.
fn piece(headers: &HeaderMap, body: Body) -> Result<Piece<impl futures::Stream<Item = Result<bytes::Bytes, std::io::Error>>>, Refused> {
    let Some(range) = headers.get(header::CONTENT_RANGE) else {
        return Ok(Piece { offset: None, end: None, bytes: body_stream(body) });
    };
    let (first, last) = range.to_str().ok().and_then(bounds).ok_or_else(|| upload_invalid("Content-Range is written first-last"))?;
    Ok(Piece { offset: Some(first), end: Some(last + 1), bytes: body_stream(body) })
}

fn bounds(range: &str) -> Option<(u64, u64)> {
    let range = range.strip_prefix("bytes ").unwrap_or(range);
    let (first, last) = range.split('/').next()?.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last && last < u64::MAX).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_the_specification_and_as_http_write_it() {
        assert_eq!(bounds("0-9"), Some((0, 9)));
        assert_eq!(bounds("bytes 5-9/*"), Some((5, 9)));
        for bad in ["", "5", "9-5", "-5", "5-", "a-b", "0-18446744073709551615"] {
            assert_eq!(bounds(bad), None, "{bad}");
        }
    }
}
