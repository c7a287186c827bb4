//! The tags of a repository, by name.

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::json;

use crate::Gateway;
use crate::body::Parameters;
use crate::problem::Refused;
use crate::routes::oci::caller::Who;
use crate::routes::oci::page::{PageQuery, answer};
use crate::routes::oci::repository;

pub(super) async fn list(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name)): Path<(String, String)>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Response, Refused> {
    let repository = repository(&owner, &name)?;
    let row = who.require_readable(&gateway, &repository).await?;
    let names = gateway.registry().list_tag_names(&row).await?;
    let place = |name: &str| (name.to_ascii_lowercase(), name.to_owned());
    let begins = names.partition_point(|name| place(name) <= place(&query.last));
    let rest = if query.last.is_empty() { &names[..] } else { &names[begins..] };
    // A client that does not ask for pages does not look for the next one either.
    let count = if query.is_bounded() { query.count() } else { rest.len() };
    let page = &rest[..count.min(rest.len())];
    let next = page.last().filter(|_| page.len() < rest.len());
    let next = next.map(|last| (format!("/v2/{repository}/tags/list?n={count}"), last.as_str()));
    Ok(answer(&json!({"name": repository, "tags": page}), next))
}
