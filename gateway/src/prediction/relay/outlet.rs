//! Where output leaves: through the version's stream filters piece by piece, or whole through its `after` hooks at the end.

use hooks::{AfterAction, Item, Step, Stream};
use protocol::manifest::{HookSpec, HookStage, OnHookError};
use protocol::prediction::{Errand, HookRun};
use protocol::wire::FailCode;
use serde_json::Value;

use crate::Gateway;
use crate::prediction::{Admitted, Ended, hooked};

/// Whether more output may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    /// A filter ended the stream.
    Stopped,
}

pub(super) struct Outlet<'a> {
    gateway: &'a Gateway,
    admitted: &'a Admitted,
    filters: Vec<Filter<'a>>,
    opened: bool,
    /// The output of a model that does not stream, or whose version has only an `after` hook.
    whole: Option<Value>,
    runs: Vec<HookRun>,
    shown: bool,
}

struct Filter<'a> {
    spec: &'a HookSpec,
    /// Gone once it failed and its version lets output pass without it.
    stream: Option<Stream>,
}

impl<'a> Outlet<'a> {
    pub fn new(gateway: &'a Gateway, admitted: &'a Admitted) -> Self {
        Self { gateway, admitted, filters: Vec::new(), opened: false, whole: None, runs: Vec::new(), shown: false }
    }

    /// Whether output is shown piece by piece: an iterator's, unless the version has only an `after` hook, which must see it whole.
    pub fn streams(&self) -> bool {
        let has = |stage| self.specs(stage).next().is_some();
        self.is_iterator() && (has(HookStage::Stream) || !has(HookStage::After))
    }

    /// A training gives one output, whatever the version's predictions give.
    fn is_iterator(&self) -> bool {
        self.admitted.live.errand == Errand::Predict && self.admitted.catalogued.version.config.is_iterator()
    }

    fn specs(&self, stage: HookStage) -> impl Iterator<Item = &'a HookSpec> + use<'a> {
        hooked::specs(&self.admitted.catalogued.version.config, self.admitted.live.errand, stage)
    }

    pub const fn has_shown(&self) -> bool {
        self.shown
    }

    pub async fn push(&mut self, chunks: Vec<Value>) -> Result<Flow, Ended> {
        if !self.streams() {
            self.keep(chunks);
            return Ok(Flow::Open);
        }
        if !self.opened {
            self.open().await?;
        }
        if self.filters.is_empty() {
            self.show(chunks);
            return Ok(Flow::Open);
        }
        let mut items: Vec<Item> = chunks.into_iter().map(to_item).collect();
        let mut flow = Flow::Open;
        for at in 0..self.filters.len() {
            if items.is_empty() {
                break;
            }
            (items, flow) = self.filter(at, items).await?;
            if flow == Flow::Stopped {
                break;
            }
        }
        self.show(items.into_iter().map(to_value).collect());
        Ok(flow)
    }

    /// Shows what filters still hold, and hands a whole output to the `after` hooks.
    pub async fn finish(&mut self) -> Result<(), Ended> {
        for at in 0..self.filters.len() {
            let Some(stream) = self.filters[at].stream.take() else { continue };
            let spec = self.filters[at].spec;
            let mut items = match stream.finish().await {
                Ok(closing) => {
                    self.runs.push(hooked::ran(spec, HookStage::Stream, &closing.report, &closing.metrics));
                    closing.items
                }
                Err(failure) => {
                    self.runs.push(hooked::ran(spec, HookStage::Stream, &failure.report, &[]));
                    excuse(spec, &failure.error)?;
                    Vec::new()
                }
            };
            for next in at + 1..self.filters.len() {
                if items.is_empty() {
                    break;
                }
                (items, _) = self.filter(next, items).await?;
            }
            self.show(items.into_iter().map(to_value).collect());
        }
        if let Some(output) = self.whole.take() {
            self.whole = Some(self.after(output).await?);
        }
        Ok(())
    }

    /// Writes what the hooks did onto the prediction, and returns how long they ran, in microseconds.
    pub fn note_runs(&mut self) -> Option<u64> {
        let runs = std::mem::take(&mut self.runs);
        let after_us = (!runs.is_empty()).then(|| runs.iter().map(|run| run.duration_us).sum());
        self.admitted.live.update(|row, _| row.hooks.extend(runs));
        after_us
    }

    /// The output that is shown only at the end.
    pub fn whole(&mut self) -> Option<Value> {
        self.whole.take()
    }

    fn keep(&mut self, chunks: Vec<Value>) {
        if self.is_iterator() {
            match &mut self.whole {
                Some(Value::Array(pieces)) => pieces.extend(chunks),
                _ => self.whole = Some(Value::Array(chunks)),
            }
        } else if let Some(last) = chunks.into_iter().last() {
            self.whole = Some(last);
        }
    }

