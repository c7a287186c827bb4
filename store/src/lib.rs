//! One database behind two engines: a `SQLite` file by default, `PostgreSQL` when it is shared.
//!
//! The SQL of each room stands in that room's `db/` and is one text for both engines: `$1` parameters, text ids, `bigint` microseconds for
//! time, `bigint` nano-dollars for money, `bigint` 0 or 1 for a flag, JSON as text. What is answered is on disk.

mod db;
mod engine;
mod error;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use db::Db;
pub use db::batch::Batch;
pub use engine::{Engine, Tx};
pub use error::StoreError;
/// The future that a piece of work returns: `Box::pin(async move { … })`.
pub use futures::future::BoxFuture;
