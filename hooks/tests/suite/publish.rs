//! From a file to a hook: what is refused, what the compile child survives, and which artefacts are trusted.

use std::time::Duration;

use bytes::Bytes;
use hooks::{
    Artefact, CompileError, CompileLimits, Compiler, Engine, EngineSettings, HookError, HostKey, LoadError, OpenError, Refused, check,
};
use protocol::Digest;

use crate::guests::{PASS, REDACT, call, compiler, compiler_with, engine, open, pre, pre_in_world};

#[tokio::test]
async fn a_hook_is_compiled_once_and_then_opened_from_its_artefact() {
    let (engine, compiler) = (engine(), compiler());
    let component = Bytes::from_static(REDACT);
    let first = engine.open(&compiler, component.clone(), None).await.expect("the hook opens");
    let artefact = first.compiled.expect("it was compiled");
    let unused = Compiler::new("/nowhere".into(), Vec::new(), CompileLimits::default());
    let second = engine.open(&unused, component.clone(), Some(artefact.clone())).await.expect("the artefact opens");
    assert!(second.compiled.is_none());
    assert_eq!(second.hook.digest(), &Digest::of(REDACT));

    let other_key =
        Engine::new(&EngineSettings { sandboxes_max: 1, ..EngineSettings::default() }, HostKey::new([8; 32])).expect("an engine");
    assert_eq!(other_key.load(&Digest::of(REDACT), &artefact).map(drop), Err(LoadError::Forged));
    assert_eq!(engine.load(&Digest::of(b"another"), &artefact).map(drop), Err(LoadError::Stale));
    assert_eq!(engine.artefact_name(&Digest::of(REDACT)), other_key.artefact_name(&Digest::of(REDACT)));
}

#[tokio::test]
async fn an_artefact_from_elsewhere_is_made_again() {
    let (engine, compiler) = (engine(), compiler());
    let component = Bytes::from(pre("", PASS));
    for foreign in [Vec::new(), b"\x7fELF".repeat(100), component.to_vec()] {
        let opened = engine.open(&compiler, component.clone(), Some(Artefact::from_bytes(foreign))).await.expect("it opens");
        assert!(opened.compiled.is_some());
        assert!(opened.hook.before(&call("{}"), "{}").await.is_ok());
    }
}

#[tokio::test]
async fn a_hook_that_imports_sockets_is_refused_before_it_is_compiled() {
    let package = "package test:test;
        world test { include feira:hook/pre-hook@0.1.0; import wasi:sockets/instance-network@0.2.0; }
        package wasi:sockets@0.2.0 { interface instance-network { instance-network: func() -> u32; } }";
    let import = r#"(import "wasi:sockets/instance-network@0.2.0" "instance-network" (func (result i32)))"#;
    let component = pre_in_world("test:test/test", Some(package), import, PASS);
    let never = Compiler::new("/nowhere".into(), Vec::new(), CompileLimits::default());
    let refused = engine().open(&never, component.into(), None).await.expect_err("it is refused");
    let OpenError::Refused(Refused::ForbiddenImport { import }) = refused else { panic!("{refused:?}") };
    assert_eq!(import, "wasi:sockets/instance-network@0.2.0");
}

#[tokio::test]
async fn a_body_that_is_not_valid_code_does_not_compile() {
    let mut component = pre("", "(i64.eqz (i64.const 1234567)) drop (i32.const 64)");
    let constant = component.windows(4).position(|bytes| bytes == [0x42, 0x87, 0xad, 0xcb]).expect("the constant's encoding");
    component[constant] = 0x41;
    let error = open(&engine(), component).await.expect_err("it is not valid");
    assert!(matches!(error, OpenError::Compile(CompileError::Rejected { .. })), "{error:?}");
}

#[tokio::test]
async fn a_proposal_that_is_off_does_not_compile() {
    let module = r#"(component (core module (memory 1 1 shared)) (instance $i) (export "feira:hook/pre@0.1.0" (instance $i)))"#;
    let error = open(&engine(), wat::parse_str(module).expect("the component of a test")).await.expect_err("threads are off");
    assert!(matches!(error, OpenError::Compile(CompileError::Rejected { .. })), "{error:?}");
}

