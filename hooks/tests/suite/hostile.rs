//! Guests that mean harm, each contained as its name says, and a neighbour that does not notice.

use std::time::{Duration, Instant};

use hooks::{BeforeAction, Budget, EngineSettings, HookError, Item, Outcome};

use crate::guests::{PASS, PROMPT_TEMPLATE, REDACT, before, call, component, engine, engine_with, open, pre};

const LOG: &str = r#"(import "feira:hook/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

fn assert_deadline(error: &HookError) {
    assert_eq!(*error, HookError::Deadline { limit_ms: 50 });
}

#[tokio::test]
async fn a_guest_that_behaves_passes() {
    let answer = before(&engine(), pre("", PASS)).await.expect("an answer");
    assert_eq!(answer.action, BeforeAction::Pass);
}

#[tokio::test]
async fn an_infinite_loop_ends_at_its_deadline() {
    let hook = open(&engine(), pre("", "(loop (br 0)) unreachable")).await.expect("the guest opens");
    let started = Instant::now();
    let failure = hook.before(&call("{}"), "{}").await.expect_err("no answer");
    assert_deadline(&failure.error);
    assert!(failure.report.duration_us >= 50_000, "{:?}", failure.report);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_loop_in_realloc_ends_at_its_deadline() {
    let realloc = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (loop (br 0)) unreachable)"#;
    assert_deadline(&before(&engine(), pre(realloc, PASS)).await.expect_err("no answer"));
}

#[tokio::test]
async fn a_loop_that_calls_the_host_ends_at_its_deadline() {
    let fields = r#"(import "feira:hook/config@0.1.0" "get" (func $get (param i32)))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))"#;
    let body = "(loop (call $get (i32.const 2048)) (br 0)) unreachable";
    assert_deadline(&before(&engine(), pre(fields, body)).await.expect_err("no answer"));
}

#[tokio::test]
async fn a_long_fill_ends_soon_after_its_deadline() {
    let body = "(memory.grow (i32.const 900)) drop
        (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 59000000)) (br 0)) unreachable";
    assert_deadline(&before(&engine(), pre("", body)).await.expect_err("no answer"));
}

#[tokio::test]
async fn a_trap_is_an_error() {
    let error = before(&engine(), pre("", "unreachable")).await.expect_err("no answer");
    assert!(matches!(&error, HookError::Trap(trap) if trap.contains("unreachable")), "{error:?}");
}

#[tokio::test]
async fn a_stack_overflow_is_a_trap() {
    let fields = "(func $deeper (param i64) (result i64) (call $deeper (i64.add (local.get 0) (i64.const 1))))";
    let error = before(&engine(), pre(fields, "(call $deeper (i64.const 0)) drop unreachable")).await.expect_err("no answer");
    assert!(matches!(&error, HookError::Trap(trap) if trap.contains("call stack exhausted")), "{error:?}");
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    let hook = open(&engine(), pre("", "(loop (memory.grow (i32.const 16)) drop (br 0)) unreachable")).await.expect("the guest opens");
    let failure = hook.before(&call("{}"), "{}").await.expect_err("no answer");
    assert_eq!(failure.error, HookError::Memory { limit_bytes: 64 * 1024 * 1024 });
    assert!(failure.report.memory_peak_bytes <= 64 * 1024 * 1024, "{:?}", failure.report);
}

#[tokio::test]
async fn a_table_grows_only_to_its_limit_and_the_guest_is_told() {
    let grow = "(loop (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)) (br_if 0))";
    let size = "(if (i32.gt_u (table.size $t) (i32.const 20000)) (then unreachable))";
    let answer = before(&engine(), pre("(table $t 0 funcref)", &format!("{grow} {size} {PASS}"))).await;
    assert_eq!(answer.map(|before| before.action), Ok(BeforeAction::Pass));
}

#[tokio::test]
async fn a_flood_of_log_lines_ends_at_its_budget_and_what_was_logged_stays() {
    let hook = open(&engine(), pre(LOG, "(loop (call $log (i32.const 2) (i32.const 0) (i32.const 4)) (br 0)) unreachable"))
        .await
        .expect("the guest opens");
    let failure = hook.before(&call("{}"), "{}").await.expect_err("no answer");
    assert_eq!(failure.error, HookError::Budget(Budget::LogLines));
    assert_eq!((failure.report.log.len(), failure.report.outcome), (100, Outcome::Failed));
}

