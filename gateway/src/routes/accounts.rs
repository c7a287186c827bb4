//! What operators do for others: accounts and their credit.

use axum::Json;
use axum::extract::{Path, State};
use billing::{Grant, GrantSource, LedgerError};
use http::StatusCode;
use protocol::api::{Account, Balance};
use protocol::problem::InvalidField;
use protocol::{Credits, Problem};
use registry::{AccountKind, Role, Scope};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::JsonObject;
use crate::problem::Refused;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    #[schema(example = "ada")]
    name: String,
}

/// Open an account. Operators only.
#[utoipa::path(post, path = "/accounts", tag = "operation", request_body = NewAccount,
    responses((status = 201, body = Account), (status = 401, body = Problem), (status = 403, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create_account(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    body: JsonObject,
) -> Result<(StatusCode, Json<Account>), Refused> {
    caller.require(Scope::Operator)?;
    let wanted: NewAccount = body.read()?;
    let account = gateway.registry().create_account(&wanted.name, AccountKind::User, Role::User).await?;
    let answer = Account {
        kind: account.kind.name().to_owned(),
        username: account.name.clone(),
        name: account.name,
        github_url: None,
        avatar_url: None,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

const KEY_BYTES_MAX: usize = 200;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCredit {
    /// US dollars.
    #[schema(value_type = String, example = "10")]
    amount: Credits,
    /// Names the grant: the same key grants once.
    key: Option<String>,
}

/// Give an account credit. Operators only.
#[utoipa::path(post, path = "/accounts/{name}/credit", tag = "operation", request_body = NewCredit, params(("name" = String, Path)),
    responses((status = 201, body = Balance), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn grant_credit(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(name): Path<String>,
    body: JsonObject,
) -> Result<(StatusCode, Json<Balance>), Refused> {
    caller.require(Scope::Operator)?;
    let wanted: NewCredit = body.read()?;
    if wanted.key.as_deref().is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX || key.chars().any(char::is_control)) {
        let why = format!("key must have 1 to {KEY_BYTES_MAX} bytes and no control character");
        return Err(Refused::invalid(InvalidField::new("invalid", "key", why)));
    }
    let account = gateway.registry().find_account(&name).await?.ok_or_else(|| Refused::not_found("account"))?;
    let key = wanted.key.unwrap_or_else(|| protocol::id::prefixed("grant", gateway.clock(), gateway.entropy()));
    let grant = Grant {
        key,
        account: account.id.clone(),
        source: GrantSource::Promo,
        amount: wanted.amount,
        memo: "granted by an operator".to_owned(),
        at: gateway.clock().now(),
    };
    let id = account.id.clone();
    let balance = gateway
        .db()
        .write(move |tx| {
            let (grant, id) = (grant.clone(), id.clone());
            Box::pin(async move {
                billing::grant(tx, &grant).await?;
                Ok::<_, LedgerError>(billing::balance(tx, &id).await?)
            })
        })
        .await?;
    let answer = Balance { credit: balance.credit + balance.held, held: balance.held, available: balance.credit };
    Ok((StatusCode::CREATED, Json(answer)))
}
