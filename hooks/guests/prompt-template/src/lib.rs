//! A hook that validates a prompt, writes it into the publisher's template and counts its tokens, roughly.
//!
//! Everything but `hook`, the binding to the contract, is plain Rust and is tested on the machine that builds it.

mod config;
#[cfg(target_arch = "wasm32")]
mod hook;
mod prepare;
mod template;
mod tokens;

pub use config::Config;
pub use prepare::{Invalid, Prepared, prepare};
pub use tokens::estimate_tokens;
