//! Step 8: the runner's events become the prediction that callers watch; output passes the version's hooks on its way.

use std::time::Duration;

use fabric::Line;
use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture};
use protocol::prediction::State;
use protocol::wire::{Ended as WireEnded, Event, FailCode, Outcome, Started};
use serde_json::Value;
use tokio::time::Instant;

use crate::Gateway;
use crate::db::prediction::Progress;
use crate::live::Live;
use crate::prediction::finish::Relayed;
use crate::prediction::place::Placed;
use crate::prediction::{Admitted, Ended};
use outlet::{Flow, Outlet};

mod outlet;

/// Shorter runs never show `processing`, and spare the database a write.
const PROCESSING_SHOWN_AFTER: Duration = Duration::from_millis(50);
/// A runner stops a model within two seconds; past this it is taken for lost.
const CANCEL_MAX: Duration = Duration::from_secs(4);
/// Outputs that pass the hooks together when they are there together.
const OUTPUTS_AT_ONCE: usize = 32;

/// Relays until the end; `None` when the gateway itself stops and nothing was shown, so that the next one may run it again.
pub(super) async fn relay(gateway: &Gateway, admitted: &Admitted, placed: &Placed, line: Line) -> Option<Ended> {
    let outlet = Outlet::new(gateway, admitted);
    let mut relay = Relay {
        gateway,
        admitted,
        live: &admitted.live,
        line,
        outlet,
        backlog: None,
        waiting: Vec::new(),
        marking: None.into(),
        mark_at: None,
        marked: false,
        cancel_by: None,
        verdict: None,
        relayed: Relayed::default(),
        started: None,
    };
    admitted.live.update(|row, _| row.runner = Some(placed.runner.id.clone()));
    let ended = relay.run().await;
    if relay.is_left_to_the_next_start(&ended) { None } else { Some(relay.close(ended).await) }
}

struct Relay<'a> {
    gateway: &'a Gateway,
    admitted: &'a Admitted,
    live: &'a Live,
    line: Line,
    outlet: Outlet<'a>,
    backlog: Option<Event>,
    /// Outputs that wait for the database to know that they may be shown.
    waiting: Vec<Value>,
    marking: OptionFuture<BoxFuture<'a, bool>>,
    mark_at: Option<Instant>,
    marked: bool,
    cancel_by: Option<Instant>,
    /// What we decided ourselves, while the runner is still stopping.
    verdict: Option<Ended>,
    relayed: Relayed,
    started: Option<Instant>,
}

