//! Standing orders: what deployments want kept warm goes from the database to the runners, at once when one changes, and again and again
//! so that what another gateway changed arrives and no grant in it grows old.

use std::sync::Arc;
use std::time::Duration;

use protocol::Reference;
use protocol::wire::StandingOrder;
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
        let reference = Reference::Exact(deployment.release.model.clone(), deployment.release.version);
        match gateway.registry().resolve(&reference, &deployment.account_id).await {
            Ok(Some(catalogued)) if !gateway.registry().release_is_signed(&deployment.release, &catalogued.model).await? => {
                tracing::warn!(deployment = %deployment.name, "its version lacks the signature that it requires: it keeps nothing warm");
            }
            Ok(Some(catalogued)) => orders.push(order(gateway, deployment, &catalogued)),
            Ok(None) => tracing::warn!(deployment = %deployment.name, "its version is gone: it keeps nothing warm"),
            Err(error) => tracing::error!(deployment = %deployment.name, %error, "its version cannot be read: it keeps nothing warm"),
        }
    }
    gateway.fabric().orders().replace(orders);
    Ok(())
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
        grant: gateway.grant(&scope),
    }
}
