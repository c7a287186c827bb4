//! The Playground: the form of a version beside what it gives.

use axum::extract::Query;
use http::StatusCode;
use maud::{Markup, html};
use protocol::api::{Model, Version};
use protocol::{Prediction, Problem};
use serde::Deserialize;
use serde_json::Value;

use super::{Address, Tab};
use crate::api::ApiError;
use crate::files;
use crate::form::{Form, Typed};
use crate::page::Page;
use crate::panel::{self, Panel};
use crate::price::{self, Prices};
use crate::visit::Visit;

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    /// A version other than the latest.
    version: Option<String>,
    /// A run whose inputs fill the form.
    from: Option<String>,
}

pub(crate) async fn show(visit: Visit, address: Address, Query(wanted): Query<Wanted>) -> Result<Page, ApiError> {
    let stall = Stall::load(&visit, &address, wanted.version.as_deref()).await?;
    let Some(version) = stall.version() else { return Ok(stall.page(&visit, &empty(&address))) };
    let form = Form::new(&version.openapi_schema);
    let typed = match &wanted.from {
        Some(id) => Typed::from_input(&form, &input_of(&visit, &address, &stall.model, id).await?),
        None => Typed::from_input(&form, stall.model.default_example.as_ref().map_or(&Value::Null, |example| &example.input)),
    };
    let shown = example_panel(&visit, &stall).await;
    Ok(stall.page(&visit, &bench(&visit, &stall, &form, &typed, None, &shown)))
}

/// A model and the version whose form is shown.
pub(crate) struct Stall {
    pub model: Model,
    pub prices: Prices,
    /// Another version than the model's latest.
    chosen: Option<Version>,
}

impl Stall {
    pub async fn load(visit: &Visit, address: &Address, version: Option<&str>) -> Result<Self, ApiError> {
        let model: Model = visit.api.get(&address.api_path()).await?;
        let latest = model.latest_version.as_ref().map(|latest| latest.id.as_str());
        let chosen = match version.filter(|&wanted| latest != Some(wanted)) {
            Some(id) if id.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                Some(visit.api.get(&format!("{}/versions/{id}", address.api_path())).await?)
            }
            Some(_) => return Err(Problem::new(404, "Not found", "").into()),
            None => None,
        };
        Ok(Self { model, prices: Prices::load(&visit.api).await?, chosen })
    }

    pub fn version(&self) -> Option<&Version> {
        self.chosen.as_ref().or(self.model.latest_version.as_ref())
    }

    fn page(&self, visit: &Visit, body: &Markup) -> Page {
        super::page(&self.model, &self.prices, &visit.base, Tab::Playground, body)
    }
}

/// The page again after a form was refused: what was typed, and what was wrong with it.
pub(crate) async fn refused(visit: &Visit, stall: &Stall, typed: &Typed, problem: &Problem) -> Page {
    let Some(version) = stall.version() else { return stall.page(visit, &html! { p.quiet { "There is no version to run." } }) };
    let form = Form::new(&version.openapi_schema);
    let shown = example_panel(visit, stall).await;
    let mut page = stall.page(visit, &bench(visit, stall, &form, typed, Some(problem), &shown));
    page.status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
    page
}

/// The form on one side, the panel on the other.
fn bench(visit: &Visit, stall: &Stall, form: &Form, typed: &Typed, problem: Option<&Problem>, shown: &Markup) -> Markup {
    let address = format!("/{}/{}", stall.model.owner, stall.model.name);
    let errors = problem.map_or(&[][..], |problem| &problem.invalid_fields);
    html! {
        @if let Some(chosen) = &stall.chosen {
            p.notice { "This is version " code { (chosen.id.get(..12).unwrap_or(&chosen.id)) } ", not the latest. " a href=(address) { "Use the latest" } }
        }
        div.two {
            form.form method="post" action=(address) enctype="multipart/form-data" data-run {
                @if let Some(version) = stall.version() { input type="hidden" name="version" value=(version.id); }
                @if let Some(problem) = problem { (notice(problem, form)) }
                @if form.fields.is_empty() { p.quiet { "This model takes no input. Press Run." } }
                (form.render(typed, errors))
                div.run {
                    @if visit.account.is_some() { button.btn type="submit" { "Run" } kbd { "⌘ ⏎" } }
                    @else { a.btn href={ "/signin?next=" (address) } { "Sign in to run" } }
                    em { (price::estimate(&stall.model, &stall.prices)) }
                }
            }
            div { (shown) }
        }
    }
}

/// What was wrong with the request as a whole.
fn notice(problem: &Problem, form: &Form) -> Markup {
    let elsewhere = form.errors_elsewhere(&problem.invalid_fields);
    html! {
        div.notice.bad role="alert" {
            strong { @if problem.invalid_fields.is_empty() { (problem.title) } @else { "Some inputs need another look." } }
            @if problem.invalid_fields.is_empty() && !problem.detail.is_empty() { p { (problem.detail) } }
            @for error in elsewhere { p { (error) } }
            @match problem.status {
                401 | 403 => p { a href="/signin" { "Sign in" } " with an account that may run this model." },
                402 => p { "Look at " a href="/dashboard" { "your balance" } "; a run needs credit for the longest it may take." },
                429 => p { "Wait a moment, then press Run again. Your inputs are still here." },
                _ => {},
            }
        }
    }
}

/// The model's example as it ran, or a place for the first run.
async fn example_panel(visit: &Visit, stall: &Stall) -> Markup {
    let Some(example) = stall.model.default_example.as_deref() else {
        return html! {
            section.out.empty aria-label="Run" {
                p.figure aria-hidden="true" { "✳" }
                p { strong { "Nothing has run here yet." } }
                p.quiet { "Fill in the form and press Run: what comes out will stand here, with its cost and where its time went." }
            }
        };
    };
    let schema = stall.model.latest_version.as_ref().map_or(&Value::Null, |version| panel::output_schema(&version.openapi_schema));
    let files = files::look_up(visit, &example.output).await;
    let panel = Panel { prediction: example, output_schema: schema, files: &files, base: &visit.base, estimate: None };
    let name = format!("/{}/{}", stall.model.owner, stall.model.name);
    html! {
        p.above { "The example, as it ran" }
        (panel.render(&html! {
            a href={ (name) "?from=" (example.id) } { "Tweak it" }
            a href={ (name) "/api" } { "Call it from code" }
            a href={ (name) "/examples" } { "More examples" }
        }))
    }
}

/// The inputs of an earlier run of this model.
async fn input_of(visit: &Visit, address: &Address, model: &Model, id: &str) -> Result<Value, ApiError> {
    let mut saved: Vec<Prediction> = model.default_example.iter().map(|example| (**example).clone()).collect();
    if saved.iter().all(|example| example.id != id) {
        saved.extend(super::examples(visit, address).await);
    }
    if let Some(example) = saved.into_iter().find(|example| example.id == id) {
        return Ok(example.input);
    }
    Ok(crate::prediction::load(visit, id).await?.input)
}

fn empty(address: &Address) -> Markup {
    html! {
        section.sorry {
            h2 { "No version on the table yet." }
            p { "This model exists, but nothing was pushed to it. From a Cog project:" }
            pre.code { code { b { "feira" } " push . " (address.owner) "/" (address.name) } }
        }
    }
}
