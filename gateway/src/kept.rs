//! Charges deployments' accounts for the time in which the instances waited that they keep, as runners count it.

use std::collections::HashMap;
use std::time::Duration;

use billing::InstanceTime;
use protocol::ModelRef;
use protocol::wire::{KeptCard, RunnerCard};
use registry::{Deployment, RegistryError};
use store::StoreError;

use crate::Gateway;

/// What a runner counted and did not live to tell is lost: no more than this much of it.
const CHARGED_EVERY: Duration = Duration::from_secs(10);

/// Charges until the gateway stops, and once more then.
pub(crate) async fn tend(gateway: Gateway) {
    let mut told = HashMap::new();
    loop {
        let stops = tokio::time::timeout(CHARGED_EVERY, gateway.stopping()).await.is_ok();
        if let Err(error) = charge_all(&gateway, &mut told).await {
            tracing::error!(%error, "the time of kept instances could not be charged; the next time tells it all");
        }
        if stops {
            return;
        }
    }
}

/// `told` is what this gateway has seen to be charged.
async fn charge_all(gateway: &Gateway, told: &mut HashMap<(String, ModelRef, String), u64>) -> Result<(), RegistryError> {
    let cards = gateway.fabric().directory().cards();
    told.retain(|(boot, ..), _| cards.iter().any(|card| card.boot == *boot));
    let key = |card: &RunnerCard, kept: &KeptCard| (card.boot.clone(), kept.deployment.clone(), kept.hardware.clone());
    let of_cards = cards.iter().flat_map(|card| card.kept.iter().map(move |kept| (card, kept)));
    let news: Vec<_> = of_cards.filter(|(card, kept)| told.get(&key(card, kept)) != Some(&kept.waited_us)).collect();
    if news.is_empty() {
        return Ok(());
    }
    let deployments = gateway.registry().deployments_in_force().await?;
    for (card, kept) in news {
        if let Some(deployment) = deployments.iter().find(|deployment| deployment.name == kept.deployment) {
            charge(gateway, deployment, card, kept).await?;
        }
        told.insert(key(card, kept), kept.waited_us);
    }
    Ok(())
}

async fn charge(gateway: &Gateway, deployment: &Deployment, card: &RunnerCard, kept: &KeptCard) -> Result<(), StoreError> {
    let time = InstanceTime {
        boot: card.boot.clone(),
        account: deployment.account_id.clone(),
        deployment: deployment.name.to_string(),
        hardware: kept.hardware.clone(),
        waited_us: kept.waited_us,
        per_second: gateway.rate(&kept.hardware).active(),
        at: gateway.clock().now(),
    };
    let charging = gateway.db().write(move |tx| {
        let time = time.clone();
        Box::pin(async move { billing::charge_instance_time(tx, &time).await })
    });
    let charged = charging.await?;
    if charged.uncovered > protocol::Credits::ZERO {
        tracing::warn!(deployment = %deployment.name, uncovered = %charged.uncovered, "its account has no credit left: it keeps nothing warm");
        gateway.note_deployments_changed();
    }
    Ok(())
}
