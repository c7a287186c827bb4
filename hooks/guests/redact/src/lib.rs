//! A hook that takes e-mail addresses and card numbers out of a model's output, streamed or whole.
//!
//! Both filters read one character at a time and hold only what may still become a match, so that where a stream is cut
//! into pieces makes no difference. Everything but `hook`, the binding to the contract, is plain Rust and is tested on the
//! machine that builds it.

mod card;
mod config;
mod document;
mod email;
mod filter;
#[cfg(target_arch = "wasm32")]
mod hook;

pub use config::Config;
pub use document::redact_document;
pub use filter::{Counts, Filter, HELD_CHARS_MAX};
