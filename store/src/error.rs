//! What can go wrong between a piece of work and the disk.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Why the database did not do what it was asked. Cheap to clone, because one failed commit answers many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database url must begin with sqlite:// and a path, or with postgres://")]
    UnsupportedUrl,
    #[error("the database cannot be opened")]
    Open(#[source] Arc<sqlx::Error>),
    #[error("the schema cannot be brought up to date")]
    Migrate(#[source] Arc<sqlx::migrate::MigrateError>),
    #[error("the database refused a statement")]
    Database(#[source] Arc<sqlx::Error>),
    #[error("the transaction was not committed")]
    NotCommitted(#[source] Arc<sqlx::Error>),
    #[error("the work was undone because it took longer than {limit:?}")]
    WorkTooSlow { limit: Duration },
    #[error("the work panicked and was undone")]
    WorkPanicked,
    #[error("a batch of {commands} commands gave {outcomes} outcomes")]
    OutcomesMissing { commands: usize, outcomes: usize },
    #[error("the database is closing")]
    Closed,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::Database(Arc::new(error))
    }
}

impl StoreError {
    pub(crate) fn not_committed(error: sqlx::Error) -> Self {
        StoreError::NotCommitted(Arc::new(error))
    }
}

/// Whether the same work may succeed when it runs again: `PostgreSQL`'s 40001 (serialisation failure) and 40P01 (deadlock).
/// Looks down the chain of sources, because rooms wrap the error of a statement in their own.
/// Source: <https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html>.
pub(crate) fn is_transient(error: &(dyn Error + 'static)) -> bool {
    let mut link = Some(error);
    while let Some(error) = link {
        let database = error
            .downcast_ref::<sqlx::Error>()
            .or_else(|| error.downcast_ref::<Arc<sqlx::Error>>().map(AsRef::as_ref))
            .and_then(sqlx::Error::as_database_error);
        if let Some(database) = database {
            return matches!(database.code().as_deref(), Some("40001" | "40P01"));
        }
        link = error.source();
    }
    false
}
