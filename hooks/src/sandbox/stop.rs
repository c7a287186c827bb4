//! Why the host stopped a guest, carried through the engine as an error, and what comes out of it on the other side.

use std::time::Duration;

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::call::Limits;
use crate::error::{Budget, HookError};

/// A stop that the host decided on.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the deadline has come")]
    Deadline,
    #[error("the memory is used up")]
    Memory,
    #[error("a budget is used up: {0}")]
    Budget(Budget),
}

/// Says what an error of the engine means.
pub(crate) fn explain(error: &wasmtime::Error, limits: &Limits, run_max: Duration) -> HookError {
    let deadline = || HookError::Deadline { limit_ms: u64::try_from(run_max.as_millis()).unwrap_or(u64::MAX) };
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::Deadline => deadline(),
            Stop::Memory => HookError::Memory { limit_bytes: limits.memory_bytes_max as u64 },
            Stop::Budget(budget) => HookError::Budget(*budget),
        };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return HookError::Busy;
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        return HookError::Budget(Budget::Handles);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return if *trap == Trap::Interrupt { deadline() } else { HookError::Trap(trap.to_string()) };
    }
    let cause = error.root_cause().to_string();
    // The engine keeps this error's type to itself; a test holds us to its words.
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        return HookError::Budget(Budget::CopiedBytes);
    }
    HookError::Trap(cause)
}
