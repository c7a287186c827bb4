//! Step 9: one transaction ends the prediction: terminal state, capture or void, the webhook's event, the run counted.

use std::time::Duration;

use billing::{Ending, Meter, Settle, TokenCount};
use futures::future::BoxFuture;
use protocol::Pricing;
use protocol::prediction::{Errand, State, Timings};
use protocol::wire::{FailCode, Fault, TokenUsage};
use serde_json::{Value, json};
use store::{StoreError, Tx};

use crate::Gateway;
use crate::db::prediction::{self, PredictionRow};
use crate::db::webhook::{self, NewDelivery};
use crate::live::Live;
use crate::prediction::admit::prompt_tokens_max;
use crate::prediction::{Admitted, prepare};
use crate::transcript::{self, Transcript};
use crate::webhooks;

/// How a prediction ended, before it is charged and written down.
#[derive(Debug)]
pub(crate) struct Ended {
    pub state: State,
    pub error: Option<String>,
    pub code: Option<FailCode>,
    /// By the runner's clock; 0 when it never started.
    pub run_us: u64,
    /// What the model's server said it used.
    pub usage: Option<TokenUsage>,
    pub relayed: Relayed,
    pub after_us: Option<u64>,
    /// An output that is shown only now, whole.
    pub output: Option<Value>,
}

/// The output that the model gave, before any hook: what bounds its claims, and what is counted where it made none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Relayed {
    pub bytes: u32,
    /// Pieces with something in them.
    pub pieces: u32,
}

impl Relayed {
    pub fn note(&mut self, piece: &Value) {
        let bytes = piece.as_str().map_or_else(|| piece.to_string().len(), str::len);
        self.bytes = self.bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.pieces = self.pieces.saturating_add(u32::from(bytes > 0));
    }
}

impl Ended {
    const fn new(state: State) -> Self {
        Self {
            state,
            error: None,
            code: None,
            run_us: 0,
            usage: None,
            relayed: Relayed { bytes: 0, pieces: 0 },
            after_us: None,
            output: None,
        }
    }

    pub const fn succeeded() -> Self {
        Self::new(State::Succeeded)
    }

    pub const fn canceled() -> Self {
        Self::new(State::Canceled)
    }

    /// The caller's deadline came: before the model had it, or while it ran.
    pub fn overdue(started: bool) -> Self {
        let state = if started { State::Canceled } else { State::Aborted };
        Self { code: Some(FailCode::Deadline), ..Self::new(state) }
    }

    pub fn failed(code: FailCode, message: String) -> Self {
        Self { error: Some(message), code: Some(code), ..Self::new(State::Failed) }
    }

    /// A `before` hook gave the output; no model ran.
    pub fn answered(output: Value) -> Self {
        Self { output: Some(output), ..Self::succeeded() }
    }
}

/// The hot command: the row as it ends, what is charged for it, and who is paid.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    row: PredictionRow,
    settle: Settle,
    /// What a webhook is told of it.
    event: Option<NewDelivery>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FinishOutcome {
    Finished,
    /// Another driver has it, or it had ended: nothing was changed.
    Stale,
}

/// Between tries to write an end that the database did not take: it must happen, or the money stays held.
const WRITE_TRY_AGAIN: Duration = Duration::from_millis(200);
const WRITE_TRY_AGAIN_MAX: Duration = Duration::from_secs(5);

pub(super) async fn finish(gateway: &Gateway, admitted: &Admitted, ended: Ended) {
    let live = &admitted.live;
    let (row, told) = terminal_row(gateway, admitted, ended);
    let charge = row.cost.unwrap_or_default();
    let settle = Settle {
        prediction: row.id,
        publisher: admitted.catalogued.model.owner_id.clone(),
        cost: charge,
        fee: gateway.fee(),
        at: row.completed_at.unwrap_or_else(|| gateway.clock().now()),
    };
    let event = webhooks::completed(gateway, &row);
    let has_event = event.is_some();
    let command = Finish { row: row.clone(), settle, event };
    let mut pause = WRITE_TRY_AGAIN;
    loop {
        match gateway.finishes().send(command.clone()).await {
            Ok(FinishOutcome::Finished) => {
                if has_event {
                    gateway.webhooks().wake();
                }
                if live.errand == Errand::Predict {
                    gateway.registry().count_run(&admitted.catalogued.model);
                }
                live.update(|shown, transcript| (*shown, *transcript) = (row, told));
                return;
            }
            Ok(FinishOutcome::Stale) => return show_what_stands(gateway, live).await,
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(prediction = %live.id, %error, "the end of a prediction could not be written yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(WRITE_TRY_AGAIN_MAX);
            }
        }
    }
}

/// Another driver's end is the true one.
async fn show_what_stands(gateway: &Gateway, live: &Live) {
    tracing::warn!(prediction = %live.id, "a stale result was not accepted");
    let id = live.id;
    let standing = gateway.db().read(move |tx| Box::pin(prediction::find_any(tx, id))).await;
    if let Ok(Some(standing)) = standing {
        live.update(|shown, _| *shown = standing);
    }
}

