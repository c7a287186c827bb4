//! A registry on a fresh database for the tests of this room: a fixed clock, seeded randomness, blobs in memory.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use hooks::{CompileLimits, Compiler, Engine, EngineSettings, HostKey};
use protocol::api::NewVersion;
use protocol::manifest::VersionFile;
use protocol::{Clock, Digest, Entropy, ModelRef, Timestamp};
use serde_json::json;
use sqlx::AssertSqlSafe;
use store::{Db, StoreError};
use tempfile::TempDir;

use crate::accounts::{Account, AccountKind, Role};
use crate::caller::Caller;
use crate::models::{ModelRow, NewModel, Visibility};
use crate::tokens::Scopes;
use crate::versions::VersionRow;
use crate::{Blobs, HookPublisher, Registry, RegistryParts};

/// A registry, and what a test moves under it.
pub(crate) struct House {
    pub(crate) registry: Registry,
    pub(crate) clock: Clock,
    db: Db,
    home: Arc<TempDir>,
}

/// Runs a test on a registry over `SQLite`, and again over `PostgreSQL`.
pub(crate) async fn on_both_engines<R: Future<Output = ()>>(test: impl Fn(House) -> R) {
    store::testing::on_both_engines(|db| test(House::on(db))).await;
}

impl House {
    fn on(db: Db) -> Self {
        let clock = Clock::fixed(Timestamp::from_micros(1_700_000_000_000_000));
        let home = Arc::new(tempfile::tempdir().expect("a temporary directory can be made"));
        let entropy = Entropy::seeded(1);
        let registry = Registry::new(RegistryParts {
            db: db.clone(),
            blobs: Blobs::open("memory:", entropy.clone()).unwrap(),
            spool: home.path().join("spool"),
            clock: clock.clone(),
            entropy,
            hooks: hook_publisher(),
        });
        Self { registry, clock, db, home }
    }

    /// A second registry over the same database and blobs, with a memory of its own.
    pub(crate) fn another_process(&self) -> Registry {
        Registry::new(RegistryParts {
            db: self.db.clone(),
            blobs: self.registry.blobs.clone(),
            spool: self.home.path().join("spool"),
            clock: self.clock.clone(),
            entropy: self.registry.entropy.clone(),
            hooks: hook_publisher(),
        })
    }

    pub(crate) async fn account(&self, name: &str) -> Account {
        self.registry.create_account(name, AccountKind::User, Role::User).await.unwrap()
    }

    pub(crate) async fn caller(&self, name: &str) -> Caller {
        Caller { account: Arc::new(self.account(name).await), token_id: "tok_test".to_owned(), scopes: Scopes::ALL }
    }

    /// A public model.
    pub(crate) async fn model(&self, owner: &Caller, name: &str) -> Arc<ModelRow> {
        let model = ModelRef::new(&owner.account.name, name).unwrap();
        self.registry.create_model(owner, NewModel::named(model, Visibility::Public, "cpu")).await.unwrap()
    }

    pub(crate) async fn publish(&self, owner: &Caller, model: &ModelRef, new: NewVersion) -> Arc<VersionRow> {
        self.upload_files(&new).await;
        self.registry.publish(owner, model, new).await.unwrap().version
    }

    /// Stores the files of [`new_version`], whose path is also their content.
    pub(crate) async fn upload_files(&self, new: &NewVersion) {
        for file in &new.files {
            self.registry.blobs().put(file.path.clone().into_bytes().into()).await.unwrap();
        }
    }

    /// Makes statements that write to a table fail.
    pub(crate) async fn break_table(&self, table: &'static str) {
        self.execute(format!("alter table {table} rename to {table}_broken")).await;
    }

    pub(crate) async fn mend_table(&self, table: &'static str) {
        self.execute(format!("alter table {table}_broken rename to {table}")).await;
    }

    /// As a database was before manifests were listed in it.
    pub(crate) async fn forget_manifests(&self) {
        self.execute("delete from named_blob".to_owned()).await;
        self.execute("delete from manifest".to_owned()).await;
    }

    pub(crate) async fn execute(&self, statement: String) {
        let execute = self.db.write(move |tx| {
            Box::pin(async move {
                sqlx::query(AssertSqlSafe(statement)).execute(tx).await?;
                Ok::<_, StoreError>(())
            })
        });
        execute.await.unwrap();
    }
}

/// A version with one file, which differs from version to version.
pub(crate) fn new_version(text: &str) -> NewVersion {
    let path = format!("{text}.py");
    let schemas = json!({"Input": {"type": "object", "properties": {"text": {"type": "string"}}}, "Output": {"type": "string"}});
    NewVersion {
        config: serde_json::from_value(json!({
            "protocol": "cog",
            "predictor": format!("{path}:Predictor"),
            "openapi_schema": {"components": {"schemas": schemas}},
        }))
        .unwrap(),
        files: vec![VersionFile { digest: Digest::of(path.as_bytes()), size: path.len() as u64, path }],
        pricing: None,
    }
}

/// Checks hooks but compiles none: `tests/hook.rs` does.
fn hook_publisher() -> HookPublisher {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let settings = EngineSettings { sandboxes_max: 1, ..EngineSettings::default() };
    let engine = ENGINE.get_or_init(|| Engine::new(&settings, HostKey::new([1; 32])).unwrap());
    HookPublisher::new(engine.clone(), Compiler::new(PathBuf::from("/nonexistent"), Vec::new(), CompileLimits::default()))
}
