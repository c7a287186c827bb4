//! The engine of all hooks of a process: how Wasm is compiled and run here, the pool of sandboxes, and what guests may import.

use std::sync::Arc;

use bytes::Bytes;
use protocol::Digest;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use crate::artefact::{Artefact, HostKey, LoadError, engine_digest};
use crate::check::{CORE_INSTANCES_MAX, MEMORIES_MAX, Refused, check};
use crate::compile::{CompileError, Compiler};
use crate::error::HookError;
use crate::hook::Hook;
use crate::sandbox::{Cache, Sandbox, wasi};
use crate::ticker::{Running, Ticker};
use crate::{bindings, native};

/// The stack of a guest. Deeper recursion traps.
const GUEST_STACK_BYTES: usize = 512 * 1024;
/// The native stack that holds it and the host functions it calls.
const FIBER_STACK_BYTES: usize = 1024 * 1024;
/// A memory smaller than this is wiped in place between two guests, which costs less than giving its pages back.
const KEEP_RESIDENT_BYTES: usize = 4 * 1024 * 1024;

/// How large the pool of sandboxes is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Sandboxes in use at a time; a stream keeps its own from opening to end: 1,000. Each reserves address space, not memory.
    pub sandboxes_max: u32,
    /// The most that a linear memory may grow to, whatever a call's limits say: 128 MiB.
    pub memory_bytes_max: usize,
}

/// Runs hooks. One per process; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Engine,
    digest: Digest,
    linker: Linker<Sandbox>,
    key: HostKey,
    cache: Arc<Cache>,
    sandboxes: Arc<Semaphore>,
    ticker: Ticker,
}

/// Why there is no engine.
#[derive(Debug, Error)]
pub enum EngineError {
    /// This machine does not give the address space for the pool, or lacks what the engine needs.
    #[error("the hook engine does not start: {0}; with little address space, allow fewer sandboxes")]
    Pool(String),
    /// No thread could be started.
    #[error("the hook engine's clock does not start")]
    Ticker(#[source] std::io::Error),
}

/// A hook that is ready, and what to store so that it is sooner ready next time.
#[derive(Debug)]
pub struct Opened {
    /// To call.
    pub hook: Hook,
    /// Set when the component was compiled now: store it under [`Engine::artefact_name`].
    pub compiled: Option<Artefact>,
}

/// Why a component gives no hook.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The component is none that hooks may be.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The component does not compile within its limits.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The component does not fit the contract.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The component does not start, or an export has not the type the contract gives it.
    #[error("the hook does not start: {0}")]
    DoesNotStart(#[source] HookError),
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { sandboxes_max: 1_000, memory_bytes_max: 128 * 1024 * 1024 }
    }
}

