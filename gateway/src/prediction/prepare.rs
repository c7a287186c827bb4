//! Step 4: the version's `before` hooks, in their order; then the caller's own files in the input become addresses that a runner may fetch.

use std::sync::Arc;

use hooks::{BeforeAction, HookError};
use protocol::manifest::{HookStage, OnHookError};
use protocol::prediction::HookRun;
use protocol::problem::InvalidField;
use registry::{Caller, Catalogued};
use serde_json::{Map, Value};

use crate::Gateway;
use crate::prediction::resolve::{Asked, Resolved, checked};
use crate::prediction::{Refusal, files, hooked};

/// A request that is ready to be admitted.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub caller: Caller,
    pub catalogued: Arc<Catalogued>,
    pub asked: Asked,
    /// As the caller sent it, and is shown it.
    pub input: Value,
    /// As the model sees it.
    pub model_input: Value,
    /// The output, when a hook answered in the model's place.
    pub answer: Option<Value>,
    pub hook_runs: Vec<HookRun>,
}

pub(crate) async fn prepare(gateway: &Gateway, resolved: Resolved) -> Result<Prepared, Refusal> {
    let Resolved { caller, catalogued, input, asked } = resolved;
    let mut prepared = Prepared {
        input: asked.input.clone(),
        model_input: input,
        answer: None,
        hook_runs: Vec::new(),
        caller,
        catalogued: catalogued.clone(),
        asked,
    };
    let errand = prepared.asked.errand;
    for spec in hooked::specs(&catalogued.version.config, errand, HookStage::Before) {
        let hook = hooked::load(gateway, spec).await.map_err(|source| Refusal::HookUnavailable { hook: spec.name.clone(), source })?;
        let call = hooked::call(gateway, &catalogued, spec, &prepared.caller.account.id, prepared.asked.origin.request_id());
        match hook.before(&call, &prepared.model_input.to_string()).await {
            Ok(before) => {
                prepared.hook_runs.push(hooked::ran(spec, HookStage::Before, &before.report, &before.metrics));
                match before.action {
                    BeforeAction::Pass => {}
                    BeforeAction::Replace(input) => prepared.model_input = checked(&catalogued, errand, parsed(&spec.name, &input)?)?,
                    BeforeAction::Respond(output) => {
                        prepared.answer = Some(parsed(&spec.name, &output)?);
                        return Ok(prepared);
                    }
                }
            }
            Err(failure) => match (failure.error, spec.on_error) {
                (HookError::Invalid(fields), _) => return Err(Refusal::InvalidInput(fields.iter().map(invalid_field).collect())),
                (HookError::Refused { code, message }, _) => {
                    return Err(Refusal::HookRefused { hook: spec.name.clone(), code, message });
                }
                (HookError::Busy, _) => return Err(Refusal::HookBusy),
                (_, OnHookError::Pass) => {
                    prepared.hook_runs.push(hooked::ran(spec, HookStage::Before, &failure.report, &[]));
                }
                (source, OnHookError::Fail) => return Err(Refusal::HookFailed { hook: spec.name.clone(), source }),
            },
        }
    }
    files::own_files_to_grants(gateway, &mut prepared).await?;
    Ok(prepared)
}

fn parsed(hook: &str, document: &str) -> Result<Value, Refusal> {
    serde_json::from_str(document)
        .map_err(|_| Refusal::HookFailed { hook: hook.to_owned(), source: HookError::Internal("it returned what is not JSON".to_owned()) })
}

/// `/prompt` becomes `input.prompt`.
fn invalid_field(field: &hooks::FieldError) -> InvalidField {
    InvalidField::new(field.code.clone(), format!("input{}", field.pointer.replace('/', ".")), field.message.clone())
}

/// The metrics of the hooks that have run, by name.
pub(crate) fn hook_metrics(runs: &[HookRun]) -> Map<String, Value> {
    runs.iter().flat_map(|run| run.metrics.clone()).collect()
}
