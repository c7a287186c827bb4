//! A hook that is loaded and can be called: a fresh sandbox for every call, gone when the call ends.

use std::sync::Arc;
use std::time::Duration;

use protocol::Digest;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::answer::{After, AfterAction, Before, BeforeAction, refusal, require_cache_key, require_metrics};
use crate::bindings::exports::feira::hook::{post, pre, stream_filter};
use crate::bindings::feira::hook::types::{self, Context};
use crate::call::{Call, Limits};
use crate::check::Exports;
use crate::engine::Engine;
use crate::error::{Failure, HookError};
use crate::report::{Outcome, Report};
use crate::sandbox::{Sandbox, Stop, context, explain};
use crate::stream::Stream;

/// A call also ends after so many times its processor time by the wall clock: a guest can wait instead of running, on WASI's timers
/// or for a core. The factor leaves room for a machine with more guests than cores.
const WALL_FACTOR: u32 = 10;

/// A hook that is loaded. Cheap to clone.
#[derive(Clone)]
pub struct Hook {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    digest: Digest,
    instance_pre: InstancePre<Sandbox>,
    pre: Option<pre::GuestIndices>,
    post: Option<post::GuestIndices>,
    filter: Option<stream_filter::GuestIndices>,
}

/// A guest in its sandbox. The fields are dropped in this order: the store returns to the pool before the permit does.
pub(crate) struct Guest {
    pub(crate) store: Store<Sandbox>,
    engine: Engine,
    limits: Limits,
    _permit: OwnedSemaphorePermit,
}

impl Hook {
    pub(crate) fn new(engine: Engine, digest: Digest, instance_pre: InstancePre<Sandbox>) -> Self {
        let pre = pre::GuestIndices::new(&instance_pre).ok();
        let post = post::GuestIndices::new(&instance_pre).ok();
        let filter = stream_filter::GuestIndices::new(&instance_pre).ok();
        Self { inner: Arc::new(Inner { engine, digest, instance_pre, pre, post, filter }) }
    }

    /// The digest of the component.
    pub fn digest(&self) -> &Digest {
        &self.inner.digest
    }

    /// What can be called: a version whose hook lacks a part must not pay for asking.
    pub fn exports(&self) -> Exports {
        Exports { before: self.inner.pre.is_some(), after: self.inner.post.is_some(), stream: self.inner.filter.is_some() }
    }

    /// Calls the hook with an input, a JSON document, before the model is.
    ///
    /// Cancel safe: dropping the future drops the sandbox.
    pub async fn before(&self, call: &Call, input: &str) -> Result<Before, Failure> {
        let indices = self.inner.pre.as_ref().ok_or_else(|| not_exported("pre"))?;
        let (mut guest, context) = self.guest(call)?;
        let run_max = call.limits.before_max;
        let instance_pre = &self.inner.instance_pre;
        let outcome = guest
            .run(run_max, async |store| {
                let instance = instance_pre.instantiate_async(&mut *store).await?;
                indices.load(&mut *store, &instance)?.call_process(store, &context, input).await
            })
            .await?;
        let metrics = require_metrics(outcome.metrics).map_err(|error| guest.fail(error))?;
        let cache_key = require_cache_key(outcome.cache_key).map_err(|error| guest.fail(error))?;
        let action = BeforeAction::from(outcome.action);
        let blobs = guest.store.data_mut().take_written_blobs(call.blobs.len());
        let report = guest.report(match action {
            BeforeAction::Pass => Outcome::Passed,
            BeforeAction::Replace(_) => Outcome::Replaced,
            BeforeAction::Respond(_) => Outcome::Responded,
        });
        Ok(Before { action, cache_key, metrics, blobs, report })
    }

    /// Calls the hook with the input as the model got it and the whole output, both JSON documents, after the model has ended.
    ///
    /// Cancel safe: dropping the future drops the sandbox.
    pub async fn after(&self, call: &Call, input: &str, output: &str) -> Result<After, Failure> {
        let indices = self.inner.post.as_ref().ok_or_else(|| not_exported("post"))?;
        let (mut guest, context) = self.guest(call)?;
        let run_max = call.limits.after_max;
        let instance_pre = &self.inner.instance_pre;
        let outcome = guest
            .run(run_max, async |store| {
                let instance = instance_pre.instantiate_async(&mut *store).await?;
                indices.load(&mut *store, &instance)?.call_process(store, &context, input, output).await
            })
            .await?;
        let metrics = require_metrics(outcome.metrics).map_err(|error| guest.fail(error))?;
        let action = AfterAction::from(outcome.action);
        let blobs = guest.store.data_mut().take_written_blobs(call.blobs.len());
        let report = guest.report(match action {
            AfterAction::Pass => Outcome::Passed,
            AfterAction::Replace(_) => Outcome::Replaced,
        });
        Ok(After { action, metrics, blobs, report })
    }

