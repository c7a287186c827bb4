//! One running copy of a version: from its files to a process that answers, and what is known of it while it lives.

mod cog;
mod command;
pub mod start;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::prediction::{ColdStart, Errand};
use protocol::wire::{Bundle, FailCode};
use tokio::sync::SetOnce;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::files::Desk;
use crate::model::Model;
use crate::pool::floor::InstanceId;
use crate::sandbox::{Confined, Exit};
use crate::scratch::Scratch;
use crate::weights::Lease;

#[derive(Debug)]
pub struct Instance {
    pub id: InstanceId,
    pub errand: Errand,
    pub bundle: Arc<Bundle>,
    pub hardware: String,
    pub model: Model,
    pub desk: Arc<Desk>,
    pub cold: ColdStart,
    pub ordered_at: Instant,
    pub ready_at: Instant,
    confined: Arc<Confined>,
    scratch: Scratch,
    /// Held, not asked: its files stay as long as it lives.
    _files: Lease,
    /// Ends it, and all that runs in it.
    retire: CancellationToken,
    death: SetOnce<Death>,
    condemned: AtomicBool,
}

/// How an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    pub cause: DeathCause,
    pub oom: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathCause {
    Exited(Exit),
    /// The process that runs predictions is gone, while its server lives on.
    WorkerDied,
    /// It filled the disk beyond its limit, in bytes.
    WroteTooMuch {
        bytes_max: u64,
    },
    /// The pool let it go.
    Retired,
}

impl Death {
    /// What it means for a prediction that ran in it.
    pub fn failure(&self) -> (FailCode, String) {
        match self.cause {
            _ if self.oom => (FailCode::Oom, "the model ran out of memory".to_owned()),
            DeathCause::Exited(exit) => (FailCode::Killed, format!("the model's process was {exit}")),
            DeathCause::WorkerDied => (FailCode::Killed, "the model's process died".to_owned()),
            DeathCause::WroteTooMuch { bytes_max } => {
                (FailCode::Killed, format!("the model's files took more than {bytes_max} bytes, or were too many or too deep to count"))
            }
            DeathCause::Retired => (FailCode::Killed, "the model's process was ended".to_owned()),
        }
    }
}

impl Instance {
    pub fn concurrency(&self) -> u32 {
        match self.errand {
            Errand::Predict => self.bundle.config.concurrency.max(1),
            Errand::Train => 1,
        }
    }

    /// Asks for its end; [`Instance::died`] tells when it has come.
    pub fn retire(&self) {
        self.retire.cancel();
    }

    /// It is not used for another prediction; the pool ends it when the last that runs in it has ended.
    pub fn condemn(&self, why: &'static str) {
        if !self.condemned.swap(true, Ordering::Relaxed) {
            tracing::info!(instance = self.id.0, version = %self.bundle.version.short(), why, "an instance is not used again");
        }
    }

    pub fn is_condemned(&self) -> bool {
        self.condemned.load(Ordering::Relaxed)
    }

    /// Waits for its end. Cancel safe.
    pub async fn died(&self) -> Death {
        *self.death.wait().await
    }

    pub fn death(&self) -> Option<Death> {
        self.death.get().copied()
    }

    pub(crate) const fn confined(&self) -> &Arc<Confined> {
        &self.confined
    }

    pub(crate) async fn retired(&self) {
        self.retire.cancelled().await;
    }

    pub(crate) fn bury(&self, death: Death) {
        // Only its supervisor does, once.
        self.death.set(death).ok();
    }

    pub fn resident_bytes(&self) -> Option<u64> {
        self.confined.resident_bytes()
    }

    /// Clears away what a prediction left. With several predictions at a time nobody knows whose a file is, and it stays.
    pub async fn sweep(&self) {
        if self.concurrency() == 1
            && let Err(error) = self.scratch.sweep().await
        {
            tracing::warn!(instance = self.id.0, %error, "a scratch directory was not swept");
            self.condemn("a caller's files may be left in it");
        }
    }
}
