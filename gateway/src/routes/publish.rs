//! Publishing: one manifest over blobs that are already here becomes an immutable version.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::api::{NewVersion, Version};
use protocol::{ModelRef, Problem};
use registry::Scope;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::JsonObject;
use crate::prewarm::prewarm;
use crate::problem::Refused;
use crate::routes::versions::shown;

/// Publish a version.
///
/// Upload the files first (`PUT /v1/blobs/{digest}`): a version names what its publisher sent, or may read in some model. The same content
/// gives the same id, and 200 instead of 201. The field `signature`, if there is one, is a Sigstore bundle over the files: without its being
/// right, nothing is published.
#[utoipa::path(post, path = "/models/{owner}/{name}/versions", tag = "versions", request_body = NewVersion,
    params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 201, body = Version), (status = 200, body = Version), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create_version(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path((owner, name)): Path<(String, String)>,
    mut body: JsonObject,
) -> Result<(StatusCode, Json<Version>), Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let model = ModelRef::new(&owner, &name).map_err(|_| Refused::not_found("model"))?;
    let signature = body.fields.remove("signature").filter(|signature| !signature.is_null()).map(|signature| signature.to_string());
    let new: NewVersion = body.read()?;
    if let Some(signature) = &signature {
        gateway.registry().check_signature(&caller, &new.files, signature).await?;
    }
    gateway.registry().require_blobs_of(&caller, &new).await?;
    let published = gateway.registry().publish(&caller, &model, new).await?;
    if let Some(signature) = &signature {
        gateway.registry().add_signature(&caller, &model, &published.version.id, signature).await?;
    }
    if published.fresh {
        // It is published; that it does not start early is no reason to say otherwise.
        if let Err(error) = prewarm(&gateway, &caller, &model, published.version.id).await {
            tracing::warn!(%model, %error, "a version that was published is not started early");
        }
    }
    let status = if published.fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(shown(&published.version))))
}
