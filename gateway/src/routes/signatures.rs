//! Signatures over a version: its publisher's over its files, the operator's over its having been published here.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::api::Signature;
use protocol::{ModelRef, Problem, Timestamp, VersionId};
use registry::{ModelRow, RegistryError, Scope, VersionSignature};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::{Authenticated, Viewer};
use crate::body::JsonObject;
use crate::problem::Refused;
use crate::routes::models::require_model;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SignatureList {
    signatures: Vec<Signature>,
}

/// A version's signatures as they stand, without their bundles.
pub(super) async fn of(gateway: &Gateway, model: &ModelRow, version: &VersionId) -> Result<Vec<Signature>, RegistryError> {
    let now = gateway.clock().now();
    let signatures = gateway.registry().list_signatures(model, version).await?;
    Ok(signatures.iter().map(|signature| shown(signature, now)).collect())
}

fn shown(signature: &VersionSignature, now: Timestamp) -> Signature {
    let status = if signature.stood_at(now) { "valid" } else { "revoked" };
    Signature {
        signer: signature.signer.name().to_owned(),
        key: signature.key.id().to_string(),
        key_name: Some(signature.key_name.clone()).filter(|name| !name.is_empty()),
        algorithm: signature.key.algorithm().name().to_owned(),
        status: status.to_owned(),
        signed_at: signature.signed_at,
        revoked_at: signature.revoked_at,
        public_key: None,
        bundle: None,
    }
}

/// List a version's signatures with what is needed to check them: each one's Sigstore bundle, and the public key.
#[utoipa::path(get, path = "/models/{owner}/{name}/versions/{id}/signatures", tag = "versions",
    params(("owner" = String, Path), ("name" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = SignatureList), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list_signatures(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    Path((owner, name, id)): Path<(String, String, String)>,
) -> Result<Json<SignatureList>, Refused> {
    let model = require_model(&gateway, &viewer, &(owner, name)).await?;
    let id: VersionId = id.parse().map_err(|_| Refused::not_found("version"))?;
    gateway.registry().find_version(&model, &id).await?.ok_or_else(|| Refused::not_found("version"))?;
    let now = gateway.clock().now();
    let mut signatures = Vec::new();
    for signature in gateway.registry().list_signatures(&model, &id).await?.iter() {
        let bundle = gateway.registry().find_bundle(&model, &id, &signature.key.id()).await?;
        let bundle = bundle.and_then(|text| serde_json::from_str(&text).ok());
        signatures.push(Signature { public_key: Some(signature.key.to_pem()), bundle, ..shown(signature, now) });
    }
    Ok(Json(SignatureList { signatures }))
}

/// Sign a version: send the Sigstore bundle that `OpenSSF`'s model signing made of its files.
///
/// The key must be one of the account's (`POST /v1/account/keys`). The bundle's files must be exactly those of the version.
#[utoipa::path(post, path = "/models/{owner}/{name}/versions/{id}/signatures", tag = "versions", request_body = Object,
    params(("owner" = String, Path), ("name" = String, Path), ("id" = String, Path)),
    responses((status = 201, body = SignatureList), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create_signature(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path((owner, name, id)): Path<(String, String, String)>,
    body: JsonObject,
) -> Result<(StatusCode, Json<SignatureList>), Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let model = ModelRef::new(&owner, &name).map_err(|_| Refused::not_found("model"))?;
    let id: VersionId = id.parse().map_err(|_| Refused::not_found("version"))?;
    let bundle = Value::Object(body.fields).to_string();
    gateway.registry().add_signature(&caller, &model, &id, &bundle).await?;
    let row = gateway.registry().find_model(&model, &caller.account.id).await?.ok_or_else(|| Refused::not_found("model"))?;
    Ok((StatusCode::CREATED, Json(SignatureList { signatures: of(&gateway, &row, &id).await? })))
}
