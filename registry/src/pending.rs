//! What is noted in memory on the hot path and written to the database a little later: when tokens were used, and how often models ran.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::Timestamp;

/// A token's last use is known to the minute.
const USE_EVERY_MICROS: u64 = 60_000_000;
/// Tokens and models that are remembered between two flushes; what is beyond is not counted.
const NOTED_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(crate) struct Pending {
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    /// By token.
    uses: HashMap<String, Use>,
    /// Runs by model id.
    runs: HashMap<String, i64>,
}

#[derive(Debug, Default)]
struct Use {
    due: Option<Timestamp>,
    written: Option<Timestamp>,
}

/// What a flush has to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) uses: Vec<(String, Timestamp)>,
    pub(crate) runs: Vec<(String, i64)>,
}

impl Pending {
    pub(crate) fn note_use(&self, token_id: &str, now: Timestamp) {
        let mut notes = self.lock();
        if let Some(known) = notes.uses.get_mut(token_id) {
            let is_recent = known.written.is_some_and(|written| now.micros_since(written) < USE_EVERY_MICROS);
            if !is_recent {
                known.due = known.due.max(Some(now));
            }
        } else if notes.uses.len() < NOTED_MAX {
            notes.uses.insert(token_id.to_owned(), Use { due: Some(now), written: None });
        }
    }

    pub(crate) fn note_runs(&self, model_id: &str, runs: i64) {
        let mut notes = self.lock();
        if let Some(counted) = notes.runs.get_mut(model_id) {
            *counted += runs;
        } else if notes.runs.len() < NOTED_MAX {
            notes.runs.insert(model_id.to_owned(), runs);
        }
    }

    /// Takes what is due. Sorted, so that two processes that flush at once lock rows in one order.
    pub(crate) fn take(&self, now: Timestamp) -> Due {
        let mut notes = self.lock();
        let mut due = Due { uses: Vec::new(), runs: notes.runs.drain().collect() };
        notes.uses.retain(|token_id, known| match known.due.take() {
            Some(used_at) => {
                known.written = Some(used_at);
                due.uses.push((token_id.clone(), used_at));
                true
            }
            None => known.written.is_some_and(|written| now.micros_since(written) < USE_EVERY_MICROS),
        });
        due.uses.sort_unstable();
        due.runs.sort_unstable();
        due
    }

    /// Puts back what could not be written.
    pub(crate) fn put_back(&self, due: Due) {
        for (model_id, runs) in due.runs {
            self.note_runs(&model_id, runs);
        }
        let mut notes = self.lock();
        for (token_id, used_at) in due.uses {
            if let Some(known) = notes.uses.get_mut(&token_id) {
                *known = Use { due: known.due.max(Some(used_at)), written: None };
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn second(n: i64) -> Timestamp {
        Timestamp::from_micros(n * 1_000_000)
    }

    #[test]
    fn what_could_not_be_written_is_due_again() {
        let pending = Pending::default();
        pending.note_use("tok_a", second(1));
        pending.note_runs("mod_a", 2);
        let due = pending.take(second(1));
        pending.put_back(due.clone());
        pending.note_runs("mod_a", 1);
        assert_eq!(pending.take(second(2)), Due { runs: vec![("mod_a".to_owned(), 3)], ..due });
    }

    #[test]
    fn a_token_that_rests_is_forgotten() {
        let pending = Pending::default();
        pending.note_use("tok_a", second(1));
        assert_eq!(pending.take(second(2)).uses.len(), 1);
        assert_eq!(pending.take(second(61)), Due::default());
        assert!(pending.lock().uses.is_empty());
    }
}
