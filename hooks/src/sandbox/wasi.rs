//! An empty WASI for the guests whose toolchains import one: no files, no network, no environment, no input, output thrown away;
//! the clock stands at the call's `now_ms` and random bytes follow from its seed.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime::component::Linker;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async;
use wasmtime_wasi::p2::bindings::{cli, filesystem, random};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::Sandbox;

/// The most random bytes that one request gets.
const RANDOM_BYTES_MAX: u64 = 64 * 1024;

/// Puts the interfaces that [`crate::check()`] lets through into the linker: sockets and HTTP are not among them.
pub(crate) fn link(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    // Streams, clocks, stdio and secure randomness.
    add_to_linker_proxy_interfaces_async(linker)?;
    random::insecure::add_to_linker::<_, WasiRandom>(linker, |sandbox| sandbox.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, |sandbox| sandbox.ctx().ctx.random())?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, Sandbox::filesystem)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, Sandbox::filesystem)?;
    Ok(())
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| empty(self.now_ms, self.seed));
        WasiCtxView { ctx, table: &mut self.handles }
    }
}

fn empty(now_ms: u64, seed: u64) -> WasiCtx {
    let clock = StoppedClock(Duration::from_millis(now_ms));
    WasiCtx::builder()
        .wall_clock(clock)
        .monotonic_clock(clock)
        .secure_random(Deterministic::new(random_bytes(seed, b"secure")))
        .insecure_random(Deterministic::new(random_bytes(seed, b"insecure")))
        .insecure_random_seed(u128::from(seed))
        .max_random_size(RANDOM_BYTES_MAX)
        .build()
}

/// 1 KiB that look random and follow from the seed; after it they repeat.
fn random_bytes(seed: u64, purpose: &[u8]) -> Vec<u8> {
    (0_u8..32)
        .flat_map(|block| Sha256::new().chain_update(purpose).chain_update(seed.to_le_bytes()).chain_update([block]).finalize())
        .collect()
}

/// Time does not pass for a guest.
#[derive(Clone, Copy)]
struct StoppedClock(Duration);

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        0
    }
}