#[tokio::test]
async fn an_export_of_another_type_does_not_start() {
    let component = wat::parse_str(
        r#"(component
            (core module $m (func (export "process")))
            (core instance $i (instantiate $m))
            (func $process (canon lift (core func $i "process")))
            (instance $pre (export "process" (func $process)))
            (export "feira:hook/pre@0.1.0" (instance $pre)))"#,
    );
    let error = open(&engine(), component.expect("the component of a test")).await.expect_err("the type is wrong");
    assert!(matches!(error, OpenError::DoesNotStart(HookError::Trap(_))), "{error:?}");
}

#[tokio::test]
async fn a_start_function_that_loops_is_found_at_publish() {
    let error = open(&engine(), pre("(func $start (loop (br 0))) (start $start)", PASS)).await.expect_err("it never starts");
    assert!(matches!(error, OpenError::DoesNotStart(HookError::Deadline { .. })), "{error:?}");
}

#[tokio::test]
async fn a_memory_that_no_sandbox_has_does_not_fit() {
    let fields = "(memory $huge 4000)";
    let component = wat::parse_str(format!(
        "(component (core module $m {fields}) (core instance (instantiate $m))
            (instance $i) (export \"feira:hook/pre@0.1.0\" (instance $i)))"
    ));
    let error = open(&engine(), component.expect("the component of a test")).await.expect_err("250 MiB are too much");
    assert!(matches!(error, OpenError::Load(LoadError::DoesNotFit { .. })), "{error:?}");
}

/// A dozen functions of straight code, each just under the largest body that is taken.
fn bomb() -> Vec<u8> {
    let line = "local.get 0 local.get 0 i32.load i32.const 77777 i32.mul i32.store ".repeat(34_000);
    let functions = format!("(func (param i32) {line})").repeat(12);
    let component = format!(
        "(component (core module $m (memory 1) {functions}) (core instance (instantiate $m))
            (instance $i) (export \"feira:hook/pre@0.1.0\" (instance $i)))"
    );
    wat::parse_str(component).expect("the component of a test")
}

async fn explode(limits: CompileLimits) -> CompileError {
    let component = bomb();
    check(&component).expect("nothing is seen from outside");
    compiler_with(limits).compile(&component).await.map(|code| code.len()).expect_err("it needs more than the limit")
}

#[tokio::test]
async fn a_compile_bomb_ends_at_the_childs_memory() {
    let error = explode(CompileLimits { address_space_bytes: 160 << 20, ..CompileLimits::default() }).await;
    assert!(matches!(error, CompileError::Memory { limit_bytes: 167_772_160 }), "{error:?}");
}

#[tokio::test]
async fn a_compile_bomb_ends_at_the_childs_time() {
    let error = explode(CompileLimits { cpu_seconds: 1, ..CompileLimits::default() }).await;
    assert!(matches!(error, CompileError::Time { limit_seconds: 1 }), "{error:?}");
}

#[tokio::test]
async fn a_hundred_thousand_nested_blocks_end_in_the_child() {
    // Written as bytes: the text format's own parser does not nest as deep.
    let blocks = 100_000;
    let body = [vec![0], [0x02, 0x40].repeat(blocks), vec![0x0b; blocks + 1]].concat();
    let code = [leb(1), leb(body.len()), body].concat();
    let module = [b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a".to_vec(), leb(code.len()), code].concat();
    let component = [b"\0asm\x0d\0\x01\0\x01".to_vec(), leb(module.len()), module].concat();
    let limits = CompileLimits { cpu_seconds: 1, ..CompileLimits::default() };
    let compiled = compiler_with(limits).compile(&component).await.map(|code| code.len());
    // A quick compiler gets through in its second, a slow one is stopped; neither may crash.
    assert!(matches!(compiled, Ok(_) | Err(CompileError::Time { limit_seconds: 1 })), "{compiled:?}");
}

/// An unsigned number as WebAssembly writes it.
fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(0x80 | value.to_le_bytes()[0]);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

#[tokio::test]
async fn a_compiler_that_hangs_is_ended() {
    let limits = CompileLimits { wall_max: Duration::from_millis(50), ..CompileLimits::default() };
    let sleeping = Compiler::new("/bin/sleep".into(), vec!["600".into()], limits);
    assert!(matches!(sleeping.compile(REDACT).await, Err(CompileError::Time { .. })));
}

#[tokio::test]
async fn a_compiler_that_is_missing_is_the_hosts_fault() {
    let missing = Compiler::new("/nowhere".into(), Vec::new(), CompileLimits::default());
    assert!(matches!(missing.compile(REDACT).await, Err(CompileError::NotStarted(_))));
}
