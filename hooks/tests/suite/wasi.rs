//! Guests of toolchains that link WASI get an empty one.

use crate::guests::{call, engine, open, pre_in_world};

const PACKAGE: &str = "package test:test;
    world test {
        include feira:hook/pre-hook@0.1.0;
        import wasi:random/random@0.2.0;
        import wasi:clocks/wall-clock@0.2.0;
        import wasi:cli/environment@0.2.0;
        import wasi:filesystem/preopens@0.2.0;
    }
    package wasi:random@0.2.0 { interface random { get-random-u64: func() -> u64; } }
    package wasi:clocks@0.2.0 {
        interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
    }
    package wasi:cli@0.2.0 { interface environment { get-environment: func() -> list<tuple<string, string>>; } }
    package wasi:filesystem@0.2.0 {
        interface types { resource descriptor; }
        interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<own<descriptor>, string>>; }
    }";

const IMPORTS: &str = r#"
    (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
    (import "wasi:clocks/wall-clock@0.2.0" "now" (func $now (param i32)))
    (import "wasi:cli/environment@0.2.0" "get-environment" (func $environment (param i32)))
    (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
    (data (i32.const 1024) "randomsecondsenvdirs")"#;

/// Answers `ok(pass)` with four metrics at 2048: random, seconds, and the lengths of the two lists.
const BODY: &str = "
    (call $now (i32.const 512)) (call $environment (i32.const 528)) (call $directories (i32.const 536))
    (i32.store (i32.const 2048) (i32.const 1024)) (i32.store (i32.const 2052) (i32.const 6))
    (f64.store (i32.const 2056) (f64.convert_i64_u (call $random)))
    (i32.store (i32.const 2064) (i32.const 1030)) (i32.store (i32.const 2068) (i32.const 7))
    (f64.store (i32.const 2072) (f64.convert_i64_u (i64.load (i32.const 512))))
    (i32.store (i32.const 2080) (i32.const 1037)) (i32.store (i32.const 2084) (i32.const 3))
    (f64.store (i32.const 2088) (f64.convert_i32_u (i32.load (i32.const 532))))
    (i32.store (i32.const 2096) (i32.const 1040)) (i32.store (i32.const 2100) (i32.const 4))
    (f64.store (i32.const 2104) (f64.convert_i32_u (i32.load (i32.const 540))))
    (i32.store (i32.const 92) (i32.const 2048)) (i32.store (i32.const 96) (i32.const 4))
    (i32.const 64)";

#[tokio::test]
async fn time_stands_still_randomness_follows_the_seed_and_nothing_else_is_there() {
    let component = pre_in_world("test:test/test", Some(PACKAGE), IMPORTS, BODY);
    let hook = open(&engine(), component).await.expect("the guest opens");
    let mut call = call("{}");
    let first = hook.before(&call, "{}").await.expect("an answer").metrics;
    let again = hook.before(&call, "{}").await.expect("an answer").metrics;
    call.seed += 1;
    let other = hook.before(&call, "{}").await.expect("an answer").metrics;

    let names: Vec<&str> = first.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, ["random", "seconds", "env", "dirs"]);
    assert_eq!(first, again);
    assert!((first[0].value - other[0].value).abs() > 1.0, "another seed gives other bytes");
    let rest: Vec<f64> = first[1..].iter().map(|metric| metric.value).collect();
    assert_eq!(rest, [1_795_000_000.0, 0.0, 0.0]);
}
