//! The one task that writes: it runs what has queued in one transaction, each piece under its own savepoint, and syncs once for all.

use std::error::Error;

use futures::future::BoxFuture;
use sqlx::{AnyConnection, Connection};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::File;
use crate::db::run_work;
use crate::{StoreError, Tx};

/// Pieces of work that may wait; past it callers wait before they can queue.
const QUEUE_MAX: usize = 1024;
/// Pieces of work in one commit: a bound on how long the first of them waits for the last.
const GROUP_MAX: usize = 256;

#[derive(Debug)]
pub(in crate::db) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
    closing: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(in crate::db) fn start(file: File, connection: AnyConnection) -> Writer {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let closing = CancellationToken::new();
        let task = tokio::spawn(write_groups(file, connection, queue, closing.clone()));
        Writer { jobs, closing, task: Mutex::new(Some(task)) }
    }

    pub(in crate::db) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Error + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let job = Box::new(Write { progress: Progress::Waiting(work), caller });
        self.jobs.send(job).await.map_err(|_| E::from(StoreError::Closed))?;
        answer.await.unwrap_or_else(|_| Err(E::from(StoreError::Closed)))
    }

    /// Finishes what has queued and closes the connection.
    pub(in crate::db) async fn close(&self) {
        self.closing.cancel();
        let task = self.task.lock().await.take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the database writer did not end by itself");
        }
    }
}

/// One piece of work in the queue, whatever its types.
trait Job: Send {
    /// Runs inside a savepoint, once; false asks for the savepoint to be undone.
    fn run<'t>(&'t mut self, savepoint: &'t mut Tx) -> BoxFuture<'t, bool>;

    /// Tells the caller, after the commit.
    fn answer(self: Box<Self>, commit: Result<(), StoreError>);
}

struct Write<T, E, F> {
    progress: Progress<T, E, F>,
    caller: oneshot::Sender<Result<T, E>>,
}

enum Progress<T, E, F> {
    Waiting(F),
    Running,
    Ended(Result<T, E>),
}

impl<T, E, F> Job for Write<T, E, F>
where
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    fn run<'t>(&'t mut self, savepoint: &'t mut Tx) -> BoxFuture<'t, bool> {
        Box::pin(async move {
            let Progress::Waiting(work) = std::mem::replace(&mut self.progress, Progress::Running) else {
                return false;
            };
            let result = run_work(savepoint, work).await;
            let kept = result.is_ok();
            self.progress = Progress::Ended(result);
            kept
        })
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        let result = match (self.progress, commit) {
            (Progress::Ended(Ok(value)), Ok(())) => Ok(value),
            // Its own error says more than that of the commit which had nothing of it.
            (Progress::Ended(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(E::from(error)),
            (Progress::Waiting(_) | Progress::Running, Ok(())) => Err(E::from(StoreError::Closed)),
        };
        // A caller that has left does not need the answer.
        let _ = self.caller.send(result);
    }
}

type Queue = mpsc::Receiver<Box<dyn Job>>;

async fn write_groups(file: File, connection: AnyConnection, mut queue: Queue, closing: CancellationToken) {
    let mut connection = Some(connection);
    let mut group = Vec::with_capacity(GROUP_MAX);
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled(), if !queue.is_closed() => queue.close(),
            taken = queue.recv_many(&mut group, GROUP_MAX) => {
                if taken == 0 {
                    break;
                }
                let commit = commit_group(&file, &mut connection, &mut queue, &mut group).await;
                if let Err(error) = &commit {
                    tracing::error!(error = error as &dyn Error, "a group of writes was not committed");
                }
                for job in group.drain(..) {
                    job.answer(commit.clone());
                }
            }
        }
    }
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::warn!(error = &error as &dyn Error, "the database was not closed cleanly");
    }
}

/// Commits the group, or leaves no connection behind: what state one is in after a failed commit is not worth a guess.
async fn commit_group(
    file: &File,
    slot: &mut Option<AnyConnection>,
    queue: &mut Queue,
    group: &mut Vec<Box<dyn Job>>,
) -> Result<(), StoreError> {
    let mut connection = match slot.take() {
        Some(connection) => connection,
        None => file.connect().await.map_err(StoreError::not_committed)?,
    };
    run_group(&mut connection, queue, group).await.map_err(StoreError::not_committed)?;
    *slot = Some(connection);
    Ok(())
}

async fn run_group(connection: &mut AnyConnection, queue: &mut Queue, group: &mut Vec<Box<dyn Job>>) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("begin immediate").await?;
    let mut next = 0;
    while next < group.len() {
        let mut savepoint = transaction.begin().await?;
        if group[next].run(&mut savepoint).await {
            savepoint.commit().await?;
        } else {
            savepoint.rollback().await?;
        }
        next += 1;
        // What came meanwhile shares this commit.
        while group.len() < GROUP_MAX
            && let Ok(job) = queue.try_recv()
        {
            group.push(job);
        }
    }
    transaction.commit().await
}
