//! Who asks: nobody, somebody with an API token as Bearer or as the password of Basic, or a client with a pass of `/v2/token`.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use http::request::Parts;
use protocol::ModelRef;
use registry::{Caller, ModelRow, OciError, Scope};

use crate::Gateway;
use crate::auth::{authenticate, signed_in};
use crate::keys::{Access, Pass};
use crate::problem::Refused;
use crate::problem::oci::{name_unknown, unauthorized};

/// Who asks, and what their pass lets them do if they came with one.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) caller: Option<Caller>,
    pass: Option<Vec<Access>>,
}

impl Who {
    pub(super) fn is_nobody(&self) -> bool {
        self.caller.is_none() && self.pass.is_none()
    }

    pub(super) fn has_pass(&self) -> bool {
        self.pass.is_some()
    }

    /// The account whose view is asked for, or nobody's.
    pub(super) fn viewer_id(&self) -> &str {
        self.caller.as_ref().map_or("", |caller| &caller.account.id)
    }

    /// The repository, if it may be pulled from. A private one of others is as absent as one that never was.
    pub(super) async fn require_readable(&self, gateway: &Gateway, repository: &ModelRef) -> Result<Arc<ModelRow>, Refused> {
        if !self.is_let(repository, |access| access.pull) {
            return Err(unauthorized());
        }
        if self.caller.as_ref().is_some_and(|caller| !caller.may(Scope::ModelsRead)) {
            return Err(Refused::forbidden(Scope::ModelsRead.name()));
        }
        match gateway.registry().find_model(repository, self.viewer_id()).await? {
            Some(row) => Ok(row),
            None if self.caller.is_none() => Err(unauthorized()),
            None => Err(name_unknown()),
        }
    }

    /// The caller, if it may push to the repository, whether that is there or not.
    pub(super) fn require_pusher(&self, repository: &ModelRef) -> Result<&Caller, Refused> {
        let caller = self.caller.as_ref().ok_or_else(unauthorized)?;
        if repository.owner != caller.account.name {
            return Err(OciError::NotOwner.into());
        }
        if !caller.may(Scope::ModelsWrite) {
            return Err(Refused::forbidden(Scope::ModelsWrite.name()));
        }
        if !self.is_let(repository, |access| access.push) {
            return Err(unauthorized());
        }
        Ok(caller)
    }

    /// Without a pass everything is asked of the API token itself.
    pub(super) fn is_let(&self, repository: &ModelRef, action: impl Fn(&Access) -> bool) -> bool {
        let Some(pass) = &self.pass else { return true };
        let name = repository.to_string();
        pass.iter().any(|access| access.repository == name && action(access))
    }
}

impl FromRequestParts<Gateway> for Who {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Refused> {
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else { return Ok(Self { caller: None, pass: None }) };
        let secret = value.to_str().ok().and_then(secret_of).ok_or_else(unauthorized)?;
        let (caller, pass) = match gateway.keys().pass(&secret) {
            Some(Pass { session: None, access }) => return Ok(Self { caller: None, pass: Some(access) }),
            Some(Pass { session: Some(session), access }) => (signed_in(gateway, session).await?, Some(access)),
            None => (authenticate(gateway, &secret).await?, None),
        };
        let caller = caller.ok_or_else(unauthorized)?;
        gateway.limits().check(&caller, parts)?;
        Ok(Self { caller: Some(caller), pass })
    }
}

/// The secret of a Bearer, or the password of Basic: whatever the user is called, the token says whose it is.
fn secret_of(authorization: &str) -> Option<String> {
    let (scheme, value) = authorization.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        let (_user, password) = pair.split_once(':')?;
        return Some(password.to_owned());
    }
    scheme.eq_ignore_ascii_case("bearer").then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_as_bearer_or_as_a_password() {
        let basic = |pair: &str| secret_of(&format!("Basic {}", STANDARD.encode(pair)));
        assert_eq!(secret_of("Bearer fe_x").as_deref(), Some("fe_x"));
        assert_eq!(basic("ada:fe_x").as_deref(), Some("fe_x"));
        assert_eq!(basic("ada:a:b").as_deref(), Some("a:b"));
        assert_eq!((basic("ada"), secret_of("Basic !"), secret_of("Digest x"), secret_of("Bearer")), (None, None, None, None));
    }
}
