//! Manifests of a repository: read by tag or digest, pushed, deleted by digest.
//!
//! `Accept` changes nothing: a manifest is the bytes that were pushed, and `Content-Type` says what they are.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use protocol::oci::MANIFEST_BYTES_MAX;
use protocol::{Digest, Problem};
use registry::{ManifestRef, NewManifest};

use crate::Gateway;
use crate::body::whole;
use crate::problem::Refused;
use crate::problem::oci::{manifest_unknown, tag_kept};
use crate::routes::oci::blobs::tell_digest;
use crate::routes::oci::caller::Who;
use crate::routes::oci::{digest, repository};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// A digest has a colon, and no tag has one. What is neither names nothing.
fn reference(text: &str) -> Result<ManifestRef, Refused> {
    if text.contains(':') {
        return digest(text).map(ManifestRef::Digest);
    }
    text.parse().map(ManifestRef::Tag).map_err(|_| manifest_unknown())
}

pub(super) async fn get(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name, text)): Path<(String, String, String)>,
) -> Result<Response, Refused> {
    let repository = repository(&owner, &name)?;
    let reference = reference(&text)?;
    let row = who.require_readable(&gateway, &repository).await?;
    let found = gateway.registry().find_manifest(&row, &reference).await?.ok_or_else(manifest_unknown)?;
    let bytes = gateway.registry().read_manifest(&found).await?;
    let mut response = Body::from(bytes).into_response();
    let media_type = HeaderValue::from_str(&found.media_type).expect("a media type was checked when it was pushed");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(found.size));
    tell_digest(&mut response, &found.digest);
    Ok(response)
}

pub(super) async fn put(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name, text)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let repository = repository(&owner, &name)?;
    let reference = reference(&text).map_err(|refused| match refused {
        Refused(problem) if problem.status == 404 => Problem::new(400, "Manifest invalid", NO_TAG).into(),
        refused => refused,
    })?;
    let caller = who.require_pusher(&repository)?;
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let bytes = whole(request, MANIFEST_BYTES_MAX).await.map_err(too_large)?;
    let pushed = gateway.registry().push_manifest(caller, &repository, NewManifest { reference, media_type, bytes }).await?;
    let mut response = created(&format!("/v2/{repository}/manifests/{}", pushed.digest), &pushed.digest);
    if let Some(subject) = pushed.subject {
        response.headers_mut().insert(SUBJECT, HeaderValue::from_str(&subject.to_string()).expect("a digest is plain ASCII"));
    }
    Ok(response)
}

const NO_TAG: &str = "A tag has 1 to 128 letters, digits, `_`, `.` and `-`, and does not look like a version's id";

fn too_large(refused: Refused) -> Refused {
    match refused {
        Refused(problem) if problem.status == 413 => {
            Problem::new(413, "Manifest invalid", format!("A manifest has at most {MANIFEST_BYTES_MAX} bytes")).into()
        }
        refused => refused,
    }
}

pub(super) async fn delete(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name, text)): Path<(String, String, String)>,
) -> Result<StatusCode, Refused> {
    let repository = repository(&owner, &name)?;
    let reference = reference(&text)?;
    let caller = who.require_pusher(&repository)?;
    let ManifestRef::Digest(digest) = reference else { return Err(tag_kept()) };
    gateway.registry().delete_manifest(caller, &repository, &digest).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Something of this digest now stands at this address.
pub(super) fn created(location: &str, digest: &Digest) -> Response {
    let mut response = StatusCode::CREATED.into_response();
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(location).expect("an address is plain ASCII"));
    tell_digest(&mut response, digest);
    response
}
