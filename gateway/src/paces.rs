//! How long runs take in each line, as its last ones went: what a place in the queue is worth in seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::prediction::Errand;
use protocol::wire::RunnerCard;
use protocol::{ModelRef, VersionId};

use crate::live::Live;

/// A line that is not remembered has no estimate until its next run ends.
const LINES_MAX: usize = 10_000;
/// The part of the newest run in the average, as its reciprocal: about the last dozen count.
const NEWEST: f64 = 8.0;

/// Whoever waits for the same instances.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    pub version: VersionId,
    pub errand: Errand,
    pub deployment: Option<ModelRef>,
}

#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<HashMap<Line, f64>>);

impl Paces {
    /// A run of the line has ended well.
    pub fn note(&self, live: &Live, run: Duration) {
        let whose = Line { version: live.version, errand: live.errand, deployment: live.deployment.clone() };
        let mut paces = self.lock();
        if paces.len() >= LINES_MAX && !paces.contains_key(&whose) {
            paces.clear();
        }
        let seconds = run.as_secs_f64();
        paces.entry(whose).and_modify(|average| *average += (seconds - *average) / NEWEST).or_insert(seconds);
    }

    /// In how many seconds a prediction starts before which so many run: `None` when the line has no instance that is ready, or none has run.
    pub fn estimate(&self, line: &Line, ahead: u32, cards: &[Arc<RunnerCard>]) -> Option<f64> {
        let of_line = cards
            .iter()
            .flat_map(|card| &card.versions)
            .filter(|on_it| on_it.version == line.version && on_it.errand == line.errand && on_it.deployment == line.deployment);
        let (idle, slots) =
            of_line.fold((0, 0), |(idle, slots), on_it| (idle + on_it.slots_idle, slots + on_it.slots_idle + on_it.slots_busy));
        if ahead < idle {
            return Some(0.0);
        }
        let average = self.lock().get(line).copied()?;
        // Those that run are half done, on the whole.
        let turns = f64::from(ahead - idle) / f64::from(slots) + 0.5;
        (slots > 0).then_some((turns * average * 1e3).round() / 1e3)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Line, f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::row;
    use crate::live::LiveSet;
    use serde_json::json;

    fn cards(slots_idle: u32, slots_busy: u32) -> [Arc<RunnerCard>; 1] {
        let card = json!({
            "id": "r1", "region": "local", "hardware": ["cpu"], "accepting": true, "isolation": "", "seen_at": "2026-01-01T00:00:00Z",
            "versions": [{
                "version": row().version, "model": "a/b", "hardware": "cpu", "instances_warm": 1, "instances_starting": 0,
                "slots_idle": slots_idle, "slots_busy": slots_busy, "queued": 0, "memory_bytes": 0, "warm_until": null,
            }],
        });
        [Arc::new(serde_json::from_value(card).unwrap())]
    }

    #[test]
    fn a_place_in_the_queue_is_worth_what_the_last_runs_took() {
        let (paces, ran) = (Paces::default(), LiveSet::default().enter(row()));
        let line = Line { version: row().version, errand: Errand::Predict, deployment: None };
        assert_eq!(paces.estimate(&line, 4, &cards(0, 2)), None, "none has run");
        for _ in 0..100 {
            paces.note(&ran, Duration::from_secs(2));
        }
        assert_eq!(paces.estimate(&line, 4, &cards(0, 2)), Some(5.0));
        assert_eq!(paces.estimate(&line, 0, &cards(1, 1)), Some(0.0));
        assert_eq!(paces.estimate(&line, 4, &cards(0, 0)), None, "nobody knows how long a start takes");
        let other = Line { errand: Errand::Train, ..line };
        assert_eq!(paces.estimate(&other, 4, &cards(0, 2)), None);
    }
}
