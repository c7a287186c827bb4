//! The gateway's tables: predictions, the idempotency keys that name them, and the outbox of webhooks.

pub(crate) mod idempotency;
pub(crate) mod prediction;
pub(crate) mod webhook;
