//! What a webhook is told: the prediction as it is at that moment, made into a row of the outbox.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use url::Url;

use crate::Gateway;
use crate::db::prediction::{PredictionRow, Webhook, WebhookEvent};
use crate::db::webhook::{self, NewDelivery};
use crate::live::{Extent, Live};
use crate::origin::Origin;
use crate::render;

/// Output and logs are told of this far apart, each.
const TOLD_APART: Duration = Duration::from_millis(500);
/// The end of a prediction is told until somebody hears it, in so many tries; the rest once.
pub(super) const COMPLETED_TRIES: u32 = 7;

/// The event of an admission, where somebody wants it.
pub(crate) fn started(gateway: &Gateway, row: &PredictionRow) -> Option<NewDelivery> {
    of(gateway, row, WebhookEvent::Start)
}

/// The event of a prediction's end, where somebody wants it.
pub(crate) fn completed(gateway: &Gateway, row: &PredictionRow) -> Option<NewDelivery> {
    of(gateway, row, WebhookEvent::Completed)
}

/// Tells of a prediction's output and logs while they grow, where somebody wants that: a task that ends with the prediction.
pub(crate) fn follow(gateway: &Gateway, live: &Arc<Live>) {
    let Some(webhook) = live.webhook() else { return };
    if [WebhookEvent::Output, WebhookEvent::Logs].iter().any(|event| webhook.events.contains(event)) {
        gateway.tasks().spawn(tell_of_growth(gateway.clone(), Arc::downgrade(live), live.watch(), webhook));
    }
}

async fn tell_of_growth(gateway: Gateway, live: Weak<Live>, mut growth: watch::Receiver<u64>, webhook: Webhook) {
    let mut told = Extent::default();
    loop {
        tokio::select! {
            grown = growth.changed() => if grown.is_err() { return },
            () = gateway.stopped() => return,
        }
        let Some(live) = live.upgrade() else { return };
        if live.state().is_terminal() {
            return;
        }
        let extent = live.extent();
        let grown = [(WebhookEvent::Output, extent.outputs > told.outputs), (WebhookEvent::Logs, extent.log_bytes > told.log_bytes)];
        let due = grown.into_iter().filter(|(event, grown)| *grown && webhook.events.contains(event));
        let events: Vec<NewDelivery> = due.filter_map(|(event, _)| of(&gateway, &live.row(), event)).collect();
        drop(live);
        if events.is_empty() {
            continue;
        }
        told = extent;
        for event in events {
            put(&gateway, event).await;
        }
        tokio::select! {
            () = tokio::time::sleep(TOLD_APART) => {}
            () = gateway.stopped() => return,
        }
    }
}

/// Writes an event that nothing depends on.
async fn put(gateway: &Gateway, event: NewDelivery) {
    let prediction = event.prediction_id;
    let written = gateway.db().write(move |tx| Box::pin(async move { webhook::insert_latest(tx, &event).await }));
    match written.await {
        Ok(true) => gateway.webhooks().wake(),
        Ok(false) => {}
        Err(error) => tracing::warn!(%prediction, %error, "a webhook is not told of output"),
    }
}

fn of(gateway: &Gateway, row: &PredictionRow, event: WebhookEvent) -> Option<NewDelivery> {
    let webhook = row.webhook.as_ref().filter(|webhook| webhook.events.contains(&event))?;
    let endpoint = Url::parse(&webhook.url).ok()?.origin().ascii_serialization();
    let origin = Origin::kept(gateway, row.origin.as_deref());
    let body = serde_json::to_string(&render::prediction(gateway, &origin, row.clone())).expect("a prediction is plain data");
    Some(NewDelivery {
        id: protocol::id::prefixed("msg", gateway.clock(), gateway.entropy()),
        prediction_id: row.id,
        account_id: row.account_id.clone(),
        url: webhook.url.clone(),
        endpoint,
        event,
        body,
        tries_left: if event == WebhookEvent::Completed { COMPLETED_TRIES } else { 1 },
        created_at: gateway.clock().now().micros(),
    })
}
