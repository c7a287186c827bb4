//! What `feira hook-compile` does, alone: tests and benchmarks compile their guests with it.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    hooks::compile_child_main(io::stdin().lock(), io::stdout().lock(), io::stderr().lock())
}
