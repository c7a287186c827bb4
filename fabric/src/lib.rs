//! How the roles find and talk to each other: a directory of who is alive and what is warm where, and a line from a gateway to a runner.
//!
//! Nothing durable lives here. This is the in-process fabric; dropping either end of a line is seen at once by the other.

pub mod directory;
pub mod line;
pub mod orders;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::wire::Assignment;
use tokio::sync::mpsc;

pub use directory::Directory;
pub use line::{Call, Inbox, Line};
pub use orders::Orders;

/// Assignments that may wait between the line being opened and the runner picking them up.
const INBOX_CALLS_MAX: usize = 4_096;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FabricError {
    #[error("no runner {0} is connected")]
    NoSuchRunner(String),
    #[error("runner {0} has more assignments waiting than it takes")]
    Overloaded(String),
}

/// The meeting place of gateways and runners. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Fabric {
    directory: Directory,
    orders: Orders,
    runners: Arc<Mutex<HashMap<String, mpsc::Sender<Call>>>>,
}

impl Fabric {
    pub fn in_process() -> Self {
        Self::default()
    }

    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    pub const fn orders(&self) -> &Orders {
        &self.orders
    }

    /// A runner takes its place; assignments for `runner` come out of the inbox until that is dropped.
    pub fn listen(&self, runner: &str) -> Inbox {
        let (calls, inbox) = mpsc::channel(INBOX_CALLS_MAX);
        self.lock().insert(runner.to_owned(), calls);
        Inbox::new(inbox)
    }

    /// Hands an assignment to a runner and returns the line on which its events arrive. Never waits.
    ///
    /// # Errors
    /// `NoSuchRunner` when it is gone, `Overloaded` when its inbox is full: place the prediction elsewhere.
    pub fn open(&self, runner: &str, assignment: Assignment) -> Result<Line, FabricError> {
        let no_such_runner = || FabricError::NoSuchRunner(runner.to_owned());
        let calls = self.lock().get(runner).cloned().ok_or_else(no_such_runner)?;
        let (line, call) = line::pair(assignment);
        match calls.try_send(call) {
            Ok(()) => Ok(line),
            Err(mpsc::error::TrySendError::Full(_)) => Err(FabricError::Overloaded(runner.to_owned())),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.lock().remove(runner);
                Err(no_such_runner())
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<Call>>> {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
