//! The commands that move money. Each runs inside the caller's transaction, beside the rows that it must agree with.

use std::collections::HashSet;

use store::{Engine, StoreError, Tx};

use super::{balance, entry};
use crate::ledger::posting::{grant_posting, hold_in_order, refund_posting, refund_tx, settle_one};
use crate::ledger::{Grant, Hold, InsufficientCredit, LedgerError, Posted, Refund, Settle, Settled};

/// Holds money for many predictions, in their order: what an earlier one takes, a later one has not.
///
/// # Errors
/// A hold for a prediction that has one already fails the whole call. That a hold is not covered is an outcome of that hold alone.
pub async fn hold_all(tx: &mut Tx, holds: &[Hold]) -> Result<Vec<Result<(), InsufficientCredit>>, StoreError> {
    let mut credit = balance::lock_credit(tx, holds.iter().map(|hold| hold.account.as_str())).await?;
    let decided = hold_in_order(&mut credit, holds);
    let outcomes = decided.iter().map(|outcome| outcome.as_ref().map(|_| ()).map_err(|refused| *refused)).collect();
    let postings: Vec<_> = decided.into_iter().flatten().collect();
    let held = postings.len();
    if entry::post(tx, postings).await?.len() < held {
        return Err(sqlx::Error::InvalidArgument("a prediction is held for once".to_owned()).into());
    }
    Ok(outcomes)
}

/// Settles many predictions: each hold is captured up to the cost, and the rest returns. One that was settled before, by anyone, or
/// earlier in the same slice, changes nothing.
pub async fn settle_all(tx: &mut Tx, settles: &[Settle]) -> Result<Vec<Settled>, StoreError> {
    let holds = entry::find_holds(tx, settles.iter().map(|settle| settle.prediction)).await?;
    if Engine::of(tx) == Engine::Postgres {
        balance::lock_credit(tx, holds.values().map(|held| held.account.as_str())).await?;
    }
    let mut seen = HashSet::new();
    let mut postings = Vec::with_capacity(settles.len());
    let mut outcomes = Vec::with_capacity(settles.len());
    let mut tried = Vec::with_capacity(settles.len());
    for (index, settle) in settles.iter().enumerate() {
        outcomes.push(match holds.get(&settle.prediction.to_string()) {
            None => Settled::NeverHeld,
            Some(_) if !seen.insert(settle.prediction) => Settled::AlreadySettled,
            Some(held) => {
                let (posting, settled) = settle_one(held, settle);
                tried.push((index, posting.tx.clone()));
                postings.push(posting);
                settled
            }
        });
    }
    let settled_now = entry::post(tx, postings).await?;
    for (index, tx) in tried {
        if !settled_now.contains(&tx) {
            outcomes[index] = Settled::AlreadySettled;
        }
    }
    Ok(outcomes)
}

/// Gives credit, once for each key.
pub async fn grant(tx: &mut Tx, grant: &Grant) -> Result<Posted, LedgerError> {
    let new = entry::post(tx, vec![grant_posting(grant)?]).await?;
    Ok(if new.is_empty() { Posted::Before } else { Posted::Now })
}

