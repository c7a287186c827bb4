//! The predictions of one deployment that have not ended.

use protocol::{ModelRef, Timestamp};
use sqlx::Row;
use store::{StoreError, Tx};

/// Counts them.
pub(crate) async fn count_open(tx: &mut Tx, deployment: &ModelRef) -> Result<i64, StoreError> {
    let statement = "select count(*) as predictions from prediction where deployment = $1 and completed_at is null";
    Ok(sqlx::query(statement).bind(deployment.to_string()).fetch_one(tx).await?.try_get("predictions")?)
}

/// Leaves word, for whichever gateway drives them, that they are to stop.
pub(crate) async fn request_cancel(tx: &mut Tx, deployment: &ModelRef, now: Timestamp) -> Result<(), StoreError> {
    let statement = "update prediction set cancel_requested_at = coalesce(cancel_requested_at, $1)
                     where deployment = $2 and completed_at is null";
    sqlx::query(statement).bind(now.micros()).bind(deployment.to_string()).execute(tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::{finished, lease, row};
    use crate::db::prediction::{PredictionRow, find_any, finish_all, insert_all};
    use store::testing::on_both_engines;

    #[tokio::test]
    async fn only_what_is_open_of_a_deployment_is_counted_and_asked_to_stop() {
        on_both_engines(|db| async move {
            db.write(move |tx| {
                Box::pin(async move {
                    let deployment: ModelRef = "ada/prod".parse().expect("a name");
                    let of_it = || PredictionRow { deployment: Some(deployment.clone()), ..row() };
                    let (open, ended, other) = (of_it(), of_it(), row());
                    insert_all(tx, &[&open, &ended, &other], &lease(9)).await?;
                    finish_all(tx, &[&finished(ended.clone())]).await?;
                    assert_eq!(count_open(tx, &deployment).await?, 1);
                    request_cancel(tx, &deployment, Timestamp::from_micros(5_000)).await?;
                    for (id, asked) in [(open.id, true), (ended.id, false), (other.id, false)] {
                        assert_eq!(find_any(tx, id).await?.map(|row| row.cancel_requested), Some(asked));
                    }
                    Ok::<_, StoreError>(())
                })
            })
            .await
            .unwrap();
        })
        .await;
    }
}
