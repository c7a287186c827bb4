//! The table `instance_meter`: up to where the time was charged in which deployments' instances waited.

use protocol::Credits;
use sqlx::Row;
use store::{StoreError, Tx};

use super::{balance, entry};
use crate::ledger::posting::instance_posting;
use crate::ledger::{Account, InstanceCharged, InstanceTime};

const CHARGED: &str = "select charged_us from instance_meter where boot = $1 and deployment = $2 and hardware = $3";
const BEGIN: &str =
    "insert into instance_meter (boot, deployment, hardware, charged_us, charged_at) values ($1, $2, $3, 0, $4) on conflict do nothing";
const ADVANCE: &str = "update instance_meter set charged_us = $4, charged_at = $5
    where boot = $1 and deployment = $2 and hardware = $3 and charged_us < $4";

/// Charges what was counted since the last charge, as far as there is credit; the same count is charged once, whoever reports it. Runs in a
/// serialisable transaction, as [`store::Db::write`] gives.
pub async fn charge_instance_time(tx: &mut Tx, time: &InstanceTime) -> Result<InstanceCharged, StoreError> {
    const NOTHING: InstanceCharged = InstanceCharged { charged: Credits::ZERO, uncovered: Credits::ZERO };
    let waited_us = i64::try_from(time.waited_us).unwrap_or(i64::MAX);
    let credit = balance::lock_credit(tx, std::iter::once(time.account.as_str())).await?;
    let key = |query: &'static str| sqlx::query(query).bind(&time.boot).bind(&time.deployment).bind(&time.hardware);
    key(BEGIN).bind(time.at.micros()).execute(&mut *tx).await?;
    let before: i64 = key(CHARGED).fetch_one(&mut *tx).await?.try_get("charged_us")?;
    if key(ADVANCE).bind(waited_us).bind(time.at.micros()).execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(NOTHING);
    }
    let available = credit.get(&Account::Credit(time.account.clone())).copied().unwrap_or_default();
    let (posting, charged) = instance_posting(time, before.unsigned_abs(), available);
    if charged.charged > Credits::ZERO {
        entry::post(tx, vec![posting]).await?;
    }
    Ok(charged)
}

#[cfg(test)]
mod tests {
    use protocol::{Price, Timestamp};
    use store::Db;
    use store::testing::on_both_engines;

    use super::*;
    use crate::db::command::grant;
    use crate::db::report::{balance, verify};
    use crate::ledger::{Grant, GrantSource};

    const AT: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    async fn charge(db: &Db, boot: &str, waited_us: u64) -> InstanceCharged {
        let time = InstanceTime {
            boot: boot.to_owned(),
            account: "owner".to_owned(),
            deployment: "owner/live".to_owned(),
            hardware: "cpu".to_owned(),
            waited_us,
            per_second: Price(75_000_000),
            at: AT,
        };
        db.write(move |tx| {
            let time = time.clone();
            Box::pin(async move { charge_instance_time(tx, &time).await })
        })
        .await
        .unwrap()
    }

    async fn credit(db: &Db) -> i64 {
        db.read(|tx| Box::pin(async move { balance(tx, "owner").await })).await.unwrap().credit.nanos()
    }

    #[tokio::test]
    async fn the_time_that_instances_waited_is_charged_once_and_as_far_as_there_is_credit() {
        on_both_engines(|db| async move {
            let gift = Grant {
                key: "gift".to_owned(),
                account: "owner".to_owned(),
                source: GrantSource::Promo,
                amount: Credits(1_000_000),
                memo: String::new(),
                at: AT,
            };
            db.write(move |tx| {
                let gift = gift.clone();
                Box::pin(async move { grant(tx, &gift).await })
            })
            .await
            .unwrap();
            let covered = |charged| InstanceCharged { charged: Credits(charged), uncovered: Credits::ZERO };
            assert_eq!(charge(&db, "boot-1", 2_000_000).await, covered(150_000));
            assert_eq!(charge(&db, "boot-1", 2_000_000).await, covered(0), "another gateway tells the same");
            assert_eq!(charge(&db, "boot-1", 1_000_000).await, covered(0), "or is late");
            assert_eq!(charge(&db, "boot-1", 3_000_000).await, covered(75_000));
            assert_eq!(charge(&db, "boot-2", 1_000_000).await, covered(75_000), "a runner that starts again counts anew");
            assert_eq!(credit(&db).await, 700_000);
            let last = charge(&db, "boot-2", 11_000_000).await;
            assert_eq!(last, InstanceCharged { charged: Credits(700_000), uncovered: Credits(50_000) });
            assert_eq!(charge(&db, "boot-2", 12_000_000).await.charged, Credits::ZERO);
            assert_eq!(credit(&db).await, 0);
            let report = db.read(|tx| Box::pin(verify(tx))).await.unwrap();
            assert!(report.is_sound(), "{report:?}");
        })
        .await;
    }
}
