//! The `SQLite` file: write-ahead log, full synchronisation, one connection that writes and a few that read.

pub(super) mod writer;

use std::path::Path;
use std::sync::Arc;

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, AnyPool, Connection, Executor};

use crate::StoreError;

/// Readers never wait for the writer, but each costs a thread and a page cache.
const READERS_MAX: u32 = 4;

/// `synchronous=full` syncs the log at every commit, so that what is answered survives a loss of power.
/// The limit on waiting is for a second process, such as a command that an operator runs beside the server. The page cache is 16 MiB at
/// most: with the 2 MiB of the default, commands that touch many accounts read pages again and again.
const SETTINGS: &str = "pragma busy_timeout = 10000; pragma foreign_keys = on; pragma synchronous = full; pragma temp_store = memory; pragma cache_size = -16384";
/// `query_only` makes a write inside a read an error on this engine too.
const SETTINGS_OF_READERS: &str =
    "pragma busy_timeout = 10000; pragma foreign_keys = on; pragma query_only = on; pragma temp_store = memory";

/// Where the database is.
#[derive(Clone, Debug)]
pub(super) struct File {
    url: Arc<str>,
}

impl File {
    /// Takes `sqlite://` and a path, and makes the directory of the path.
    pub(super) fn at(url: &str) -> Result<File, StoreError> {
        let path = url.strip_prefix("sqlite://").ok_or(StoreError::UnsupportedUrl)?;
        if path.is_empty() || path.contains('?') || path.starts_with(':') {
            return Err(StoreError::UnsupportedUrl);
        }
        if let Some(directory) = Path::new(path).parent() {
            std::fs::create_dir_all(directory).map_err(|error| StoreError::Open(Arc::new(sqlx::Error::Io(error))))?;
        }
        Ok(File { url: format!("{url}?mode=rwc").into() })
    }

    pub(super) async fn connect_writer(&self, migrations: &Migrator) -> Result<AnyConnection, StoreError> {
        let mut connection = self.connect().await.map_err(|error| StoreError::Open(Arc::new(error)))?;
        migrations.run(&mut connection).await.map_err(|error| StoreError::Migrate(Arc::new(error)))?;
        Ok(connection)
    }

    async fn connect(&self) -> Result<AnyConnection, sqlx::Error> {
        let mut connection = AnyConnection::connect(&self.url).await?;
        connection.execute("pragma journal_mode = wal").await?;
        connection.execute(SETTINGS).await?;
        Ok(connection)
    }

    pub(super) async fn open_readers(&self) -> Result<AnyPool, StoreError> {
        AnyPoolOptions::new()
            .max_connections(READERS_MAX)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute(SETTINGS_OF_READERS).await?;
                    Ok(())
                })
            })
            .connect(&self.url)
            .await
            .map_err(|error| StoreError::Open(Arc::new(error)))
    }
}
