//! What an account used: its predictions and trainings that ended in a time, added up by what the caller asks for.

use protocol::api::UsageRow;
use protocol::{Credits, Timestamp};
use sqlx::Row;
use store::{Engine, StoreError, Tx};

/// What the rows are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsageBy {
    /// In UTC, by the end of the prediction.
    Day,
    Model,
    Token,
    Hardware,
}

impl UsageBy {
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Day, Self::Model, Self::Token, Self::Hardware].into_iter().find(|by| by.name() == name)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Model => "model",
            Self::Token => "token",
            Self::Hardware => "hardware",
        }
    }
}

/// A statement for one key and one engine's way to read how long a run took.
macro_rules! usage_statement {
    ($key:literal, $run_us:literal) => {
        concat!(
            "select ",
            $key,
            " as usage_key, count(*) as predictions, cast(sum(case when state = 'succeeded' then 1 else 0 end) as bigint) as succeeded,
             cast(coalesce(sum(cost), 0) as bigint) as cost, cast(coalesce(sum(",
            $run_us,
            "), 0) as bigint) as run_us
             from prediction where account_id = $1 and completed_at >= $2 and completed_at < $3
             group by ",
            $key,
            " order by ",
            $key
        )
    };
}

macro_rules! by_engine {
    ($engine:expr, $key:literal) => {
        match $engine {
            Engine::Sqlite => usage_statement!($key, "timings ->> 'predict_us'"),
            Engine::Postgres => usage_statement!($key, "cast(timings::json ->> 'predict_us' as bigint)"),
        }
    };
}

/// Adds up what ended from `from` up to, and without, `to`.
pub(crate) async fn add_up(
    tx: &mut Tx,
    account_id: &str,
    from: Timestamp,
    to: Timestamp,
    by: UsageBy,
) -> Result<Vec<UsageRow>, StoreError> {
    let engine = Engine::of(tx);
    let statement = match by {
        UsageBy::Day => by_engine!(engine, "cast(completed_at / 86400000000 as text)"),
        UsageBy::Model => by_engine!(engine, "model_owner || '/' || model_name"),
        UsageBy::Token => by_engine!(engine, "token_id"),
        UsageBy::Hardware => by_engine!(engine, "hardware"),
    };
    let rows = sqlx::query(statement).bind(account_id).bind(from.micros()).bind(to.micros()).fetch_all(tx).await?;
    let mut usage = Vec::with_capacity(rows.len());
    for row in &rows {
        let key: String = row.try_get("usage_key")?;
        usage.push(UsageRow {
            key: if by == UsageBy::Day { date(&key) } else { key },
            predictions: row.try_get("predictions")?,
            succeeded: row.try_get("succeeded")?,
            run_us: row.try_get("run_us")?,
            cost: Credits(row.try_get("cost")?),
        });
    }
    Ok(usage)
}

/// Days since 1970 as a date.
fn date(days: &str) -> String {
    const DAY_MICROS: i64 = 86_400_000_000;
    let midnight = Timestamp::from_micros(days.parse::<i64>().unwrap_or_default().saturating_mul(DAY_MICROS));
    midnight.to_string().split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::{finished, lease, row};
    use crate::db::prediction::{finish_all, insert_all};
    use store::testing::on_both_engines;

    #[tokio::test]
    async fn what_ended_in_the_time_is_added_up_by_each_key() {
        on_both_engines(|db| async move {
            db.write(|tx| Box::pin(adds_up(tx))).await.unwrap();
        })
        .await;
    }

    async fn adds_up(tx: &mut Tx) -> Result<(), StoreError> {
        let (first, second, late) = (row(), row(), row());
        insert_all(tx, &[&first, &second, &late], &lease(9)).await?;
        let mut ended = [finished(first), finished(second), finished(late)];
        for (ended, completed_at) in ended.iter_mut().zip([0, 86_400_000_000, 2 * 86_400_000_000]) {
            ended.completed_at = Some(Timestamp::from_micros(completed_at));
        }
        finish_all(tx, &[&ended[0], &ended[1], &ended[2]]).await?;
        let (from, to) = (Timestamp::from_micros(0), Timestamp::from_micros(2 * 86_400_000_000));
        let days = add_up(tx, "acc_ada", from, to, UsageBy::Day).await?;
        assert_eq!(days.iter().map(|day| day.key.as_str()).collect::<Vec<_>>(), ["1970-01-01", "1970-01-02"]);
        for (by, key) in [(UsageBy::Model, "feira/hello-world"), (UsageBy::Token, "tok_1"), (UsageBy::Hardware, "cpu")] {
            let expected = UsageRow { key: key.to_owned(), predictions: 2, succeeded: 2, run_us: 2_000, cost: Credits(8) };
            assert_eq!(add_up(tx, "acc_ada", from, to, by).await?, [expected]);
        }
        assert_eq!(add_up(tx, "acc_eve", from, to, UsageBy::Day).await?, []);
        Ok(())
    }
}
