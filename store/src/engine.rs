//! The connection that work runs on, and which engine stands behind it.

/// An open transaction, or a savepoint inside one. Statements run on it with `.execute(&mut *tx)`.
pub type Tx = sqlx::AnyConnection;

/// The two engines. Ask only where one SQL text cannot serve both, as for `json_each` and `json_to_recordset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// Tells which engine a transaction runs on.
    pub fn of(tx: &Tx) -> Engine {
        match tx.backend_name() {
            "SQLite" => Engine::Sqlite,
            _ => Engine::Postgres,
        }
    }
}
