//! Idle instances rest, and give their memory back when the machine's is short.

use std::time::Duration;

use tokio::time::Instant;

use super::Pool;
use super::floor::{InstanceId, Rest};
use crate::memory;

const MEMORY_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

impl Pool {
    /// What was done about it shows only after a while.
    pub(super) fn look_at_memory(&mut self, now: Instant) {
        if now >= self.memory_seen_at + MEMORY_LOOKED_AT_EVERY && self.rests.is_empty() {
            self.memory_seen_at = now;
            for (id, instance) in &self.ready {
                self.floor.saw_memory(*id, instance.resident_bytes());
            }
            self.floor.memory_is_short = !self.ready.is_empty() && memory::is_short();
        }
    }

    pub(super) fn freeze(&mut self, id: InstanceId) {
        self.floor.lay(id, Rest::Frozen);
        self.floor.memory_is_short = false;
        if let Some(instance) = self.ready.get(&id).cloned() {
            let needed = instance.rest();
            self.rests.spawn(async move { instance.freeze(needed).await });
        }
    }

    pub(super) fn page_out(&mut self, id: InstanceId) {
        self.floor.lay(id, Rest::PagedOut);
        self.floor.memory_is_short = false;
        if let Some(instance) = self.ready.get(&id).cloned() {
            self.rests.spawn(instance.page_out());
        }
    }
}
