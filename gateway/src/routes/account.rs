//! The caller's own account: who it is, what it can spend, its tokens and its sessions on the web.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::api::{Account, Balance};
use protocol::{Problem, Timestamp};
use registry::{Scope, Scopes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::JsonObject;
use crate::keys::Session;
use crate::problem::Refused;

/// Tell who the token belongs to.
#[utoipa::path(get, path = "/account", tag = "account", responses((status = 200, body = Account), (status = 401, body = Problem)))]
pub(super) async fn get_account(caller: Authenticated) -> Result<Json<Account>, Refused> {
    let caller = caller.require(Scope::AccountRead)?;
    Ok(Json(shown(&caller.account)))
}

pub(super) fn shown(account: &registry::Account) -> Account {
    Account {
        kind: account.kind.name().to_owned(),
        username: account.name.clone(),
        name: account.name.clone(),
        github_url: None,
        avatar_url: None,
    }
}

/// Tell what the account can still spend.
#[utoipa::path(get, path = "/account/balance", tag = "account", responses((status = 200, body = Balance), (status = 401, body = Problem)))]
pub(super) async fn get_balance(State(gateway): State<Gateway>, caller: Authenticated) -> Result<Json<Balance>, Refused> {
    let caller = caller.require(Scope::AccountRead)?;
    let id = caller.account.id.clone();
    let balance = gateway.db().read(move |tx| Box::pin(async move { billing::balance(tx, &id).await })).await?;
    Ok(Json(Balance { credit: balance.credit + balance.held, held: balance.held, available: balance.credit }))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionAnswer {
    /// Sent as a bearer token, or kept in a cookie.
    session: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Exchange an API token for a session.
#[utoipa::path(post, path = "/account/sessions", tag = "account",
    responses((status = 201, body = SessionAnswer), (status = 401, body = Problem)))]
pub(super) async fn create_session(
    State(gateway): State<Gateway>,
    caller: Authenticated,
) -> Result<(StatusCode, Json<SessionAnswer>), Refused> {
    let caller = caller.require(Scope::AccountRead)?;
    let session = Session { account: caller.account.id.clone(), token: caller.token_id };
    let (session, expires_at) = gateway.keys().sign_session(&session);
    Ok((StatusCode::CREATED, Json(SessionAnswer { session, expires_at })))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenAnswer {
    id: String,
    name: String,
    scopes: Vec<&'static str>,
    /// Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenList {
    tokens: Vec<TokenAnswer>,
}

/// List the account's tokens. Their secrets are not kept.
#[utoipa::path(get, path = "/account/tokens", tag = "account", responses((status = 200, body = TokenList), (status = 401, body = Problem)))]
pub(super) async fn list_tokens(State(gateway): State<Gateway>, caller: Authenticated) -> Result<Json<TokenList>, Refused> {
    let caller = caller.require(Scope::AccountRead)?;
    let rows = gateway.registry().list_tokens(&caller.account.id).await?;
    let tokens = rows.into_iter().map(|row| TokenAnswer {
        id: row.id,
        name: row.name,
        scopes: row.scopes.names(),
        token: None,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
    });
    Ok(Json(TokenList { tokens: tokens.collect() }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    #[schema(example = "laptop")]
    name: String,
    /// `predictions:write`, `models:read`, …; all when absent.
    scopes: Option<Vec<String>>,
    /// Another account's name; operators only.
    account: Option<String>,
}

/// Make a token.
#[utoipa::path(post, path = "/account/tokens", tag = "account", request_body = NewToken,
    responses((status = 201, body = TokenAnswer), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create_token(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    body: JsonObject,
) -> Result<(StatusCode, Json<TokenAnswer>), Refused> {
    let caller = caller.require(Scope::AccountWrite)?;
    let wanted: NewToken = body.read()?;
    let scopes = match wanted.scopes {
        None => caller.scopes,
        Some(names) => Scopes::parse(&names).map_err(|error| Problem::new(422, "Invalid", error.to_string()))?,
    };
    if scopes.names().iter().any(|name| !caller.scopes.names().contains(name)) {
        return Err(Problem::new(403, "Forbidden", "A token cannot give more scopes than it has itself").into());
    }
    let account = match wanted.account.filter(|name| *name != caller.account.name) {
        None => caller.account.clone(),
        Some(_) if !caller.may(Scope::Operator) => return Err(Refused::forbidden("operator")),
        Some(name) => gateway.registry().find_account(&name).await?.ok_or_else(|| Refused::not_found("account"))?,
    };
    let made = gateway.registry().create_token(&account, &wanted.name, scopes).await?;
    let answer = TokenAnswer {
        id: made.id,
        name: wanted.name,
        scopes: scopes.names(),
        token: Some(made.secret),
        created_at: gateway.clock().now(),
        last_used_at: None,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Revoke a token.
#[utoipa::path(delete, path = "/account/tokens/{id}", tag = "account", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn revoke_token(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    let caller = caller.require(Scope::AccountWrite)?;
    let revoked = gateway.registry().revoke_token(&caller.account.id, &id).await?;
    if revoked { Ok(StatusCode::NO_CONTENT) } else { Err(Refused::not_found("token")) }
}
