//! Passes: what Docker's token protocol calls a token. One is good for some minutes, and for what was asked and may be had.

use axum::Json;
use axum::extract::State;
use http::Uri;
use protocol::{ModelRef, Timestamp};
use registry::{Caller, Scope};
use serde::Serialize;

use crate::Gateway;
use crate::keys::{Access, PASS_SECONDS, Pass, Session};
use crate::problem::Refused;
use crate::problem::oci::unauthorized;
use crate::routes::oci::caller::Who;

/// Repositories that one pass may open.
const SCOPES_MAX: usize = 64;

#[derive(Debug, Serialize)]
pub(super) struct NewPass {
    token: String,
    /// The same, for clients that look for it under `OAuth`'s name.
    access_token: String,
    expires_in: i64,
    issued_at: Timestamp,
}

/// Gives a pass: to whom has an API token for what that may do, and to everybody for pulling what is public.
pub(super) async fn issue(State(gateway): State<Gateway>, who: Who, uri: Uri) -> Result<Json<NewPass>, Refused> {
    if who.has_pass() {
        return Err(unauthorized());
    }
    let asked = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).filter(|(name, _)| name == "scope");
    let scopes: Vec<String> = asked.flat_map(|(_, value)| value.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>()).collect();
    let access = scopes.iter().take(SCOPES_MAX).filter_map(|scope| granted(who.caller.as_ref(), scope)).collect();
    let session = who.caller.map(|caller| Session { account: caller.account.id.clone(), token: caller.token_id });
    let token = gateway.keys().sign_pass(&Pass { session, access });
    Ok(Json(NewPass { access_token: token.clone(), token, expires_in: PASS_SECONDS, issued_at: gateway.clock().now() }))
}

/// What of `repository:owner/model:pull,push` may be had. Whether the repository exists is not looked at.
fn granted(caller: Option<&Caller>, scope: &str) -> Option<Access> {
    let (repository, actions) = scope.strip_prefix("repository:")?.split_once(':')?;
    let repository: ModelRef = repository.parse().ok()?;
    let asks = |names: &[&str]| actions.split(',').any(|action| names.contains(&action));
    let pull = asks(&["pull", "*"]) && caller.is_none_or(|caller| caller.may(Scope::ModelsRead));
    let may_push = caller.is_some_and(|caller| caller.may(Scope::ModelsWrite) && caller.account.name == repository.owner);
    let push = may_push && asks(&["push", "delete", "*"]);
    Some(Access { repository: repository.to_string(), pull, push })
}
