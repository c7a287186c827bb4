//! What runners fetch and upload, each with a grant: the version's blobs, and for an assignment the input's files and the output's.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use protocol::Digest;
use protocol::PredictionId;
use protocol::prediction::Errand;
use registry::{BLOB_BYTES_MAX, NewFile};
use serde_json::Map;

use crate::Gateway;
use crate::auth::Granted;
use crate::file_name::file_name;
use crate::prediction::files::FILE_SCHEME;
use crate::problem::Refused;
use crate::routes::files::body_stream;
use crate::routes::range::send_blob;

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/runner/blobs/{digest}", get(get_blob))
        .route("/runner/inputs/{id}/{name}", get(get_input))
        .route("/runner/files/{prediction}/{name}", put(put_output))
}

/// A blob of the version that the grant is for, and of no other; whole, or a range of it.
async fn get_blob(
    State(gateway): State<Gateway>,
    Granted(grant): Granted,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let not_found = || Refused::not_found("blob");
    let digest: Digest = digest.parse().map_err(|_| not_found())?;
    let reference = protocol::Reference::Bare(grant.version);
    let catalogued = gateway.registry().resolve(&reference, &grant.account).await?.ok_or_else(not_found)?;
    let file = catalogued.version.files.iter().find(|file| file.digest == digest).ok_or_else(not_found)?;
    let mut response = send_blob(gateway.registry().blobs(), &digest, file.size, &headers).await?;
    response.headers_mut().entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// A file of the account that the prediction belongs to.
async fn get_input(
    State(gateway): State<Gateway>,
    Granted(grant): Granted,
    Path((id, _name)): Path<(String, String)>,
) -> Result<Response, Refused> {
    let not_found = || Refused::not_found("file");
    grant.attempt.ok_or_else(not_found)?;
    let file = gateway.registry().find_file(&id).await?;
    let file = file.filter(|file| file.account_id == grant.account).ok_or_else(not_found)?;
    let blob = gateway.registry().blobs().get(&file.digest).await?.ok_or_else(not_found)?;
    let mut response = Body::from_stream(blob.bytes).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(blob.size));
    let kind = HeaderValue::from_str(&file.content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// A file that the model made; the answer's `Location` is what stands for it in the output.
async fn put_output(
    State(gateway): State<Gateway>,
    Granted(grant): Granted,
    Path((prediction, name)): Path<(PredictionId, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let not_found = || Refused::not_found("prediction");
    let attempt = grant.attempt_at(prediction).ok_or_else(not_found)?;
    let live = gateway.live().find(prediction).filter(|live| live.row().attempt == attempt).ok_or_else(not_found)?;
    let name = file_name(&name);
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let new = NewFile {
        account_id: grant.account,
        prediction: Some(prediction),
        content_type: content_type.unwrap_or_else(|| mime_guess::from_path(&name).first_or_octet_stream().to_string()),
        name,
        metadata: Map::new(),
        // A training's weights are files of a version, and as large as those may be.
        bytes_max: if live.errand == Errand::Train { BLOB_BYTES_MAX } else { gateway.config().file_bytes_max },
        expires_at: None,
    };
    let file = gateway.registry().create_file(new, body_stream(body)).await?;
    let reference = format!("{}/{}", file.id, file.name);
    live.note_file(&reference);
    let mut response = StatusCode::CREATED.into_response();
    let location = HeaderValue::from_str(&format!("{FILE_SCHEME}{reference}")).expect("ids and file names are plain ASCII");
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}
