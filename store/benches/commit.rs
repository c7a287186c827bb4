//! What sharing a commit is worth: one row a commit on a bare connection, beside batched commands from 1, 16 and 64 callers.

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::try_join_all;
use sqlx::{AnyConnection, Connection, Executor};
use store::{Batch, Db, Engine, StoreError, testing};
use tokio::runtime::{Handle, Runtime};
use tokio::task::block_in_place;

const CALLERS: [u64; 3] = [1, 16, 64];
/// How many rows each caller writes, one after the other, in one measured round.
const ROWS_EACH: u64 = 8;

const INSERT: &str = "insert into ledger_tx (id, kind, created_at) values ($1, 'grant', 0)";
const INSERT_ALL_ON_SQLITE: &str = "insert into ledger_tx (id, kind, created_at) select value, 'grant', 0 from json_each($1)";
const INSERT_ALL_ON_POSTGRES: &str = "insert into ledger_tx (id, kind, created_at)
    select value, 'grant', 0 from json_array_elements_text($1::json)";

fn measure(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let criterion = &RefCell::new(criterion);
    runtime.block_on(bare_commits_on_sqlite(criterion));
    runtime.block_on(testing::on_both_engines(|db| async move {
        block_in_place(|| batched_commands(&mut criterion.borrow_mut(), &db));
    }));
}

async fn bare_commits_on_sqlite(criterion: &RefCell<&mut Criterion>) {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let url = sqlite_url(home.path());
    Db::open(&url).await.expect("the database opens").close().await;
    let mut connection = AnyConnection::connect(&url).await.expect("the file opens");
    connection.execute("pragma synchronous = full").await.expect("the pragma is known");
    block_in_place(|| {
        let mut criterion = criterion.borrow_mut();
        let mut group = criterion.benchmark_group("commit/sqlite");
        group.throughput(Throughput::Elements(1)).sample_size(10);
        group.bench_function("bare/1", |bencher| {
            bencher.iter(|| {
                let insert = sqlx::query(INSERT).bind(fresh_id()).execute(&mut connection);
                Handle::current().block_on(insert).expect("the row is new")
            });
        });
    });
}

fn batched_commands(criterion: &mut Criterion, db: &Db) {
    let insert_all = match db.engine() {
        Engine::Sqlite => INSERT_ALL_ON_SQLITE,
        Engine::Postgres => INSERT_ALL_ON_POSTGRES,
    };
    let batch = db.batch("insert", move |tx, ids: &[String]| {
        Box::pin(async move {
            let json = format!("[\"{}\"]", ids.join("\",\""));
            sqlx::query(insert_all).bind(json).execute(tx).await?;
            Ok(vec![(); ids.len()])
        })
    });
    let mut group = criterion.benchmark_group(format!("commit/{:?}", db.engine()).to_lowercase());
    group.sample_size(10);
    for callers in CALLERS {
        group.throughput(Throughput::Elements(callers * ROWS_EACH));
        group.bench_function(BenchmarkId::new("batched", callers), |bencher| {
            bencher.iter(|| Handle::current().block_on(call(&batch, callers)));
        });
    }
}

async fn call(batch: &Batch<String, ()>, callers: u64) {
    let tasks = (0..callers).map(|_| {
        let batch = batch.clone();
        tokio::spawn(async move {
            for _ in 0..ROWS_EACH {
                batch.send(fresh_id()).await?;
            }
            Ok::<_, StoreError>(())
        })
    });
    let results = try_join_all(tasks).await.expect("no caller panics");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

fn sqlite_url(home: &Path) -> String {
    format!("sqlite://{}", home.join("feira.db").display())
}

fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("grant:{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

criterion_group!(commit, measure);
criterion_main!(commit);
