//! Hot commands: what has queued is applied at once and answered after one commit.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::db::Db;
use crate::db::postgres::Isolation;
use crate::{Engine, StoreError, Tx};

/// Commands that may wait; past it callers wait before they can queue.
const QUEUE_MAX: usize = 1024;
/// Commands in one transaction: the bulk statements gain little beyond, and the first command would wait longer.
const COMMANDS_MAX: usize = 256;
/// Transactions of one batch under way on `PostgreSQL`: the second gathers while the first commits. `SQLite` has one writer.
const TASKS_ON_POSTGRES: usize = 2;

/// Applies commands in their order with a few bulk statements, and gives one outcome for each.
/// A closure `|tx, commands| Box::pin(async move { … })` is one.
pub trait Apply<C, O>: for<'t> Fn(&'t mut Tx, &'t [C]) -> BoxFuture<'t, Result<Vec<O>, StoreError>> + Send + Sync + 'static {}

impl<C, O, F> Apply<C, O> for F where F: for<'t> Fn(&'t mut Tx, &'t [C]) -> BoxFuture<'t, Result<Vec<O>, StoreError>> + Send + Sync + 'static
{}

/// The queue of one hot command; clones share it.
pub struct Batch<C, O> {
    name: &'static str,
    commands: mpsc::Sender<Queued<C, O>>,
}

struct Queued<C, O> {
    command: C,
    caller: oneshot::Sender<Result<O, StoreError>>,
}

type Queue<C, O> = Arc<Mutex<mpsc::Receiver<Queued<C, O>>>>;

impl<C, O> Clone for Batch<C, O> {
    fn clone(&self) -> Self {
        Batch { name: self.name, commands: self.commands.clone() }
    }
}

impl<C, O> fmt::Debug for Batch<C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<C, O> Batch<C, O>
where
    C: Send + Sync + 'static,
    O: Send + 'static,
{
    pub(super) fn start(db: &Db, name: &'static str, apply: impl Apply<C, O>) -> Batch<C, O> {
        let (commands, queue) = mpsc::channel(QUEUE_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let apply = Arc::new(apply);
        let tasks = match db.engine() {
            Engine::Sqlite => 1,
            Engine::Postgres => TASKS_ON_POSTGRES,
        };
        for _ in 0..tasks {
            let batches = Batches { db: db.clone(), name, queue: queue.clone(), apply: apply.clone() };
            db.batches.spawn(batches.run(db.closing.clone()));
        }
        Batch { name, commands }
    }

    /// Queues the command, waits while the queue is full, and returns its outcome after the commit.
    /// A command that has queued is applied even if this future is dropped.
    pub async fn send(&self, command: C) -> Result<O, StoreError> {
        let (caller, answer) = oneshot::channel();
        self.commands.send(Queued { command, caller }).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

struct Batches<C, O, F> {
    db: Db,
    name: &'static str,
    queue: Queue<C, O>,
    apply: Arc<F>,
}

impl<C, O, F> Batches<C, O, F>
where
    F: Apply<C, O>,
    C: Send + Sync + 'static,
    O: Send + 'static,
{
    async fn run(self, closing: CancellationToken) {
        while let Some(taken) = take(&self.queue, &closing).await {
            let (commands, callers): (Vec<C>, Vec<_>) = taken.into_iter().map(|queued| (queued.command, queued.caller)).unzip();
            let outcomes = self.apply_together_or_alone(commands.into()).await;
            for (caller, outcome) in callers.into_iter().zip(outcomes) {
                // A caller that has left does not need the outcome.
                let _ = caller.send(outcome);
            }
        }
    }

    async fn apply_together_or_alone(&self, commands: Arc<[C]>) -> Vec<Result<O, StoreError>> {
        let all = 0..commands.len();
        match self.apply(commands.clone(), all.clone()).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(StoreError::Database(_) | StoreError::WorkPanicked) if commands.len() > 1 => {
                tracing::warn!(batch = self.name, commands = commands.len(), "a batch was refused; each command is applied alone");
                join_all(all.map(|at| self.apply_alone(commands.clone(), at))).await
            }
            Err(error) => all.map(|_| Err(error.clone())).collect(),
        }
    }

    async fn apply_alone(&self, commands: Arc<[C]>, at: usize) -> Result<O, StoreError> {
        let mut outcomes = self.apply(commands, at..at + 1).await?;
        outcomes.pop().ok_or(StoreError::OutcomesMissing { commands: 1, outcomes: 0 })
    }

    async fn apply(&self, commands: Arc<[C]>, range: Range<usize>) -> Result<Vec<O>, StoreError> {
        let apply = self.apply.clone();
        self.db
            .write_isolated(Isolation::ReadCommitted, move |tx| {
                Box::pin(async move {
                    let commands = &commands[range];
                    let outcomes = apply(tx, commands).await?;
                    if outcomes.len() == commands.len() {
                        Ok(outcomes)
                    } else {
                        Err(StoreError::OutcomesMissing { commands: commands.len(), outcomes: outcomes.len() })
                    }
                })
            })
            .await
    }
}

/// Takes what has queued, waiting for the first command; none when the batch is closed and empty.
async fn take<C, O>(queue: &Queue<C, O>, closing: &CancellationToken) -> Option<Vec<Queued<C, O>>> {
    let mut queue = queue.lock().await;
    let mut taken = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled(), if !queue.is_closed() => queue.close(),
            count = queue.recv_many(&mut taken, COMMANDS_MAX) => return (count > 0).then_some(taken),
        }
    }
}
