//! The gateway's tables: predictions, the idempotency keys that name them, and the outbox of webhooks; and the one look at the registry's.

pub(crate) mod idempotency;
pub(crate) mod latest;
pub(crate) mod prediction;
pub(crate) mod webhook;
