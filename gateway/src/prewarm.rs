//! A version that was just published is started before anybody asks for it, on the runner that has the least to do.

use protocol::wire::{Prewarm, RunnerCard};
use protocol::{ModelRef, Reference, VersionId};
use registry::{Caller, RegistryError};

use crate::Gateway;
use crate::keys::GrantScope;

/// A runner that has no room to spare leaves it: then the first caller waits for the start.
pub(crate) async fn prewarm(gateway: &Gateway, caller: &Caller, model: &ModelRef, version: VersionId) -> Result<(), RegistryError> {
    if !gateway.config().prewarm {
        return Ok(());
    }
    let account = &caller.account.id;
    let Some(catalogued) = gateway.registry().resolve(&Reference::Exact(model.clone(), version), account).await? else { return Ok(()) };
    let (hardware, driver) = (&catalogued.model.hardware, catalogued.version.config.driver);
    let can = |card: &RunnerCard| card.accepting && card.hardware.contains(hardware) && card.drivers.contains(&driver);
    let busy = |card: &RunnerCard| card.versions.iter().map(|on_it| on_it.slots_busy + on_it.queued).sum::<u32>();
    let cards = gateway.fabric().directory().cards();
    if let Some(runner) = cards.iter().filter(|card| can(card)).min_by_key(|card| busy(card)) {
        let scope = GrantScope { account: account.clone(), version, attempt: None };
        let bundle = catalogued.version.bundle.clone();
        gateway.fabric().orders().prewarm(Prewarm { runner: runner.id.clone(), bundle, grant: gateway.grant(&scope) });
    }
    Ok(())
}
