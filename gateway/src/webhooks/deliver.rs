//! Takes what is due from the outbox and calls its endpoints, a bounded number at a time; what fails is tried again for about a minute.

use std::time::Duration;

use futures::TryFutureExt;
use protocol::Timestamp;
use store::StoreError;
use tokio::time::Instant;

use crate::Gateway;
use crate::db::webhook::{self, Claimed, Due, Tried, Verdict};
use crate::webhooks::dial::{Dialler, Message, NoAnswer, Targets};
use crate::webhooks::lanes::Place;
use crate::webhooks::told::COMPLETED_TRIES;

/// Milliseconds before each further try: the last is made about a minute after the first.
const PAUSES_MS: [i64; COMPLETED_TRIES as usize - 1] = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000];
/// A claim that nothing was heard of is another's after this: twice as long as the longest try.
const CLAIM_MS: i64 = 20_000;
const CLAIMED_AT_ONCE: usize = 64;
/// How long what another gateway wrote and did not deliver may lie.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Delivers until the gateway stops.
pub(super) async fn tend(gateway: Gateway) {
    let targets = if gateway.config().webhook_private { Targets::Any } else { Targets::Public };
    let dialler = match Dialler::new(targets) {
        Ok(dialler) => dialler,
        Err(error) => {
            tracing::error!(%error, "webhooks are kept but not delivered: this machine cannot call anybody");
            return;
        }
    };
    loop {
        let pause = round(&gateway, &dialler).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the outbox of webhooks could not be read");
            LOOK_EVERY
        });
        tokio::select! {
            () = gateway.webhooks().wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = gateway.stopped() => return,
        }
    }
}

/// Begins every try that is due and has a place. Returns how long until the next may be.
async fn round(gateway: &Gateway, dialler: &Dialler) -> Result<Duration, StoreError> {
    let lanes = &gateway.webhooks().lanes;
    loop {
        let now = gateway.clock().now();
        let (most, full) = (lanes.places_left().min(CLAIMED_AT_ONCE), lanes.full());
        let found = gateway.db().read(move |tx| Box::pin(async move { webhook::find_due(tx, now, &full, most).await })).await?;
        let (due, mut places): (Vec<Due>, Vec<(String, Place)>) = found
            .into_iter()
            .filter_map(|due| {
                let place = lanes.enter(&due.endpoint, &due.account_id)?;
                Some((due.clone(), (due.id, place)))
            })
            .unzip();
        if due.is_empty() {
            break;
        }
        let until = now.plus_millis(CLAIM_MS);
        let claim = gateway.db().write(move |tx| {
            let due = due.clone();
            Box::pin(async move { webhook::claim(tx, &due, now, until).await })
        });
        for claimed in claim.await? {
            let at = places.iter().position(|(id, _)| *id == claimed.id).expect("only what was found is claimed");
            let (_, place) = places.swap_remove(at);
            gateway.tasks().spawn(deliver(gateway.clone(), dialler.clone(), claimed, place));
        }
    }
    let now = gateway.clock().now();
    let next = gateway.db().read(move |tx| Box::pin(webhook::next_due(tx, now))).await?;
    Ok(next.map_or(LOOK_EVERY, |next| Duration::from_micros(next.micros_since(now)).min(LOOK_EVERY)))
}

/// One try, and what it met.
async fn deliver(gateway: Gateway, dialler: Dialler, claimed: Claimed, place: Place) {
    let (at, began) = (gateway.clock().now(), Instant::now());
    let Some(secrets) = secrets_of(&gateway, &claimed.account_id).await else { return };
    let message = Message { url: claimed.url, id: claimed.id.clone(), timestamp: at.seconds(), secrets, body: claimed.body };
    let answer = dialler.send(message).await;
    let now = gateway.clock().now();
    let verdict = verdict(&answer, claimed.tries_left, now);
    count(&gateway, verdict);
    let tried = Tried {
        number: claimed.number,
        at,
        duration_us: i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX),
        status: answer.as_ref().ok().copied(),
        error: explained(&answer),
        verdict,
        id: claimed.id,
    };
    tracing::debug!(delivery = %tried.id, number = tried.number, status = tried.status, ?verdict, "a webhook was called");
    let settled = gateway.db().write(move |tx| Box::pin(async move { webhook::settle(tx, &tried, now).await }));
    if let Err(error) = settled.await {
        tracing::error!(%error, "what a webhook answered could not be written: it will be called again");
    }
    drop(place);
    gateway.webhooks().wake();
}

/// The secrets that this account's receivers may know. `None` when they cannot be read now: the claim runs out and another try is made.
async fn secrets_of(gateway: &Gateway, account_id: &str) -> Option<Vec<String>> {
    let found = gateway.registry().find_account_by_id(account_id);
    let found = found.inspect_err(|error| tracing::error!(%error, "the secret of a webhook could not be read")).await.ok()?;
    found.map(|account| vec![account.webhook_secret.clone()])
}

/// What becomes of a delivery: a 2xx is its end, so is 410, and the rest is tried again as long as tries are left.
fn verdict(answer: &Result<u16, NoAnswer>, tries_left: u32, now: Timestamp) -> Verdict {
    match answer {
        Ok(200..=299) => Verdict::Delivered,
        Ok(410) => Verdict::Abandoned,
        Ok(_) | Err(_) if tries_left == 0 => Verdict::Abandoned,
        Ok(_) | Err(_) => {
            let begun = PAUSES_MS.len().saturating_sub(tries_left as usize);
            Verdict::TryAgain { at: now.plus_millis(PAUSES_MS[begun]) }
        }
    }
}

/// What the log says besides a status.
fn explained(answer: &Result<u16, NoAnswer>) -> Option<String> {
    match answer {
        Ok(200..=299) => None,
        Ok(300..=399) => Some("it answered with a redirect, and those are not followed".to_owned()),
        Ok(410) => Some("the endpoint is gone".to_owned()),
        Ok(status) => Some(format!("it answered with status {status}")),
        Err(error) => Some(error.to_string()),
    }
}

fn count(gateway: &Gateway, verdict: Verdict) {
    let counts = gateway.webhooks();
    let count = match verdict {
        Verdict::Delivered => &counts.delivered,
        Verdict::TryAgain { .. } => &counts.failed,
        Verdict::Abandoned => &counts.abandoned,
    };
    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn only_a_2xx_is_a_delivery_and_410_ends_it_at_once() {
        for status in [200, 204, 299] {
            assert_eq!(verdict(&Ok(status), 6, NOW), Verdict::Delivered);
        }
        assert_eq!(verdict(&Ok(410), 6, NOW), Verdict::Abandoned);
        for answer in [Ok(301), Ok(404), Ok(500), Err(NoAnswer::TooSlow)] {
            assert_eq!(verdict(&answer, 6, NOW), Verdict::TryAgain { at: NOW.plus_millis(1_000) });
            assert_eq!(verdict(&answer, 0, NOW), Verdict::Abandoned);
        }
    }

    #[test]
    fn the_last_try_is_made_about_a_minute_after_the_first() {
        let pauses: Vec<u64> = (1..COMPLETED_TRIES)
            .rev()
            .map(|left| match verdict(&Ok(500), left, NOW) {
                Verdict::TryAgain { at } => at.micros_since(NOW) / 1_000_000,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30]);
    }
}
