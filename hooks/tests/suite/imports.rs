//! What a guest may import works from inside one.

use bytes::Bytes;
use hooks::{BeforeAction, Blob, LogLevel};

use crate::guests::{call, engine, open, pre};

/// Answers `ok(respond(text))` with the text whose pointer and length lie at these addresses.
fn respond(pointer: &str, len: &str) -> String {
    format!(
        "(i32.store8 (i32.const 68) (i32.const 2))
         (i32.store (i32.const 72) (i32.load (i32.const {pointer}))) (i32.store (i32.const 76) (i32.load (i32.const {len})))
         (i32.const 64)"
    )
}

#[tokio::test]
async fn a_guest_reads_its_configuration_and_both_schemas() {
    for (interface, function, expected) in
        [("config", "get", "the config"), ("model-schema", "input", "the input"), ("model-schema", "output", "the output")]
    {
        let import = format!(r#"(import "feira:hook/{interface}@0.1.0" "{function}" (func $f (param i32)))"#);
        let body = format!("(call $f (i32.const 512)) {}", respond("512", "516"));
        let hook = open(&engine(), pre(&import, &body)).await.expect("the guest opens");
        let mut call = call("the config");
        (call.input_schema, call.output_schema) = ("the input".into(), "the output".into());
        let before = hook.before(&call, "{}").await.expect("an answer");
        assert_eq!(before.action, BeforeAction::Respond(expected.to_owned()));
    }
}

#[tokio::test]
async fn a_log_line_is_on_the_report() {
    let fields = r#"(import "feira:hook/log@0.1.0" "write" (func $log (param i32 i32 i32))) (data (i32.const 1024) "hello")"#;
    let body = "(call $log (i32.const 3) (i32.const 1024) (i32.const 5)) (i32.const 64)";
    let hook = open(&engine(), pre(fields, body)).await.expect("the guest opens");
    let log = hook.before(&call("{}"), "{}").await.expect("an answer").report.log;
    assert!(matches!(&log[..], [line] if line.level == LogLevel::Warn && line.message == "hello"), "{log:?}");
}

#[tokio::test]
async fn a_guest_copies_a_file_by_handle() {
    let fields = r#"
        (import "feira:hook/blobs@0.1.0" "open" (func $open (param i32 i32 i32)))
        (import "feira:hook/blobs@0.1.0" "[method]blob.read" (func $read (param i32 i64 i32 i32)))
        (import "feira:hook/blobs@0.1.0" "[constructor]writer" (func $new (param i32 i32) (result i32)))
        (import "feira:hook/blobs@0.1.0" "[method]writer.write" (func $write (param i32 i32 i32 i32)))
        (import "feira:hook/blobs@0.1.0" "[method]writer.finish" (func $finish (param i32 i32)))
        (data (i32.const 1024) "blob:0text/plain")"#;
    let body = format!(
        "(local $writer i32)
         (call $open (i32.const 1024) (i32.const 6) (i32.const 512))
         (if (i32.load8_u (i32.const 512)) (then unreachable))
         (call $read (i32.load (i32.const 516)) (i64.const 2) (i32.const 100) (i32.const 528))
         (local.set $writer (call $new (i32.const 1030) (i32.const 10)))
         (call $write (local.get $writer) (i32.load (i32.const 532)) (i32.load (i32.const 536)) (i32.const 544))
         (call $finish (local.get $writer) (i32.const 560))
         (if (i32.load8_u (i32.const 560)) (then unreachable))
         {}",
        respond("564", "568")
    );
    let hook = open(&engine(), pre(fields, &body)).await.expect("the guest opens");
    let blob = |media_type: &str, bytes| Blob { media_type: media_type.to_owned(), bytes: Bytes::from_static(bytes) };
    let mut call = call("{}");
    call.blobs = vec![blob("image/png", b"0123456789")];
    let before = hook.before(&call, "{}").await.expect("an answer");
    assert_eq!(before.action, BeforeAction::Respond("blob:1".to_owned()));
    assert_eq!(before.blobs, [blob("text/plain", b"23456789")]);
}

#[tokio::test]
async fn a_value_is_kept_for_the_same_account_and_hook_only_when_that_is_granted() {
    let fields = r#"
        (import "feira:hook/cache@0.1.0" "get" (func $get (param i32 i32 i32)))
        (import "feira:hook/cache@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32 i32)))
        (data (i32.const 1024) "keyvalue")"#;
    // Answers with what it finds, or else stores it and passes.
    let body = format!(
        "(call $get (i32.const 1024) (i32.const 3) (i32.const 512))
         (if (result i32) (i32.and (i32.eqz (i32.load8_u (i32.const 512))) (i32.load8_u (i32.const 516)))
            (then {})
            (else
                (call $set (i32.const 1024) (i32.const 3) (i32.const 1027) (i32.const 5) (i32.const 60) (i32.const 528))
                (i32.const 64)))",
        respond("520", "524")
    );
    let hook = open(&engine(), pre(fields, &body)).await.expect("the guest opens");
    let found = BeforeAction::Respond("value".to_owned());
    let mut call = call("{}");
    for expected in [BeforeAction::Pass, BeforeAction::Pass] {
        assert_eq!(hook.before(&call, "{}").await.expect("an answer").action, expected, "not granted");
    }
    call.cache_granted = true;
    for expected in [BeforeAction::Pass, found.clone(), found] {
        assert_eq!(hook.before(&call, "{}").await.expect("an answer").action, expected, "granted");
    }
    call.account = "carol".to_owned();
    assert_eq!(hook.before(&call, "{}").await.expect("an answer").action, BeforeAction::Pass, "another account");
}
