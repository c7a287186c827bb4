//! The launcher alone, for tests and benchmarks of the room; `feira confine` is the same function.

use std::process::ExitCode;

fn main() -> ExitCode {
    gpu_runner::sandbox::confine_main()
}
