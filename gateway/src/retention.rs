//! After the retention time a prediction keeps what it cost and how it went, and loses what was said: input, output, logs and files.

use std::time::Duration;

use store::StoreError;

use crate::Gateway;
use crate::db::prediction::removal;

/// Predictions whose data is removed in one transaction.
const REMOVED_AT_ONCE: i64 = 500;
/// Between looks, at most; a short retention time is looked after more often.
const LOOK_EVERY_MAX: Duration = Duration::from_mins(1);
const LOOK_EVERY_MIN: Duration = Duration::from_millis(200);

/// Removes what is due until the gateway stops, and forgets the rate limits of tokens that no longer call.
pub(crate) async fn tend(gateway: Gateway) {
    let retention = gateway.config().retention;
    let every = retention.map_or(LOOK_EVERY_MAX, |time| (time / 4).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX));
    let mut looks = tokio::time::interval(every);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = gateway.stopped() => return,
        }
        gateway.limits().forget_idle();
        if let Some(retention) = retention
            && let Err(error) = remove_due(&gateway, retention).await
        {
            tracing::error!(%error, "old data could not be removed yet");
        }
    }
}

async fn remove_due(gateway: &Gateway, retention: Duration) -> Result<(), StoreError> {
    let kept_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let now = gateway.clock().now();
    let ended_before = now.plus_millis(-kept_ms);
    while gateway.db().write(move |tx| Box::pin(removal::remove_data(tx, ended_before, now, REMOVED_AT_ONCE))).await? == REMOVED_AT_ONCE {}
    Ok(())
}
