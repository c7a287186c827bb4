//! One running copy of a version: from its files to a process that answers, and what is known of it while it lives.

mod cog;
pub mod command;
mod freezer;
pub mod lodging;
pub mod start;
mod taken;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::prediction::{ColdStart, Errand};
use protocol::wire::{Bundle, FailCode};
use tokio::sync::SetOnce;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::files::Desk;
use crate::model::{Health, Model};
use crate::pool::floor::InstanceId;
use crate::sandbox::{Confined, Exit};
use crate::scratch::Scratch;
use crate::weights::Lease;
use freezer::Freezer;
use lodging::Lodging;

/// For a frozen instance to answer again; its memory may have to come from a disk.
const WAKE_MAX: Duration = Duration::from_secs(30);

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
    lodging: Lodging,
    freezer: Freezer,
    /// Cancelled when it is needed: what had it rest gives up.
    needed: Mutex<CancellationToken>,
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

    pub(crate) fn lodging(&self) -> &Lodging {
        &self.lodging
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

    /// Stops its processes, unless it is needed before: nothing runs in it, and nothing may begin to before [`Instance::wake`].
    pub async fn freeze(&self, needed: CancellationToken) {
        match self.freezer.freeze(&self.confined, &needed).await {
            Ok(frozen) => tracing::debug!(instance = self.id.0, frozen, "an idle instance rests"),
            Err(error) => tracing::warn!(instance = self.id.0, %error, "an instance does not rest"),
        }
    }

    /// Says that it is to rest from now on, until it is needed.
    pub fn rest(&self) -> CancellationToken {
        let mut needed = self.needed.lock().unwrap_or_else(PoisonError::into_inner);
        *needed = CancellationToken::new();
        needed.clone()
    }

    /// Has it answer again. Returns how long that took, or `None` when it was awake.
    ///
    /// # Errors
    /// It does not answer: it is not used again.
    pub async fn wake(&self) -> io::Result<Option<Duration>> {
        self.needed.lock().unwrap_or_else(PoisonError::into_inner).cancel();
        let began = Instant::now();
        if !self.freezer.thaw(&self.confined).await? {
            return Ok(None);
        }
        match timeout(WAKE_MAX, self.model.health()).await {
            Ok(Health::Ready) => Ok(Some(began.elapsed())),
            Ok(health) => Err(io::Error::other(format!("its health after a rest is {health:?}"))),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// `None` while it rests: nothing is to be asked of it then.
    pub async fn health(&self) -> Option<Health> {
        let _awake = self.freezer.awake().await?;
        Some(self.model.health().await)
    }

    /// Has the kernel take back what it can of its memory, which only a frozen instance does not need at once.
    pub async fn page_out(self: Arc<Self>) {
        let id = self.id.0;
        if self.freezer.awake().await.is_some() {
            return;
        }
        let paging = tokio::task::spawn_blocking(move || self.confined.page_out());
        match paging.await {
            Ok(Ok(())) => tracing::info!(instance = id, "a frozen instance's memory is paged out"),
            Ok(Err(error)) => tracing::warn!(instance = id, %error, "an instance's memory is not paged out"),
            Err(error) => tracing::error!(instance = id, %error, "paging out broke"),
        }
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
