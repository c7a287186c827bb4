//! A filter over one streamed output: one sandbox from opening to end, and everything it answers in order.

use std::time::Duration;

use wasmtime::component::ResourceAny;

use crate::answer::{Closing, Item, Step, require_metrics};
use crate::bindings::exports::feira::hook::stream_filter;
use crate::error::{Failure, HookError};
use crate::hook::Guest;
use crate::report::Outcome;

/// An open filter. Dropping it gives its sandbox back.
pub struct Stream {
    /// `None` once it has failed or stopped, or while a push runs: a push that is dropped halfway ends the stream.
    live: Option<Live>,
    run_max: Duration,
    /// What the report will say if nothing else happens.
    outcome: Outcome,
}

struct Live {
    guest: Guest,
    exports: stream_filter::Guest,
    filter: ResourceAny,
}

impl Stream {
    pub(crate) fn new(guest: Guest, exports: stream_filter::Guest, filter: ResourceAny, run_max: Duration) -> Self {
        Self { live: Some(Live { guest, exports, filter }), run_max, outcome: Outcome::Passed }
    }

    /// Hands items to the filter; see [`crate::Batch`] for how many.
    ///
    /// Not cancel safe: a push that is dropped before it answers ends the stream.
    ///
    /// # Errors
    ///
    /// Any ends the stream. After a stop or an error every push is [`HookError::StreamOver`].
    pub async fn push(&mut self, items: Vec<Item>) -> Result<Step, Failure> {
        if self.outcome == Outcome::Stopped {
            return Err(Failure::before_start(HookError::StreamOver));
        }
        let mut live = self.live.take().ok_or_else(|| Failure::before_start(HookError::StreamOver))?;
        let items: Vec<stream_filter::Item> = items.into_iter().map(stream_filter::Item::from).collect();
        let Live { guest, exports, filter } = &mut live;
        let step = guest.run(self.run_max, async |store| exports.filter().call_push(store, *filter, &items).await).await?;
        let step = match step {
            stream_filter::Step::Pass => Step::Pass(ours(items)),
            stream_filter::Step::Hold => Step::Hold,
            stream_filter::Step::Emit(items) => Step::Emit(ours(items)),
            stream_filter::Step::Stop(items) => Step::Stop(ours(items)),
        };
        match step {
            Step::Pass(_) => {}
            Step::Hold | Step::Emit(_) => self.outcome = Outcome::Replaced,
            Step::Stop(_) => self.outcome = Outcome::Stopped,
        }
        self.live = Some(live);
        Ok(step)
    }

    /// Ends the stream: after the model's last item, or after a stop for the metrics and the report alone.
    pub async fn finish(mut self) -> Result<Closing, Failure> {
        let mut live = self.live.take().ok_or_else(|| Failure::before_start(HookError::StreamOver))?;
        let Live { guest, exports, filter } = &mut live;
        let closing = guest.run(self.run_max, async |store| exports.filter().call_finish(store, *filter).await).await?;
        let metrics = require_metrics(closing.metrics).map_err(|error| guest.fail(error))?;
        Ok(Closing { items: ours(closing.items), metrics, report: guest.report(self.outcome) })
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("over", &self.live.is_none()).field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

fn ours(items: Vec<stream_filter::Item>) -> Vec<Item> {
    items.into_iter().map(Item::from).collect()
}
