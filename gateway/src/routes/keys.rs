//! Keys: those with which the caller signs what it publishes, and those with which the operator signs what is published here.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::api::Key;
use protocol::signing::{KeyId, PublicKey};
use protocol::{Problem, Timestamp};
use registry::{AccountKey, Scope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::{JsonObject, Parameters};
use crate::problem::Refused;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyList {
    keys: Vec<Key>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    #[schema(example = "laptop")]
    #[serde(default)]
    name: String,
    /// PEM: Ed25519, or ECDSA over P-256, P-384 or P-521.
    #[schema(example = "-----BEGIN PUBLIC KEY-----\n…")]
    public_key: String,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RevokeQuery {
    /// From when on the key is not to be believed; now, when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

fn shown(key: &PublicKey, name: Option<String>, created_at: Timestamp) -> Key {
    Key {
        id: key.id().to_string(),
        name,
        algorithm: key.algorithm().name().to_owned(),
        public_key: key.to_pem(),
        created_at,
        revoked_at: None,
        current: None,
    }
}

fn shown_account_key(row: AccountKey) -> Key {
    Key { revoked_at: row.revoked_at, ..shown(&row.key, Some(row.name), row.created_at) }
}

/// List the keys of the operator: those by which its signatures over versions can be checked.
#[utoipa::path(get, path = "/keys", tag = "versions", security(()), responses((status = 200, body = KeyList)))]
pub(super) async fn list_operator_keys(State(gateway): State<Gateway>) -> Result<Json<KeyList>, Refused> {
    let keys = gateway.registry().operator_keys().await?;
    let keys = keys.into_iter().map(|row| Key { current: Some(row.is_current), ..shown(&row.key, None, row.created_at) });
    Ok(Json(KeyList { keys: keys.collect() }))
}

/// List the account's keys, those that are revoked too.
#[utoipa::path(get, path = "/account/keys", tag = "account", responses((status = 200, body = KeyList), (status = 401, body = Problem)))]
pub(super) async fn list_keys(State(gateway): State<Gateway>, caller: Authenticated) -> Result<Json<KeyList>, Refused> {
    let caller = caller.require(Scope::AccountRead)?;
    let rows = gateway.registry().list_keys(&caller.account.id).await?;
    Ok(Json(KeyList { keys: rows.into_iter().map(shown_account_key).collect() }))
}

/// Register the public key of a pair with which the account signs. One that is registered already is answered as it is.
#[utoipa::path(post, path = "/account/keys", tag = "account", request_body = NewKey,
    responses((status = 201, body = Key), (status = 401, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create_key(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    body: JsonObject,
) -> Result<(StatusCode, Json<Key>), Refused> {
    let caller = caller.require(Scope::AccountWrite)?;
    let new: NewKey = body.read()?;
    let added = gateway.registry().add_key(&caller, &new.name, &new.public_key).await?;
    Ok((StatusCode::CREATED, Json(shown_account_key(added))))
}

/// Revoke a key. It stays on record: what it signed is shown as revoked.
#[utoipa::path(delete, path = "/account/keys/{id}", tag = "account", params(("id" = String, Path), RevokeQuery),
    responses((status = 200, body = Key), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn revoke_key(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(id): Path<String>,
    Parameters(query): Parameters<RevokeQuery>,
) -> Result<Json<Key>, Refused> {
    let caller = caller.require(Scope::AccountWrite)?;
    let id: KeyId = id.parse().map_err(|_| Refused::not_found("key"))?;
    let since = query.since.unwrap_or_else(|| gateway.clock().now());
    let revoked = gateway.registry().revoke_key(&caller, &id, since).await?.ok_or_else(|| Refused::not_found("key"))?;
    Ok(Json(shown_account_key(revoked)))
}
