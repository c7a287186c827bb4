//! Takes out of old predictions what was said in them, and leaves what they were and what they cost.

use protocol::Timestamp;
use sqlx::Row;
use store::{Engine, StoreError, Tx};

use crate::db::webhook;

/// Removes the data of at most `most` predictions that ended before a moment, and returns of how many. Examples of models are kept.
pub(crate) async fn remove_data(tx: &mut Tx, ended_before: Timestamp, now: Timestamp, most: i64) -> Result<i64, StoreError> {
    let removed = sqlx::query(
        "update prediction set input = '{}', model_input = null, output = null, logs = '', event_log = null, hooks = null, data_removed = 1
         where id in (
             select id from prediction
             where completed_at < $1 and data_removed = 0
                   and not exists (select 1 from model where model.default_example_id = prediction.id)
             order by completed_at limit $2)
         returning id",
    )
    .bind(ended_before.micros())
    .bind(most)
    .fetch_all(&mut *tx)
    .await?;
    let ids = removed.iter().map(|row| row.try_get("id")).collect::<Result<Vec<String>, _>>()?;
    if !ids.is_empty() {
        delete_files(tx, &ids, now).await?;
        webhook::forget(tx, &ids).await?;
    }
    Ok(i64::try_from(ids.len()).unwrap_or(i64::MAX))
}

/// The files that the predictions put out; their blobs go when nothing names them any more.
async fn delete_files(tx: &mut Tx, ids: &[String], now: Timestamp) -> Result<(), StoreError> {
    let sql = match Engine::of(tx) {
        Engine::Sqlite => {
            "update file set deleted_at = $2 where file.prediction_id in (select j.value from json_each($1) j) and file.deleted_at is null"
        }
        Engine::Postgres => {
            "update file set deleted_at = $2
             where file.prediction_id in (select j.id from json_array_elements_text($1::json) as j(id)) and file.deleted_at is null"
        }
    };
    let ids = serde_json::to_string(ids).expect("ids are plain text");
    sqlx::query(sql).bind(ids).bind(now.micros()).execute(tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::{finished, lease, row};
    use crate::db::prediction::{find_any, finish_all, insert_all};
    use store::testing::on_both_engines;

    #[tokio::test]
    async fn what_was_said_goes_and_what_it_cost_stays() {
        on_both_engines(|db| async move {
            db.write(|tx| Box::pin(removes_the_old_and_leaves_the_young(tx))).await.unwrap();
        })
        .await;
    }

    async fn removes_the_old_and_leaves_the_young(tx: &mut Tx) -> Result<(), StoreError> {
        let (old, young) = (row(), row());
        insert_all(tx, &[&old, &young], &lease(9)).await?;
        let mut ended = [finished(old), finished(young)];
        ended[0].completed_at = Some(Timestamp::from_micros(10));
        ended[1].completed_at = Some(Timestamp::from_micros(20));
        finish_all(tx, &[&ended[0], &ended[1]]).await?;
        let moment = Timestamp::from_micros(15);
        assert_eq!(remove_data(tx, moment, moment, 10).await?, 1);
        assert_eq!(remove_data(tx, moment, moment, 10).await?, 0);
        let old = find_any(tx, ended[0].id).await?.expect("the row itself stays");
        assert!(old.data_removed && old.output.is_null() && old.logs.is_empty() && old.input == serde_json::json!({}));
        assert_eq!((old.cost, &old.metrics, old.state), (ended[0].cost, &ended[0].metrics, ended[0].state));
        assert_eq!(find_any(tx, ended[1].id).await?.as_ref(), Some(&ended[1]));
        Ok(())
    }
}
