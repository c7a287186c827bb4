//! The road of one prediction, a step a file. The types let only this order compile.

pub(crate) mod admit;
mod dispatch;
pub(crate) mod finish;
mod place;
pub(crate) mod prepare;
mod relay;
pub(crate) mod resolve;

pub(crate) mod files;
mod hooked;
pub(crate) mod refusal;
pub(crate) mod takeover;
mod trained;

use std::sync::Arc;

use protocol::Reference;
use registry::Caller;

use crate::Gateway;
use crate::live::Live;
use crate::webhooks;

use admit::Attempt;

pub(crate) use admit::{Admission, Admitted};
pub(crate) use finish::Ended;
pub(crate) use refusal::Refusal;
pub(crate) use resolve::Asked;

/// Accepts a prediction and sets it on its way. What it returns is on disk.
pub(crate) async fn create(gateway: &Gateway, mut caller: Caller, mut asked: Asked) -> Result<Admission<Arc<Live>>, Refusal> {
    loop {
        match attempt(gateway, caller, asked).await? {
            Attempt::Settled(admission) => return Ok(admission),
            Attempt::Outdated(again, unchanged) => {
                if let Reference::Latest(model) = &unchanged.reference {
                    gateway.registry().forget_model(model);
                }
                (caller, asked) = (again, *unchanged);
            }
        }
    }
}

async fn attempt(gateway: &Gateway, caller: Caller, asked: Asked) -> Result<Attempt<Arc<Live>>, Refusal> {
    let resolved = resolve::resolve(gateway, caller, asked).await?;
    let prepared = prepare::prepare(gateway, resolved).await?;
    let admitting = gateway.clone();
    // In a task of its own: a client that leaves between the commit and the start must not leave a prediction that nobody drives.
    let admitted = gateway.tasks().spawn(async move {
        Ok(match admit::admit(&admitting, prepared).await? {
            Attempt::Settled(admission) => Attempt::Settled(admission.map(|admitted| start(&admitting, admitted))),
            Attempt::Outdated(caller, asked) => Attempt::Outdated(caller, asked),
        })
    });
    admitted.await.expect("admission does not panic and is not aborted")
}

/// Drives an admitted prediction in a task of its own: a client that leaves strands nothing.
pub(crate) fn start(gateway: &Gateway, admitted: Admitted) -> Arc<Live> {
    let live = admitted.live.clone();
    webhooks::follow(gateway, &live);
    let gateway = gateway.clone();
    gateway.clone().tasks().spawn(async move {
        if let Some(ended) = drive(&gateway, &admitted).await {
            let ended = trained::publish(&gateway, &admitted, ended).await;
            finish::finish(&gateway, &admitted, ended).await;
        }
        gateway.live().leave(&admitted.live);
    });
    live
}

/// From admission to the end; `None` when this gateway stops first and leaves the prediction to the next one.
async fn drive(gateway: &Gateway, admitted: &Admitted) -> Option<Ended> {
    if let Some(output) = &admitted.answer {
        return Some(Ended::answered(output.clone()));
    }
    loop {
        let placed = match place::place(gateway, admitted).await {
            Ok(placed) => placed,
            Err(place::Unplaced::Stopping) => return None,
            Err(place::Unplaced::Ended(ended)) => return Some(ended),
        };
        match dispatch::dispatch(gateway, admitted, &placed) {
            Ok(line) => return relay::relay(gateway, admitted, &placed, line).await,
            // Gone since its card was read: place again.
            Err(_) => gateway.fabric().directory().withdraw(&placed.runner.id),
        }
    }
}
