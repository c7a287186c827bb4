//! Binds the logic to the contract, `feira:hook/pre`.

mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "pre-hook" });
}

use bindings::exports::feira::hook::pre::{Action, Context, Guest, HookError, Metric, Outcome};
use bindings::feira::hook::config;
use bindings::feira::hook::types::FieldError;

use crate::{Config, prepare};

struct PromptTemplate;

bindings::export!(PromptTemplate with_types_in bindings);

impl Guest for PromptTemplate {
    fn process(_ctx: Context, input: String) -> Result<Outcome, HookError> {
        let config = Config::parse(&config::get()).map_err(HookError::Internal)?;
        let prepared = prepare(&config, &input).map_err(|invalid| {
            HookError::Invalid(vec![FieldError {
                pointer: invalid.pointer.to_owned(),
                code: invalid.code.to_owned(),
                message: invalid.message,
            }])
        })?;
        #[expect(clippy::cast_precision_loss, reason = "a prompt has far fewer than 2^53 tokens")]
        let value = prepared.prompt_tokens_estimate as f64;
        Ok(Outcome {
            action: prepared.replacement.map_or(Action::Pass, Action::Replace),
            cache_key: None,
            metrics: vec![Metric { name: "prompt_tokens_estimate".to_owned(), value }],
        })
    }
}
