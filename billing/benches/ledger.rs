//! How many holds and settlements a second are checked against overdraft, written once each, and on disk before they are answered.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use billing::{FeeRate, Grant, GrantSource, Hold, InsufficientCredit, Settle, Settled};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::try_join_all;
use protocol::{Clock, Credits, Entropy, PredictionId, Timestamp};
use store::{Batch, Db, testing};
use tokio::runtime::{Handle, Runtime};
use tokio::task::block_in_place;

const CALLERS: [u64; 3] = [1, 64, 256];
/// How many predictions each caller holds for and settles, one after the other, in one measured round.
const PREDICTIONS_EACH: u64 = 8;
const EVENTS_A_PREDICTION: u64 = 2;
/// Callers share these accounts, as they would.
const ACCOUNTS: u64 = 16;

type Holds = Batch<Hold, Result<(), InsufficientCredit>>;
type Settles = Batch<Settle, Settled>;

fn measure(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let criterion = &RefCell::new(criterion);
    runtime.block_on(testing::on_both_engines(|db| async move {
        for account in 0..ACCOUNTS {
            give_credit(&db, account).await;
        }
        block_in_place(|| hold_and_settle(&mut criterion.borrow_mut(), &db));
        let report = db.read(|tx| Box::pin(billing::verify(tx))).await.expect("the ledger can be read");
        assert!(report.is_sound(), "{:?}", report.violations);
    }));
}

fn hold_and_settle(criterion: &mut Criterion, db: &Db) {
    let holds: Holds = db.batch("hold", |tx, holds: &[Hold]| Box::pin(billing::hold_all(tx, holds)));
    let settles: Settles = db.batch("settle", |tx, settles: &[Settle]| Box::pin(billing::settle_all(tx, settles)));
    let mut group = criterion.benchmark_group(format!("ledger/{:?}", db.engine()).to_lowercase());
    group.sample_size(10);
    for callers in CALLERS {
        group.throughput(Throughput::Elements(callers * PREDICTIONS_EACH * EVENTS_A_PREDICTION));
        group.bench_function(BenchmarkId::new("events", callers), |bencher| {
            bencher.iter(|| Handle::current().block_on(call(&holds, &settles, callers)));
        });
    }
}

async fn call(holds: &Holds, settles: &Settles, callers: u64) {
    let tasks = (0..callers).map(|caller| {
        let (holds, settles) = (holds.clone(), settles.clone());
        tokio::spawn(async move {
            for _ in 0..PREDICTIONS_EACH {
                run_one(&holds, &settles, caller % ACCOUNTS).await;
            }
        })
    });
    try_join_all(tasks).await.expect("no caller panics");
}

async fn run_one(holds: &Holds, settles: &Settles, account: u64) {
    let (prediction, at) = (fresh_prediction(), Timestamp::from_micros(0));
    let hold = Hold { prediction, account: account.to_string(), amount: Credits(1_000), at };
    holds.send(hold).await.expect("the database answers").expect("the credit covers it");
    let fee = FeeRate::from_basis_points(2_000).expect("it is below the whole");
    let settle = Settle { prediction, publisher: "publisher".to_owned(), cost: Credits(1), fee, at };
    let settled = settles.send(settle).await.expect("the database answers");
    assert_eq!(settled, Settled::Captured { captured: Credits(1), returned: Credits(999) });
}

async fn give_credit(db: &Db, account: u64) {
    let (key, memo, at) = (format!("bench:{account}"), String::new(), Timestamp::from_micros(0));
    let amount = Credits::from_dollars(1_000);
    let grant = Grant { key, account: account.to_string(), source: GrantSource::External, amount, memo, at };
    db.write(move |tx| Box::pin(async move { billing::grant(tx, &grant).await })).await.expect("the grant is in range");
}

/// Ids grow with time, as they do in life: new rows go to the right edge of the indexes.
fn fresh_prediction() -> PredictionId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = Timestamp::from_micros(0).plus_millis(i64::try_from(count / 32).expect("the count is small"));
    PredictionId::new(&Clock::fixed(now), &Entropy::seeded(count))
}

criterion_group!(ledger, measure);
criterion_main!(ledger);
