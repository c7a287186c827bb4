//! The Examples tab: saved runs, each with its inputs ready to be used again.

use maud::{Markup, html};
use protocol::Prediction;
use serde_json::Value;

use super::{Address, Tab, page};
use crate::api::ApiError;
use crate::files;
use crate::form::Form;
use crate::model::playground::Stall;
use crate::page::Page;
use crate::panel::{self, Panel};
use crate::visit::Visit;

pub(crate) async fn show(visit: Visit, address: Address) -> Result<Page, ApiError> {
    let stall = Stall::load(&visit, &address, None).await?;
    let examples = super::examples(&visit, &address).await;
    let schema = stall.version().map_or(&Value::Null, |version| &version.openapi_schema);
    let mut shown = Vec::new();
    for example in &examples {
        shown.push(show_one(&visit, &address, example, schema).await);
    }
    let body = html! {
        @if shown.is_empty() {
            section.sorry {
                h2 { "No examples yet." }
                p { "The owner has not saved a run. The Playground shows what the model takes." }
                p { a.btn href={ "/" (address.owner) "/" (address.name) } { "Open the Playground" } }
            }
        }
        @for example in shown { (example) }
    };
    Ok(page(&stall.model, &stall.prices, &visit.base, Tab::Examples, &body))
}

async fn show_one(visit: &Visit, address: &Address, example: &Prediction, schema: &Value) -> Markup {
    let files = files::look_up(visit, &example.output).await;
    let panel =
        Panel { prediction: example, output_schema: panel::output_schema(schema), files: &files, base: &visit.base, estimate: None };
    html! {
        div.two.example {
            (inputs(&example.input, schema))
            (panel.render(&html! { a href={ "/" (address.owner) "/" (address.name) "?from=" (example.id) } { "Use these inputs" } }))
        }
    }
}

/// The inputs of a run, in the order of its version's form.
pub(crate) fn inputs(input: &Value, openapi_schema: &Value) -> Markup {
    let members = Form::new(openapi_schema).ordered(input);
    html! {
        @if members.is_empty() { p.quiet { "none" } }
        dl.inputs {
            @for (name, value) in members {
                dt { (name) }
                dd { (value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)) }
            }
        }
    }
}
