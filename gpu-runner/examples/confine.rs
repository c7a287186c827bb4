//! The launcher alone, for tests and benchmarks of the room; `feira confine` is the same function, and so is what Cog finds as `python`.

use std::process::ExitCode;

fn main() -> ExitCode {
    if gpu_runner::is_cog_worker() { gpu_runner::cog_worker_main() } else { gpu_runner::sandbox::confine_main() }
}
