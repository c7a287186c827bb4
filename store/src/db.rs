//! The database as the rooms see it: open, read, write, batch, close.

pub(crate) mod batch;
mod postgres;
mod sqlite;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::{AnyPool, Connection};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::db::batch::{Apply, Batch};
use crate::db::postgres::Isolation;
use crate::db::sqlite::writer::Writer;
use crate::{Engine, StoreError, Tx};

/// The longest that one piece of work may hold the writer or a connection. Work is statements, never a call to somewhere else, so this is a
/// hang and not a load.
const WORK_MAX: Duration = Duration::from_secs(20);

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// A handle to the database; clones share it.
#[derive(Clone, Debug)]
pub struct Db {
    readers: AnyPool,
    writing: Writing,
    closing: CancellationToken,
    batches: TaskTracker,
}

#[derive(Clone, Debug)]
enum Writing {
    Sqlite(Arc<Writer>),
    Postgres(AnyPool),
}

impl Db {
    /// Opens the database, makes it if it is a `SQLite` file that does not exist yet, and brings its schema up to date.
    pub async fn open(url: &str) -> Result<Db, StoreError> {
        sqlx::any::install_default_drivers();
        let (readers, writing) = if url.starts_with("sqlite://") {
            let file = sqlite::File::at(url)?;
            let writer = file.connect_writer(&MIGRATIONS).await?;
            let readers = file.open_readers().await?;
            (readers, Writing::Sqlite(Arc::new(Writer::start(file, writer))))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let writers = postgres::open_writers(url, &MIGRATIONS).await?;
            (postgres::open_readers(url).await?, Writing::Postgres(writers))
        } else {
            return Err(StoreError::UnsupportedUrl);
        };
        Ok(Db { readers, writing, closing: CancellationToken::new(), batches: TaskTracker::new() })
    }

    /// Tells which engine this is.
    pub fn engine(&self) -> Engine {
        match self.writing {
            Writing::Sqlite(_) => Engine::Sqlite,
            Writing::Postgres(_) => Engine::Postgres,
        }
    }

    /// Runs `work` on one snapshot of the database, in which it cannot write.
    /// Dropping the future gives the work up.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send,
        E: From<StoreError>,
    {
        let open_failed = |error| E::from(StoreError::from(error));
        let mut connection = self.readers.acquire().await.map_err(open_failed)?;
        let begin = match self.engine() {
            Engine::Sqlite => "begin",
            Engine::Postgres => "begin isolation level repeatable read read only",
        };
        let mut snapshot = connection.begin_with(begin).await.map_err(open_failed)?;
        let result = match tokio::time::timeout(WORK_MAX, work(&mut snapshot)).await {
            Ok(result) => result,
            Err(_) => Err(E::from(StoreError::WorkTooSlow { limit: WORK_MAX })),
        };
        snapshot.rollback().await.map_err(open_failed)?;
        result
    }

    /// Runs `work` as one serialisable transaction and returns after its commit is on disk; an error undoes it.
    ///
    /// On `SQLite` it is a savepoint in the writer's next group commit. On `PostgreSQL` it is a transaction of its own, which runs again
    /// (hence `Clone`) when another one got in its way. Once begun it is carried to its end on `SQLite` even if the future is dropped.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Clone + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Error + Send + 'static,
    {
        self.write_isolated(Isolation::Serializable, work).await
    }

