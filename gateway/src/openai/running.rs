//! A prediction that somebody waits for on their connection: when they leave, it is canceled, for nobody could fetch what it gives.

use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt};
use protocol::Problem;

use super::ended;
use crate::db::prediction::PredictionRow;
use crate::live::Live;
use crate::transcript::{Piece, Transcript};

/// Dropping it cancels the prediction, unless its caller can come back for it.
#[derive(Debug)]
pub(crate) struct Running {
    watched: Watched,
    cancels: bool,
}

#[derive(Debug)]
enum Watched {
    Live(Arc<Live>),
    /// The same call came before under its key, and has ended.
    Kept(Box<PredictionRow>),
}

/// What there is to pass on.
#[derive(Debug)]
pub(crate) enum Said {
    Text(String),
    Ended(Box<PredictionRow>),
}

impl Running {
    /// One that nobody else can reach.
    pub const fn sole(live: Arc<Live>) -> Self {
        Self { watched: Watched::Live(live), cancels: true }
    }

    /// One that its caller finds again under an idempotency key.
    pub const fn keyed(live: Arc<Live>) -> Self {
        Self { watched: Watched::Live(live), cancels: false }
    }

    pub fn kept(row: PredictionRow) -> Result<Self, Problem> {
        if row.state.is_terminal() {
            return Ok(Self { watched: Watched::Kept(Box::new(row)), cancels: false });
        }
        let detail = "The same call is under way; ask again with the same key in a moment";
        Err(Problem { retry_after: Some(1), ..Problem::new(503, "Under way", detail) })
    }

    pub fn row(&self) -> PredictionRow {
        match &self.watched {
            Watched::Live(live) => live.row(),
            Watched::Kept(row) => (**row).clone(),
        }
    }

    /// Waits for the end, however long the model may run.
    pub async fn succeeded(&self) -> Result<PredictionRow, Problem> {
        if let Watched::Live(live) = &self.watched {
            live.ended().await;
        }
        let row = self.row();
        ended::problem(&row).map_or(Ok(row), Err)
    }

    /// The output as it comes, then the end. It takes the prediction along: a stream that is dropped cancels it.
    pub fn said(self) -> impl Stream<Item = Said> + Send {
        let changes = match &self.watched {
            Watched::Live(live) => Some(live.watch()),
            Watched::Kept(_) => None,
        };
        stream::unfold(Some((self, 0, changes)), |state| async move {
            let (running, seen, mut changes) = state?;
            loop {
                if let Some(changes) = &mut changes {
                    changes.borrow_and_update();
                }
                let pieces = running.pieces_after(seen);
                let seen = seen + pieces.len();
                let mut said: Vec<Said> = pieces.into_iter().filter_map(text_of).map(Said::Text).collect();
                let row = running.row_if_ended();
                let is_over = row.is_some();
                // The end may have come between the two looks: what it brought is looked at again.
                if is_over {
                    said.extend(running.pieces_after(seen).into_iter().filter_map(text_of).map(Said::Text));
                    said.extend(row.map(|row| Said::Ended(Box::new(row))));
                    return Some((stream::iter(said), None));
                }
                if !said.is_empty() {
                    return Some((stream::iter(said), Some((running, seen, changes))));
                }
                if changes.as_mut()?.changed().await.is_err() {
                    return None;
                }
            }
        })
        .flatten()
    }

    fn row_if_ended(&self) -> Option<PredictionRow> {
        match &self.watched {
            Watched::Live(live) => live.state().is_terminal().then(|| live.row()),
            Watched::Kept(row) => Some((**row).clone()),
        }
    }

    fn pieces_after(&self, seen: usize) -> Vec<Piece> {
        match &self.watched {
            Watched::Live(live) => live.pieces_after(seen),
            Watched::Kept(row) => Transcript::of(row).pieces_after(seen, row),
        }
    }
}

impl Drop for Running {
    /// One that has ended stays as it is.
    fn drop(&mut self) {
        if let (Watched::Live(live), true) = (&self.watched, self.cancels) {
            live.cancel();
        }
    }
}

fn text_of(piece: Piece) -> Option<String> {
    match piece {
        Piece::Output(value) => Some(ended::text_of(&value)),
        Piece::Logs(_) | Piece::Error(_) | Piece::Done(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::row;
    use crate::live::LiveSet;
    use protocol::prediction::State;
    use serde_json::json;

    fn live_with(output: serde_json::Value) -> Arc<Live> {
        let live = LiveSet::default().enter(row());
        live.update(|row, transcript| {
            transcript.note_outputs(output.as_array().map_or(1, Vec::len));
            row.output = output;
        });
        live
    }

    #[tokio::test]
    async fn the_output_is_said_as_it_comes_and_then_the_end() {
        let live = live_with(json!(["one"]));
        let mut said = Running::sole(live.clone()).said().boxed();
        assert!(matches!(said.next().await, Some(Said::Text(text)) if text == "one"));
        live.update(|row, transcript| {
            transcript.note_outputs(1);
            row.output = json!(["one", " two"]);
            row.state = State::Succeeded;
        });
        assert!(matches!(said.next().await, Some(Said::Text(text)) if text == " two"));
        assert!(matches!(said.next().await, Some(Said::Ended(row)) if row.state == State::Succeeded));
        assert!(said.next().await.is_none());
    }

    #[test]
    fn whoever_leaves_cancels_unless_they_can_come_back() {
        let (sole, keyed) = (live_with(json!([])), live_with(json!([])));
        drop(Running::keyed(keyed.clone()));
        drop(Running::sole(sole.clone()).said());
        assert!(sole.cancelled().is_cancelled() && !keyed.cancelled().is_cancelled());
    }
}
