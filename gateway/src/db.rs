//! The gateway's tables: predictions and the idempotency keys that name them.

pub(crate) mod idempotency;
pub(crate) mod prediction;
