//! The predictions that this gateway drives right now: their rows as they grow, and the ways to watch one or to stop it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::prediction::{Errand, State};
use protocol::{ModelRef, PredictionId, VersionId};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::db::prediction::{PredictionRow, Webhook};
use crate::transcript::{self, Piece, Transcript};

/// One prediction under way.
#[derive(Debug)]
pub(crate) struct Live {
    pub id: PredictionId,
    pub version: VersionId,
    pub errand: Errand,
    pub deployment: Option<ModelRef>,
    story: Mutex<Story>,
    changed: watch::Sender<u64>,
    cancel: CancellationToken,
}

#[derive(Debug)]
struct Story {
    row: PredictionRow,
    transcript: Transcript,
    /// Files that the model has uploaded for this prediction: only these may stand in its output.
    files: HashSet<String>,
}

/// How much of a prediction is there to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub outputs: usize,
    pub log_bytes: usize,
}

impl Live {
    fn new(row: PredictionRow) -> Self {
        Self {
            id: row.id,
            version: row.version,
            errand: row.errand,
            deployment: row.deployment.clone(),
            story: Mutex::new(Story { row, transcript: Transcript::default(), files: HashSet::new() }),
            changed: watch::Sender::new(0),
            cancel: CancellationToken::new(),
        }
    }

    /// The row as it is now.
    pub fn row(&self) -> PredictionRow {
        self.story().row.clone()
    }

    /// Changes the row, and wakes whoever watches.
    pub fn update<T>(&self, change: impl FnOnce(&mut PredictionRow, &mut Transcript) -> T) -> T {
        let mut story = self.story();
        let Story { row, transcript, .. } = &mut *story;
        let result = change(row, transcript);
        drop(story);
        self.changed.send_modify(|version| *version += 1);
        result
    }

    pub fn transcript(&self) -> Transcript {
        self.story().transcript.clone()
    }

    /// The stream's events after the first `seen`.
    pub fn pieces_after(&self, seen: usize) -> Vec<Piece> {
        let story = self.story();
        story.transcript.pieces_after(seen, &story.row)
    }

    pub fn note_file(&self, id: &str) {
        self.story().files.insert(id.to_owned());
    }

    pub fn has_file(&self, id: &str) -> bool {
        self.story().files.contains(id)
    }

    pub fn webhook(&self) -> Option<Webhook> {
        self.story().row.webhook.clone()
    }

    pub fn extent(&self) -> Extent {
        let row = &self.story().row;
        Extent { outputs: transcript::outputs_of(&row.output).len(), log_bytes: row.logs.len() }
    }

    pub fn state(&self) -> State {
        self.story().row.state
    }

    /// Changes whenever the row does.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Ends once the prediction has ended and the database knows it.
    pub async fn ended(&self) {
        let mut changes = self.watch();
        while !self.state().is_terminal() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    pub const fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them, by id. Ids sort by time, so the order of the map is the order of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveSet(Arc<Lives>);

#[derive(Debug, Default)]
struct Lives {
    by_id: Mutex<HashMap<PredictionId, Arc<Live>>>,
    emptied: Notify,
}

impl LiveSet {
    pub fn enter(&self, row: PredictionRow) -> Arc<Live> {
        let live = Arc::new(Live::new(row));
        self.lock().insert(live.id, live.clone());
        live
    }

    pub fn find(&self, id: PredictionId) -> Option<Arc<Live>> {
        self.lock().get(&id).cloned()
    }

    /// The database has it all now. Whoever still watches holds the prediction by its own reference, and a later attempt stays.
    pub fn leave(&self, live: &Arc<Live>) {
        let mut lives = self.lock();
        if lives.get(&live.id).is_some_and(|current| Arc::ptr_eq(current, live)) {
            lives.remove(&live.id);
            if lives.is_empty() {
                self.0.emptied.notify_waiters();
            }
        }
    }

    /// Comes when none is left.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.0.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Those of one deployment.
    pub fn of_deployment(&self, deployment: &ModelRef) -> Vec<Arc<Live>> {
        self.lock().values().filter(|live| live.deployment.as_ref() == Some(deployment)).cloned().collect()
    }

    /// How many in the same line came earlier and wait as well: the same version, for the same instances.
    pub fn ahead_of(&self, row: &PredictionRow) -> u32 {
        let in_line = |live: &Live| live.version == row.version && live.errand == row.errand && live.deployment == row.deployment;
        let waiting = |live: &Live| in_line(live) && live.id < row.id && !live.state().is_terminal() && live.state() != State::Running;
        let ahead = self.lock().values().filter(|live| waiting(live)).count();
        u32::try_from(ahead).unwrap_or(u32::MAX)
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PredictionId, Arc<Live>>> {
        self.0.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
