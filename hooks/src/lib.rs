//! The publisher's WebAssembly before and after a prediction: checked and compiled when a version is published, run in a fresh
//! sandbox for every call, stopped at its limits.
//!
//! `wit/hook.wit` is the public contract. The order of use: [`check`] what was uploaded, [`Compiler::compile`] it in a limited
//! child process, [`Engine::seal`] what the child made, [`Engine::load`] it, and call the [`Hook`]; [`Engine::open`] does all
//! of it for a component that may have been compiled before. A guest reaches nothing but what the contract lists: no file, no
//! network, no environment, and no clock or randomness but the two numbers in its context.

mod answer;
mod artefact;
mod batch;
mod bindings;
mod call;
mod check;
mod compile;
mod compile_child;
mod engine;
mod error;
mod hook;
mod native;
mod report;
mod run_clock;
mod sandbox;
mod stream;
mod ticker;

pub use answer::{After, AfterAction, Before, BeforeAction, Closing, Item, Metric, Step};
pub use artefact::{Artefact, HostKey, LoadError};
pub use batch::Batch;
pub use call::{Blob, Call, Limits};
pub use check::{Checked, Exports, Refused, check};
pub use compile::{CompileError, CompileLimits, Compiler};
pub use compile_child::compile_child_main;
pub use engine::{Engine, EngineError, EngineSettings, OpenError, Opened};
pub use error::{Budget, Failure, Fault, FieldError, HookError};
pub use hook::Hook;
pub use report::{LogLevel, LogLine, Outcome, Report};
pub use stream::Stream;
