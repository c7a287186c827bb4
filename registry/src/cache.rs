//! A small map of what the database said a moment ago: bounded, forgotten after a time, and never filled with what was already stale.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::{Clock, Timestamp};

pub(crate) struct Cache<K, V> {
    kept: Mutex<Kept<K, V>>,
    entries_max: usize,
    ttl_ms: i64,
}

struct Kept<K, V> {
    entries: HashMap<K, (V, Timestamp)>,
    /// Counts what was forgotten, so that a value read before that is not kept after it.
    forgotten: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(crate) fn new(entries_max: usize, ttl_ms: i64) -> Self {
        Self { kept: Mutex::new(Kept { entries: HashMap::new(), forgotten: 0 }), entries_max, ttl_ms }
    }

    /// Answers from memory, or loads and keeps the answer. An absence is not kept.
    pub(crate) async fn find_or_load<E>(
        &self,
        key: &K,
        clock: &Clock,
        load: impl Future<Output = Result<Option<V>, E>>,
    ) -> Result<Option<V>, E> {
        let now = clock.now();
        let forgotten = {
            let kept = self.lock();
            match kept.entries.get(key) {
                Some((value, until)) if *until > now => return Ok(Some(value.clone())),
                _ => kept.forgotten,
            }
        };
        let loaded = load.await?;
        if let Some(value) = &loaded {
            self.keep(key.clone(), value.clone(), now, forgotten);
        }
        Ok(loaded)
    }

    pub(crate) fn forget(&self, key: &K) {
        let mut kept = self.lock();
        kept.forgotten += 1;
        kept.entries.remove(key);
    }

    pub(crate) fn forget_where(&self, is_stale: impl Fn(&K, &V) -> bool) {
        let mut kept = self.lock();
        kept.forgotten += 1;
        kept.entries.retain(|key, (value, _)| !is_stale(key, value));
    }

    fn keep(&self, key: K, value: V, now: Timestamp, forgotten: u64) {
        let mut kept = self.lock();
        if kept.forgotten != forgotten {
            return;
        }
        if kept.entries.len() >= self.entries_max {
            kept.entries.retain(|_, (_, until)| *until > now);
        }
        // Still full of what is fresh: starting over costs a few reads and needs no bookkeeping of who was used when.
        if kept.entries.len() >= self.entries_max {
            kept.entries.clear();
        }
        kept.entries.insert(key, (value, now.plus_millis(self.ttl_ms)));
    }

    fn lock(&self) -> MutexGuard<'_, Kept<K, V>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("entries_max", &self.entries_max).field("ttl_ms", &self.ttl_ms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    async fn load(cache: &Cache<u32, u32>, clock: &Clock, key: u32, value: u32) -> u32 {
        cache.find_or_load(&key, clock, async { Ok::<_, Infallible>(Some(value)) }).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_kept_until_its_time_is_over() {
        let clock = Clock::fixed(Timestamp::from_micros(0));
        let cache = Cache::new(8, 1_000);
        assert_eq!(load(&cache, &clock, 1, 10).await, 10);
        assert_eq!(load(&cache, &clock, 1, 11).await, 10);
        clock.advance_millis(1_000);
        assert_eq!(load(&cache, &clock, 1, 12).await, 12);
    }

    #[tokio::test]
    async fn what_was_read_before_it_was_forgotten_is_not_kept() {
        let clock = Clock::fixed(Timestamp::from_micros(0));
        let cache = Cache::new(8, 1_000);
        let stale = async {
            cache.forget(&1);
            Ok::<_, Infallible>(Some(10))
        };
        assert_eq!(cache.find_or_load(&1, &clock, stale).await, Ok(Some(10)));
        assert_eq!(load(&cache, &clock, 1, 11).await, 11);
    }

    #[tokio::test]
    async fn it_never_holds_more_than_its_bound() {
        let clock = Clock::fixed(Timestamp::from_micros(0));
        let cache = Cache::new(8, 1_000);
        for key in 0..100 {
            load(&cache, &clock, key, key).await;
            assert!(cache.lock().entries.len() <= 8);
        }
    }
}