impl Engine {
    /// Reserves the pool and starts the engine's clock, a thread that ends with the last clone.
    pub fn new(settings: &EngineSettings, key: HostKey) -> Result<Self, EngineError> {
        let as_text = |error: wasmtime::Error| EngineError::Pool(format!("{error:#}"));
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings)));
        let wasmtime = wasmtime::Engine::new(&config).map_err(as_text)?;
        let linker = link(&wasmtime).map_err(as_text)?;
        let ticker = Ticker::start(wasmtime.clone()).map_err(EngineError::Ticker)?;
        let inner = Inner {
            digest: engine_digest(&wasmtime),
            wasmtime,
            linker,
            key,
            cache: Arc::default(),
            sandboxes: Arc::new(Semaphore::new(settings.sandboxes_max as usize)),
            ticker,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The name under which an artefact is stored: one per component, engine version and kind of processor.
    pub fn artefact_name(&self, component: &Digest) -> String {
        format!("{}.{}.cwasm", component.hex(), &self.inner.digest.hex()[..16])
    }

    /// Seals what a compile child made from a component, so that [`Engine::load`] takes it.
    pub fn seal(&self, component: &Digest, code: &[u8]) -> Artefact {
        Artefact::seal(&self.inner.key, &self.inner.digest, component, code)
    }

    /// Loads a sealed artefact: 0.1 to 10 ms of copying.
    pub fn load(&self, component: &Digest, artefact: &Artefact) -> Result<Hook, LoadError> {
        let inner = &*self.inner;
        let loaded = native::load(&inner.wasmtime, &inner.digest, &inner.key, component, artefact)?;
        let does_not_fit = |error: wasmtime::Error| LoadError::DoesNotFit { reason: format!("{error:#}") };
        let instance_pre = inner.linker.instantiate_pre(&loaded).map_err(does_not_fit)?;
        Ok(Hook::new(self.clone(), *component, instance_pre))
    }

    /// Makes a hook of a component: from the artefact stored for it when that is still good, else by compiling it again.
    ///
    /// Cancel safe. A component that is compiled is started once, so that one that cannot start fails here and not at a call.
    pub async fn open(&self, compiler: &Compiler, component: Bytes, stored: Option<Artefact>) -> Result<Opened, OpenError> {
        // Hashing and reading 24 MiB takes some 50 ms.
        let read = component.clone();
        let (digest, checked) =
            tokio::task::spawn_blocking(move || (Digest::of(&read), check(&read))).await.expect("neither hashing nor checking panics");
        checked?;
        if let Some(artefact) = stored {
            match self.load(&digest, &artefact) {
                Ok(hook) => return Ok(Opened { hook, compiled: None }),
                Err(LoadError::Stale) => {}
                Err(error) => tracing::warn!(%digest, %error, "a stored artefact is not usable and is made again"),
            }
        }
        let artefact = self.seal(&digest, &compiler.compile(&component).await?);
        let hook = self.load(&digest, &artefact)?;
        hook.start_once().await.map_err(|failure| OpenError::DoesNotStart(failure.error))?;
        Ok(Opened { hook, compiled: Some(artefact) })
    }

    /// How many sandboxes are free now.
    pub fn sandboxes_free(&self) -> usize {
        self.inner.sandboxes.available_permits()
    }

    pub(crate) fn take_sandbox(&self) -> Result<OwnedSemaphorePermit, HookError> {
        self.inner.sandboxes.clone().try_acquire_owned().map_err(|_| HookError::Busy)
    }

    pub(crate) fn run_ticker(&self) -> Running {
        self.inner.ticker.run()
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.wasmtime
    }

    pub(crate) fn key(&self) -> &HostKey {
        &self.inner.key
    }

    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.inner.cache
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("sandboxes_free", &self.sandboxes_free()).finish_non_exhaustive()
    }
}

/// What compiled code depends on: the compile child and the engine must agree on all of it.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .wasm_component_model(true)
        // Epochs stop a loop at 17 % of its speed; fuel would take 20 %.
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        // Proposals that no guest toolchain needs are so much less to trust.
        .wasm_threads(false)
        .wasm_memory64(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_relaxed_simd(false);
    config
}

fn pool(settings: &EngineSettings) -> PoolingAllocationConfig {
    let sandboxes = settings.sandboxes_max;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(sandboxes)
        .total_stacks(sandboxes)
        .total_core_instances(sandboxes.saturating_mul(CORE_INSTANCES_MAX))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        // Most guests have one memory; a pool that runs out of them earlier says so as one that runs out of sandboxes.
        .total_memories(sandboxes.saturating_mul(2))
        .max_memories_per_component(MEMORIES_MAX)
        .max_memory_size(settings.memory_bytes_max)
        .total_tables(sandboxes.saturating_mul(4))
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Everything that a guest may import, and nothing else: no sockets, no HTTP.
fn link(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = Linker::new(engine);
    bindings::Hook::add_to_linker::<_, HasSelf<_>>(&mut linker, |sandbox: &mut Sandbox| sandbox)?;
    wasi::link(&mut linker)?;
    Ok(linker)
}
