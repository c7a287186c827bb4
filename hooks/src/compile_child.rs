//! The child process that compiles: it lowers its own limits first, then reads a component and writes native code.
//!
//! It is the same binary as its parent, so both have the same engine. Compiling is outside of what Wasmtime promises to do
//! safely with hostile input in bounded time and memory; here it costs one process.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};

use crate::check::COMPONENT_BYTES_MAX;
use crate::compile::{CODE_REFUSED, CompileLimits};
use crate::engine::config;

/// The whole life of the child. Call it before any other thread or runtime is started.
///
/// Protocol: stdin has the limits as [`CompileLimits::header`] writes them, then the component up to its end; stdout gets the
/// code; stderr the reason, when the exit code is not 0.
pub fn compile_child_main(stdin: impl Read, stdout: impl Write, mut stderr: impl Write) -> ExitCode {
    match compile(stdin, stdout) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reads it: then the exit code must do.
            let _ = write!(stderr, "{error}");
            match error {
                ChildError::Refused(_) => ExitCode::from(CODE_REFUSED),
                ChildError::Io(_) | ChildError::Limit(_) => ExitCode::FAILURE,
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("{0}")]
    Refused(String),
    #[error("reading or writing failed: {0}")]
    Io(#[from] io::Error),
    #[error("a limit was not accepted: {0}")]
    Limit(#[from] nix::Error),
}

fn compile(mut stdin: impl Read, mut stdout: impl Write) -> Result<(), ChildError> {
    let mut header = [0; CompileLimits::HEADER_BYTES];
    stdin.read_exact(&mut header)?;
    lower_own_limits(&CompileLimits::from_header(header))?;

    let mut component = Vec::new();
    stdin.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut component)?;
    let code = compile_component(&component).map_err(|error| ChildError::Refused(format!("{error:#}")))?;
    stdout.write_all(&code)?;
    stdout.flush()?;
    Ok(())
}

fn compile_component(component: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let mut config = config();
    // One thread: what it may use of memory and time is then the same on every machine.
    config.parallel_compilation(false);
    wasmtime::Engine::new(&config)?.precompile_component(component)
}

fn lower_own_limits(limits: &CompileLimits) -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_AS, limits.address_space_bytes, limits.address_space_bytes)?;
    // The soft limit sends SIGXCPU, which ends the process and says why.
    setrlimit(Resource::RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)
}
