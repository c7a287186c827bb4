//! Step 3: `owner/model[:version]` becomes an immutable version, and the input is checked against its schema. From memory when it can be.

use std::sync::Arc;
use std::time::Duration;

use protocol::manifest::Driver;
use protocol::prediction::Errand;
use protocol::problem::InvalidField;
use protocol::{ModelRef, Reference};
use registry::{Caller, Catalogued, Deployment};
use serde_json::Value;

use crate::Gateway;
use crate::db::idempotency::KeyUse;
use crate::db::prediction::{Source, Webhook};
use crate::origin::Origin;
use crate::prediction::Refusal;
use crate::webhooks;

/// What a caller asks for, as it came through the door.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub reference: Reference,
    pub input: Value,
    pub source: Source,
    pub errand: Errand,
    /// The deployment that it is asked of: its own instances run it, on its own hardware.
    pub deployment: Option<Arc<Deployment>>,
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
    if let Some(deployment) = asked.deployment.as_ref().filter(|deployment| deployment.release.scale.is_off()) {
        return Err(Refusal::DeploymentOff { deployment: deployment.name.clone() });
    }
    let found = gateway.registry().resolve(&asked.reference, &caller.account.id).await?;
    let catalogued = found.ok_or(Refusal::UnknownVersion)?;
    require_driver(gateway, catalogued.version.config.driver)?;
    let input = checked(&catalogued, asked.errand, asked.input.clone())?;
    if let Some(webhook) = asked.webhook.as_ref().filter(|_| !gateway.config().webhook_private) {
        webhooks::refuse_private(webhook).map_err(|field| Refusal::InvalidInput(vec![field]))?;
    }
    Ok(Resolved { caller, catalogued, input, asked })
}

/// Refuses what no runner can start, and would wait for ever. A process is started by any: one that is not there yet may come.
fn require_driver(gateway: &Gateway, driver: Driver) -> Result<(), Refusal> {
    let has = || gateway.fabric().directory().cards().iter().any(|card| card.drivers.contains(&driver));
    if driver.is_process() || has() { Ok(()) } else { Err(Refusal::NoDriver { driver }) }
}

/// Checks an input: the caller's, and again what a hook made of it.
pub(super) fn checked(catalogued: &Catalogued, errand: Errand, input: Value) -> Result<Value, Refusal> {
    let schema = catalogued.version.input_of(errand).ok_or(Refusal::NotTrainable)?;
    if !input.is_object() {
        let field = InvalidField::new("invalid_type", "input", "input must be an object");
        return Err(Refusal::InvalidInput(vec![field]));
    }
    schema.check(input).map_err(Refusal::InvalidInput)
}
