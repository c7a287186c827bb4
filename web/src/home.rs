//! The front of the market: search, filters, and a stall for every model.

use axum::extract::Query;
use maud::{Markup, html};
use protocol::api::{Model, Page as Listed};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use crate::api::{ApiError, Caller};
use crate::card;
use crate::code::{self, Call, Language};
use crate::form::Form;
use crate::page::Page;
use crate::price::Prices;
use crate::visit::Visit;

/// Pages of the catalogue that are read for one look; search reaches what lies beyond.
const LISTS_MAX: usize = 8;

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    q: Option<String>,
    task: Option<String>,
    warm: Option<String>,
    sort: Option<String>,
}

pub(crate) async fn show(visit: Visit, Query(wanted): Query<Wanted>) -> Result<Page, ApiError> {
    let query = wanted.q.as_deref().map(str::trim).filter(|query| !query.is_empty());
    let mut models = match query {
        Some(query) => search(&visit.api, query).await?,
        None => catalogue(&visit.api).await?,
    };
    let prices = Prices::load(&visit.api).await?;
    let tasks = tasks(&models);
    let hero = query.is_none().then(|| hero(&visit, models.iter().max_by_key(|model| model.run_count)));
    models.retain(|model| wanted.takes(model));
    // A search has its own order, best first.
    match wanted.sort.as_deref() {
        Some("new") => models.sort_by_key(|model| std::cmp::Reverse(model.created_at)),
        _ if query.is_some() => {}
        _ => models.sort_by_key(|model| std::cmp::Reverse(model.run_count)),
    }
    let body = html! {
        @if let Some(hero) = hero { (hero) }
        @if let Some(query) = query.filter(|_| !models.is_empty()) { h1.found { (models.len()) @if models.len() == 1 { " stall" } @else { " stalls" } " for “" (query) "”" } }
        (filters(&wanted, &tasks))
        @if models.is_empty() { (nothing(query)) } @else { (card::grid(&models, &prices, &visit.base)) }
    };
    let mut page = Page::new(if query.is_some() { "Search" } else { "Fresh models, open all night" }, body);
    page.description = Some("An open market for models: run any of them with one line, and see the cost of every run.".to_owned());
    page.query = wanted.q.unwrap_or_default();
    Ok(page)
}

/// The public catalogue, page by page.
async fn catalogue(api: &Caller) -> Result<Vec<Model>, ApiError> {
    list(api, "/v1/models".to_owned()).await
}

/// A list of models, page by page.
pub(crate) async fn list(api: &Caller, path: String) -> Result<Vec<Model>, ApiError> {
    let mut models = Vec::new();
    let mut next = Some(path);
    for _ in 0..LISTS_MAX {
        let Some(path) = next else { break };
        let page: Listed<Model> = api.get(&path).await?;
        models.extend(page.results);
        next = page.next.as_deref().and_then(|url| url.find("/v1/models").map(|at| url[at..].to_owned()));
    }
    Ok(models)
}

#[derive(Deserialize)]
struct Found {
    models: Vec<FoundModel>,
}

#[derive(Deserialize)]
struct FoundModel {
    model: Model,
}

async fn search(api: &Caller, query: &str) -> Result<Vec<Model>, ApiError> {
    let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let found: Found = api.get(&format!("/v1/search?limit=50&query={query}")).await?;
    Ok(found.models.into_iter().map(|found| found.model).collect())
}

/// The tasks there are, the most common first.
fn tasks(models: &[Model]) -> Vec<String> {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for task in models.iter().filter_map(|model| model.task.as_deref()) {
        *counts.entry(task).or_default() += 1;
    }
    let mut tasks: Vec<(&str, usize)> = counts.into_iter().collect();
    tasks.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    tasks.into_iter().map(|(task, _)| task.to_owned()).collect()
}

impl Wanted {
    fn is_warm(&self) -> bool {
        self.warm.is_some()
    }

