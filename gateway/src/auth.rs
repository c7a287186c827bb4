//! Who calls: an API token, a session of the web, or a visitor; and whether their scopes allow it.

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;
use registry::{Caller, Scope};

use crate::Gateway;
use crate::keys::{GrantScope, Session};
use crate::problem::Refused;

/// A caller whose token was checked. Handlers ask it for the scope that they need.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated(Caller);

impl Authenticated {
    /// The caller, if its token has the scope.
    pub fn require(self, scope: Scope) -> Result<Caller, Refused> {
        if self.0.may(scope) { Ok(self.0) } else { Err(Refused::forbidden(&scope.to_string())) }
    }
}

impl FromRequestParts<Gateway> for Authenticated {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Refused> {
        let secret = bearer(parts).ok_or_else(Refused::unauthenticated)?;
        let caller = authenticate(gateway, secret).await?.ok_or_else(Refused::unauthenticated)?;
        gateway.limits().check(&caller, parts)?;
        Ok(Self(caller))
    }
}

/// The account whose public view is asked for: a caller's own id, or nobody's.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    pub account_id: String,
}

impl FromRequestParts<Gateway> for Viewer {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Refused> {
        let secret = bearer(parts).ok_or_else(Refused::unauthenticated)?;
        if gateway.keys().is_visitor(secret) {
            return Ok(Self { account_id: String::new() });
        }
        let caller = authenticate(gateway, secret).await?.ok_or_else(Refused::unauthenticated)?;
        gateway.limits().check(&caller, parts)?;
        let caller = Authenticated(caller).require(Scope::ModelsRead)?;
        Ok(Self { account_id: caller.account.id.clone() })
    }
}

/// A runner with the grant of an assignment or of a standing order.
#[derive(Clone, Debug)]
pub(crate) struct Granted(pub GrantScope);

impl FromRequestParts<Gateway> for Granted {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Refused> {
        bearer(parts).and_then(|token| gateway.keys().grant(token)).map(Self).ok_or_else(Refused::unauthenticated)
    }
}

pub(crate) async fn authenticate(gateway: &Gateway, secret: &str) -> Result<Option<Caller>, Refused> {
    match gateway.keys().session(secret) {
        Some(session) => signed_in(gateway, session).await,
        None => Ok(gateway.registry().authenticate(secret).await?),
    }
}

/// The caller behind a session: it may what its token may, as long as that is not revoked.
pub(crate) async fn signed_in(gateway: &Gateway, session: Session) -> Result<Option<Caller>, Refused> {
    let Some(account) = gateway.registry().find_account_by_id(&session.account).await? else { return Ok(None) };
    let tokens = gateway.registry().list_tokens(&session.account).await?;
    let token = tokens.into_iter().find(|token| token.id == session.token);
    Ok(token.map(|token| Caller { account, token_id: token.id, scopes: token.scopes }))
}

/// The secret after `Bearer` or `Token`: older clients send the latter.
fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token");
    known.then(|| secret.trim()).filter(|secret| !secret.is_empty())
}
