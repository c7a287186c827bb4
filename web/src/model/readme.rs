//! The README tab: the publisher's own words, cleaned.

use http::StatusCode;
use maud::html;
use protocol::api::Model;

use super::{Address, Tab, page};
use crate::api::ApiError;
use crate::markdown;
use crate::model::playground::Stall;
use crate::page::Page;
use crate::visit::Visit;

pub(crate) async fn show(visit: Visit, address: Address) -> Result<Page, ApiError> {
    let stall = Stall::load(&visit, &address, None).await?;
    let readme = match visit.api.text(&format!("{}/readme", address.api_path())).await {
        Ok(readme) => readme,
        Err(error) if error.is(StatusCode::NOT_FOUND) => String::new(),
        Err(error) => return Err(error),
    };
    let body = html! {
        div.narrow {
            @if readme.trim().is_empty() {
                section.sorry { h2 { "No README yet." } p { "The owner has not written one. The Playground shows what the model takes." } }
            } @else {
                div.prose { (markdown::render(&readme, &visit.base)) }
            }
            ul.links { @for (what, url) in links(&stall.model) { li { a href=(url) rel="noopener noreferrer nofollow ugc" { (what) } } } }
        }
    };
    Ok(page(&stall.model, &stall.prices, &visit.base, Tab::Readme, &body))
}

/// Where else a model is spoken of; only addresses of the web are followed.
fn links(model: &Model) -> Vec<(&'static str, &str)> {
    let links =
        [("Code", &model.github_url), ("Paper", &model.paper_url), ("License", &model.license_url), ("Weights", &model.weights_url)];
    let is_web = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
    links.into_iter().filter_map(|(what, url)| Some((what, url.as_deref().filter(is_web)?))).collect()
}