    fn takes(&self, model: &Model) -> bool {
        let task = self.task.as_deref().is_none_or(|task| model.task.as_deref() == Some(task));
        task && (!self.is_warm() || model.warm > 0)
    }

    /// The address of this look.
    fn address(&self) -> String {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("q", &self.q), ("task", &self.task), ("warm", &self.warm), ("sort", &self.sort)] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                pairs.append_pair(name, value);
            }
        }
        let pairs = pairs.finish();
        if pairs.is_empty() { "/explore".to_owned() } else { format!("/explore?{pairs}") }
    }

    /// The same look, with one choice made anew.
    fn with(&self, choose: impl FnOnce(&mut Self)) -> String {
        let mut other = self.clone();
        choose(&mut other);
        other.address()
    }
}

fn filters(wanted: &Wanted, tasks: &[String]) -> Markup {
    let task = wanted.task.as_deref();
    let current = |on: bool| on.then_some("true");
    let newest = wanted.sort.as_deref() == Some("new");
    let everything = |look: &mut Wanted| (look.task, look.warm) = (None, None);
    let other_warmth = |look: &mut Wanted| look.warm = (!wanted.is_warm()).then(|| "1".to_owned());
    html! {
        nav.filters.pills aria-label="Filters" {
            a href=(wanted.with(everything)) aria-current=[current(task.is_none() && !wanted.is_warm())] { "All" }
            @for each in tasks {
                a href=(wanted.with(|look| look.task = Some(each.clone()))) aria-current=[current(task == Some(each))] { (capitalized(each)) }
            }
            a href=(wanted.with(other_warmth)) aria-current=[current(wanted.is_warm())] { "Warm now" }
            span.sort {
                a href=(wanted.with(|look| look.sort = None)) aria-current=[current(!newest)] { @if wanted.q.is_some() { "Best match" } @else { "Most run" } }
                a href=(wanted.with(|look| look.sort = Some("new".to_owned()))) aria-current=[current(newest)] { "Newest" }
            }
        }
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn hero(visit: &Visit, most_run: Option<&Model>) -> Markup {
    html! {
        section.hero {
            div {
                h1 { "Fresh models," br; "open all night." }
                p { "Run any of them with one line. Pay for the seconds or the tokens you use, and see the cost of every run." }
            }
            @if let Some(model) = most_run { (sample(visit, model)) }
        }
    }
}

/// One call of a model, from Python.
fn sample(visit: &Visit, model: &Model) -> Markup {
    let form = Form::new(model.latest_version.as_ref().map_or(&Value::Null, |version| &version.openapi_schema));
    let members = model.default_example.as_ref().map(|example| form.ordered(&example.input)).unwrap_or_default();
    let name = format!("{}/{}", model.owner, model.name);
    let call = Call { base: &visit.base, model: &name, input: members.get(..1).unwrap_or_default(), streams: false };
    code::block(&call.written(Language::Python), Language::Python)
}

fn nothing(query: Option<&str>) -> Markup {
    html! {
        section.sorry {
            @match query {
                Some(query) => {
                    h1 { "No stall sells “" (query) "”." }
                    p { "Try fewer or other words: names, descriptions and tasks are searched." }
                    p { a.btn href="/explore" { "See everything" } }
                },
                None => {
                    h2 { "No stall here yet." }
                    p { "With filters on, take one off. In an empty market, open the first stall yourself, from a Cog project:" }
                    pre.code { code { b { "feira" } " push . you/your-model" } }
                    p { a.btn href="/docs" { "How to publish" } }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_keeps_what_else_was_chosen() {
        let wanted = Wanted { q: Some("a & b".to_owned()), warm: Some("1".to_owned()), ..Wanted::default() };
        assert_eq!(wanted.with(|look| look.task = Some("image".to_owned())), "/explore?q=a+%26+b&task=image&warm=1");
        assert_eq!(Wanted::default().address(), "/explore");
    }
}
