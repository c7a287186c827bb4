//! What surrounds one guest: its limits, its budgets, and the host functions it may call.

mod blobs;
mod cache;
mod log;
mod memory;
mod stop;
pub(crate) mod wasi;

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::WasiCtx;

pub use blobs::Writer;
pub(crate) use cache::{Cache, Shelf};
pub(crate) use stop::{Stop, explain};

use crate::bindings::feira::hook::{config, model_schema, types};
use crate::call::{Blob, Call, Limits};
use crate::engine::Engine;
use crate::report::{LogLine, Outcome, Report};
use crate::run_clock::RunClock;
use memory::Memory;
use protocol::Digest;

/// More handles at a time are a leak in the guest.
const HANDLES_MAX: usize = 64;

/// The state of one guest, in its store.
pub(crate) struct Sandbox {
    limits: Limits,
    config: Arc<str>,
    input_schema: Arc<str>,
    output_schema: Arc<str>,
    now_ms: u64,
    seed: u64,

    clock: Arc<RunClock>,
    /// When the guest is stopped, on its own clock.
    run_until: Duration,
    memory: Memory,
    log: Vec<LogLine>,
    log_bytes: usize,
    shelf: Option<Shelf>,
    cache_calls: usize,
    blobs: Vec<Blob>,
    blob_bytes_written: usize,
    handles: ResourceTable,
    /// Made when a guest first asks for it: most never do.
    wasi: Option<WasiCtx>,
}

impl Sandbox {
    /// A store whose guest is limited from its first instruction.
    pub(crate) fn store(engine: &Engine, call: &Call, tenant_key: u64, hook: &Digest) -> Store<Self> {
        let mut handles = ResourceTable::new();
        handles.set_max_capacity(HANDLES_MAX);
        let sandbox = Self {
            limits: call.limits.clone(),
            config: call.config.clone(),
            input_schema: call.input_schema.clone(),
            output_schema: call.output_schema.clone(),
            now_ms: call.now_ms,
            seed: call.seed,
            clock: Arc::default(),
            run_until: Duration::ZERO,
            memory: Memory::new(call.limits.memory_bytes_max),
            log: Vec::new(),
            log_bytes: 0,
            shelf: call.cache_granted.then(|| Shelf::new(engine.cache().clone(), tenant_key, *hook)),
            cache_calls: 0,
            blobs: call.blobs.clone(),
            blob_bytes_written: 0,
            handles,
            wasi: None,
        };
        let mut store = Store::new(engine.wasmtime(), sandbox);
        store.limiter(|sandbox| &mut sandbox.memory);
        store.set_hostcall_fuel(call.limits.copied_bytes_max);
        store.epoch_deadline_callback(|store| {
            let sandbox = store.data();
            if sandbox.clock.running() >= sandbox.run_until {
                return Err(Stop::Deadline.into());
            }
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        store
    }

    /// Gives the guest so much time from now on.
    pub(crate) fn allow(store: &mut Store<Self>, run_max: Duration) -> Arc<RunClock> {
        store.set_epoch_deadline(1);
        let sandbox = store.data_mut();
        sandbox.run_until = sandbox.clock.ran() + run_max;
        sandbox.clock.clone()
    }

    /// The files that the guest wrote.
    pub(crate) fn take_written_blobs(&mut self, blobs_given: usize) -> Vec<Blob> {
        self.blobs.split_off(blobs_given)
    }

    pub(crate) fn report(&mut self, outcome: Outcome) -> Report {
        Report {
            duration_us: u64::try_from(self.clock.ran().as_micros()).unwrap_or(u64::MAX),
            memory_peak_bytes: self.memory.peak_bytes() as u64,
            outcome,
            log: std::mem::take(&mut self.log),
        }
    }
}

/// What the guest is told of a call.
pub(crate) fn context(call: &Call, tenant_key: u64) -> types::Context {
    types::Context {
        request_id: call.request_id.clone(),
        model: types::Model { owner: call.owner.clone(), name: call.name.clone(), version: call.version.clone() },
        tenant_key,
        streaming: call.streaming,
        now_ms: call.now_ms,
        seed: call.seed,
    }
}

impl types::Host for Sandbox {}

impl config::Host for Sandbox {
    fn get(&mut self) -> wasmtime::Result<String> {
        Ok(self.config.to_string())
    }
}

impl model_schema::Host for Sandbox {
    fn input(&mut self) -> wasmtime::Result<String> {
        Ok(self.input_schema.to_string())
    }

    fn output(&mut self) -> wasmtime::Result<String> {
        Ok(self.output_schema.to_string())
    }
}
