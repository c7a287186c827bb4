//! A fleet: the instances that serve one queue, namely a version's for one errand and, where there is one, for one deployment alone.

use std::time::Duration;

use protocol::prediction::Errand;
use protocol::{ModelRef, PredictionId, VersionId};
use tokio::time::Instant;

use crate::queue::FairQueue;

/// Predictions that may wait for one fleet.
const WAITING_MAX: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FleetId {
    pub version: VersionId,
    pub errand: Errand,
    /// Whose instances these are; everybody's when there is none.
    pub deployment: Option<ModelRef>,
}

/// What an instance takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    pub concurrency: u32,
    pub gpu: bool,
    /// Of the GPU's memory, in bytes.
    pub gpu_memory_bytes: u64,
    /// Of ordinary memory, where the version declares it; else 0.
    pub memory_bytes: u64,
}

/// What an instance is counted as that declares nothing and was never seen.
const MEMORY_BYTES_ASSUMED: u64 = 256 << 20;

/// How many instances are to live, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Kept though nobody asks.
    pub instances_min: usize,
    /// 0 runs nothing: what waits is cancelled.
    pub instances_max: usize,
    /// Spare ones beyond those without a free slot, while any works.
    pub instances_buffer: usize,
    /// Whether an idle instance stays for a while, for whoever asks next.
    pub lingers: bool,
    /// For how long; as long as all others when not given.
    pub idle_expiry: Option<Duration>,
}

impl Terms {
    /// Instances come with demand, and go when nobody has used them for a while.
    pub const ON_DEMAND: Self = Self { instances_min: 0, instances_max: usize::MAX, instances_buffer: 0, lingers: true, idle_expiry: None };
    /// Instances come with demand and go with it.
    pub const WHILE_ASKED: Self = Self { lingers: false, ..Self::ON_DEMAND };
}

/// What waits, with what the floor must know of it.
#[derive(Debug)]
pub struct Waiting<W> {
    pub since: Instant,
    pub account: String,
    /// In its account's line those of a lower rank come first.
    pub rank: PredictionId,
    pub entry: W,
}

#[cfg(test)]
impl<W> Waiting<W> {
    /// One of the account `a`, of the same rank as every other.
    pub fn since(since: Instant, entry: W) -> Self {
        let rank = PredictionId::new(&protocol::Clock::fixed(protocol::Timestamp::default()), &protocol::Entropy::seeded(0));
        Self { since, account: "a".to_owned(), rank, entry }
    }
}

#[derive(Debug)]
pub struct Fleet<W> {
    pub needs: Needs,
    pub terms: Terms,
    pub queue: FairQueue<Waiting<W>>,
    /// Failures in a row.
    pub failures: u32,
    /// No instance is started before.
    pub retry_at: Option<Instant>,
    /// The last instance was lost, and callers counted on it: another takes its place though nothing waits.
    pub replace: bool,
    /// An instance is started though nobody asks, if there is room for it at once.
    pub prewarm: bool,
    /// The most memory that an instance of it was seen with.
    pub memory_bytes_seen: u64,
}

impl<W> Fleet<W> {
    pub fn new(needs: Needs, terms: Terms) -> Self {
        Self {
            needs,
            terms,
            queue: FairQueue::new(WAITING_MAX),
            failures: 0,
            retry_at: None,
            replace: false,
            prewarm: false,
            memory_bytes_seen: 0,
        }
    }

    /// The memory that an instance is counted as: what its version declares, else what was seen of it.
    pub const fn memory_bytes(&self) -> u64 {
        match (self.needs.memory_bytes, self.memory_bytes_seen) {
            (0, 0) => MEMORY_BYTES_ASSUMED,
            (0, seen) => seen,
            (declared, _) => declared,
        }
    }

    pub fn waiting_since(&self) -> Option<Instant> {
        self.queue.firsts().map(|waiting| waiting.since).min()
    }
}
