//! The documentation that a visitor needs first: a quickstart, and the API as people read it.

use maud::html;
use serde_json::Value;

use crate::api::ApiError;
use crate::code::{self, Call, Language};
use crate::page::Page;
use crate::visit::Visit;

mod reference;

pub(crate) async fn quickstart(visit: Visit) -> Page {
    let name = Value::from("Ada");
    let call = Call { base: &visit.base, model: "feira/hello-world", input: &[("name", &name)], streams: false };
    let body = html! {
        div.narrow.prose {
            h1 { "Quickstart" }
            p { "Feira speaks Replicate's API. A client that you know keeps working; its address and its token change, nothing else." }
            h2 { "1. Get a token" }
            p { "The first start prints one and writes it to the file " code { "token" } " in its home. " a href="/signin" { "Sign in" } " with it to run models from their pages." }
            h2 { "2. Call a model" }
            @for language in Language::ALL {
                h3 { (language.name()) }
                (code::block(&code::setup(&visit.base, language), Language::Cli))
                (code::block(&call.written(language), language))
            }
            h2 { "3. Publish your own" }
            p { "From a Cog project, the folder with " code { "cog.yaml" } " in it:" }
            (code::block("feira push . you/your-model", Language::Cli))
            p { "A version is named by the SHA-256 of what it is made of. It never changes, pushing the same again uploads nothing, and every version can still be run as "
                code { "owner/model:version" } "." }
            h2 { "What a run costs" }
            p { "Each finished prediction carries " code { "cost" } " and " code { "cost_lines" } ", and its page draws where the time went. " a href="/pricing" { "Rates and rules" } "." }
            p { a href="/docs/api" { "Every route of the API" } ", or " a href="/openapi.json" { "openapi.json" } " for machines." }
        }
    };
    Page::new("Quickstart", body)
}

pub(crate) async fn reference(visit: Visit) -> Result<Page, ApiError> {
    let document: Value = visit.api.get("/openapi.json").await?;
    Ok(Page::new("API", reference::render(&document)))
}