    fn show(&mut self, values: Vec<Value>) {
        if values.is_empty() {
            return;
        }
        self.shown = true;
        self.admitted.live.update(|row, transcript| {
            transcript.note_outputs(values.len());
            match &mut row.output {
                Value::Array(pieces) => pieces.extend(values),
                empty => *empty = Value::Array(values),
            }
        });
    }

    async fn open(&mut self) -> Result<(), Ended> {
        self.opened = true;
        let catalogued = &self.admitted.catalogued;
        for spec in self.specs(HookStage::Stream) {
            let hook = hooked::load(self.gateway, spec).await.map_err(|error| unavailable(spec, &error))?;
            let row = self.admitted.live.row();
            let call = hooked::call(self.gateway, catalogued, spec, &row.account_id, row.id.to_string());
            let input = row.model_input.as_ref().unwrap_or(&row.input).to_string();
            let stream = match hook.open_stream(&call, &input).await {
                Ok(stream) => Some(stream),
                Err(failure) => {
                    self.runs.push(hooked::ran(spec, HookStage::Stream, &failure.report, &[]));
                    excuse(spec, &failure.error)?;
                    None
                }
            };
            self.filters.push(Filter { spec, stream });
        }
        Ok(())
    }

    async fn filter(&mut self, at: usize, items: Vec<Item>) -> Result<(Vec<Item>, Flow), Ended> {
        let Filter { spec, stream } = &mut self.filters[at];
        let spec = *spec;
        let Some(filter) = stream else { return Ok((items, Flow::Open)) };
        let step = match spec.on_error {
            OnHookError::Fail => filter.push(items).await,
            // Kept, so that they can go on unfiltered.
            OnHookError::Pass => match filter.push(items.clone()).await {
                Err(failure) => {
                    *stream = None;
                    self.runs.push(hooked::ran(spec, HookStage::Stream, &failure.report, &[]));
                    return Ok((items, Flow::Open));
                }
                step => step,
            },
        };
        match step {
            Ok(Step::Pass(items) | Step::Emit(items)) => Ok((items, Flow::Open)),
            Ok(Step::Hold) => Ok((Vec::new(), Flow::Open)),
            Ok(Step::Stop(items)) => Ok((items, Flow::Stopped)),
            Err(failure) => {
                self.runs.push(hooked::ran(spec, HookStage::Stream, &failure.report, &[]));
                Err(failed(spec, &failure.error))
            }
        }
    }

    async fn after(&mut self, mut output: Value) -> Result<Value, Ended> {
        let catalogued = &self.admitted.catalogued;
        for spec in self.specs(HookStage::After) {
            let hook = hooked::load(self.gateway, spec).await.map_err(|error| unavailable(spec, &error))?;
            let row = self.admitted.live.row();
            let call = hooked::call(self.gateway, catalogued, spec, &row.account_id, row.id.to_string());
            let input = row.model_input.as_ref().unwrap_or(&row.input).to_string();
            match hook.after(&call, &input, &output.to_string()).await {
                Ok(after) => {
                    self.runs.push(hooked::ran(spec, HookStage::After, &after.report, &after.metrics));
                    if let AfterAction::Replace(replaced) = after.action {
                        output = serde_json::from_str(&replaced).map_err(|_| not_json(spec))?;
                    }
                }
                Err(failure) => {
                    self.runs.push(hooked::ran(spec, HookStage::After, &failure.report, &[]));
                    excuse(spec, &failure.error)?;
                }
            }
        }
        Ok(output)
    }
}

/// Lets a failure of the hook pass where its version says so.
fn excuse(spec: &HookSpec, error: &hooks::HookError) -> Result<(), Ended> {
    match spec.on_error {
        OnHookError::Pass => Ok(()),
        OnHookError::Fail => Err(failed(spec, error)),
    }
}

fn failed(spec: &HookSpec, error: &hooks::HookError) -> Ended {
    Ended::failed(FailCode::HookFailed, format!("the version's hook `{}` failed: {error}", spec.name))
}

fn not_json(spec: &HookSpec) -> Ended {
    Ended::failed(FailCode::HookFailed, format!("the version's hook `{}` returned what is not JSON", spec.name))
}

fn unavailable(spec: &HookSpec, error: &hooked::HookUnavailable) -> Ended {
    tracing::error!(hook = %spec.digest, %error, "a hook cannot be loaded");
    Ended::failed(FailCode::HookFailed, format!("the version's hook `{}` cannot be loaded", spec.name))
}

fn to_item(value: Value) -> Item {
    match value {
        Value::String(text) => Item::Text(text),
        other => Item::Value(other.to_string()),
    }
}

fn to_value(item: Item) -> Value {
    match item {
        Item::Text(text) => Value::String(text),
        // The host has checked that it parses.
        Item::Value(json) => serde_json::from_str(&json).unwrap_or(Value::Null),
    }
}
