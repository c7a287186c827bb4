//! The ledger's statements. They are bulk: one statement writes the rows of many commands.

mod balance;
pub(crate) mod command;
mod entry;
pub(crate) mod instance;
pub(crate) mod report;

use store::{Engine, Tx};

/// A statement that takes its rows as one JSON text, which the engines unpack differently.
struct Bulk {
    sqlite: &'static str,
    postgres: &'static str,
}

impl Bulk {
    fn on(&self, tx: &Tx) -> &'static str {
        match Engine::of(tx) {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }
}

/// Writes rows or keys as the JSON text that a [`Bulk`] statement takes.
fn json(rows: &impl serde::Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))
}
