//! What accounts keep, what they may keep, and the collection of what nobody needs.

use axum::Json;
use axum::extract::{Path, State};
use protocol::Problem;
use protocol::api::Storage;
use registry::Scope;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::JsonObject;
use crate::problem::Refused;

async fn storage_of(gateway: &Gateway, account_id: &str) -> Result<Json<Storage>, Refused> {
    let found = gateway.registry().storage_of(account_id).await?;
    Ok(Json(Storage { kept_bytes: found.kept, reserved_bytes: found.reserved, limit_bytes: found.limit }))
}

/// Tell what the account keeps.
///
/// Each blob that a version of its models names counts once and in full, and what it is sending from the moment that it announced it.
#[utoipa::path(get, path = "/account/storage", tag = "account", responses((status = 200, body = Storage), (status = 401, body = Problem)))]
pub(super) async fn get_storage(State(gateway): State<Gateway>, caller: Authenticated) -> Result<Json<Storage>, Refused> {
    let caller = caller.require(Scope::AccountRead)?;
    storage_of(&gateway, &caller.account.id).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLimit {
    /// Bytes; null is what everyone may keep.
    limit_bytes: Option<u64>,
}

/// Set what an account may keep. Operators only.
///
/// What it keeps already stays, even when that is more.
#[utoipa::path(put, path = "/accounts/{name}/storage", tag = "operation", request_body = NewLimit, params(("name" = String, Path)),
    responses((status = 200, body = Storage), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn set_limit(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(name): Path<String>,
    body: JsonObject,
) -> Result<Json<Storage>, Refused> {
    caller.require(Scope::Operator)?;
    let NewLimit { limit_bytes } = body.read()?;
    let account = gateway.registry().find_account(&name).await?.ok_or_else(|| Refused::not_found("account"))?;
    gateway.registry().set_storage_limit(&account, limit_bytes).await?;
    storage_of(&gateway, &account.id).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectBody {
    /// Only tell what would be removed.
    #[serde(default)]
    dry_run: bool,
}

/// What was removed, or would be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Collected {
    blobs: u64,
    bytes: u64,
}

/// Remove the blobs that nothing names and nobody has asked for lately. Operators only.
#[utoipa::path(post, path = "/blobs/collect", tag = "operation", request_body = CollectBody,
    responses((status = 200, body = Collected), (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn collect(State(gateway): State<Gateway>, caller: Authenticated, body: JsonObject) -> Result<Json<Collected>, Refused> {
    caller.require(Scope::Operator)?;
    let CollectBody { dry_run } = body.read()?;
    let registry = gateway.registry();
    let found = if dry_run { registry.collectable().await? } else { registry.collect().await? };
    Ok(Json(Collected { blobs: found.blobs, bytes: found.bytes }))
}
