//! A publisher: every model of theirs that may be seen.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use maud::html;
use protocol::api::Model;

use crate::api::ApiError;
use crate::errors;
use crate::page::Page;
use crate::price::Prices;
use crate::visit::Visit;
use crate::{card, home};
use protocol::name::check_owner;

pub(crate) async fn show(visit: Visit, Path(owner): Path<String>) -> Result<Response, ApiError> {
    if check_owner(&owner).is_err() {
        return Ok(errors::not_found());
    }
    let mut models: Vec<Model> = home::list(&visit.api, format!("/v1/models?owner={owner}")).await?;
    if models.is_empty() {
        return Ok(errors::not_found());
    }
    models.sort_by_key(|model| std::cmp::Reverse(model.run_count));
    let prices = Prices::load(&visit.api).await?;
    let body = html! {
        h1.found { (owner) small { (models.len()) @if models.len() == 1 { " model" } @else { " models" } } }
        (card::grid(&models, &prices, &visit.base))
    };
    Ok(Page::new(&owner, body).into_response())
}
