//! Counts what a guest's memories and tables hold, and stops it at its limit.

use wasmtime::{ResourceLimiter, Result};

use super::Stop;

/// All of a guest's tables together; `QuickJS` and Python stay under 20,000.
const TABLE_ENTRIES_MAX: usize = 100_000;

#[derive(Debug)]
pub(super) struct Memory {
    bytes: usize,
    bytes_max: usize,
    peak_bytes: usize,
    table_entries: usize,
}

impl Memory {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { bytes: 0, bytes_max, peak_bytes: 0, table_entries: 0 }
    }

    pub(super) const fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        // The guest's own maximum: it asked for an answer and gets it.
        if maximum.is_some_and(|maximum| desired > maximum) && desired <= self.bytes_max {
            return Ok(false);
        }
        let grown = self.bytes + desired.saturating_sub(current);
        if grown > self.bytes_max {
            return Err(Stop::Memory.into());
        }
        self.bytes = grown;
        self.peak_bytes = self.peak_bytes.max(grown);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let grown = self.table_entries + desired.saturating_sub(current);
        if grown > TABLE_ENTRIES_MAX {
            return Err(Stop::Memory.into());
        }
        self.table_entries = grown;
        Ok(true)
    }
}