#[tokio::test]
async fn long_log_lines_end_at_their_budget() {
    let line = |bytes: u32| {
        let body = format!("(memory.grow (i32.const 600)) drop (call $log (i32.const 2) (i32.const 0) (i32.const {bytes})) {PASS}");
        pre(LOG, &body)
    };
    assert_eq!(before(&engine(), line(20_000)).await, Err(HookError::Budget(Budget::LogBytes)));
    assert_eq!(before(&engine(), line(32 << 20)).await, Err(HookError::Budget(Budget::CopiedBytes)));
}

#[tokio::test]
async fn an_answer_that_is_no_answer_is_a_trap() {
    // `ok(replace(text))` whose text is, in turn, out of bounds, not UTF-8, and larger than the copy budget.
    let replace = |pointer: u32, len: u32| {
        let body = format!(
            "(memory.grow (i32.const 500)) drop
             (i32.store8 (i32.const 68) (i32.const 1))
             (i32.store (i32.const 72) (i32.const {pointer})) (i32.store (i32.const 76) (i32.const {len})) {PASS}"
        );
        pre(r#"(data (i32.const 1024) "\ff\fe")"#, &body)
    };
    let engine = engine();
    for component in [replace(u32::MAX, 10), replace(0, u32::MAX), replace(1024, 2), pre("", "(i32.const 3)"), pre("", "(i32.const -4)")] {
        let error = before(&engine, component).await.expect_err("no answer");
        assert!(matches!(error, HookError::Trap(_) | HookError::Budget(Budget::CopiedBytes)), "{error:?}");
    }
    assert_eq!(before(&engine, replace(0, 5 << 20)).await, Err(HookError::Budget(Budget::CopiedBytes)));
    let text = before(&engine, replace(2048, 3)).await.expect("an answer");
    assert_eq!(text.action, BeforeAction::Replace("\0\0\0".to_owned()));
}

#[tokio::test]
async fn a_thousand_metrics_are_more_than_an_answer_may_have() {
    let body = format!("(i32.store (i32.const 92) (i32.const 1024)) (i32.store (i32.const 96) (i32.const 1000)) {PASS}");
    assert_eq!(before(&engine(), pre("", &body)).await, Err(HookError::Budget(Budget::Metrics)));
}

#[tokio::test]
async fn a_full_pool_is_a_busy_host_and_free_again_when_a_stream_is_dropped() {
    let engine = engine_with(&EngineSettings { sandboxes_max: 2, ..EngineSettings::default() });
    let (redact, template) = (open(&engine, REDACT).await.expect("opens"), open(&engine, PROMPT_TEMPLATE).await.expect("opens"));
    let call = call("{}");
    let first = redact.open_stream(&call, "{}").await.expect("a free sandbox");
    let _second = redact.open_stream(&call, "{}").await.expect("a free sandbox");
    let failure = template.before(&call, r#"{"prompt":"p"}"#).await.expect_err("no free sandbox");
    assert_eq!((failure.error.clone(), failure.error.fault()), (HookError::Busy, hooks::Fault::Host));
    drop(first);
    assert!(template.before(&call, r#"{"prompt":"p"}"#).await.is_ok());
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_gives_the_sandbox_back() {
    let engine = engine();
    let hook = open(&engine, pre("", "(loop (br 0)) unreachable")).await.expect("the guest opens");
    let looping = tokio::spawn(async move { hook.before(&call("{}"), "{}").await.map(drop) });
    while engine.sandboxes_free() == 16 {
        tokio::task::yield_now().await;
    }
    looping.abort();
    assert!(looping.await.expect_err("it was aborted").is_cancelled());
    assert_eq!(engine.sandboxes_free(), 16);
    assert!(before(&engine, pre("", PASS)).await.is_ok());
}

#[tokio::test]
async fn a_guest_never_sees_what_the_last_one_left() {
    // Writes to a page of its image and to a fresh one, after looking whether somebody did before.
    let body = format!(
        "(memory.grow (i32.const 60)) drop
         (if (i32.or (i32.load (i32.const 5000)) (i32.load (i32.const 3000000))) (then unreachable))
         (i32.store (i32.const 5000) (i32.const 7)) (i32.store (i32.const 3000000) (i32.const 7)) {PASS}"
    );
    let engine = engine_with(&EngineSettings { sandboxes_max: 1, ..EngineSettings::default() });
    let hook = open(&engine, pre("", &body)).await.expect("the guest opens");
    for _ in 0..50 {
        hook.before(&call("{}"), "{}").await.expect("nothing was left");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_of_looping_guests_all_answer() {
    let engine = engine_with(&EngineSettings { sandboxes_max: 64, ..EngineSettings::default() });
    let looping = open(&engine, pre("", "(loop (br 0)) unreachable")).await.expect("opens");
    let template = open(&engine, PROMPT_TEMPLATE).await.expect("opens");
    let loops: Vec<_> = (0..16)
        .map(|_| {
            let looping = looping.clone();
            tokio::spawn(async move { looping.before(&call("{}"), "{}").await.map(drop) })
        })
        .collect();
    for _ in 0..100 {
        template.before(&call("{}"), r#"{"prompt":"p"}"#).await.expect("the neighbour answers");
        tokio::task::yield_now().await;
    }
    for looping in loops {
        assert_deadline(&looping.await.expect("no task panics").expect_err("no answer").error);
    }
    assert_eq!(engine.sandboxes_free(), 64);
}

/// A filter whose `push` has this body: the items lie at its second parameter, the answer where its result says.
fn filter(push: &str) -> Vec<u8> {
    let module = format!(
        r#"(module
            (import "[export]feira:hook/stream-filter@0.1.0" "[resource-new]filter" (func $new (param i32) (result i32)))
            (memory (export "memory") 4)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
            (func (export "feira:hook/stream-filter@0.1.0#[static]filter.open")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i64 i64 i32 i32) (result i32)
                (i32.store (i32.const 68) (call $new (i32.const 1)))
                (i32.const 64))
            (func (export "feira:hook/stream-filter@0.1.0#[method]filter.push") (param i32 i32 i32) (result i32) {push})
            (func (export "feira:hook/stream-filter@0.1.0#[method]filter.finish") (param i32) (result i32) (i32.const 128)))"#
    );
    component("stream-hook", None, &module)
}

#[tokio::test]
async fn a_push_that_loops_ends_the_stream_at_the_deadline_of_a_push() {
    let engine = engine();
    let hook = open(&engine, filter("(loop (br 0)) unreachable")).await.expect("the guest opens");
    let mut stream = hook.open_stream(&call("{}"), "{}").await.expect("a stream");
    let failure = stream.push(vec![Item::Text("x".to_owned())]).await.expect_err("no answer");
    assert_eq!(failure.error, HookError::Deadline { limit_ms: 10 });
    assert_eq!(engine.sandboxes_free(), 16, "a stream that failed holds nothing");
    let after = stream.push(Vec::new()).await.expect_err("the stream is over");
    assert_eq!(after.error, HookError::StreamOver);
    assert_eq!(stream.finish().await.expect_err("the stream is over").error, HookError::StreamOver);
}

#[tokio::test]
async fn a_stream_that_was_stopped_takes_no_more_items_and_still_closes() {
    // `ok(stop([]))`: the step's discriminant, 3, lies after the result's.
    let hook = open(&engine(), filter("(i32.store8 (i32.const 260) (i32.const 3)) (i32.const 256)")).await.expect("the guest opens");
    let mut stream = hook.open_stream(&call("{}"), "{}").await.expect("a stream");
    assert_eq!(stream.push(Vec::new()).await.expect("a step"), hooks::Step::Stop(Vec::new()));
    assert_eq!(stream.push(Vec::new()).await.expect_err("the stream is over").error, HookError::StreamOver);
    assert_eq!(stream.finish().await.expect("an end").report.outcome, Outcome::Stopped);
}

#[tokio::test]
async fn a_push_dropped_in_the_middle_ends_the_stream() {
    let engine = engine();
    let hook = open(&engine, filter("(loop (br 0)) unreachable")).await.expect("the guest opens");
    let mut call = call("{}");
    call.limits.push_max = Duration::from_secs(10);
    let mut stream = hook.open_stream(&call, "{}").await.expect("a stream");
    // The loop yields at the first tick, and the other branch, which was asked before, is ready then.
    tokio::select! {
        biased;
        () = tokio::task::yield_now() => {}
        _ = stream.push(Vec::new()) => panic!("the loop has an answer"),
    }
    assert_eq!(engine.sandboxes_free(), 16);
    assert_eq!(stream.push(Vec::new()).await.expect_err("the stream is over").error, HookError::StreamOver);
}
