//! The API tab: how to call the model from elsewhere, filled with inputs that work.

use axum::extract::Query;
use maud::html;
use serde::Deserialize;
use serde_json::Value;

use super::{Address, Tab, example_input, page};
use crate::api::ApiError;
use crate::code::{self, Call, Language};
use crate::form::Form;
use crate::model::playground::Stall;
use crate::output;
use crate::page::Page;
use crate::panel;
use crate::visit::Visit;

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    lang: Option<String>,
}

pub(crate) async fn show(visit: Visit, address: Address, Query(wanted): Query<Wanted>) -> Result<Page, ApiError> {
    let stall = Stall::load(&visit, &address, None).await?;
    let language = wanted.lang.as_deref().and_then(Language::parse).unwrap_or(Language::Python);
    let form = Form::new(stall.version().map_or(&Value::Null, |version| &version.openapi_schema));
    let input = example_input(&visit, &address, &stall.model, &form).await;
    let name = format!("{}/{}", address.owner, address.name);
    let streams = stall.version().is_some_and(|version| output::is_running_text(panel::output_schema(&version.openapi_schema)));
    let call = Call { base: &visit.base, model: &name, input: &form.ordered(&input), streams };
    let body = html! {
        div.narrow {
            nav.pills aria-label="Language" {
                @for each in Language::ALL {
                    a href={ "/" (name) "/api?lang=" (each.word()) } aria-current=[(each == language).then_some("true")] { (each.name()) }
                }
            }
            h2 { "Once" }
            p { "An API token is what signs you in here. Replicate's own clients work with it; only the address changes." }
            (code::block(&code::setup(&visit.base, language), Language::Cli))
            h2 { "Each call" }
            p { "With the inputs of this model's example." }
            (code::block(&call.written(language), language))
            @if let Some(version) = stall.version() {
                h2 { "This version for good" }
                p { "A version never changes. Name it, and nothing that is pushed later changes your results." }
                (code::block(&format!("{name}:{}", version.id), language))
            }
            p { a href="/docs/api" { "All routes of the API" } }
        }
    };
    Ok(page(&stall.model, &stall.prices, &visit.base, Tab::Api, &body))
}