    /// Opens a filter for a streamed output, before the model is started. It keeps its sandbox until it is finished or dropped.
    ///
    /// Cancel safe: dropping the future drops the sandbox.
    pub async fn open_stream(&self, call: &Call, input: &str) -> Result<Stream, Failure> {
        let indices = self.inner.filter.as_ref().ok_or_else(|| not_exported("stream-filter"))?;
        let (mut guest, context) = self.guest(call)?;
        let run_max = call.limits.push_max;
        let instance_pre = &self.inner.instance_pre;
        let (exports, filter) = guest
            .run(run_max, async |store| {
                let instance = instance_pre.instantiate_async(&mut *store).await?;
                let exports = indices.load(&mut *store, &instance)?;
                let filter = exports.filter().call_open(store, &context, input).await?;
                Ok(filter.map(|filter| (exports, filter)))
            })
            .await?;
        Ok(Stream::new(guest, exports, filter, run_max))
    }

    /// Starts the component and looks at the types of its exports; calls none of them.
    pub(crate) async fn start_once(&self) -> Result<(), Failure> {
        let (mut guest, _) = self.guest(&Call::of_nobody())?;
        let inner = &*self.inner;
        guest
            .run(Limits::default().before_max, async |store| {
                let instance = inner.instance_pre.instantiate_async(&mut *store).await?;
                inner.pre.as_ref().map(|indices| indices.load(&mut *store, &instance)).transpose()?;
                inner.post.as_ref().map(|indices| indices.load(&mut *store, &instance)).transpose()?;
                inner.filter.as_ref().map(|indices| indices.load(&mut *store, &instance)).transpose()?;
                Ok(Ok(()))
            })
            .await
    }

    fn guest(&self, call: &Call) -> Result<(Guest, Context), Failure> {
        let inner = &*self.inner;
        let permit = inner.engine.take_sandbox().map_err(Failure::before_start)?;
        let tenant_key = inner.engine.key().tenant_key(&inner.digest, &call.account);
        let store = Sandbox::store(&inner.engine, call, tenant_key, &inner.digest);
        let guest = Guest { store, engine: inner.engine.clone(), limits: call.limits.clone(), _permit: permit };
        Ok((guest, context(call, tenant_key)))
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").field("digest", &self.inner.digest).field("exports", &self.exports()).finish_non_exhaustive()
    }
}

impl Guest {
    /// Lets the guest run, for at most so long, and says what its answer, or the lack of one, means.
    pub(crate) async fn run<T>(
        &mut self,
        run_max: Duration,
        guest: impl AsyncFnOnce(&mut Store<Sandbox>) -> wasmtime::Result<Result<T, types::HookError>>,
    ) -> Result<T, Failure> {
        let clock = Sandbox::allow(&mut self.store, run_max);
        let _ticking = self.engine.run_ticker();
        let ended = tokio::time::timeout(run_max * WALL_FACTOR, clock.measure(guest(&mut self.store))).await;
        match ended {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => Err(self.fail(refusal(error))),
            Ok(Err(error)) => Err(self.fail(explain(&error, &self.limits, run_max))),
            Err(_) => Err(self.fail(explain(&Stop::Deadline.into(), &self.limits, run_max))),
        }
    }

    pub(crate) fn report(&mut self, outcome: Outcome) -> Report {
        self.store.data_mut().report(outcome)
    }

    pub(crate) fn fail(&mut self, error: HookError) -> Failure {
        let outcome = match error {
            HookError::Invalid(_) => Outcome::Invalid,
            HookError::Refused { .. } => Outcome::Refused,
            _ => Outcome::Failed,
        };
        Failure { report: self.report(outcome), error }
    }
}

impl Failure {
    /// A failure of a call that never reached its guest.
    pub(crate) const fn before_start(error: HookError) -> Self {
        let report = Report { duration_us: 0, memory_peak_bytes: 0, outcome: Outcome::Failed, log: Vec::new() };
        Self { error, report }
    }
}

fn not_exported(export: &'static str) -> Failure {
    Failure::before_start(HookError::NotExported(export))
}
