//! A model's page: what all its tabs have in common.

use axum::extract::{FromRequestParts, Path};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use maud::{Markup, html};
use protocol::Prediction;
use protocol::api::{Model, Page as Listed};
use protocol::name::{check_name, check_owner};
use serde_json::{Map, Value};

use crate::card;
use crate::errors;
use crate::form::{Field, Form, Kind};
use crate::page::Page;
use crate::price::{self, Prices};
use crate::visit::Visit;

pub(crate) mod calls;
pub(crate) mod examples;
pub(crate) mod playground;
pub(crate) mod readme;
pub(crate) mod versions;
mod warnings;

/// The address of a model, checked: it can stand in a path as it is.
#[derive(Debug)]
pub(crate) struct Address {
    pub owner: String,
    pub name: String,
}

impl Address {
    pub fn api_path(&self) -> String {
        format!("/v1/models/{}/{}", self.owner, self.name)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Path((owner, name)) = Path::<(String, String)>::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        if check_owner(&owner).is_ok() && check_name(&name).is_ok() { Ok(Self { owner, name }) } else { Err(errors::not_found()) }
    }
}

/// The tabs, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tab {
    Playground,
    Api,
    Examples,
    Readme,
    Versions,
}

impl Tab {
    const ALL: [Self; 5] = [Self::Playground, Self::Api, Self::Examples, Self::Readme, Self::Versions];

    const fn name(self) -> &'static str {
        match self {
            Self::Playground => "Playground",
            Self::Api => "API",
            Self::Examples => "Examples",
            Self::Readme => "README",
            Self::Versions => "Versions",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Playground => "",
            Self::Api => "/api",
            Self::Examples => "/examples",
            Self::Readme => "/readme",
            Self::Versions => "/versions",
        }
    }
}

/// A tab of a model's page: the model's head above, `body` below.
pub(crate) fn page(model: &Model, prices: &Prices, base: &str, tab: Tab, body: &Markup) -> Page {
    let name = format!("{}/{}", model.owner, model.name);
    let title = if tab == Tab::Playground { name.clone() } else { format!("{name} · {}", tab.name()) };
    let content = html! {
        div.title {
            (card::cover(model, base))
            div {
                h1 { span { (model.owner) "/" } (model.name) }
                p { (model.description.as_deref().unwrap_or("No description yet.")) }
                div.meta {
                    (card::warmth(model))
                    span { (card::runs(model)) }
                    span { (model.hardware) }
                    @if let Some(version) = &model.latest_version { code title=(version.id) { (version.id.get(..12).unwrap_or(&version.id)) } }
                    @if model.visibility == "private" { span.badge { "private" } }
                }
            }
            (price::block(model, prices))
        }
        @if let Some(version) = &model.latest_version { (warnings::block(version)) }
        @if let Some(version) = model.latest_version.as_ref().filter(|version| !version.driver.is_process()) {
            p.quiet { "This version is a container image of Cog " (version.cog_version) ". Runners with the driver " code { (version.driver.name()) } " can run it." }
        }
        nav.tabs aria-label="Model" {
            @for each in Tab::ALL {
                a href={ "/" (name) (each.path()) } aria-current=[(each == tab).then_some("page")] { (each.name()) }
            }
        }
        (body)
    };
    Page { description: model.description.clone(), ..Page::new(title, content) }
}

/// Inputs that work: those of the model's example, else the defaults of its schema.
pub(crate) async fn example_input(visit: &Visit, address: &Address, model: &Model, form: &Form) -> Value {
    match &model.default_example {
        Some(example) => example.input.clone(),
        None => examples(visit, address).await.into_iter().next().map_or_else(|| default_input(form), |example| example.input),
    }
}

/// The model's saved runs; none when they cannot be had.
pub(crate) async fn examples(visit: &Visit, address: &Address) -> Vec<Prediction> {
    visit.api.get(&format!("{}/examples", address.api_path())).await.map_or_else(|_| Vec::new(), |page: Listed<Prediction>| page.results)
}

/// What the schema itself says: defaults, and a bare value for what is required.
fn default_input(form: &Form) -> Value {
    let value = |field: &Field| {
        let bare = match &field.kind {
            Kind::Integer(_) | Kind::Number(_) => Value::from(1),
            Kind::Boolean => Value::from(true),
            Kind::File(_) => Value::from("https://example.com/file"),
            Kind::List => Value::from(Vec::<Value>::new()),
            Kind::Object => Value::from(Map::new()),
            Kind::Choice(choices) => choices.first().cloned().unwrap_or_default(),
            Kind::Text | Kind::LongText | Kind::Secret | Kind::Any => Value::from("…"),
        };
        let value = field.default.clone().or(field.required.then_some(bare))?;
        Some((field.name.clone(), value))
    };
    form.fields.iter().filter_map(value).collect()
}