/// The row as it ends, and its transcript.
fn terminal_row(gateway: &Gateway, admitted: &Admitted, ended: Ended) -> (PredictionRow, Transcript) {
    let mut row = admitted.live.row();
    let mut told = admitted.live.transcript();
    let now = gateway.clock().now();
    let ending = ending_of(&ended, row.started_at.is_some());
    if let Some(output) = ended.output {
        told.note_outputs(transcript::outputs_of(&output).len());
        row.output = output;
    }
    row.event_log = Some(told.write());
    row.state = ended.state;
    row.error = ended.error;
    row.code = ended.code.map(|code| code.name().to_owned());
    row.completed_at = Some(now.max(row.created_at));
    let seen_us = row.started_at.map_or(0, |started| now.micros_since(started));
    let meter = Meter::read(Some(ended.run_us), seen_us, tokens_of(ended.usage, &row, ended.relayed));
    let charge = billing::charge(row.pricing, gateway.rate(&row.hardware), &meter, ending).at_most(row.hold);
    row.cost = Some(charge.cost);
    row.cost_lines = charge.lines;
    let mut timings = row.timings.unwrap_or_default();
    timings.predict_us = meter.run_us;
    timings.after_us = ended.after_us;
    row.timings = Some(timings);
    if row.started_at.is_some() {
        row.metrics.insert("predict_time".to_owned(), json!(seconds(meter.run_us)));
    }
    row.metrics.insert("total_time".to_owned(), json!(seconds(now.micros_since(row.created_at))));
    if ended.usage.is_some() {
        row.metrics.insert("input_token_count".to_owned(), json!(meter.tokens.prompt));
    }
    if ended.usage.is_some() || matches!(row.pricing, Pricing::Token { .. }) {
        row.metrics.insert("output_token_count".to_owned(), json!(meter.tokens.completion));
    }
    row.metrics.extend(prepare::hook_metrics(&row.hooks));
    (row, told)
}

fn ending_of(ended: &Ended, started: bool) -> Ending {
    match (ended.state, ended.code) {
        (State::Aborted, _) => Ending::NeverStarted,
        (_, _) if !started => Ending::NeverStarted,
        (State::Succeeded, _) => Ending::Succeeded,
        (State::Canceled, _) => Ending::CanceledRunning,
        // The model did its part and its publisher's hook spoiled it: the model's time is charged.
        (_, Some(FailCode::HookFailed)) => Ending::FailedByAfter,
        (_, Some(code)) if code.fault() == Fault::Platform => Ending::FailedByPlatform,
        (_, _) => Ending::FailedByModel,
    }
}

/// A server's claim, beside what passed through our hands. One that was stopped has made none: each piece that it gave is a token or more.
fn tokens_of(claim: Option<TokenUsage>, row: &PredictionRow, relayed: Relayed) -> TokenCount {
    let input = row.model_input.as_ref().unwrap_or(&row.input);
    match claim {
        Some(declared) => TokenCount::Declared { declared, prompt_bytes: prompt_tokens_max(input), completion_bytes: relayed.bytes.into() },
        None => TokenCount::Relayed(TokenUsage { prompt: 0, completion: relayed.pieces.into() }),
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a run stay far below 2^53")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1_000_000.0
}

/// Applies what has queued in one transaction: the rows whose fence holds, then their settlements.
pub(crate) fn apply<'t>(tx: &'t mut Tx, commands: &'t [Finish]) -> BoxFuture<'t, Result<Vec<FinishOutcome>, StoreError>> {
    Box::pin(async move {
        let rows: Vec<&PredictionRow> = commands.iter().map(|command| &command.row).collect();
        let finished = prediction::finish_all(tx, &rows).await?;
        let is_finished = |command: &&Finish| finished.contains(&command.row.id.to_string());
        let settles: Vec<Settle> = commands.iter().filter(is_finished).map(|command| command.settle.clone()).collect();
        billing::settle_all(tx, &settles).await?;
        let events: Vec<&NewDelivery> = commands.iter().filter(is_finished).filter_map(|command| command.event.as_ref()).collect();
        if !events.is_empty() {
            webhook::drop_superseded(tx, &events).await?;
            webhook::insert_all(tx, &events).await?;
        }
        let outcome = |command: &Finish| if is_finished(&command) { FinishOutcome::Finished } else { FinishOutcome::Stale };
        Ok(commands.iter().map(outcome).collect())
    })
}

/// What the timeline of a prediction starts with, from the moment the model had it.
pub(super) fn started_timings(queue_us: u64, cold: Option<protocol::prediction::ColdStart>, before_us: Option<u64>) -> Timings {
    Timings { queue_us, cold, before_us, predict_us: 0, after_us: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::row;

    #[test]
    fn a_claim_is_bounded_by_what_was_relayed_and_a_stopped_model_is_billed_for_what_it_gave() {
        let relayed = Relayed { bytes: 40, pieces: 7 };
        let count = |claim| Meter::read(None, 0, tokens_of(claim, &row(), relayed)).tokens;
        assert_eq!(count(Some(TokenUsage { prompt: 3, completion: 9 })), TokenUsage { prompt: 3, completion: 9 });
        assert_eq!(count(Some(TokenUsage { prompt: 3, completion: 900 })).completion, 40);
        assert_eq!(count(None), TokenUsage { prompt: 0, completion: 7 });
    }
}
