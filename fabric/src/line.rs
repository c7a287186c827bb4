//! One assignment's line: events come up it in order, a wish to cancel goes down it, and dropping either end ends it.

use protocol::wire::{Assignment, Event};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Events that may be under way before the runner has to wait for the gateway.
const EVENTS_UNDER_WAY_MAX: usize = 256;

/// The gateway's end. Dropping it tells the runner to stop the prediction.
#[derive(Debug)]
pub struct Line {
    events: mpsc::Receiver<Event>,
    cancel: CancellationToken,
    _abandon: DropGuard,
}

/// The runner's end: the assignment and the way back.
#[derive(Debug)]
pub struct Call {
    pub assignment: Assignment,
    events: mpsc::Sender<Event>,
    cancel: CancellationToken,
}

/// The runner's queue of calls that have arrived.
#[derive(Debug)]
pub struct Inbox(mpsc::Receiver<Call>);

pub(crate) fn pair(assignment: Assignment) -> (Line, Call) {
    let (sender, events) = mpsc::channel(EVENTS_UNDER_WAY_MAX);
    let cancel = CancellationToken::new();
    let line = Line { events, cancel: cancel.clone(), _abandon: cancel.clone().drop_guard() };
    (line, Call { assignment, events: sender, cancel })
}

impl Line {
    /// The next event; `None` without an `Ended` before it means that the runner was lost. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// An event that has already arrived.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Asks the runner to stop; `Ended` still follows.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl Call {
    /// Sends an event up the line, waiting while the gateway is behind. `false` means that nobody listens any more.
    pub async fn send(&self, event: Event) -> bool {
        self.events.send(event).await.is_ok()
    }

    /// Ends when the gateway asks to stop or is gone; may be awaited any number of times.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl Inbox {
    pub(crate) const fn new(calls: mpsc::Receiver<Call>) -> Self {
        Self(calls)
    }

    /// The next call; `None` when the fabric is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Call> {
        self.0.recv().await
    }
}
