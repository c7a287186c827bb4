//! Fresh databases for tests: a temporary `SQLite` file, and a database of its own on the `PostgreSQL` server of the test run.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

use crate::Db;

/// Names the server on which tests make their databases.
const SERVER: &str = "FEIRA_TEST_DATABASE_URL";

/// Runs a test once on `SQLite` and once on `PostgreSQL`, each time on a fresh database.
///
/// # Panics
/// When no `PostgreSQL` server is named: a test that did not run must not look like one that passed.
pub async fn on_both_engines<F, R>(test: F)
where
    F: Fn(Db) -> R,
    R: Future<Output = ()>,
{
    on_sqlite(&test).await;
    on_postgres(&test).await;
}

/// Runs a test on a fresh `SQLite` file.
pub async fn on_sqlite<F, R>(test: F)
where
    F: FnOnce(Db) -> R,
    R: Future<Output = ()>,
{
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let url = format!("sqlite://{}", home.path().join("feira.db").display());
    let db = Db::open(&url).await.expect("a fresh SQLite file opens");
    test(db.clone()).await;
    db.close().await;
}

/// Runs a test on a fresh `PostgreSQL` database, which is dropped when the test has passed.
pub async fn on_postgres<F, R>(test: F)
where
    F: FnOnce(Db) -> R,
    R: Future<Output = ()>,
{
    #[expect(clippy::disallowed_methods, reason = "a test has no command line to be given the server by")]
    let server =
        std::env::var(SERVER).unwrap_or_else(|_| panic!("{SERVER} names no PostgreSQL server: run the tests with ./tests/run unit"));
    let name = fresh_name();
    let url = {
        let (base, _) = server.rsplit_once('/').expect("the url of the server ends in the name of a database");
        format!("{base}/{name}")
    };
    administer(&server, &format!("drop database if exists {name} with (force)")).await;
    administer(&server, &format!("create database {name}")).await;
    let db = Db::open(&url).await.expect("a fresh PostgreSQL database opens");
    test(db.clone()).await;
    db.close().await;
    administer(&server, &format!("drop database {name} with (force)")).await;
}

/// Unique among the databases of the processes that are alive.
fn fresh_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("feira_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

async fn administer(server: &str, statement: &str) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(server).await.expect("the PostgreSQL server answers");
    connection.execute(AssertSqlSafe(statement.to_owned())).await.expect("the user of the test server may make databases");
    connection.close().await.expect("the connection to the PostgreSQL server closes");
}