    async fn write_isolated<T, E, F>(&self, isolation: Isolation, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Clone + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Error + Send + 'static,
    {
        match &self.writing {
            Writing::Sqlite(writer) => writer.write(work).await,
            Writing::Postgres(pool) => postgres::write(pool, isolation, work).await,
        }
    }

    /// Starts the batch of a hot command: what has queued is taken at once, `apply` turns it into one outcome a command with a few bulk
    /// statements in one transaction, and each caller is answered after the commit.
    ///
    /// `apply` is called again with the same commands on `PostgreSQL` when it deadlocked, and with each command alone when the database
    /// refused them together, so that one bad command fails by itself. There it runs at `read committed`: it must lock the rows that it
    /// reads before it writes, in one order.
    pub fn batch<C, O, F>(&self, name: &'static str, apply: F) -> Batch<C, O>
    where
        F: Apply<C, O>,
        C: Send + Sync + 'static,
        O: Send + 'static,
    {
        Batch::start(self, name, apply)
    }

    /// Refuses new commands, finishes what was accepted, and closes every connection.
    pub async fn close(&self) {
        self.closing.cancel();
        self.batches.close();
        self.batches.wait().await;
        match &self.writing {
            Writing::Sqlite(writer) => writer.close().await,
            Writing::Postgres(pool) => pool.close().await,
        }
        self.readers.close().await;
    }
}

/// Runs `work` under its limits: a panic or a hang becomes an error of its own.
async fn run_work<T, E, F>(tx: &mut Tx, work: F) -> Result<T, E>
where
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>>,
    E: From<StoreError>,
{
    let guarded = std::panic::AssertUnwindSafe(async { work(tx).await }).catch_unwind();
    match tokio::time::timeout(WORK_MAX, guarded).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(E::from(StoreError::WorkPanicked)),
        Err(_) => Err(E::from(StoreError::WorkTooSlow { limit: WORK_MAX })),
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use sqlx::Row;

    use super::*;
    use crate::testing::{on_both_engines, on_sqlite};

    #[derive(Debug, thiserror::Error)]
    enum CountError {
        #[error("the work gave up")]
        GaveUp,
        #[error(transparent)]
        Store(#[from] StoreError),
    }

    async fn amount_of(tx: &mut Tx, account: &str) -> Result<i64, StoreError> {
        let row = sqlx::query("select amount from balance where account = $1").bind(account).fetch_optional(tx).await?;
        Ok(row.map_or(Ok(0), |row| row.try_get("amount"))?)
    }

    async fn set_amount(tx: &mut Tx, account: &str, amount: i64) -> Result<(), StoreError> {
        sqlx::query("insert into balance (account, amount) values ($1, $2) on conflict (account) do update set amount = excluded.amount")
            .bind(account)
            .bind(amount)
            .execute(tx)
            .await?;
        Ok(())
    }

    /// Reads, decides and writes: what loses updates where transactions are not serialisable.
    async fn increment(db: &Db, account: &'static str) -> Result<(), StoreError> {
        db.write(move |tx| {
            Box::pin(async move {
                let amount = amount_of(tx, account).await?;
                set_amount(tx, account, amount + 1).await
            })
        })
        .await
    }

    async fn read_amount(db: &Db, account: &'static str) -> i64 {
        db.read(move |tx| Box::pin(amount_of(tx, account))).await.expect("the balance can be read")
    }

    /// Adds each command to one balance, and tells what the balance was after it.
    fn counter(db: &Db) -> Batch<i64, i64> {
        db.batch("count", |tx, commands: &[i64]| {
            Box::pin(async move {
                let lock =
                    "insert into balance (account, amount) values ('fee', 0) on conflict (account) do update set amount = balance.amount";
                sqlx::query(lock).execute(&mut *tx).await?;
                let mut amount = amount_of(tx, "fee").await?;
                let outcomes = commands.iter().map(|command| {
                    amount += command;
                    amount
                });
                let outcomes = outcomes.collect();
                set_amount(tx, "fee", amount).await?;
                Ok(outcomes)
            })
        })
    }

    #[tokio::test]
    async fn what_is_written_can_be_read() {
        on_both_engines(|db| async move {
            increment(&db, "fee").await.unwrap();
            assert_eq!(read_amount(&db, "fee").await, 1);
        })
        .await;
    }

    #[tokio::test]
    async fn writes_that_read_and_decide_lose_no_update() {
        on_both_engines(|db| async move {
            let results = join_all((0..24).map(|_| increment(&db, "fee"))).await;
            let committed = results.iter().filter(|result| result.is_ok()).count();
            assert_eq!(read_amount(&db, "fee").await, i64::try_from(committed).unwrap());
            assert_eq!(committed, 24, "{results:?}");
        })
        .await;
    }

    #[tokio::test]
    async fn a_write_that_fails_or_panics_undoes_only_itself() {
        on_both_engines(|db| async move {
            let write = async |n: i64| {
                db.write(move |tx| {
                    Box::pin(async move {
                        set_amount(tx, &format!("credit:{n}"), n).await?;
                        match n % 3 {
                            0 => Ok(()),
                            1 => Err(CountError::GaveUp),
                            _ => panic!("the work of {n} panics, as this test wants"),
                        }
                    })
                })
                .await
            };
            for (n, result) in join_all((0..30).map(write)).await.into_iter().enumerate() {
                match n % 3 {
                    0 => assert!(result.is_ok(), "{result:?}"),
                    1 => assert!(matches!(result, Err(CountError::GaveUp)), "{result:?}"),
                    _ => assert!(matches!(result, Err(CountError::Store(StoreError::WorkPanicked))), "{result:?}"),
                }
            }
            let rows =
                db.read(|tx| Box::pin(async { Ok::<_, StoreError>(sqlx::query("select account from balance").fetch_all(tx).await?) }));
            assert_eq!(rows.await.unwrap().len(), 10);
        })
        .await;
    }

    #[tokio::test]
    async fn a_read_cannot_write() {
        on_both_engines(|db| async move {
            let result = db.read(|tx| Box::pin(set_amount(tx, "fee", 1))).await;
            assert!(matches!(result, Err(StoreError::Database(_))), "{result:?}");
            assert_eq!(read_amount(&db, "fee").await, 0);
        })
        .await;
    }

    #[tokio::test]
    async fn a_batch_applies_every_command_once_and_answers_each_its_own_outcome() {
        on_both_engines(|db| async move {
            let batch = counter(&db);
            let mut outcomes = join_all((0..400).map(|_| batch.send(1))).await.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
            outcomes.sort_unstable();
            assert_eq!(outcomes, (1..=400).collect::<Vec<_>>());
            assert_eq!(read_amount(&db, "fee").await, 400);
        })
        .await;
    }

    #[tokio::test]
    async fn a_command_that_the_database_refuses_fails_alone() {
        on_both_engines(|db| async move {
            let batch = db.batch("insert", |tx, amounts: &[i64]| {
                Box::pin(async move {
                    for amount in amounts {
                        assert_ne!(*amount, 13, "the batch panics, as this test wants");
                        set_amount(tx, &format!("credit:{amount}"), *amount).await?;
                    }
                    Ok(amounts.to_vec())
                })
            });
            // The schema lets no credit go below zero.
            for (n, result) in join_all((-5..20).map(|n| batch.send(n))).await.into_iter().enumerate() {
                assert_eq!(result.is_ok(), n >= 5 && n != 18, "{n}: {result:?}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn closing_finishes_what_was_accepted_and_refuses_the_rest() {
        on_both_engines(|db| async move {
            let batch = counter(&db);
            let accepted = tokio::spawn({
                let batch = batch.clone();
                async move { join_all((0..100).map(|_| batch.send(1))).await }
            });
            batch.send(1).await.unwrap();
            db.close().await;
            for outcome in accepted.await.unwrap() {
                assert!(matches!(outcome, Ok(_) | Err(StoreError::Closed)), "{outcome:?}");
            }
            assert!(matches!(batch.send(1).await, Err(StoreError::Closed)));
            assert!(increment(&db, "fee").await.is_err());
        })
        .await;
    }

    #[tokio::test]
    async fn every_connection_to_sqlite_has_the_settings_that_durability_needs() {
        on_sqlite(|db| async move {
            let setting = |name: &'static str| {
                db.write(move |tx| Box::pin(async move { Ok::<_, StoreError>(sqlx::query(name).fetch_one(tx).await?) }))
            };
            assert_eq!(setting("pragma synchronous").await.unwrap().get::<i64, _>(0), 2);
            assert_eq!(setting("pragma foreign_keys").await.unwrap().get::<i64, _>(0), 1);
            assert_eq!(setting("pragma journal_mode").await.unwrap().get::<String, _>(0), "wal");
        })
        .await;
    }

    #[tokio::test]
    async fn a_database_opens_again_with_what_it_held() {
        let home = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/not/yet/made/feira.db", home.path().display());
        for opened in 0..3 {
            let db = Db::open(&url).await.unwrap();
            assert_eq!(read_amount(&db, "fee").await, opened);
            increment(&db, "fee").await.unwrap();
            db.close().await;
        }
    }

    #[tokio::test]
    async fn a_url_of_neither_engine_is_refused() {
        for url in ["mysql://127.0.0.1/feira", "sqlite://", "sqlite://:memory:", "feira.db"] {
            assert!(matches!(Db::open(url).await, Err(StoreError::UnsupportedUrl)), "{url}");
        }
    }
}