impl Relay<'_> {
    async fn run(&mut self) -> Ended {
        loop {
            if let Some(event) = self.backlog.take() {
                if let Some(ended) = self.take(event).await {
                    return ended;
                }
                continue;
            }
            tokio::select! {
                event = self.line.next() => match event {
                    Some(event) => if let Some(ended) = self.take(event).await { return ended },
                    None => return self.lost(),
                },
                Some(held) = &mut self.marking => {
                    self.marking = None.into();
                    if !held {
                        // The fence has moved on: whatever this one ends as will not be written.
                        return Ended::failed(FailCode::RunnerLost, "another gateway drives this prediction".to_owned());
                    }
                    self.show_processing().await;
                }
                () = at(self.mark_at) => {
                    self.mark_at = None;
                    self.mark(false);
                }
                () = self.live.cancelled().cancelled(), if self.cancel_by.is_none() => self.stop(None),
                () = self.admitted.overdue(), if self.cancel_by.is_none() => self.stop(Some(Ended::overdue(self.started.is_some()))),
                () = at(self.cancel_by) => {
                    let ended = self.verdict.take().unwrap_or_else(Ended::canceled);
                    return Ended { run_us: self.seen_us(), relayed: self.relayed, ..ended };
                }
            }
        }
    }

    /// Takes one event; returns the end when it is that.
    async fn take(&mut self, event: Event) -> Option<Ended> {
        match event {
            Event::Started(started) => self.start(&started),
            Event::Log { text } => self.log(&text),
            Event::Metric { name, value } => self.live.update(|row, _| {
                row.metrics.insert(name, value);
            }),
            Event::Output { chunk } => self.output(chunk).await,
            Event::Ended(ended) => return Some(self.ended(ended).await),
        }
        None
    }

    fn start(&mut self, started: &Started) {
        let now = self.gateway.clock().now();
        self.started = Some(Instant::now());
        let before_us = self.live.update(|row, _| {
            let before: u64 = row.hooks.iter().map(|hook| hook.duration_us).sum();
            let before_us = (!row.hooks.is_empty()).then_some(before);
            row.started_at = Some(now.max(row.created_at));
            row.hardware.clone_from(&started.hardware);
            row.timings = Some(super::finish::started_timings(started.queue_us, started.cold, before_us));
            before_us
        });
        self.gateway.claims().note(started);
        if let Some(cold) = &started.cold {
            self.gateway.cold_starts().note(cold);
        }
        tracing::debug!(prediction = %self.live.id, ?before_us, cold = started.cold.is_some(), "started");
        if self.outlet.streams() {
            self.mark(true);
        } else {
            self.mark_at = Some(Instant::now() + PROCESSING_SHOWN_AFTER);
        }
    }

    /// Tells the database that the model has it, and that its output may be seen from now on.
    fn mark(&mut self, emitted: bool) {
        let (fence, started_at) = self.live.update(|row, _| (row.fence, row.started_at.map_or(0, protocol::Timestamp::micros)));
        let progress = Progress { id: self.live.id, fence, started_at, emitted: i64::from(emitted) };
        let batch = self.gateway.progress().clone();
        let marked = async move {
            batch.send(progress).await.unwrap_or_else(|error| {
                // A database that does not answer is no reason to stop the model: the end is written with its own patience.
                tracing::error!(%error, "the start of a prediction could not be written");
                true
            })
        };
        self.marking = Some(marked.boxed()).into();
    }

    async fn show_processing(&mut self) {
        self.marked = true;
        self.live.update(|row, _| row.state = State::Running);
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            self.emit(waiting).await;
        }
    }

    fn log(&self, text: &str) {
        let most = self.gateway.config().log_bytes_max;
        self.live.update(|row, transcript| {
            if row.logs.len() < most {
                let from = row.logs.len();
                row.logs.push_str(text);
                transcript.note_logs(from, row.logs.len());
            }
        });
    }

    async fn output(&mut self, chunk: Value) {
        let mut chunks = vec![chunk];
        while chunks.len() < OUTPUTS_AT_ONCE {
            match self.line.try_next() {
                Some(Event::Output { chunk }) => chunks.push(chunk),
                other => {
                    self.backlog = other;
                    break;
                }
            }
        }
        for chunk in &chunks {
            self.relayed.note(chunk);
        }
        if self.relayed.bytes as usize > self.gateway.config().output_bytes_max {
            let most = self.gateway.config().output_bytes_max;
            return self.stop(Some(Ended::failed(FailCode::OutputTooLarge, format!("the output is larger than {most} bytes"))));
        }
        for chunk in &mut chunks {
            super::files::disown_foreign(self.live, chunk);
        }
        if self.outlet.streams() && !self.marked {
            self.waiting.extend(chunks);
        } else {
            self.emit(chunks).await;
        }
    }

    async fn emit(&mut self, chunks: Vec<Value>) {
        if self.verdict.is_some() {
            return;
        }
        match self.outlet.push(chunks).await {
            Ok(Flow::Open) => {}
            Ok(Flow::Stopped) => self.stop(Some(Ended::succeeded())),
            Err(spoiled) => self.stop(Some(spoiled)),
        }
    }

    /// Asks the runner to stop the model. With a verdict that is how the prediction ends, whatever the runner says.
    fn stop(&mut self, verdict: Option<Ended>) {
        self.verdict = self.verdict.take().or(verdict);
        self.line.cancel();
        self.cancel_by.get_or_insert(Instant::now() + CANCEL_MAX);
    }

    async fn ended(&mut self, ended: WireEnded) -> Ended {
        // Only output that waits for the mark is worth waiting for it: a whole output is shown by the finishing commit.
        if self.outlet.streams()
            && let Some(held) = (&mut self.marking).await
        {
            self.marking = None.into();
            if held {
                self.show_processing().await;
            }
        } else if !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            self.emit(waiting).await;
        }
        if ended.outcome == Outcome::Succeeded {
            self.gateway.paces().note(self.live, Duration::from_micros(ended.run_us));
        }
        let of_the_runner = match ended.outcome {
            Outcome::Succeeded => Ended::succeeded(),
            Outcome::Canceled => Ended::canceled(),
            Outcome::Failed { code, message } => Ended::failed(code, message),
        };
        let judged = self.verdict.take().unwrap_or(of_the_runner);
        Ended { run_us: ended.run_us, usage: ended.usage, relayed: self.relayed, ..judged }
    }

    /// The line broke: what ran on it is failed, never spliced.
    fn lost(&mut self) -> Ended {
        match self.verdict.take() {
            Some(verdict) => verdict,
            None if self.live.cancelled().is_cancelled() => Ended { run_us: self.seen_us(), ..Ended::canceled() },
            None => Ended::failed(FailCode::RunnerLost, "the runner was lost while the prediction ran".to_owned()),
        }
    }

    /// A runner that goes down with this gateway is no reason to fail what nobody has seen anything of.
    fn is_left_to_the_next_start(&self, ended: &Ended) -> bool {
        self.gateway.is_stopping() && ended.code == Some(FailCode::RunnerLost) && !self.outlet.has_shown()
    }

    /// The last of the hooks' work: what a filter still holds, what `after` makes of a whole output.
    async fn close(mut self, ended: Ended) -> Ended {
        let closed = match ended.state {
            State::Succeeded => self.outlet.finish().await,
            _ => Ok(()),
        };
        let mut ended = match closed {
            Ok(()) => ended,
            Err(spoiled) => Ended { run_us: ended.run_us, usage: ended.usage, relayed: ended.relayed, ..spoiled },
        };
        ended.after_us = self.outlet.note_runs();
        ended.output = self.outlet.whole();
        tracing::debug!(prediction = %self.admitted.live.id, state = ended.state.name(), "relayed");
        ended
    }

    fn seen_us(&self) -> u64 {
        self.started.map_or(0, |started| u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// Ends at `moment`, or never.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
