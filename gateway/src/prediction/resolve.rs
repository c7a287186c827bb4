//! Step 3: `owner/model[:version]` becomes an immutable version, and the input is checked against its schema. From memory when it can be.

use std::sync::Arc;
use std::time::Duration;

use protocol::prediction::Errand;
use protocol::problem::InvalidField;
use protocol::{ModelRef, Reference};
use registry::{Caller, Catalogued};
use serde_json::Value;

use crate::Gateway;
use crate::db::idempotency::KeyUse;
use crate::db::prediction::{Source, Webhook};
use crate::origin::Origin;
use crate::prediction::Refusal;

/// What a caller asks for, as it came through the door.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub reference: Reference,
    pub input: Value,
    pub source: Source,
    pub errand: Errand,
    /// The deployment that it is asked of: its own instances run it.
    pub deployment: Option<ModelRef>,
    /// The model that a training makes a version of.
    pub destination: Option<ModelRef>,
    pub webhook: Option<Webhook>,
    /// How long after its creation it is ended, wherever it stands.
    pub cancel_after: Option<Duration>,
    pub idempotency: Option<KeyUse>,
    /// Where this caller reaches us: file addresses of this origin are our own.
    pub origin: Origin,
}

/// A request whose version is fixed from here on.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub caller: Caller,
    pub catalogued: Arc<Catalogued>,
    /// With the schema's defaults, without keys that the schema does not know.
    pub input: Value,
    pub asked: Asked,
}

pub(crate) async fn resolve(gateway: &Gateway, caller: Caller, asked: Asked) -> Result<Resolved, Refusal> {
    if gateway.is_stopping() {
        return Err(Refusal::Draining);
    }
    let found = gateway.registry().resolve(&asked.reference, &caller.account.id).await?;
    let catalogued = found.ok_or(Refusal::UnknownVersion)?;
    let input = checked(&catalogued, asked.input.clone())?;
    Ok(Resolved { caller, catalogued, input, asked })
}

/// Checks an input: the caller's, and again what a hook made of it.
pub(super) fn checked(catalogued: &Catalogued, input: Value) -> Result<Value, Refusal> {
    if !input.is_object() {
        let field = InvalidField::new("invalid_type", "input", "input must be an object");
        return Err(Refusal::InvalidInput(vec![field]));
    }
    registry::check_input(&catalogued.version, input).map_err(Refusal::InvalidInput)
}
