//! Publishing versions with real hooks: compiled in a child process, which is this same program started again.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use hooks::{CompileLimits, Compiler, Engine, EngineSettings, HostKey};
use protocol::api::NewVersion;
use protocol::signing::SigningKey;
use protocol::{Clock, Digest, Entropy, ModelRef};
use registry::{AccountKind, Blobs, Caller, HookPublisher, NewModel, PublishError, Registry, RegistryParts, Role, Scopes, Visibility};
use serde_json::json;
use store::Db;

const CHILD: &str = "compile-hook";
const REDACT: &[u8] = include_bytes!("../../hooks/guests/prebuilt/redact.wasm");

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(CHILD) {
        return hooks::compile_child_main(io::stdin(), io::stdout(), io::stderr());
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(store::testing::on_both_engines(a_hook_is_compiled_once_and_must_export_what_it_is_declared_for));
    println!("test a_hook_is_compiled_once_and_must_export_what_it_is_declared_for ... ok");
    ExitCode::SUCCESS
}

async fn a_hook_is_compiled_once_and_must_export_what_it_is_declared_for(db: Db) {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let this_program = std::env::current_exe().expect("this program has a path");
    let registry = open(db.clone(), home.path(), &this_program);
    let account = registry.create_account("ada", AccountKind::User, Role::User).await.expect("an account");
    let caller = Caller { account: Arc::new(account), token_id: String::new(), scopes: Scopes::ALL };
    let model = ModelRef::new("ada", "echo").expect("a name");
    registry.create_model(&caller, NewModel::named(model.clone(), Visibility::Public, "cpu")).await.expect("a model");

    let absent = registry.publish(&caller, &model, with_hook(&Digest::of(REDACT), "stream")).await;
    assert!(matches!(absent, Err(PublishError::AbsentBlobs { .. })), "{absent:?}");
    let digest = registry.blobs().put(REDACT.into()).await.expect("a blob").digest;
    let wrong_stage = registry.publish(&caller, &model, with_hook(&digest, "before")).await;
    assert!(matches!(wrong_stage, Err(PublishError::HookRefused { .. })), "{wrong_stage:?}");
    let published = registry.publish(&caller, &model, with_hook(&digest, "stream")).await.expect("a real hook is taken");
    assert_eq!(published.version.config.hooks[0].digest, digest);
    assert!(published.fresh);

    // Another process that could not compile loads what the first one stored.
    let other = open(db, home.path(), Path::new("/nonexistent"));
    let hook = other.open_hook(&digest).await.expect("the artefact is good").expect("the component is there");
    assert!(hook.exports().stream && hook.exports().after && !hook.exports().before);
}

fn open(db: Db, home: &Path, compiler: &Path) -> Registry {
    let entropy = Entropy::seeded(1);
    let settings = EngineSettings { sandboxes_max: 1, ..EngineSettings::default() };
    let engine = Engine::new(&settings, HostKey::new([1; 32])).expect("the engine starts");
    let compiler = Compiler::new(compiler.to_owned(), vec![CHILD.into()], CompileLimits::default());
    Registry::new(RegistryParts {
        db,
        blobs: Blobs::open(&format!("file://{}/blobs", home.display()), entropy.clone()).expect("a directory"),
        spool: home.join("spool"),
        clock: Clock::system(),
        entropy,
        hooks: HookPublisher::new(engine, compiler),
        signing_key: SigningKey::of_seed(&[1; 32]),
    })
}

fn with_hook(digest: &Digest, stage: &str) -> NewVersion {
    let schemas = json!({"Input": {"type": "object"}, "Output": {"type": "string"}});
    let config = json!({
        "protocol": "cog",
        "command": ["serve"],
        "openapi_schema": {"components": {"schemas": schemas}},
        "hooks": [{"name": "redact", "digest": digest, "stages": [stage]}],
    });
    NewVersion { config: serde_json::from_value(config).expect("a config"), files: Vec::new(), pricing: None }
}
