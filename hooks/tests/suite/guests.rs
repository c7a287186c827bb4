//! Makes hooks for the tests: the real ones from their files, hostile ones from a few lines of WebAssembly text.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hooks::{Call, CompileLimits, Compiler, Engine, EngineSettings, HookError, HostKey, Limits, OpenError};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub const PROMPT_TEMPLATE: &[u8] = include_bytes!("../../guests/prebuilt/prompt-template.wasm");
pub const REDACT: &[u8] = include_bytes!("../../guests/prebuilt/redact.wasm");

/// The answer `ok(pass)` without metrics is 36 zero bytes; they lie here in every guest.
pub const PASS: &str = "(i32.const 64)";

pub fn engine() -> Engine {
    engine_with(&EngineSettings { sandboxes_max: 16, ..EngineSettings::default() })
}

pub fn engine_with(settings: &EngineSettings) -> Engine {
    Engine::new(settings, HostKey::new([7; 32])).expect("this machine gives the pool its address space")
}

pub fn compiler() -> Compiler {
    compiler_with(CompileLimits::default())
}

/// The example that stands for `feira hook-compile`: cargo builds it with the tests, beside them.
pub fn compiler_with(limits: CompileLimits) -> Compiler {
    let test = std::env::current_exe().expect("a test knows its own path");
    let child = test.ancestors().nth(2).expect("target/PROFILE").join("examples/compile-child");
    Compiler::new(child, Vec::new(), limits)
}

pub async fn open(engine: &Engine, component: impl Into<Bytes>) -> Result<hooks::Hook, OpenError> {
    engine.open(&compiler(), component.into(), None).await.map(|opened| opened.hook)
}

pub fn call(config: &str) -> Call {
    Call {
        request_id: "0123456789abcdefghijklmnop".to_owned(),
        owner: "ada".to_owned(),
        name: "engine".to_owned(),
        version: "0".repeat(64),
        account: "bob".to_owned(),
        streaming: false,
        now_ms: 1_795_000_000_000,
        seed: 42,
        config: Arc::from(config),
        input_schema: Arc::from("{}"),
        output_schema: Arc::from("{}"),
        blobs: Vec::new(),
        cache_granted: false,
        limits: Limits::default(),
    }
}

/// A guest that exports `pre`, whose `process` has this body and whose module has these other fields.
pub fn pre(fields: &str, body: &str) -> Vec<u8> {
    pre_in_world("pre-hook", None, fields, body)
}

/// As [`pre`], with imports that a package of the test's own declares.
pub fn pre_in_world(world: &str, package: Option<&str>, fields: &str, body: &str) -> Vec<u8> {
    let realloc = if fields.contains("cabi_realloc") { "" } else { REALLOC };
    // The context is twelve numbers, the input two.
    let module = format!(
        r#"(module
            {fields}
            (memory (export "memory") 4)
            {realloc}
            (func (export "feira:hook/pre@0.1.0#process")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i64 i64 i32 i32) (result i32)
                {body}))"#
    );
    component(world, package, &module)
}

pub fn component(world: &str, package: Option<&str>, module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
    let (contract, _) = resolve.push_path(wit).expect("the contract");
    let package = package.map_or(contract, |text| resolve.push_str("test.wit", text).expect("the package of a test"));
    let world = resolve.select_world(&[package], Some(world)).expect("the world of a test");
    let mut module = wat::parse_str(module).expect("the module of a test");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module takes metadata");
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).expect("the module fits the world");
    encoder.encode().expect("the module makes a component")
}

const REALLOC: &str = r#"
    (global $free (mut i32) (i32.const 65536))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        global.get $free
        (global.set $free (i32.and (i32.const -8) (i32.add (i32.const 7) (i32.add (global.get $free) (local.get 3))))))"#;

/// Calls `before` of a guest that is opened for it.
pub async fn before(engine: &Engine, component: Vec<u8>) -> Result<hooks::Before, HookError> {
    let hook = open(engine, component).await.expect("the guest opens");
    hook.before(&call("{}"), r#"{"prompt":"hello"}"#).await.map_err(|failure| failure.error)
}
