//! What a puller fetches: a version's manifest, and the blobs that it names, whole or a range of them.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use protocol::{Digest, Problem, Reference, VersionId};
use registry::ManifestRef;
use serde::Deserialize;

use crate::Gateway;
use crate::auth::Viewer;
use crate::body::Parameters;
use crate::problem::Refused;
use crate::routes::models::require_model;
use crate::routes::range::send_blob;
use crate::routes::versions::require_version;

/// Get a version's manifest.
///
/// The exact bytes whose SHA-256 is the version's id: an OCI image manifest whose layers are the version's files.
#[utoipa::path(get, path = "/models/{owner}/{name}/versions/{id}/manifest", tag = "versions",
    params(("owner" = String, Path), ("name" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Object, content_type = "application/vnd.oci.image.manifest.v1+json"), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get_manifest(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    Path((owner, name, id)): Path<(String, String, String)>,
) -> Result<Response, Refused> {
    let not_found = || Refused::not_found("version");
    let model = require_model(&gateway, &viewer, &(owner, name)).await?;
    let id: VersionId = id.parse().map_err(|_| not_found())?;
    let version = require_version(&gateway, &model, &id).await?;
    let found = gateway.registry().find_manifest(&model, &ManifestRef::Digest(*version.id.digest())).await?.ok_or_else(not_found)?;
    let manifest = gateway.registry().read_manifest(&found).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_str(&found.media_type).expect("it was checked when it was pushed")),
        (header::ETAG, HeaderValue::from_str(&format!("\"{id}\"")).expect("an id is plain ASCII")),
    ];
    Ok((headers, manifest).into_response())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OfVersion {
    /// The id of a version that you may see and that names the blob.
    version: String,
}

/// Download a blob of a version.
///
/// A digest alone opens nothing: the version that names it must be one that you may see.
#[utoipa::path(get, path = "/blobs/{digest}", tag = "blobs", params(("digest" = String, Path), OfVersion, ("Range" = Option<String>, Header)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = 206, content_type = "application/octet-stream", body = Vec<u8>), (status = 304),
              (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 416, body = Problem)))]
pub(super) async fn get_blob(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    Path(digest): Path<String>,
    Parameters(of): Parameters<OfVersion>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let not_found = || Refused::not_found("blob");
    let digest: Digest = digest.parse().map_err(|error: protocol::digest::NotADigest| Refused::bad_request(error.to_string()))?;
    let version: VersionId = of.version.parse().map_err(|_| not_found())?;
    let found = gateway.registry().resolve(&Reference::Bare(version), &viewer.account_id).await?.ok_or_else(not_found)?;
    let version = &found.version;
    let is_named = version.files.iter().any(|file| file.digest == digest) || version.config.hooks.iter().any(|hook| hook.digest == digest);
    if !is_named {
        return Err(not_found());
    }
    let blobs = gateway.registry().blobs();
    let size = blobs.head(&digest).await?.ok_or_else(not_found)?;
    let mut response = send_blob(blobs, &digest, size, &headers).await?;
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
