//! `PostgreSQL`: a pool that writes, a pool that reads, and transactions that run again when they got in each other's way.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migrator;
use sqlx::{AnyPool, Connection};

use crate::db::run_work;
use crate::error::is_transient;
use crate::{StoreError, Tx};

/// Two pools, so that slow reads cannot keep a write waiting for a connection.
const WRITERS_MAX: u32 = 12;
const READERS_MAX: u32 = 12;
const ACQUIRE_MAX: Duration = Duration::from_secs(10);
/// Times that a transaction runs before its caller is told; at least one of two that clash always commits.
const TRIES_MAX: u32 = 12;

#[derive(Clone, Copy, Debug)]
pub(super) enum Isolation {
    /// For work that may read, decide and write.
    Serializable,
    /// For work that locks what it reads before it writes.
    ReadCommitted,
}

impl Isolation {
    fn begin(self) -> &'static str {
        match self {
            Isolation::Serializable => "begin isolation level serializable",
            Isolation::ReadCommitted => "begin isolation level read committed",
        }
    }
}

pub(super) async fn open_writers(url: &str, migrations: &Migrator) -> Result<AnyPool, StoreError> {
    let pool = open(url, WRITERS_MAX).await?;
    migrations.run(&pool).await.map_err(|error| StoreError::Migrate(Arc::new(error)))?;
    Ok(pool)
}

pub(super) async fn open_readers(url: &str) -> Result<AnyPool, StoreError> {
    open(url, READERS_MAX).await
}

async fn open(url: &str, connections_max: u32) -> Result<AnyPool, StoreError> {
    AnyPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_MAX)
        .connect(url)
        .await
        .map_err(|error| StoreError::Open(Arc::new(error)))
}

pub(super) async fn write<T, E, F>(pool: &AnyPool, isolation: Isolation, work: F) -> Result<T, E>
where
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Clone + Send,
    T: Send,
    E: From<StoreError> + Error + Send + 'static,
{
    let mut tried = 0;
    loop {
        tried += 1;
        match try_write(pool, isolation, work.clone()).await {
            Err(error) if tried < TRIES_MAX && is_transient(&error) => tokio::time::sleep(pause_after(tried)).await,
            result => return result,
        }
    }
}

/// 1 ms, doubling to 64 ms: long enough for the other transaction to end.
fn pause_after(tried: u32) -> Duration {
    Duration::from_millis(1 << tried.saturating_sub(1).min(6))
}

async fn try_write<T, E, F>(pool: &AnyPool, isolation: Isolation, work: F) -> Result<T, E>
where
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    let refused = |error| E::from(StoreError::from(error));
    let mut connection = pool.acquire().await.map_err(refused)?;
    let mut transaction = connection.begin_with(isolation.begin()).await.map_err(refused)?;
    let result = run_work(&mut transaction, work).await;
    if result.is_ok() {
        transaction.commit().await.map_err(|error| E::from(StoreError::not_committed(error)))?;
    } else {
        transaction.rollback().await.map_err(refused)?;
    }
    result
}
