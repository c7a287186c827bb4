//! How long a guest has run: the processor time of its polls, not the time it waited for a core.
//!
//! Deadlines are measured on it, so that neither a neighbour's loop, which is made to yield at every tick, nor a busy machine costs
//! anybody else the budget.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Written by the thread that polls the guest and read by the guest's own epoch callback, on the same thread.
#[derive(Debug, Default)]
pub(crate) struct RunClock {
    /// Nanoseconds of earlier polls.
    ran_ns: AtomicU64,
    /// What the thread had used when this poll began.
    polled_ns: AtomicU64,
}

impl RunClock {
    /// Runs a guest's future on the clock.
    pub(crate) async fn measure<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.polled_ns.store(thread_ns(), Ordering::Relaxed);
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
        let this_poll = thread_ns() - self.polled_ns.load(Ordering::Relaxed);
        self.ran_ns.load(Ordering::Relaxed) + this_poll
    }
}

/// The processor time of this thread.
fn thread_ns() -> u64 {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has a clock");
    // 584 years fit.
    u64::try_from(Duration::from(used).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_is_not_running() {
        let clock = RunClock::default();
        let (send, receive) = tokio::sync::oneshot::channel();
        let elsewhere = std::thread::spawn(move || {
            while thread_ns() < 30_000_000 {}
            send.send(()).expect("the receiver waits");
        });
        clock.measure(receive).await.expect("the sender sends");
        elsewhere.join().expect("the thread does not panic");
        assert!(clock.ran() < Duration::from_millis(20), "{:?}", clock.ran());
    }

    #[tokio::test]
    async fn running_is_counted_over_all_polls() {
        let clock = RunClock::default();
        clock
            .measure(async {
                for polls in 1..=3 {
                    while clock.running() < polls * Duration::from_millis(5) {}
                    tokio::task::yield_now().await;
                }
            })
            .await;
        assert!(clock.ran() >= Duration::from_millis(15), "{:?}", clock.ran());
    }
}