/// Gives a part of what was captured back, once for each key; all refunds together are at most the capture. Runs in a serialisable
/// transaction, as [`store::Db::write`] gives.
pub async fn refund(tx: &mut Tx, refund: &Refund) -> Result<Posted, LedgerError> {
    if entry::exists(tx, &refund_tx(refund)).await? {
        return Ok(Posted::Before);
    }
    let captured = entry::find_captured(tx, refund.prediction).await?.ok_or(LedgerError::NothingCaptured)?;
    entry::post(tx, vec![refund_posting(&captured, refund)?]).await?;
    Ok(Posted::Now)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use protocol::{Clock, Credits, Entropy, PredictionId, Timestamp};
    use store::testing::on_both_engines;
    use store::{Batch, Db};

    use super::*;
    use crate::db::report::{balance, entries_sum, verify};
    use crate::ledger::{Account, FeeRate, GrantSource};

    const AT: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn prediction(n: u64) -> PredictionId {
        PredictionId::new(&Clock::fixed(AT), &Entropy::seeded(n))
    }

    fn hold_of(n: u64, amount: i64) -> Hold {
        Hold { prediction: prediction(n), account: "caller".to_owned(), amount: Credits(amount), at: AT }
    }

    fn settle_of(n: u64, cost: i64) -> Settle {
        let fee = FeeRate::from_basis_points(2_000).unwrap();
        Settle { prediction: prediction(n), publisher: "publisher".to_owned(), cost: Credits(cost), fee, at: AT }
    }

    fn holds(db: &Db) -> Batch<Hold, Result<(), InsufficientCredit>> {
        db.batch("hold", |tx, holds: &[Hold]| Box::pin(hold_all(tx, holds)))
    }

    fn settles(db: &Db) -> Batch<Settle, Settled> {
        db.batch("settle", |tx, settles: &[Settle]| Box::pin(settle_all(tx, settles)))
    }

    async fn grant_to_caller(db: &Db, key: &str, amount: i64) -> Result<Posted, LedgerError> {
        let (key, account, memo) = (key.to_owned(), "caller".to_owned(), "for a test".to_owned());
        let granted = Grant { key, account, source: GrantSource::Promo, amount: Credits(amount), memo, at: AT };
        db.write(move |tx| Box::pin(async move { grant(tx, &granted).await })).await
    }

    async fn refund_to_caller(db: &Db, n: u64, key: &str, amount: i64) -> Result<Posted, LedgerError> {
        let refunded = Refund { key: key.to_owned(), prediction: prediction(n), amount: Credits(amount), memo: String::new(), at: AT };
        db.write(move |tx| Box::pin(async move { refund(tx, &refunded).await })).await
    }

    /// Credit and held of the caller, payable of the publisher.
    async fn amounts(db: &Db) -> (i64, i64, i64) {
        db.read(|tx| {
            Box::pin(async move {
                let caller = balance(tx, "caller").await?;
                let publisher = balance(tx, "publisher").await?;
                Ok::<_, StoreError>((caller.credit.nanos(), caller.held.nanos(), publisher.payable.nanos()))
            })
        })
        .await
        .unwrap()
    }

    async fn assert_sound(db: &Db) {
        let report = db.read(|tx| Box::pin(verify(tx))).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
    }

    #[tokio::test]
    async fn l1_l15_every_command_sums_to_zero_and_balances_are_the_sum_of_entries() {
        on_both_engines(|db| async move {
            grant_to_caller(&db, "signup:caller", 10_000).await.unwrap();
            let (holds, settles) = (holds(&db), settles(&db));
            let run = async |n: u64| {
                let amount = i64::try_from(n * 7 % 90).unwrap();
                if holds.send(hold_of(n, amount)).await.unwrap().is_ok() {
                    settles.send(settle_of(n, amount - 10)).await.unwrap();
                }
            };
            join_all((0..120).map(run)).await;
            assert_sound(&db).await;
            let sum = db.read(|tx| Box::pin(async { entries_sum(tx, &Account::Credit("caller".to_owned())).await })).await.unwrap();
            assert_eq!(sum.nanos(), amounts(&db).await.0);
        })
        .await;
    }

    #[test]
    fn l2_no_statement_changes_or_deletes_an_entry() {
        let sources = [
            include_str!("balance.rs"),
            include_str!("command.rs"),
            include_str!("entry.rs"),
            include_str!("instance.rs"),
            include_str!("report.rs"),
        ];
        for source in sources {
            for change in [concat!("update", " ledger_"), concat!("delete", " from")] {
                assert!(!source.contains(change), "{change}");
            }
        }
    }

    #[tokio::test]
    async fn l3_a_prediction_is_held_for_once() {
        on_both_engines(|db| async move {
            grant_to_caller(&db, "signup:caller", 100).await.unwrap();
            let holds = holds(&db);
            for amount in [10_i64, 0] {
                let n = amount.unsigned_abs();
                assert_eq!(holds.send(hold_of(n, amount)).await.unwrap(), Ok(()));
                assert!(holds.send(hold_of(n, amount)).await.is_err());
            }
            assert_eq!(amounts(&db).await, (90, 10, 0));
            assert_sound(&db).await;
        })
        .await;
    }

    #[tokio::test]
    async fn l3_a_second_settlement_changes_nothing_and_says_so() {
        on_both_engines(|db| async move {
            grant_to_caller(&db, "signup:caller", 100).await.unwrap();
            holds(&db).send(hold_of(1, 50)).await.unwrap().unwrap();
            let settles = [settles(&db), settles(&db)];
            let outcomes = join_all((0..32).map(|n: i64| settles[usize::from(n % 2 == 0)].send(settle_of(1, n % 3)))).await;
            let moved = outcomes.into_iter().filter(|outcome| *outcome.as_ref().unwrap() != Settled::AlreadySettled).count();
            assert_eq!(moved, 1);
            let (credit, held, _) = amounts(&db).await;
            assert!((98..=100).contains(&credit) && held == 0, "{credit} {held}");
            assert_sound(&db).await;
        })
        .await;
    }

    #[tokio::test]
    async fn what_was_never_held_cannot_be_captured() {
        on_both_engines(|db| async move {
            assert_eq!(settles(&db).send(settle_of(1, 5)).await.unwrap(), Settled::NeverHeld);
            assert_eq!(amounts(&db).await, (0, 0, 0));
        })
        .await;
    }

    #[tokio::test]
    async fn l4_a_capture_is_at_most_the_hold_and_the_rest_returns() {
        on_both_engines(|db| async move {
            grant_to_caller(&db, "signup:caller", 100).await.unwrap();
            let (holds, settles) = (holds(&db), settles(&db));
            for n in 1..=3 {
                holds.send(hold_of(n, 30)).await.unwrap().unwrap();
            }
            let captured = |captured, returned| Settled::Captured { captured: Credits(captured), returned: Credits(returned) };
            assert_eq!(settles.send(settle_of(1, 20)).await.unwrap(), captured(20, 10));
            assert_eq!(settles.send(settle_of(2, 1_000)).await.unwrap(), captured(30, 0));
            assert_eq!(settles.send(settle_of(3, 0)).await.unwrap(), Settled::Voided { returned: Credits(30) });
            assert_eq!(amounts(&db).await, (50, 0, 40));
            assert_sound(&db).await;
        })
        .await;
    }

    #[tokio::test]
    async fn credit_returns_when_the_model_never_starts() {
        on_both_engines(|db| async move {
            grant_to_caller(&db, "signup:caller", 100).await.unwrap();
            holds(&db).send(hold_of(1, 100)).await.unwrap().unwrap();
            assert_eq!(amounts(&db).await, (0, 100, 0));
            settles(&db).send(settle_of(1, 0)).await.unwrap();
            assert_eq!(amounts(&db).await, (100, 0, 0));
        })
        .await;
    }

    #[tokio::test]
    async fn l5_of_64_holds_at_once_on_credit_for_ten_exactly_ten_are_given() {
        on_both_engines(|db| async move {
            grant_to_caller(&db, "signup:caller", 10 * 7).await.unwrap();
            let holds = [holds(&db), holds(&db), holds(&db)];
            let outcomes = join_all((0..64).map(|n| holds[n % 3].send(hold_of(n as u64, 7)))).await;
            let given = outcomes.into_iter().filter(|outcome| outcome.as_ref().unwrap().is_ok()).count();
            assert_eq!(given, 10);
            assert_eq!(amounts(&db).await, (0, 70, 0));
            assert_eq!(holds[0].send(hold_of(99, 7)).await.unwrap(), Err(InsufficientCredit { available: Credits(0), needed: Credits(7) }));
            assert_sound(&db).await;
        })
        .await;
    }

    /// Counts failures, which nobody else sees: the batch tries again.
    async fn counted<T>(work: impl Future<Output = Result<T, StoreError>>, failures: &AtomicUsize) -> Result<T, StoreError> {
        let result = work.await;
        if result.is_err() {
            failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    #[tokio::test]
    async fn holds_and_settlements_of_one_caller_never_wait_for_each_other_in_a_circle() {
        on_both_engines(|db| async move {
            let failures: &'static AtomicUsize = Box::leak(Box::default());
            grant_to_caller(&db, "signup:caller", 1_000_000).await.unwrap();
            let holds = db.batch("hold", |tx, holds: &[Hold]| Box::pin(counted(hold_all(tx, holds), failures)));
            let settles = db.batch("settle", |tx, settles: &[Settle]| Box::pin(counted(settle_all(tx, settles), failures)));
            let run = async |caller: u64| {
                // Half of the callers are a step ahead, so that some hold while others settle.
                if caller.is_multiple_of(2) {
                    holds.send(hold_of(1_000 + caller, 10)).await.unwrap().unwrap();
                }
                for n in 0..8 {
                    holds.send(hold_of(caller * 8 + n, 10)).await.unwrap().unwrap();
                    settles.send(settle_of(caller * 8 + n, 5)).await.unwrap();
                }
            };
            join_all((0..32).map(run)).await;
            assert_eq!(failures.load(Ordering::Relaxed), 0);
            assert_sound(&db).await;
        })
        .await;
    }

    #[tokio::test]
    async fn l12_refunds_are_pro_rata_and_never_more_than_the_capture() {
        on_both_engines(|db| async move {
            grant_to_caller(&db, "signup:caller", 100).await.unwrap();
            holds(&db).send(hold_of(1, 50)).await.unwrap().unwrap();
            assert!(matches!(refund_to_caller(&db, 1, "early", 10).await, Err(LedgerError::NothingCaptured)));
            settles(&db).send(settle_of(1, 40)).await.unwrap();
            assert_eq!(refund_to_caller(&db, 1, "half", 20).await.unwrap(), Posted::Now);
            assert_eq!(refund_to_caller(&db, 1, "half", 20).await.unwrap(), Posted::Before);
            assert_eq!(amounts(&db).await, (80, 0, 16));
            assert!(matches!(refund_to_caller(&db, 1, "more", 21).await, Err(LedgerError::RefundExceedsCapture { .. })));
            assert_eq!(refund_to_caller(&db, 1, "rest", 20).await.unwrap(), Posted::Now);
            assert_eq!(amounts(&db).await, (100, 0, 0));
            assert_sound(&db).await;
        })
        .await;
    }

    #[tokio::test]
    async fn a_key_grants_once_and_no_grant_is_below_zero_or_without_end() {
        on_both_engines(|db| async move {
            assert_eq!(grant_to_caller(&db, "signup:caller", 100).await.unwrap(), Posted::Now);
            assert_eq!(grant_to_caller(&db, "signup:caller", 100).await.unwrap(), Posted::Before);
            for amount in [0, -1, i64::MAX] {
                assert!(matches!(grant_to_caller(&db, "bad", amount).await, Err(LedgerError::AmountOutOfRange { .. })));
            }
            assert_eq!(amounts(&db).await, (100, 0, 0));
            assert_sound(&db).await;
        })
        .await;
    }
}
