//! One instance as the floor has it: starting, ready with its slots, or on its way out.

use tokio::time::Instant;

use crate::pool::fleet::FleetId;

#[derive(Debug)]
pub struct Place<S> {
    pub fleet: FleetId,
    pub gpu: Option<usize>,
    /// Resident bytes when they were last looked at; 0 where they are not known.
    pub memory_bytes: u64,
    pub stage: Stage<S>,
}

#[derive(Debug)]
pub enum Stage<S> {
    Starting,
    Ready {
        idle: Vec<S>,
        busy: u32,
        /// When a slot of it was last given back.
        used_at: Instant,
        rest: Rest,
    },
    /// Told to end; takes room until it has.
    Leaving {
        busy: u32,
    },
}

/// How deep an idle instance sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    Awake,
    /// Its processes are stopped, or about to be.
    Frozen,
    /// And the kernel has been asked to take back their memory.
    PagedOut,
}

impl<S> Place<S> {
    pub const fn busy(&self) -> u32 {
        match &self.stage {
            Stage::Starting => 0,
            Stage::Ready { busy, .. } | Stage::Leaving { busy } => *busy,
        }
    }

    /// Since when nothing runs in it; `None` when it is not ready, or busy.
    pub const fn idle_since(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Ready { busy: 0, used_at, .. } => Some(*used_at),
            _ => None,
        }
    }

    /// How an instance rests in which nothing runs; `None` when it is not ready, or busy.
    pub const fn rest(&self) -> Option<Rest> {
        match &self.stage {
            Stage::Ready { busy: 0, rest, .. } => Some(*rest),
            _ => None,
        }
    }

    /// Whether it is to serve on: it has not been told to end.
    pub const fn is_counted_on(&self) -> bool {
        !matches!(self.stage, Stage::Leaving { .. })
    }

    pub const fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready { .. })
    }

    pub const fn has_idle_slot(&self) -> bool {
        matches!(&self.stage, Stage::Ready { idle, .. } if !idle.is_empty())
    }
}
