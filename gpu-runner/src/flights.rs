//! Work that several callers want at the same time is done once, for as long as one of them waits.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

/// What is under way, by key. Nothing is spawned: those who wait drive the work, and the last to leave ends it.
pub(crate) struct Flights<K, T: Clone> {
    under_way: Mutex<HashMap<K, WeakShared<BoxFuture<'static, T>>>>,
}

impl<K: Eq + Hash, T: Clone> Flights<K, T> {
    pub(crate) fn new() -> Self {
        Self { under_way: Mutex::default() }
    }

    /// The work under way for this key, else this work.
    pub(crate) fn join<F>(&self, key: K, work: F) -> Shared<BoxFuture<'static, T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, flight| flight.upgrade().is_some());
        if let Some(flight) = under_way.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        let flight = work.boxed().shared();
        under_way.insert(key, flight.downgrade().expect("it was not polled yet"));
        flight
    }
}

impl<K, T: Clone> fmt::Debug for Flights<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("Flights").field("under_way", &count).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn two_callers_share_one_piece_of_work_and_a_third_starts_anew() {
        let flights = Flights::new();
        let runs = Arc::new(AtomicU32::new(0));
        let work = || {
            let runs = Arc::clone(&runs);
            async move {
                tokio::task::yield_now().await;
                runs.fetch_add(1, Ordering::SeqCst) + 1
            }
        };
        let (first, second) = (flights.join("a", work()), flights.join("a", work()));
        assert_eq!(tokio::join!(first, second), (1, 1));
        assert_eq!(flights.join("a", work()).await, 2);
    }

    #[tokio::test]
    async fn the_work_goes_on_when_the_caller_that_began_it_leaves() {
        let flights = Flights::new();
        let (done, wait) = oneshot::channel::<u32>();
        let mut first = flights.join("a", async move { wait.await.ok() });
        let second = flights.join("a", async { None });
        assert!((&mut first).now_or_never().is_none());
        drop(first);
        done.send(5).unwrap();
        assert_eq!(second.await, Some(5));
    }
}
