//! Prints the contract: `cargo run --release -p gateway --example openapi > openapi/openapi.json`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(gateway::openapi_document().as_bytes())
}
