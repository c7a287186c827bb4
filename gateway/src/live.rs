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

    /// How many in the same line run before it, as far as can be foreseen: those of the same version that wait for the same instances. Accounts
    /// take turns, so of another account as many go first as of its own came earlier, and one more if that one came earlier too.
    pub fn ahead_of(&self, row: &PredictionRow) -> u32 {
        let in_line = |live: &Live| live.version == row.version && live.errand == row.errand && live.deployment == row.deployment;
        let mut waiting: HashMap<String, Vec<PredictionId>> = HashMap::new();
        for live in self.lock().values().filter(|live| in_line(live)) {
            let story = live.story();
            if !story.row.state.is_terminal() && story.row.started_at.is_none() {
                waiting.entry(story.row.account_id.clone()).or_default().push(live.id);
            }
        }
        let earlier_of_its_own = waiting.remove(&row.account_id).map_or(0, |own| own.iter().filter(|id| **id < row.id).count());
        let of_another = |mut ids: Vec<PredictionId>| {
            ids.sort_unstable();
            ids.len().min(earlier_of_its_own) + usize::from(ids.get(earlier_of_its_own).is_some_and(|id| *id < row.id))
        };
        let ahead = earlier_of_its_own + waiting.into_values().map(of_another).sum::<usize>();
        u32::try_from(ahead).unwrap_or(u32::MAX)
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PredictionId, Arc<Live>>> {
        self.0.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::row;
    use protocol::{Clock, Entropy, Timestamp};

    fn waiting(account: &str, at: i64) -> PredictionRow {
        let id = PredictionId::new(&Clock::fixed(Timestamp::from_micros(at * 1_000)), &Entropy::seeded(at.unsigned_abs()));
        PredictionRow { id, account_id: account.to_owned(), state: State::Leased, started_at: None, ..row() }
    }

    #[test]
    fn a_place_in_the_queue_heeds_that_accounts_take_turns() {
        let lives = LiveSet::default();
        let arrivals = ["flood", "flood", "flood", "quiet", "flood", "quiet"];
        let rows: Vec<_> = (1..).zip(arrivals).map(|(at, account)| waiting(account, at)).collect();
        let entered: Vec<_> = rows.iter().map(|row| lives.enter(row.clone())).collect();
        let places: Vec<u32> = rows.iter().map(|row| lives.ahead_of(row)).collect();
        assert_eq!(places, [0, 2, 4, 1, 5, 3], "f q f q f f, whatever came first");
        entered[0].update(|row, _| row.started_at = Some(Timestamp::from_micros(9_000)));
        assert_eq!(lives.ahead_of(&rows[1]), 0, "what runs is ahead of nobody");
    }
}
