//! What a hook costs: the two real ones on small and large documents, a warm stream, and beside them the bare engine.

use std::hint::black_box;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use hooks::{Call, CompileLimits, Compiler, Engine, EngineSettings, Hook, HostKey, Item, Limits, compile_child_main};
use tokio::runtime::Runtime;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

const PROMPT_TEMPLATE: &[u8] = include_bytes!("../guests/prebuilt/prompt-template.wasm");
const REDACT: &[u8] = include_bytes!("../guests/prebuilt/redact.wasm");
/// Makes this program the compile child, as `feira hook-compile` does for the house.
const CHILD: &str = "hook-compile";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(CHILD) {
        return compile_child_main(io::stdin().lock(), io::stdout().lock(), io::stderr().lock());
    }
    let runtime = Runtime::new().expect("a runtime starts");
    let mut criterion =
        Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).configure_from_args();
    bare(&mut criterion, &runtime);
    calls(&mut criterion, &runtime);
    criterion.final_summary();
    ExitCode::SUCCESS
}

fn calls(criterion: &mut Criterion, runtime: &Runtime) {
    let engine = Engine::new(&EngineSettings::default(), HostKey::new([7; 32])).expect("an engine");
    let template = open(&engine, runtime, PROMPT_TEMPLATE);
    let redact = open(&engine, runtime, REDACT);
    let (template_call, redact_call) = (call(r#"{"template":"Q: {prompt}\nA:","prompt_chars_max":200000}"#), call("{}"));
    for (size, bytes) in [("1 KB", 1_000), ("100 KB", 100_000)] {
        let text = "tell me more about it ".repeat(bytes / 22);
        let input = format!(r#"{{"prompt":"{text}","temperature":0.7}}"#);
        let output = format!(r#"["{}","{}"]"#, &text[..text.len() / 2], &text[text.len() / 2..]);
        criterion.bench_function(&format!("before, {size}"), |b| {
            b.to_async(runtime).iter(async || black_box(template.before(&template_call, &input).await.expect("an answer")));
        });
        criterion.bench_function(&format!("after, {size}"), |b| {
            b.to_async(runtime).iter(async || black_box(redact.after(&redact_call, &input, &output).await.expect("an answer")));
        });
        criterion.bench_function(&format!("both, {size}"), |b| {
            b.to_async(runtime).iter(async || {
                black_box(template.before(&template_call, &input).await.expect("an answer"));
                black_box(redact.after(&redact_call, &input, &output).await.expect("an answer"))
            });
        });
    }
    criterion.bench_function("stream opened and finished", |b| {
        b.to_async(runtime).iter(async || {
            let stream = redact.open_stream(&redact_call, "{}").await.expect("a stream");
            black_box(stream.finish().await.expect("an end"))
        });
    });
    criterion.bench_function("stream push of 17 bytes, warm", |b| {
        let mut stream = runtime.block_on(redact.open_stream(&redact_call, "{}")).expect("a stream");
        b.iter(|| {
            let items = vec![Item::Text("tell me about it\n".to_owned())];
            black_box(runtime.block_on(stream.push(items)).expect("a step"))
        });
    });
}

/// Wasmtime alone, with the same settings: what no hook can be faster than.
fn bare(criterion: &mut Criterion, runtime: &Runtime) {
    let mut pool = PoolingAllocationConfig::new();
    pool.max_memory_size(128 << 20).linear_memory_keep_resident(4 << 20).pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = wasmtime::Engine::new(&config).expect("an engine");
    for (name, component) in [("prompt-template", PROMPT_TEMPLATE), ("redact", REDACT)] {
        let component = Component::from_binary(&engine, component).expect("the component compiles");
        let mut linker = Linker::<()>::new(&engine);
        linker.define_unknown_imports_as_traps(&component).expect("imports have names");
        let instance_pre: InstancePre<()> = linker.instantiate_pre(&component).expect("all imports are there");
        criterion.bench_function(&format!("bare instantiate and drop, {name}"), |b| {
            b.to_async(runtime).iter(async || {
                let mut store = Store::new(&engine, ());
                store.set_epoch_deadline(1);
                black_box(instance_pre.instantiate_async(&mut store).await.expect("an instance"))
            });
        });
    }
}

fn open(engine: &Engine, runtime: &Runtime, component: &'static [u8]) -> Hook {
    let this = std::env::current_exe().expect("a program knows its own path");
    let compiler = Compiler::new(this, vec![CHILD.into()], CompileLimits::default());
    runtime.block_on(engine.open(&compiler, Bytes::from_static(component), None)).expect("the hook opens").hook
}

fn call(config: &str) -> Call {
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
