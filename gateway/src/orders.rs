//! Standing orders: what deployments want kept warm goes from the database to the runners, at once when one changes, and again and again
//! so that what another gateway changed arrives and no grant in it grows old.

use std::sync::Arc;
use std::time::Duration;

use protocol::wire::StandingOrder;
use protocol::{Credits, Reference};
use registry::{Catalogued, Deployment, RegistryError};
use store::StoreError;

use crate::Gateway;
use crate::db::prediction::of_deployment;
use crate::keys::GrantScope;

/// Far within the two hours of a grant, and soon enough that a change by another gateway is not waited for.
const RENEWED_EVERY: Duration = Duration::from_secs(30);

/// Publishes the orders until the gateway stops. What stands then, stands: another gateway renews it.
pub(crate) async fn tend(gateway: Gateway) {
    loop {
        if let Err(error) = publish(&gateway).await {
            tracing::error!(%error, "the standing orders could not be read; the old ones stand");
        }
        tokio::select! {
            () = gateway.deployments_changed() => {}
            () = tokio::time::sleep(RENEWED_EVERY) => {}
            () = gateway.stopping() => return,
        }
    }
}

/// Puts a change of a deployment into force: the runners hear of it, and an off one ends what waits and what runs.
pub(crate) async fn enforce(gateway: &Gateway, deployment: &Deployment) -> Result<(), StoreError> {
    gateway.note_deployments_changed();
    if !deployment.release.scale.is_off() {
        return Ok(());
    }
    for live in gateway.live().of_deployment(&deployment.name) {
        live.cancel();
    }
    // For those that another gateway drives.
    let (name, now) = (deployment.name.clone(), gateway.clock().now());
    let ask = gateway.db().write(move |tx| {
        let name = name.clone();
        Box::pin(async move { of_deployment::request_cancel(tx, &name, now).await })
    });
    ask.await
}

async fn publish(gateway: &Gateway) -> Result<(), RegistryError> {
    let deployments = gateway.registry().deployments_in_force().await?;
    let mut orders = Vec::with_capacity(deployments.len());
    for deployment in deployments {
        let is_paid = deployment.release.scale.min() == 0 || has_credit(gateway, &deployment.account_id).await?;
        let reference = Reference::Exact(deployment.release.model.clone(), deployment.release.version);
        match gateway.registry().resolve(&reference, &deployment.account_id).await {
            Ok(Some(catalogued)) if !gateway.registry().release_is_signed(&deployment.release, &catalogued.model).await? => {
                tracing::warn!(deployment = %deployment.name, "its version lacks the signature that it requires: it keeps nothing warm");
            }
            Ok(Some(catalogued)) => {
                let order = order(gateway, deployment, &catalogued);
                // Without credit its instances come with demand, as everybody's do.
                orders.push(if is_paid { order } else { StandingOrder { instances_min: 0, ..order } });
            }
            Ok(None) => tracing::warn!(deployment = %deployment.name, "its version is gone: it keeps nothing warm"),
            Err(error) => tracing::error!(deployment = %deployment.name, %error, "its version cannot be read: it keeps nothing warm"),
        }
    }
    gateway.fabric().orders().replace(orders);
    Ok(())
}

async fn has_credit(gateway: &Gateway, account_id: &str) -> Result<bool, StoreError> {
    let account_id = account_id.to_owned();
    let balance = gateway.db().read(move |tx| Box::pin(async move { billing::balance(tx, &account_id).await })).await?;
    Ok(balance.credit > Credits::ZERO)
}

fn order(gateway: &Gateway, deployment: Deployment, catalogued: &Arc<Catalogued>) -> StandingOrder {
    let Deployment { account_id, name, release, .. } = deployment;
    let scope = GrantScope { account: account_id, version: release.version, attempt: None };
    StandingOrder {
        deployment: name,
        bundle: catalogued.version.bundle.clone(),
        hardware: release.hardware,
        instances_min: release.scale.min(),
        instances_max: release.scale.max(),
        instances_buffer: release.scale.buffer(),
        idle_seconds: release.scale.linger().seconds(),
        grant: gateway.grant(&scope),
    }
}
