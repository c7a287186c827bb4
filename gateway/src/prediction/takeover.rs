//! What happens to predictions whose driver was lost: they run again when nothing of them was shown, and fail when something was.

use std::sync::Arc;

use protocol::Timestamp;
use protocol::wire::FailCode;
use registry::Catalogued;
use store::StoreError;

use crate::Gateway;
use crate::db::prediction::{self, PredictionRow};
use crate::prediction::{Admitted, Ended, finish, start};

/// Orphans taken over at a time.
const ORPHANS_AT_ONCE: i64 = 500;

/// Renews this gateway's leases and takes over what others let go, until the gateway stops. The first round is at once.
pub(crate) async fn tend(gateway: Gateway) {
    if gateway.config().sole {
        let boot = gateway.boot().to_owned();
        let ended = gateway.db().write(move |tx| {
            let boot = boot.clone();
            Box::pin(async move { prediction::end_foreign_leases(tx, &boot).await })
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "the leases of the boot before could not be ended");
        }
    }
    let mut rounds = tokio::time::interval(gateway.config().lease / 3);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = gateway.stopped() => return,
        }
        if let Err(error) = round(&gateway).await {
            tracing::error!(%error, "leases could not be tended");
        }
    }
}

async fn round(gateway: &Gateway) -> Result<(), StoreError> {
    let lease = gateway.lease();
    if gateway.live().len() > 0 {
        gateway
            .db()
            .write(move |tx| {
                let lease = lease.clone();
                Box::pin(async move { prediction::renew_leases(tx, &lease).await })
            })
            .await?;
    }
    if gateway.is_stopping() {
        return Ok(());
    }
    let now = gateway.clock().now();
    let orphans = gateway.db().read(move |tx| Box::pin(prediction::find_orphans(tx, now, ORPHANS_AT_ONCE))).await?;
    for orphan in orphans {
        adopt(gateway, orphan).await?;
    }
    Ok(())
}

/// Takes one orphan over and either runs it again or ends it.
async fn adopt(gateway: &Gateway, orphan: PredictionRow) -> Result<(), StoreError> {
    let (lease, now, row) = (gateway.lease(), gateway.clock().now(), orphan.clone());
    let taken = gateway.db().write(move |tx| {
        let (lease, row) = (lease.clone(), row.clone());
        Box::pin(async move { prediction::take_over(tx, &row, &lease, now).await })
    });
    if !taken.await? {
        return Ok(());
    }
    let Some(catalogued) = catalogued(gateway, &orphan).await else {
        tracing::error!(prediction = %orphan.id, version = %orphan.version, "the version of an orphan is gone");
        return Ok(());
    };
    let again = PredictionRow { fence: orphan.fence + 1, attempt: orphan.attempt + 1, started_at: None, ..orphan };
    let verdict = verdict(&again, gateway.config().attempts_max, now);
    tracing::warn!(prediction = %again.id, attempt = again.attempt, runs_again = verdict.is_none(), "took over a prediction");
    let admitted = Admitted::new(gateway, again, catalogued, None);
    match verdict {
        None => {
            start(gateway, admitted);
        }
        Some(ended) => {
            finish::finish(gateway, &admitted, ended).await;
            gateway.live().leave(&admitted.live);
        }
    }
    Ok(())
}

/// How an orphan ends at once, if it must.
fn verdict(orphan: &PredictionRow, attempts_max: u32, now: Timestamp) -> Option<Ended> {
    if orphan.cancel_requested {
        Some(Ended::canceled())
    } else if orphan.deadline_at.is_some_and(|deadline| deadline <= now) {
        Some(Ended::overdue(false))
    } else if orphan.emitted {
        Some(Ended::failed(FailCode::RunnerLost, "the server restarted after the output had begun; run it again".to_owned()))
    } else if orphan.attempt > attempts_max {
        Some(Ended::failed(FailCode::RunnerLost, format!("the prediction was lost {attempts_max} times")))
    } else {
        None
    }
}

async fn catalogued(gateway: &Gateway, orphan: &PredictionRow) -> Option<Arc<Catalogued>> {
    let reference = protocol::Reference::Exact(orphan.model.clone(), orphan.version);
    gateway.registry().resolve(&reference, &orphan.account_id).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::row;
    use protocol::prediction::State;

    #[test]
    fn a_run_that_showed_output_is_failed_and_never_spliced() {
        let mut orphan = row();
        assert!(verdict(&orphan, 3, orphan.created_at).is_none());
        orphan.emitted = true;
        let ended = verdict(&orphan, 3, orphan.created_at).unwrap();
        assert_eq!((ended.state, ended.code), (State::Failed, Some(FailCode::RunnerLost)));
    }

    #[test]
    fn an_orphan_whose_caller_gave_up_is_canceled() {
        let mut orphan = row();
        orphan.cancel_requested = true;
        assert_eq!(verdict(&orphan, 3, orphan.created_at).map(|ended| ended.state), Some(State::Canceled));
    }

    #[test]
    fn an_orphan_whose_deadline_has_come_is_not_run_again() {
        let mut orphan = row();
        orphan.deadline_at = Some(orphan.created_at.plus_millis(5_000));
        assert!(verdict(&orphan, 3, orphan.created_at).is_none());
        let overdue = verdict(&orphan, 3, orphan.created_at.plus_millis(5_000)).unwrap();
        assert_eq!((overdue.state, overdue.code), (State::Aborted, Some(FailCode::Deadline)));
    }

    #[test]
    fn a_prediction_that_brings_the_house_down_is_not_tried_for_ever() {
        let mut orphan = row();
        orphan.attempt = 4;
        assert_eq!(verdict(&orphan, 3, orphan.created_at).map(|ended| ended.state), Some(State::Failed));
    }
}
