//! How the road calls hooks: which of a version's hooks stand at a stage, what they are told, and what is kept of what they did.

use hooks::{Call, Hook, Limits, Metric, Outcome, Report};
use protocol::Digest;
use protocol::manifest::{HookSpec, HookStage, VersionConfig};
use protocol::prediction::{Errand, HookRun};
use registry::{Catalogued, OpenHookError};
use serde_json::{Map, Value};

use crate::Gateway;

/// Why a hook that was checked when its version was published is not to be had now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookUnavailable {
    #[error("its component {0} is not among the blobs")]
    Absent(Digest),
    #[error(transparent)]
    Open(#[from] OpenHookError),
}

/// Mostly from memory.
pub(super) async fn load(gateway: &Gateway, spec: &HookSpec) -> Result<Hook, HookUnavailable> {
    gateway.registry().open_hook(&spec.digest).await?.ok_or(HookUnavailable::Absent(spec.digest))
}

/// The hooks that a version has at one stage, in order. They were written for its predictions: around a training none runs.
pub(super) fn specs(config: &VersionConfig, errand: Errand, stage: HookStage) -> impl Iterator<Item = &HookSpec> {
    config.hooks.iter().filter(move |spec| errand == Errand::Predict && spec.stages.contains(&stage))
}

pub(super) fn call(gateway: &Gateway, catalogued: &Catalogued, spec: &HookSpec, account_id: &str, request_id: String) -> Call {
    let config = &catalogued.version.config;
    Call {
        request_id,
        owner: catalogued.model.model.owner.clone(),
        name: catalogued.model.model.name.clone(),
        version: catalogued.version.id.to_string(),
        account: account_id.to_owned(),
        streaming: config.is_iterator(),
        now_ms: u64::try_from(gateway.clock().now().millis()).unwrap_or(0),
        seed: gateway.entropy().u64(),
        config: if spec.config.is_null() { "{}".into() } else { spec.config.to_string().into() },
        input_schema: config.input_schema().to_string().into(),
        output_schema: config.output_schema().to_string().into(),
        blobs: Vec::new(),
        cache_granted: false,
        limits: Limits::default(),
    }
}

/// What is kept of one run of a hook.
pub(super) fn ran(spec: &HookSpec, stage: HookStage, report: &Report, metrics: &[Metric]) -> HookRun {
    HookRun {
        name: spec.name.clone(),
        stage: match stage {
            HookStage::Before => "before",
            HookStage::Stream => "stream",
            HookStage::After => "after",
        }
        .to_owned(),
        outcome: match report.outcome {
            Outcome::Passed => "pass",
            Outcome::Replaced => "replace",
            Outcome::Responded => "respond",
            Outcome::Stopped => "stop",
            Outcome::Invalid => "invalid",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
        .to_owned(),
        duration_us: report.duration_us,
        memory_bytes: report.memory_peak_bytes,
        logs: report.log.iter().map(|line| line.message.clone()).collect(),
        metrics: metrics.iter().map(|metric| (metric.name.clone(), number(metric.value))).collect::<Map<_, _>>(),
    }
}

/// A count is shown as one: the contract has only floating point.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "the fraction is nothing and the magnitude is checked")]
    if value.fract() == 0.0 && value.abs() < 9e15 { Value::from(value as i64) } else { Value::from(value) }
}
