//! How long a guest has run: the time its future was being polled, not the time it waited for a core.
//!
//! Deadlines are measured on it, so that a neighbour's loop, which is made to yield at every tick, costs nobody else the budget.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Written by the task that polls the guest and read by the guest's own epoch callback: never at the same time.
#[derive(Debug)]
pub(crate) struct RunClock {
    origin: Instant,
    /// Nanoseconds of earlier polls.
    ran_ns: AtomicU64,
    /// When this poll began, in nanoseconds from the origin.
    polled_ns: AtomicU64,
}

impl RunClock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), ran_ns: AtomicU64::new(0), polled_ns: AtomicU64::new(0) }
    }

    /// Runs a guest's future on the clock.
    pub(crate) async fn measure<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.polled_ns.store(self.now_ns(), Ordering::Relaxed);
            let polled = future.as_mut().poll(context);
            self.ran_ns.store(self.running_ns(), Ordering::Relaxed);
            polled
        })
        .await
    }

    /// The time run in all finished polls.
    pub(crate) fn ran(&self) -> Duration {
        Duration::from_nanos(self.ran_ns.load(Ordering::Relaxed))
    }

    /// The time run up to this moment; only from within a poll.
    pub(crate) fn running(&self) -> Duration {
        Duration::from_nanos(self.running_ns())
    }

    fn running_ns(&self) -> u64 {
        let this_poll = self.now_ns() - self.polled_ns.load(Ordering::Relaxed);
        self.ran_ns.load(Ordering::Relaxed) + this_poll
    }

    fn now_ns(&self) -> u64 {
        // 584 years fit.
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_is_not_running() {
        let clock = RunClock::new();
        let (send, receive) = tokio::sync::oneshot::channel();
        let waited_from = Instant::now();
        let waiter = std::thread::spawn(move || {
            while waited_from.elapsed() < Duration::from_millis(30) {
                std::thread::yield_now();
            }
            send.send(()).expect("the receiver waits");
        });
        clock.measure(receive).await.expect("the sender sends");
        waiter.join().expect("the waiter does not panic");
        assert!(waited_from.elapsed() >= Duration::from_millis(30));
        assert!(clock.ran() < Duration::from_millis(20), "{:?}", clock.ran());
    }
}
