//! What a prediction has said and its gateway has not yet taken: bounded, so that the model is read at full speed however slow the gateway is.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fabric::Call;
use protocol::wire::{Ended, Event, Started};
use serde_json::Value;
use tokio::sync::{Notify, SetOnce};
use tokio::time::Instant;

use crate::logs::LogBudget;

/// Neighbouring pieces of log that wait are sent as one up to this size.
const LOG_EVENT_BYTES_MAX: usize = 16 * 1024;
/// All of a prediction's output, as JSON.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;
const METRICS_MAX: usize = 256;

/// The output is larger than a prediction's may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the output is larger than {OUTPUT_BYTES_MAX} bytes")]
pub struct OutputTooLarge;

#[derive(Debug, Default)]
pub struct Backlog {
    saying: Mutex<Saying>,
    changed: Notify,
    started_at: SetOnce<Instant>,
}

#[derive(Debug, Default)]
struct Saying {
    pending: VecDeque<Event>,
    logs: LogBudget,
    output_bytes: usize,
    metrics: HashSet<String>,
}

impl Backlog {
    /// The model has the prediction; its time runs from here.
    pub fn start(&self, started: Started) {
        if self.started_at.set(Instant::now()).is_ok() {
            self.push(Event::Started(started));
        }
    }

    /// When the prediction started; waits until it does. Cancel safe.
    pub async fn started(&self) -> Instant {
        *self.started_at.wait().await
    }

    pub fn started_at(&self) -> Option<Instant> {
        self.started_at.get().copied()
    }

    pub fn log(&self, text: &str) {
        let mut saying = self.saying();
        let passed = saying.logs.spend(text);
        match saying.pending.back_mut() {
            _ if passed.is_empty() => return,
            Some(Event::Log { text: before }) if before.len() + passed.len() <= LOG_EVENT_BYTES_MAX => before.push_str(passed),
            _ => saying.pending.push_back(Event::Log { text: passed.to_owned() }),
        }
        drop(saying);
        self.changed.notify_one();
    }

    /// `bytes` is the chunk's size as JSON.
    pub fn output(&self, chunk: Value, bytes: usize) -> Result<(), OutputTooLarge> {
        let mut saying = self.saying();
        saying.output_bytes += bytes;
        if saying.output_bytes > OUTPUT_BYTES_MAX {
            return Err(OutputTooLarge);
        }
        saying.pending.push_back(Event::Output { chunk });
        drop(saying);
        self.changed.notify_one();
        Ok(())
    }

    /// A value that still waits is replaced by the newer one. Names beyond a fixed number are left out.
    pub fn metric(&self, name: &str, value: Value) {
        let mut saying = self.saying();
        if !saying.metrics.contains(name) && saying.metrics.len() == METRICS_MAX {
            return;
        }
        saying.metrics.insert(name.to_owned());
        let waits = saying.pending.iter_mut().rev().take(METRICS_MAX).find_map(|event| match event {
            Event::Metric { name: waiting, value } if waiting == name => Some(value),
            _ => None,
        });
        match waits {
            Some(waiting) => *waiting = value,
            None => saying.pending.push_back(Event::Metric { name: name.to_owned(), value }),
        }
        drop(saying);
        self.changed.notify_one();
    }

    pub fn end(&self, ended: Ended) {
        let rest = self.saying().logs.rest();
        if let Some(text) = rest {
            self.push(Event::Log { text });
        }
        self.push(Event::Ended(ended));
    }

    /// Sends what is said up the line, in order, until the end is sent or nobody listens.
    pub async fn forward(self: Arc<Self>, call: Arc<Call>) {
        loop {
            let Some(event) = self.pop() else {
                self.changed.notified().await;
                continue;
            };
            let last = matches!(event, Event::Ended(_));
            if !call.send(event).await || last {
                return;
            }
        }
    }

    fn push(&self, event: Event) {
        self.saying().pending.push_back(event);
        self.changed.notify_one();
    }

    fn pop(&self) -> Option<Event> {
        self.saying().pending.pop_front()
    }

    fn saying(&self) -> MutexGuard<'_, Saying> {
        self.saying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::wire::Outcome;
    use serde_json::json;

    fn said(backlog: &Backlog) -> Vec<Event> {
        std::iter::from_fn(|| backlog.pop()).collect()
    }

    #[test]
    fn neighbouring_logs_are_sent_as_one_and_output_keeps_its_place() {
        let backlog = Backlog::default();
        backlog.log("a\n");
        backlog.log("b\n");
        backlog.output(json!("x"), 3).unwrap();
        backlog.log("c\n");
        assert_eq!(
            said(&backlog),
            vec![Event::Log { text: "a\nb\n".into() }, Event::Output { chunk: json!("x") }, Event::Log { text: "c\n".into() }]
        );
    }

    #[test]
    fn a_gateway_that_reads_nothing_costs_a_bounded_amount_of_memory() {
        let backlog = Backlog::default();
        let line = "x".repeat(1_024);
        for _ in 0..100_000 {
            backlog.log(&line);
        }
        let ended = Ended { outcome: Outcome::Succeeded, run_us: 1, usage: None };
        backlog.end(ended.clone());
        let said = said(&backlog);
        let logged: usize = said.iter().map(|event| if let Event::Log { text } = event { text.len() } else { 0 }).sum();
        assert!(logged < 1_100_000 && said.len() < 100);
        assert_eq!(said.last(), Some(&Event::Ended(ended)));
    }

    #[test]
    fn too_much_output_is_refused() {
        let backlog = Backlog::default();
        backlog.output(json!(1), OUTPUT_BYTES_MAX).unwrap();
        assert_eq!(backlog.output(json!(1), 1), Err(OutputTooLarge));
    }

    #[test]
    fn a_metric_that_still_waits_is_replaced() {
        let backlog = Backlog::default();
        backlog.metric("tokens", json!(1));
        backlog.metric("tokens", json!(2));
        for n in 0..2 * METRICS_MAX {
            backlog.metric(&format!("m{n}"), json!(n));
        }
        let said = said(&backlog);
        assert_eq!(said[0], Event::Metric { name: "tokens".into(), value: json!(2) });
        assert_eq!(said.len(), METRICS_MAX);
    }
}
